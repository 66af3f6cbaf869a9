"""Ollama's Modelfile, LoRA adapters as GGUF, K-quants: what is written, what is called, what is refused."""

import stat

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ExportError
from luthier.exporters.modelfile import find_pieces
from luthier.models.load import load_model
from luthier.templates import find_template
from luthier.types import Conversation, Message
from luthier.workflows.export import export
from tests.exporters.test_gguf import greedy, prompts_of, the_file


def config_of(folder, target, **keys):
    return Config(**{"model_name_or_path": str(folder), "export_dir": str(target), "template": "chatml"} | keys)


@pytest.fixture
def adapter(family_folder, tmp_path):
    """(base, adapter, the two together): LoRA on every linear layer of a Llama, with weights that matter."""
    base = family_folder("llama")
    config = Config(model_name_or_path=str(base), finetuning_type="lora", lora_rank=4, use_rslora=True)
    torch.manual_seed(0)
    lora = ADAPTERS["lora"](config)
    net = lora.attach(load_model(config))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path / "adapter"
    folder.mkdir()
    lora.save(net, folder)
    return base, folder, net.eval()


def test_a_lora_adapter_is_a_gguf_of_its_own(adapter, llamacpp, tmp_path):
    base, folder, net = adapter
    whole = export(config_of(base, tmp_path / "base", export_format="gguf"))
    small = export(config_of(base, tmp_path / "lora", export_format="gguf_lora", adapter_name_or_path=[str(folder)]))
    prompts = prompts_of(base, 3)
    found = llamacpp(the_file(whole), prompts, lora=the_file(small))
    assert found["answers"] == [greedy(net, prompt, 16) for prompt in prompts]
    assert found["answers"] != llamacpp(the_file(whole), prompts)["answers"]


def test_the_merged_gguf_is_base_and_adapter(adapter, tmp_path):
    base, folder, net = adapter
    out = export(config_of(base, tmp_path / "out", export_format="gguf", adapter_name_or_path=[str(folder)]))
    again = AutoModelForCausalLM.from_pretrained(out, gguf_file=the_file(out).name, dtype=torch.float32)
    ids = torch.tensor(prompts_of(base, 1))
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, net(ids).logits, atol=1e-3, rtol=1e-3)


def test_a_gguf_adapter_needs_an_adapter(family_folder, tmp_path):
    with pytest.raises(ExportError, match="takes one LoRA adapter"):
        export(config_of(family_folder("llama"), tmp_path / "out", export_format="gguf_lora"))


def program(folder, name, text):
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_ollama_is_given_the_model_where_it_is_installed(family_folder, tmp_path, monkeypatch):
    program(tmp_path, "ollama", f'echo "$@" > {tmp_path}/called')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    out = export(config_of(family_folder("phi3"), tmp_path / "My Model", export_format="ollama"))
    assert (tmp_path / "called").read_text().split() == f"create my-model -f {out}/Modelfile".split()
    lines = (out / "Modelfile").read_text()
    assert lines.startswith("FROM ./My Model-F32.gguf\n")
    assert 'PARAMETER stop "<|im_end|>"' in lines and "PARAMETER num_ctx 256" in lines
    program(tmp_path, "ollama", "echo no server >&2; exit 1")
    with pytest.raises(ExportError, match="ollama create failed: no server"):
        export(config_of(family_folder("phi3"), tmp_path / "again", export_format="ollama"))


def test_kquants_are_made_by_llamacpp_and_their_weights_compared(family_folder, tmp_path, monkeypatch):
    """A stand-in for llama-quantize that copies: what comes back is then closer than a K-quant, and passes."""
    program(tmp_path, "llama-quantize", 'test "$3" = Q4_K_M && cp "$1" "$2"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    out = export(config_of(family_folder("phi3"), tmp_path / "out", export_format="gguf", export_gguf_type="q4_k_m"))
    assert sorted(path.name for path in out.iterdir()) == ["Modelfile", "README.md", "luthier.json", "out-Q4_K_M.gguf"]
    program(tmp_path, "llama-quantize", "echo unknown type >&2; exit 1")
    with pytest.raises(ExportError, match="could not make Q5_0: unknown type"):
        export(config_of(family_folder("phi3"), tmp_path / "worse", export_format="gguf", export_gguf_type="q5_0"))
    assert not (tmp_path / "worse").exists()


@pytest.mark.parametrize("name", ["chatml", "llama3", "llama2", "gemma", "phi", "mistral", "qwen", "deepseek"])
def test_go_templates_say_what_the_template_says(assets, name):
    tokenizer = AutoTokenizer.from_pretrained(assets / "tokenizers" / "minimind")
    template = find_template(Config(template=name), tokenizer)
    pieces = find_pieces(template, tokenizer.bos_token or "")
    assert pieces is not None
    talk = (
        Message(role="user", content="one"), Message(role="assistant", content="two"), Message(role="user", content="three"),
    )  # fmt: skip
    rendered = template.render(Conversation(messages=talk), add_generation_prompt=True)
    assert pieces.render(talk) == rendered.removeprefix(tokenizer.bos_token or "")
    assert pieces.go().count("{{ if") + pieces.go().count("{{ range") == pieces.go().count("{{ end }}")
