"""Rules on evaluation, the best checkpoint, and prediction."""

from luthier.config.rules.base import Rule
from luthier.config.schema import Config

EVALUATION = (
    Rule(
        "prediction generates",
        ("do_predict", "predict_with_generate"),
        lambda c: c.stage == "sft" and c.do_predict and not c.predict_with_generate,
        "do_predict needs predict_with_generate: true.",
    ),
    Rule(
        "generation is for sft",
        ("predict_with_generate", "stage"),
        lambda c: c.stage != "sft" and c.predict_with_generate,
        "predict_with_generate belongs to stage sft (any text model can be asked with stage: sft).",
    ),
    Rule(
        "accuracy or texts",
        ("predict_with_generate", "compute_accuracy"),
        lambda c: c.predict_with_generate and c.compute_accuracy,
        "compute_accuracy compares single tokens, predict_with_generate whole answers: keep one.",
    ),
    Rule(
        "the best needs a score",
        ("load_best_model_at_end", "eval_strategy"),
        lambda c: c.do_train and c.load_best_model_at_end and c.eval_strategy == "no",
        "load_best_model_at_end needs eval_strategy: steps or epoch.",
    ),
    Rule(
        "the best is saved",
        ("load_best_model_at_end", "save_strategy", "save_steps", "eval_steps"),
        lambda c: c.do_train and c.load_best_model_at_end and c.eval_strategy != "no" and not _best_can_be_saved(c),
        "load_best_model_at_end needs saved checkpoints to choose from: save_strategy: best, or that of eval_strategy with "
        "save_steps a multiple of eval_steps.",
    ),
    Rule(
        "saving the best needs a score",
        ("save_strategy", "eval_strategy"),
        lambda c: c.do_train and c.save_strategy == "best" and c.eval_strategy == "no",
        "save_strategy: best needs eval_strategy: steps or epoch.",
    ),
    Rule(
        "early stopping needs a score",
        ("early_stopping_steps", "eval_strategy"),
        lambda c: c.do_train and c.early_stopping_steps is not None and c.eval_strategy == "no",
        "early_stopping_steps counts evaluations without a gain: set eval_strategy: steps or epoch.",
    ),
    Rule(
        "one number of beams",
        ("num_beams", "eval_num_beams", "generation_num_beams"),
        lambda c: any(beams not in (None, c.num_beams) for beams in (c.eval_num_beams, c.generation_num_beams)),
        "num_beams, eval_num_beams and generation_num_beams say different things: keep num_beams.",
    ),
)


def _best_can_be_saved(config: Config) -> bool:
    """transformers' rule: the same strategy for both, and of the two intervals one a multiple of the other."""
    if config.save_strategy == "best":
        return True
    if config.save_strategy != config.eval_strategy:
        return False
    save, evaluate = config.save_steps, config.eval_steps or config.logging_steps
    if config.eval_strategy == "epoch" or save == evaluate:
        return True
    return min(save, evaluate) >= 1 and max(save, evaluate) % min(save, evaluate) == 0
