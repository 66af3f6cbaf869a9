"""Answers, their order, their scores and their files; stopping and going on; what is refused."""

import json
import logging
from pathlib import Path

import pytest

from luthier.config import load_config
from luthier.errors import ConfigError, DataError
from luthier.evals.text import text_metrics
from luthier.runs import Run
from luthier.workflows import predict as module
from luthier.workflows.predict import predict


@pytest.fixture
def keys(tiny_folder, adapters, dataset, tmp_path):
    return {
        "model_name_or_path": str(tiny_folder),
        "adapter_name_or_path": str(adapters[0]),
        "stage": "sft",
        "do_predict": True,
        "predict_with_generate": True,
        "finetuning_type": "lora",
        "template": "qwen",
        "dataset": str(dataset),
        "max_new_tokens": 8,
        "output_dir": str(tmp_path / "run"),
    }


def rows_in(folder):
    return [json.loads(line) for line in (folder / "generated_predictions.jsonl").read_text().splitlines()]


def one_by_one(keys, prompt):
    """The greedy answer through transformers and peft alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(keys["model_name_or_path"])
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(keys["model_name_or_path"]), keys["adapter_name_or_path"]
    )
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        answer = model.generate(**ids, do_sample=False, max_new_tokens=8, pad_token_id=0)
    return tokenizer.decode(answer[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_the_file_holds_prompts_answers_and_labels_in_the_order_of_the_data(keys, tmp_path):
    metrics = predict(load_config(keys | {"do_sample": False}))
    rows = rows_in(tmp_path / "run")
    assert [row["label"] for row in rows] == [f"答案{number}" for number in range(6)]
    assert [list(row) for row in rows] == [["prompt", "predict", "label"]] * 6
    assert rows[2]["prompt"] == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n第2个问题：why? why? <|im_end|>\n<|im_start|>assistant\n"
    )
    assert rows[3]["prompt"].startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>")
    assert [row["predict"] for row in rows] == [one_by_one(keys, row["prompt"]) for row in rows]
    expected = text_metrics([row["predict"] for row in rows], [row["label"] for row in rows])
    assert {name: metrics[f"predict_{name}"] for name in expected} == expected
    assert {"predict_bleu-4", "predict_rouge-1", "predict_rouge-2", "predict_rouge-l", "predict_runtime"} <= set(metrics)
    for file in ("predict_results.json", "all_results.json"):
        assert json.loads((tmp_path / "run" / file).read_text()) == metrics
    assert Run.open(tmp_path / "run").status()["state"] == "finished"


def test_the_perplexity_is_that_of_an_evaluation(keys, tmp_path):
    """exp(loss) of luthier eval over the same answers, end of turn included."""
    from luthier.workflows.evaluate import evaluate

    rows = json.loads(Path(keys["dataset"]).read_text())
    single = Path(keys["dataset"]).with_name("single.json")  # one answer a row: an evaluation counts those of the history too
    single.write_text(json.dumps([{key: row[key] for key in ("instruction", "input", "output")} for row in rows]))
    metrics = predict(load_config(keys | {"dataset": str(single)}))
    asked = {key: value for key, value in keys.items() if "predict" not in key and key not in ("dataset", "max_new_tokens")}
    figures = evaluate(
        load_config(asked | {"do_eval": True, "eval_dataset": str(single), "output_dir": str(tmp_path / "eval")})
    )
    assert metrics["predict_perplexity"] == pytest.approx(figures["eval_perplexity"], rel=1e-4)


def test_the_report_shows_the_worst_first_and_escapes_what_models_say(keys, tmp_path):
    predict(load_config(keys | {"do_sample": False}))
    text = (tmp_path / "run" / "report.html").read_text()
    assert "All 6 rows, the worst first." in text and "<|im_start|>" not in text and "&lt;|im_start|&gt;" in text
    assert "http" not in text and "<script" not in text
    assert not (tmp_path / "run" / "confusion_matrix.png").exists()


def test_labels_get_a_classification_report(keys, tmp_path):
    rows = [{"instruction": f"title {number}", "input": "", "output": "AB"[number % 2]} for number in range(6)]
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    metrics = predict(load_config(keys | {"dataset": str(tmp_path / "labels.json")}))
    report = json.loads((tmp_path / "run" / "classification_report.json").read_text())
    assert report["accuracy"] == metrics["predict_accuracy"] and sum(map(sum, report["confusion_matrix"]["rows"])) == 6
    assert (tmp_path / "run" / "confusion_matrix.png").stat().st_size > 1000
    assert "Confusion matrix" in (tmp_path / "run" / "report.html").read_text()


def stop_after(count, monkeypatch):
    """Make the run believe after so many answers that it was asked to stop."""
    plain, answered = module.append_line, []

    def counted(path, line):
        plain(path, line)
        answered.append(line)
        if len(answered) == count:
            Run(path.parent).request_stop("test")

    monkeypatch.setattr(module, "append_line", counted)
    return answered


def test_a_stopped_run_goes_on_and_ends_as_if_never_stopped(keys, tmp_path, monkeypatch):
    predict(load_config(keys | {"output_dir": str(tmp_path / "whole"), "seed": 3}))
    config = load_config(keys | {"seed": 3})
    answered = stop_after(2, monkeypatch)
    assert predict(config) == {}
    half = rows_in(tmp_path / "run")
    assert len(half) == 2
    assert all("index" in row for row in half)
    assert Run.open(tmp_path / "run").status()["state"] == "stopped"
    with pytest.raises(ConfigError, match="2 answers of a run with another temperature"):
        predict(load_config(keys | {"seed": 3, "temperature": 0.1}))
    assert predict(config)["predict_samples"] == 6
    assert len(answered) == 6  # two before, four after: nothing was asked twice
    assert rows_in(tmp_path / "run") == rows_in(tmp_path / "whole")


def test_what_is_finished_is_kept_unless_overwriting_is_asked_for(keys, tmp_path):
    predict(load_config(keys))
    before = rows_in(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"already holds a predict run"):
        predict(load_config(keys | {"seed": 9}))
    assert rows_in(tmp_path / "run") == before
    predict(load_config(keys | {"seed": 9, "overwrite_output_dir": True}))
    assert rows_in(tmp_path / "run") != before


def test_seeds_are_repeated_and_beams_and_samples_work(keys, tmp_path):
    for name, more in {"a": {}, "b": {}, "c": {"seed": 1}, "d": {"num_beams": 2, "do_sample": False}}.items():
        predict(load_config(keys | {"output_dir": str(tmp_path / name)} | more))
    assert rows_in(tmp_path / "a") == rows_in(tmp_path / "b")
    assert rows_in(tmp_path / "a") != rows_in(tmp_path / "c")
    assert all(row["predict"] for row in rows_in(tmp_path / "d"))


def test_without_output_dir_the_answers_lie_with_the_adapter(keys, adapters, dataset):
    del keys["output_dir"], keys["model_name_or_path"], keys["template"]  # both are known from the adapter
    config = load_config({"adapter_name_or_path": str(adapters[1]), "dataset": str(dataset), "max_new_tokens": 3})
    config = config.model_copy(update={"do_predict": True, "predict_with_generate": True})
    predict(config)
    predict(config)
    for name in ("predict", "predict-2"):
        rows = rows_in(adapters[1] / name)
        assert "You are Qwen" in rows[0]["prompt"]  # the template of the training


def test_long_prompts_are_cut_before_the_header_left_out_or_refused(keys, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        predict(load_config(keys | {"cutoff_len": 40}))
    prompts = [row["prompt"] for row in rows_in(tmp_path / "run")]
    assert all(prompt.endswith("<|im_end|>\n<|im_start|>assistant\n") for prompt in prompts)
    assert "of 6 prompts were longer than 40 tokens and were cut" in caplog.text
    predict(load_config(keys | {"cutoff_len": 48, "overflow": "drop", "overwrite_output_dir": True}))
    assert 0 < len(rows_in(tmp_path / "run")) < 6
    with pytest.raises(DataError, match=r"six.json row \d is a prompt of \d+ tokens, more than 40"):
        predict(load_config(keys | {"cutoff_len": 40, "overflow": "error", "overwrite_output_dir": True}))


def test_a_template_other_than_the_recorded_one_is_named(keys, caplog):
    with caplog.at_level(logging.WARNING):
        predict(load_config(keys | {"template": "llama3"}))
    assert "was trained with template: qwen and will answer with llama3" in caplog.text


def test_answers_join_the_folder_of_the_training_as_a_guest(keys, tmp_path):
    with Run.create(load_config(keys | {"do_predict": False, "predict_with_generate": False, "do_train": True})) as run:
        run.start()
        run.write_results("train", {"train_loss": 1.0})
    metrics = predict(load_config(keys | {"overwrite_output_dir": True}))
    assert Run.open(tmp_path / "run").kind == "train"
    assert json.loads((tmp_path / "run" / "all_results.json").read_text()) == {"train_loss": 1.0, **metrics}


def test_the_command_prints_figures_for_scripts(keys, capsys):
    from luthier.cli import main

    words = [f"{key}={value}" for key, value in keys.items() if not key.startswith(("do_", "predict_"))]
    assert main(["predict", *words, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["predict_samples"] == 6
    assert main(["predict", "dataset=x"]) == 2
    assert "no model is given" in capsys.readouterr().err
