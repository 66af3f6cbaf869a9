"""Rules on what a job needs."""

from luthier.config.rules.base import Rule, has_eval_data

JOB = (
    Rule(
        "model is named",
        ("model_name_or_path", "do_train", "do_eval", "do_predict", "export_dir"),
        lambda c: (
            c.model_name_or_path is None
            and (c.do_train or (not c.adapter_name_or_path and (c.do_eval or c.do_predict or c.export_dir is not None)))
        ),
        "model_name_or_path is missing: name a hub model, a folder, or starter.",
    ),
    Rule(
        "training has data",
        ("dataset", "do_train"),
        lambda c: c.do_train and not c.dataset and c.tokenized_path is None,
        "do_train needs dataset: a name from dataset_info.json or a path.",
    ),
    Rule(
        "evaluation has data",
        ("do_eval",),
        lambda c: c.do_eval and not has_eval_data(c),
        "do_eval needs eval_dataset, or val_size to set samples aside.",
    ),
    Rule(
        "evaluation during training has data",
        ("eval_strategy",),
        lambda c: c.do_train and c.eval_strategy != "no" and not has_eval_data(c),
        "eval_strategy needs eval_dataset, or val_size to set samples aside (val_size: 0.1).",
    ),
    Rule(
        "prediction has data",
        ("do_predict", "dataset"),
        lambda c: c.do_predict and not c.dataset and not c.eval_dataset and c.tokenized_path is None,
        "do_predict needs eval_dataset or dataset.",
    ),
)
