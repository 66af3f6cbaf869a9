"""Rules on losses over pairs, what they are compared with, and the reward of PPO."""

from luthier.config.rules.base import Rule
from luthier.config.schema import Config

SMOOTHED = ("sigmoid", "robust", "simpo", "cpo")

PREFERENCE = (
    Rule(
        "label smoothing of pairs",
        ("dpo_label_smoothing", "pref_loss"),
        lambda c: c.stage == "dpo" and c.dpo_label_smoothing > 0 and not set(c.pref_loss) & set(SMOOTHED),
        f"dpo_label_smoothing belongs to pref_loss: {', '.join(SMOOTHED)}.",
    ),
    Rule(
        "robust DPO divides by 1 - 2e",
        ("dpo_label_smoothing", "pref_loss"),
        lambda c: c.stage == "dpo" and "robust" in c.pref_loss and c.dpo_label_smoothing >= 0.5,
        "pref_loss: robust needs dpo_label_smoothing below 0.5.",
    ),
    Rule(
        "one weight a loss",
        ("pref_loss_weights", "pref_loss"),
        lambda c: c.pref_loss_weights is not None and len(c.pref_loss_weights) != len(c.pref_loss),
        "pref_loss_weights must have one number for each loss in pref_loss.",
    ),
    Rule(
        "pairs are whole",
        ("overflow", "stage"),
        lambda c: c.overflow == "split" and c.stage in ("rm", "dpo", "kto"),
        "overflow: split would tear an answer that is judged as a whole: use truncate, drop or error.",
    ),
    Rule(
        "a reference that is asked for is used",
        ("ref_model", "precompute_ref_log_probs"),
        lambda c: (
            (c.ref_model is not None or c.precompute_ref_log_probs)
            and not (_pairs_need_reference(c) or c.stage in ("kto", "ppo", "grpo", "kd"))
            and not (c.stage == "dpo" and c.pref_bco_weight)
            and not (c.use_asft_loss and not c.precompute_ref_log_probs)
        ),
        "this stage (with this pref_loss) compares with no reference model.",
    ),
    Rule(
        "PPO has a reward",
        ("stage", "reward_model"),
        lambda c: c.stage == "ppo" and c.reward_model is None and not c.reward_funcs,
        "stage ppo needs reward_model, or reward_funcs.",
    ),
    Rule(
        "reward adapters need lora",
        ("reward_model_type", "finetuning_type"),
        lambda c: (
            c.stage == "ppo" and c.reward_model is not None and c.reward_model_type == "lora" and c.finetuning_type != "lora"
        ),
        "reward_model_type: lora needs finetuning_type: lora; use full or api.",
    ),
)


def _pairs_need_reference(config: Config) -> bool:
    return config.stage == "dpo" and not set(config.pref_loss) <= {"orpo", "simpo", "cpo"}
