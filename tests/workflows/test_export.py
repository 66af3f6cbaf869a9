"""Export: merged equals base with adapter, loaded by plain transformers; nothing half-written; refusals early."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.adapters import ADAPTERS
from luthier.config import Config
from luthier.errors import ExportError, LuthierError
from luthier.models.load import load_model
from luthier.workflows.export import export


@pytest.fixture
def adapter(assets, tmp_path):
    """A LoRA adapter on stories260K with weights that matter."""
    base = str(assets / "models" / "stories260K")
    config = Config(model_name_or_path=base, finetuning_type="lora", lora_rank=4)
    torch.manual_seed(0)
    lora = ADAPTERS["lora"](config)
    net = lora.attach(load_model(config))
    for name, parameter in net.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    folder = tmp_path / "adapter"
    folder.mkdir()
    lora.save(net, folder)
    return config, folder, net


def config_of(adapter, tmp_path, **keys):
    config, folder, _ = adapter
    return Config(
        **{
            "model_name_or_path": config.model_name_or_path,
            "adapter_name_or_path": [str(folder)],
            "export_dir": str(tmp_path / "out"),
            "template": "chatml",
            **keys,
        }
    )


def test_merged_equals_base_with_adapter_in_plain_transformers(adapter, tmp_path):
    out = export(config_of(adapter, tmp_path))
    merged = AutoModelForCausalLM.from_pretrained(out)
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapter[2].eval()(ids).logits, atol=1e-4, rtol=1e-4)
    assert "chat_template" in AutoTokenizer.from_pretrained(out).__dict__ or AutoTokenizer.from_pretrained(out).chat_template
    assert json.loads((out / "luthier.json").read_text())["exported"]["adapters"]


def test_shards_have_the_size_that_was_asked_for(adapter, tmp_path, monkeypatch):
    from luthier.exporters.safetensors import Safetensors

    def write(self, model, tokenizer, template, folder):
        model.save_pretrained(folder, max_shard_size="400KB")
        tokenizer.save_pretrained(folder)

    monkeypatch.setattr(Safetensors, "write", write)
    out = export(config_of(adapter, tmp_path))
    assert len(list(out.glob("model-*.safetensors"))) == 3


def test_bin_files_where_asked(adapter, tmp_path):
    out = export(config_of(adapter, tmp_path, export_legacy_format=True))
    assert (out / "pytorch_model.bin").is_file() and not list(out.glob("*.safetensors"))
    merged = AutoModelForCausalLM.from_pretrained(out, use_safetensors=False)
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapter[2].eval()(ids).logits, atol=1e-4, rtol=1e-4)


def test_bfloat16_is_rounded_once_and_passes(adapter, tmp_path):
    out = export(config_of(adapter, tmp_path, infer_dtype="bfloat16"))
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_a_wrong_copy_is_refused_and_leaves_nothing(adapter, tmp_path, monkeypatch):
    from luthier.exporters.safetensors import Safetensors

    right = Safetensors.write

    def spoiled(self, model, tokenizer, template, folder):
        with torch.no_grad():
            model.get_input_embeddings().weight[:] += 0.05
        right(self, model, tokenizer, template, folder)

    monkeypatch.setattr(Safetensors, "write", spoiled)
    with pytest.raises(ExportError, match="differs from the trained one"):
        export(config_of(adapter, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_disk_that_fills_half_way_leaves_nothing(adapter, tmp_path, monkeypatch):
    """The first file is there when the second finds no room."""
    import errno

    from luthier.exporters.safetensors import Safetensors

    def fill(self, model, folder):
        (folder / "model-00001-of-00002.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Safetensors, "write_model", fill)
    with pytest.raises(LuthierError, match="the disk is full"):
        export(config_of(adapter, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_the_card_tells_base_and_scores(adapter, tmp_path):
    """Of a folder that is a training's: settings and figures; of one that is none, nothing is invented."""
    from luthier.runs import Run

    _, folder, _ = adapter
    run = Run.create(
        Config(**config_of(adapter, tmp_path).to_dict() | {"output_dir": str(tmp_path / "run"), "dataset": ["identity"]})
    )
    run.write_results("eval", {"eval_loss": 1.25, "eval_runtime": 3.0})
    for file in folder.iterdir():
        (run.folder / file.name).write_bytes(file.read_bytes())
    out = export(config_of(adapter, tmp_path, adapter_name_or_path=[str(run.folder)]))
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers") and "| eval_loss | 1.25 |" in card and "runtime" not in card
    assert "- identity" in card and "Training `run`" in card


def test_a_folder_that_holds_something_is_refused(adapter, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    with pytest.raises(ExportError, match="is not empty"):
        export(config_of(adapter, tmp_path, overwrite_output_dir=True))
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep me"


def test_an_earlier_export_is_replaced_when_asked(adapter, tmp_path):
    export(config_of(adapter, tmp_path))
    with pytest.raises(ExportError, match="is not empty"):
        export(config_of(adapter, tmp_path))
    assert export(config_of(adapter, tmp_path, overwrite_output_dir=True)).is_dir()


def test_an_adapter_of_another_model_is_refused(adapter, assets, tmp_path):
    from tests.conftest import make_tiny

    other = tmp_path / "other"
    make_tiny("qwen3", vocab_size=512).save_pretrained(other)
    AutoTokenizer.from_pretrained(assets / "models" / "stories260K").save_pretrained(other)
    with pytest.raises(LuthierError):
        export(config_of(adapter, tmp_path, model_name_or_path=str(other)))
    assert not (tmp_path / "out").exists()
