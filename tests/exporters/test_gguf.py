"""GGUF: every family loads elsewhere and computes the same; numbers, words and template are kept; refusals come early."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.config import Config
from luthier.errors import ExportError
from luthier.exporters.gguf_tensors import halves_to_neighbours, neighbours_to_halves
from luthier.workflows.export import export
from tests.exporters.conftest import FAMILIES

TEXTS = [
    "Once upon a time, there was a little girl. She's 7, it's 1234567!",
    "  two  spaces\n\nlines\t tab\n\n\n \n end ",
    "你好，世界。今天天气怎么样？我想在apple工作1314151天～",
    "def f(x):\n    return x ** 2  # ok\n\n'll 'RE I'VE naïve Привет 🦙 한국어",
]
THINGS = ["the sun", "a dog", "Paris", "water", "a kite", "北京", "猫", "太阳", "苹果", "12"]
LOADED_BY_TRANSFORMERS = ("llama", "qwen2", "phi3")


def export_gguf(folder, target, **keys):
    return export(
        Config(
            **{"model_name_or_path": str(folder), "export_dir": str(target), "export_format": "gguf", "template": "chatml"}
            | keys
        )
    )


def the_file(folder):
    (file,) = folder.glob("*.gguf")
    return file


def prompts_of(folder, count, seed=0):
    size = AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight.shape[0]
    chance = np.random.default_rng(seed)
    return [chance.integers(3, size, chance.integers(3, 40)).tolist() for _ in range(count)]


def greedy(model, prompt, count):
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", LOADED_BY_TRANSFORMERS)
def test_transformers_own_reader_computes_the_same(family_folder, tmp_path, family):
    """An implementation that nobody here wrote undoes every change of order and every shift."""
    folder = family_folder(family)
    out = export_gguf(folder, tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(out, gguf_file=the_file(out).name, dtype=torch.float32)
    ids = torch.tensor([prompts_of(folder, 1)[0]])
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_llamacpp_answers_and_cuts_text_the_same(family_folder, llamacpp, tmp_path, family):
    folder = family_folder(family)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompts = prompts_of(folder, 10)
    out = export_gguf(folder, tmp_path / "out")
    found = llamacpp(the_file(out), prompts, TEXTS)
    assert found["words"] == [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
    assert found["answers"] == [greedy(model, prompt, 16) for prompt in prompts]
    for prompt, logits in zip(prompts, found["logits"]):
        with torch.no_grad():
            expected = model(torch.tensor([prompt])).logits[0, -1]
        torch.testing.assert_close(torch.tensor(logits), expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(("kind", "tolerance"), [("f16", 2e-3), ("bf16", 2e-2), ("q8_0", 5e-2)])
def test_formats_lose_as_much_as_they_explain(family_folder, tmp_path, kind, tolerance):
    """Each weight that is read back is the model's, rounded to the format."""
    from luthier.exporters.gguf_family import find_family
    from luthier.exporters.gguf_file import read_weights
    from luthier.exporters.gguf_read import GgufContents

    folder = family_folder("llama")
    out = export_gguf(folder, tmp_path / "out", export_gguf_type=kind)
    model = AutoModelForCausalLM.from_pretrained(folder)
    found = dict(read_weights(GgufContents(the_file(out)), model.config, find_family(model.config)))
    state = model.state_dict()
    assert found.keys() == state.keys()
    for name, tensor in found.items():
        assert float((tensor - state[name]).abs().max() / state[name].abs().max()) <= tolerance, name
    assert the_file(out).name == f"out-{kind.upper()}.gguf"


def test_stretched_rotary_embeddings_are_told(family_folder, llamacpp, tmp_path):
    ropes = {
        "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
        "linear": {"factor": 4.0},
        "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    }
    for kind, more in ropes.items():
        folder = family_folder("llama", rope_parameters={"rope_type": kind, "rope_theta": 500.0, **more})
        model, prompts = AutoModelForCausalLM.from_pretrained(folder), prompts_of(folder, 3)
        out = export_gguf(folder, tmp_path / kind)
        assert llamacpp(the_file(out), prompts)["answers"] == [greedy(model, prompt, 16) for prompt in prompts], kind


@pytest.mark.slow
def test_a_real_model_tells_the_same_stories(assets, llamacpp, tmp_path):
    """50 prompts of a Llama that nobody here made, in F32 and F16; its words are found by sentencepiece's rules."""
    folder = assets / "models" / "stories260K"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    starts = ["Once upon a time", "The dog", "Lily and Tom", "One day, a boy", "It was dark. She", "Mom said", "In the park"]
    texts = [f"{start} {number % 7 * 'and then '}the{' big' * (number // 7)}" for number, start in enumerate(starts * 8)][:50]
    prompts = [tokenizer(text).input_ids for text in texts]
    for kind in ("f32", "f16"):
        exact = model if kind == "f32" else AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).float()
        out = export_gguf(folder, tmp_path / kind, export_gguf_type=kind)
        found = llamacpp(the_file(out), prompts, texts, new_tokens=24)
        assert found["words"] == [prompt[1:] for prompt in prompts]
        assert found["answers"] == [greedy(exact, prompt, 24) for prompt in prompts]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3.1", "qwen3", "qwen2.5", "deepseek-llm"])
def test_real_tokenizers_cut_text_the_same_in_llamacpp(family_folder, llamacpp, tmp_path, name):
    folder = family_folder("qwen3", name)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    prompts = [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
    found = llamacpp(the_file(export_gguf(folder, tmp_path / "out")), prompts, TEXTS, new_tokens=8)
    assert found["words"] == prompts
    assert found["answers"] == [greedy(model, prompt, 8) for prompt in prompts]


def test_the_header_holds_words_template_and_ends(family_folder, tmp_path):
    from gguf import GGUFReader

    folder = family_folder("qwen3")
    reader = GGUFReader(the_file(export_gguf(folder, tmp_path / "out", template="qwen")))
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def value(key):
        return reader.get_field(key).contents()

    tokens = value("tokenizer.ggml.tokens")
    assert tokens[tokenizer.convert_tokens_to_ids("hello")] == "hello" and tokens[-1] == f"[PAD{len(tokens) - 1}]"
    assert tokens[value("tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert value("tokenizer.ggml.token_type")[tokenizer.convert_tokens_to_ids("<|im_start|>")] == 3
    assert value("tokenizer.ggml.pre") == "gpt-2" and value("tokenizer.ggml.add_bos_token") is False
    assert value("qwen3.context_length") == 256 and value("qwen3.attention.key_length") == 16
    assert "You are Qwen" in value("tokenizer.chat_template")


def test_turning_rows_is_undone():
    tensor = torch.arange(24.0).reshape(8, 3)
    turned = halves_to_neighbours(tensor, 2)
    assert turned[:, 0].tolist() == [0, 6, 3, 9, 12, 18, 15, 21]  # rows 0 2 1 3 of each head of 4
    assert torch.equal(neighbours_to_halves(turned, 2), tensor)


# ---- refusals ----


def test_an_architecture_without_gguf_is_refused_before_the_weights_are_read(family_folder, assets, tmp_path):
    from tests.conftest import make_tiny

    folder = tmp_path / "gpt_neox"
    make_tiny("gpt_neox", vocab_size=6500).save_pretrained(folder)
    AutoTokenizer.from_pretrained(assets / "tokenizers" / "minimind").save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ExportError, match='the architecture "gpt_neox" has no GGUF here'):
        export_gguf(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_llamacpp_would_cut_otherwise_is_refused(family_folder, tmp_path):
    import shutil

    folder = tmp_path / "odd"
    shutil.copytree(family_folder("llama"), folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    cut = {"type": "Split", "pattern": {"Regex": r"\p{L}+|\p{N}+"}, "behavior": "Isolated", "invert": False}
    raw["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [cut, raw["pre_tokenizer"]]}
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(ExportError, match=r"cuts text in a way that llama.cpp is not known to have"):
        export_gguf(folder, tmp_path / "out")


def test_kquants_need_llamacpp_and_are_refused_without_it(family_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match="llama-quantize, which is not installed"):
        export_gguf(family_folder("phi3"), tmp_path / "out", export_gguf_type="q4_k_m")


def test_too_large_for_float16_is_refused_and_leaves_nothing(family_folder, tmp_path):
    folder = tmp_path / "large"
    model = AutoModelForCausalLM.from_pretrained(family_folder("phi3"))
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = 1e5
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(family_folder("phi3")).save_pretrained(folder)
    with pytest.raises(ExportError, match="more than float16 can"):
        export_gguf(folder, tmp_path / "out", export_gguf_type="f16")
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_a_small_disk_is_refused_early(family_folder, tmp_path, monkeypatch):
    from luthier.exporters import safetensors

    monkeypatch.setattr(safetensors, "free_bytes", lambda path: 1000)
    with pytest.raises(ExportError, match=r"needs .* MB; 1000 B are free"):
        export_gguf(family_folder("phi3"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_spoiled_file_is_noticed_and_leaves_nothing(family_folder, tmp_path, monkeypatch):
    from luthier.exporters import gguf_file

    plain = gguf_file.encode

    def spoiled(name, tensor, kind):
        data = plain(name, tensor, kind)
        return -data if name == "blk.1.ffn_down.weight" else data

    monkeypatch.setattr(gguf_file, "encode", spoiled)
    with pytest.raises(ExportError, match="differs from the trained one"):
        export_gguf(family_folder("phi3"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_starter_answers_50_questions_the_same_in_llamacpp_and_in_luthiers_engine(llamacpp, tmp_path):
    """Chat prompts in the starter's own template: merged and GGUF, F32, one after the other and together in one batch."""
    from luthier.engines.base import Sampling
    from luthier.types import Conversation, Message
    from luthier.workflows.answering import load_answerer, load_words, settle

    config = settle(Config(model_name_or_path="starter", infer_dtype="float32"))
    tokenizer, template = load_words(config)
    questions = [
        f"{verb}{thing}" for verb in ("What is ", "Tell me about ", "什么是", "介绍一下", "1 + 1 = ") for thing in THINGS
    ]
    prompts = [template.encode_prompt(Conversation(messages=(Message(role="user", content=text),))) for text in questions]
    engine = load_answerer(config, tokenizer, template).engine
    ours = {done.index: list(done.ids) for done in engine.generate(prompts, Sampling(do_sample=False, max_new_tokens=24))}
    out = export_gguf("starter", tmp_path / "out", template=None, infer_dtype="float32")
    found = llamacpp(the_file(out), prompts, questions, new_tokens=24)
    assert found["words"] == [tokenizer(text, add_special_tokens=False).input_ids for text in questions]
    for number, ids in ours.items():
        assert found["answers"][number][: len(ids)] == ids, questions[number]
    assert len(ours) == 50 and len({tuple(ids) for ids in ours.values()}) > 20
