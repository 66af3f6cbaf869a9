"""Evaluation without training: the loss is transformers' own, and that of the training; refusals; files and commands."""

import json
import math

import pytest
import torch

from luthier.config import load_config
from luthier.errors import ConfigError
from luthier.runs import Run
from luthier.workflows.evaluate import evaluate
from luthier.workflows.train import train


@pytest.fixture
def keys(tiny_folder, adapters, dataset, tmp_path):
    return {
        "model_name_or_path": str(tiny_folder),
        "stage": "sft",
        "do_eval": True,
        "template": "qwen",
        "eval_dataset": str(dataset),
        "output_dir": str(tmp_path / "run"),
    }


def loss_of_transformers(folder, dataset, adapter=None):
    """Mean cross-entropy over all answer tokens, one sample at a time, with the model's own loss."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from luthier.config import Config
    from luthier.datasets import read_samples
    from luthier.templates import find_template
    from luthier.types import Conversation

    model = AutoModelForCausalLM.from_pretrained(folder)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    config = Config(template="qwen")
    template = find_template(config, AutoTokenizer.from_pretrained(folder))
    total, count = 0.0, 0
    for sample in read_samples(config, [str(dataset)], wants=Conversation):
        ids, labels = [], []
        for turn in template.encode(sample):
            ids += [*turn.prompt, *turn.answer, *turn.tail]
            labels += [-100] * len(turn.prompt) + list(turn.answer) + [-100] * len(turn.tail)
        learned = sum(label != -100 for label in labels)
        with torch.no_grad():
            total += float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss) * learned
        count += learned
    return total / count


@pytest.mark.parametrize("tuned", [False, True])
def test_the_loss_is_that_of_plain_transformers(keys, tiny_folder, adapters, dataset, tmp_path, tuned):
    more = {"adapter_name_or_path": str(adapters[0])} if tuned else {}
    metrics = evaluate(load_config(keys | more))
    expected = loss_of_transformers(tiny_folder, dataset, adapters[0] if tuned else None)
    assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert metrics["eval_perplexity"] == pytest.approx(math.exp(expected), rel=1e-4)
    assert metrics["eval_samples"] == 6 and metrics["eval_samples_per_second"] > 0
    for file in ("eval_results.json", "all_results.json"):
        assert json.loads((tmp_path / "run" / file).read_text()) == metrics
    status = Run.open(tmp_path / "run").status()
    assert (status["state"], status["kind"]) == ("finished", "eval")


def test_small_batches_and_the_padded_way_change_nothing(keys, tmp_path):
    whole = evaluate(load_config(keys))
    single = evaluate(load_config(keys | {"output_dir": str(tmp_path / "b"), "micro_batch_tokens": 1}))
    assert single["eval_loss"] == pytest.approx(whole["eval_loss"], abs=1e-5)


def test_a_batch_that_does_not_fit_the_memory_is_halved(keys, monkeypatch, tmp_path):
    from luthier.stages.sft import SupervisedFineTuning

    whole = evaluate(load_config(keys))
    plain, sizes = SupervisedFineTuning.loss, []

    def tight(self, scorer, batch):
        sizes.append(batch.num_segments)
        if batch.num_segments > 2:
            raise torch.OutOfMemoryError("too much")
        return plain(self, scorer, batch)

    monkeypatch.setattr(SupervisedFineTuning, "loss", tight)
    halved = evaluate(load_config(keys | {"output_dir": str(tmp_path / "b")}))
    assert max(sizes) == 6 and halved["eval_loss"] == pytest.approx(whole["eval_loss"], abs=1e-5)


def test_val_size_scores_what_a_training_holds_out(keys, dataset, tmp_path):
    """The eval_loss of a training's first evaluation (no step done yet) is the one that is measured without training."""
    from luthier.workflows.train import train

    shared = {key: value for key, value in keys.items() if key not in ("eval_dataset", "do_eval")}
    shared |= {"dataset": str(dataset), "val_size": 2}
    run = train(
        load_config(
            shared
            | {"do_train": True, "max_steps": 1, "eval_strategy": "steps", "eval_on_start": True, "report_to": "none"}
            | {"finetuning_type": "lora", "output_dir": str(tmp_path / "trained")}
        )
    )
    first = next(row["eval_loss"] for row in run.read_metrics() if "eval_loss" in row)
    metrics = evaluate(load_config(shared | {"do_eval": True}))
    assert metrics["eval_samples"] == 2 and metrics["eval_loss"] == pytest.approx(first, abs=1e-5)


def test_each_dataset_has_its_figure_and_accuracy_is_added_when_asked(keys, dataset, tmp_path):
    other = dataset.with_name("other.json")
    other.write_text(json.dumps(json.loads(dataset.read_text())[:2]))
    config = load_config(keys | {"eval_dataset": f"{dataset},{other}", "eval_on_each_dataset": True, "compute_accuracy": True})
    metrics = evaluate(config)
    losses = [metrics[f"eval_{name}_loss"] for name in (str(dataset), str(other))]
    assert metrics["eval_loss"] == pytest.approx(sum(losses) / 2)
    assert 0 <= metrics[f"eval_{dataset}_accuracy"] <= 1


def test_nothing_to_score_is_refused(keys):
    del keys["eval_dataset"], keys["do_eval"]
    with pytest.raises(ConfigError, match="do_eval has no data"):
        evaluate(load_config(keys))


def test_the_commands(keys, adapters, dataset, capsys, tmp_path):
    from luthier.cli import main

    del keys["output_dir"]
    words = [f"--{key}={value}" for key, value in keys.items()]
    assert main(["train", *words, f"--adapter_name_or_path={adapters[0]}", "--json", "-q"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert json.loads((adapters[0] / "eval" / "eval_results.json").read_text()) == figures
    assert main(["eval", f"adapter_name_or_path={adapters[0]}", f"dataset={dataset}", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["eval_loss"] == pytest.approx(figures["eval_loss"])
    assert (adapters[0] / "eval-2" / "all_results.json").is_file()
    assert main(["eval", f"dataset={dataset}"]) == 2
    assert "no model is given" in capsys.readouterr().err


def test_evaluate_and_predict_in_one_command(keys, capsys, tmp_path):
    from luthier.cli import main

    keys |= {"do_predict": True, "predict_with_generate": True, "max_new_tokens": 3}
    assert main(["train", *(f"--{key}={value}" for key, value in keys.items()), "--json", "-q"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"eval_loss", "predict_rouge-1"} <= figures.keys()
    assert json.loads((tmp_path / "run" / "all_results.json").read_text()) == figures


@pytest.mark.parametrize("stage", ["grpo", "ppo"])
def test_the_reward_of_answers_is_that_of_the_training(tmp_path, stage):
    """`eval` alone finds what the training found at its end, for the same held-out prompts."""
    sums = [{"instruction": f"What is {a} + {a}?", "output": str(2 * a)} for a in range(8)]
    (tmp_path / "sums.json").write_text(json.dumps(sums))
    shared = {
        "stage": stage,
        "model_name_or_path": "starter",
        "dataset": str(tmp_path / "sums.json"),
        "val_size": 5,
        "reward_funcs": "exact_answer,length",
        "reward_weights": "1,0.5",
        "max_new_tokens": 12,
        "do_eval": True,
    }
    learning = {"do_train": True, "max_steps": 1, "num_generations": 2, "eval_strategy": "epoch", "save_strategy": "no"}
    run = train(load_config(shared | learning | {"output_dir": str(tmp_path / "run"), "learning_rate": 1e-3}))
    trained = json.loads((run.folder / "eval_results.json").read_text())
    found = evaluate(load_config(shared | {"adapter_name_or_path": str(run.folder), "output_dir": str(tmp_path / "eval")}))
    assert found["eval_samples"] == 5
    assert found["eval_reward"] == found["eval_rewards/exact_answer"] + found["eval_rewards/length"] > 0.5
    same = [
        name for name in trained if name.startswith("eval_rewards") or name in ("eval_reward", "eval_completions/mean_length")
    ]
    assert len(same) == 4 and all(found[name] == trained[name] for name in same)
    (row,) = [row for row in run.read_metrics() if "eval_reward" in row]
    assert row["eval_reward"] == trained["eval_reward"] and "eval_loss" not in row
