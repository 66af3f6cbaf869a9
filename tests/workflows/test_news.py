"""The news job: titles and their classes as sharegpt, the starter trained on them, its answers to other titles."""

import json

import pytest

from luthier.config import load_config
from luthier.workflows.predict import predict
from luthier.workflows.train import train

PROMPT = "新闻分类："
CLASSES = {"财经", "房产", "股票", "教育", "科技", "社会", "时政", "体育", "游戏", "娱乐"}


@pytest.mark.slow
def test_the_starter_learns_to_tell_news_apart(assets, tmp_path):
    """4,000 titles once, 300 others asked: far above the tenth that chance gives, in a few minutes on two cores."""
    for name, count in (("train", 4000), ("test", 300)):
        lines = (assets / "data" / "thucnews-titles-zh" / f"{name}.jsonl").read_text().splitlines()
        lines = lines[:: len(lines) // count][:count]  # the file goes class by class
        rows = [
            {"conversations": [{"from": "human", "value": PROMPT + row["input"]}, {"from": "gpt", "value": row["output"]}]}
            for row in map(json.loads, lines)
        ]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False))
    shared = {"model_name_or_path": "starter", "stage": "sft", "template": "auto", "report_to": "none", "cutoff_len": 128}
    train(
        load_config(
            shared
            | {"dataset": str(tmp_path / "train.json"), "finetuning_type": "full", "output_dir": str(tmp_path / "run")}
            | {"do_train": True, "num_train_epochs": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 32}
            | {"lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "save_strategy": "no", "logging_steps": 50}
        )
    )
    asked = {"model_name_or_path": str(tmp_path / "run"), "dataset": str(tmp_path / "test.json"), "max_new_tokens": 8}
    asked |= {"do_sample": False, "output_dir": str(tmp_path / "asked"), "do_predict": True, "predict_with_generate": True}
    metrics = predict(load_config(asked | {"stage": "sft"}))
    report = json.loads((tmp_path / "asked" / "classification_report.json").read_text())
    print(metrics["predict_accuracy"], metrics["predict_macro_f1"])
    assert metrics["predict_accuracy"] > 50 and metrics["predict_macro_f1"] > 45
    assert {row["label"] for row in report["labels"]} == CLASSES
    assert sum(map(sum, report["confusion_matrix"]["rows"])) == 300
    assert (tmp_path / "asked" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
