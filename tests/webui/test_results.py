"""What runs found, as the page says it: figures in units, marks of a benchmark, text of models escaped."""

import json

import pytest

from luthier.runs import Run
from luthier.webui.liverun import _sample
from luthier.webui.pages.export import commands, proof_of
from luthier.webui.results import benchmark_marks
from luthier.webui.words import figure, say


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("train_loss", 0.44688, ("平均损失", "0.4469")),
        ("peak_memory_bytes", 554_893_312, ("峰值内存", "529.2 MB")),
        ("train_runtime", 75.2, ("用时", "1:15")),
        ("num_input_tokens_seen", 72900, ("已训练词元数", "72,900")),
        ("predict_rouge-1", 57.5, ("rouge-1", "57.5")),
        ("best_eval_loss", None, ("最佳验证损失", "–")),
    ],
)
def test_figures_are_said_in_words_and_units(name, value, shown):
    assert figure("zh", name, value) == shown


def test_marks_are_read_from_the_log_that_llama_factory_writes_too(tmp_path):
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "results.log").write_text(
        "        Average: 34.50\n           STEM: 30.00\nSocial: Sciences: 1.25\n"
    )
    assert benchmark_marks(Run(tmp_path)) == {"Average": 34.5, "STEM": 30.0, "Social: Sciences": 1.25}


def test_an_answer_drawn_in_training_is_text():
    attack = "<img src=x onerror=alert(1)>"
    html = _sample(
        lambda key, **values: say("en", key, **values), {"step": 3, "prompt": attack, "completion": attack, "reward": 0.5}
    )
    assert "<img" not in html and "step 3 · reward 0.5" in html


def test_the_proof_of_an_export_and_its_commands(tmp_path):
    assert proof_of(tmp_path) == {}
    (tmp_path / "luthier.json").write_text(json.dumps({"exported": {"proof": {"same_likeliest_token": 1.0}}}))
    assert proof_of(tmp_path) == {"same_likeliest_token": 1.0}
    folder = tmp_path / "my model"
    folder.mkdir()
    assert f"vllm serve '{folder}'" in commands({"export_dir": str(folder)})
    (folder / "m.gguf").touch()
    (folder / "Modelfile").touch()
    lines = commands({"export_dir": str(folder), "export_format": "ollama"}).splitlines()
    assert lines[0] == f"llama-cli -m '{folder}/m.gguf' -cnv" and lines[2:] == [
        f"ollama create my-model -f '{folder}'/Modelfile",
        "ollama run my-model",
    ]
