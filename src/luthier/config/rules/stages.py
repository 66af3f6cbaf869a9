"""Rules on keys that belong to one stage, and on models that a stage asks besides the one that learns."""

from luthier.config.rules.base import Rule
from luthier.config.schema import Config

PAIRS, RATED, TAUGHT, GROUPS, PROXIMAL, ONLINE = ("dpo",), ("dpo", "kto"), ("kd",), ("grpo",), ("ppo",), ("ppo", "grpo")

STAGE_KEYS = {
    "pref_beta": RATED, "pref_ftx": RATED, "pref_bco_weight": PAIRS, "pref_loss": PAIRS, "pref_loss_weights": PAIRS,
    "dpo_label_smoothing": PAIRS, "ld_alpha": PAIRS, "simpo_gamma": PAIRS,
    "kto_chosen_weight": ("kto",), "kto_rejected_weight": ("kto",),
    "moe_aux_loss_coef": ("pt", "sft"),
    "kd_alpha": TAUGHT, "kd_beta": TAUGHT, "kd_temperature": TAUGHT,
    "num_generations": GROUPS, "num_iterations": GROUPS, "grpo_loss": GROUPS, "grpo_beta": GROUPS, "grpo_epsilon": GROUPS,
    "grpo_epsilon_high": GROUPS,
    "ppo_buffer_size": PROXIMAL, "ppo_epochs": PROXIMAL, "ppo_score_norm": PROXIMAL, "ppo_target": PROXIMAL,
    "ppo_whiten_rewards": PROXIMAL,
}  # fmt: skip

SECOND = {
    "ref_model": ("ref_model_adapters", "ref_model_quantization_bit"),
    "reward_model": ("reward_model_adapters", "reward_model_quantization_bit"),
    "teacher_model": ("teacher_model_adapters",),
}
"""A model besides the one that learns, and the keys that say more of it."""

NOT_DRAWN = ("do_sample", "num_beams", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "stop")
"""Keys of generation that would make answers others than those the loss is about."""


def _differs(config: Config, key: str) -> bool:
    return getattr(config, key) != Config.model_fields[key].get_default(call_default_factory=True)


STAGES = (
    *(
        Rule(
            f"{key} is for {' and '.join(stages)}",
            (key, "stage"),
            lambda c, key=key, stages=stages: c.do_train and c.stage not in stages and _differs(c, key),
            f"{key} does nothing in this stage: it belongs to {' and '.join(stages)}.",
            warns=True,
        )
        for key, stages in STAGE_KEYS.items()
    ),
    *(
        Rule(
            f"{model} is named",
            (*more, model),
            lambda c, model=model, more=more: getattr(c, model) is None and any(getattr(c, key) is not None for key in more),
            f"{' and '.join(more)} say more of {model}, which is not set: name it.",
        )
        for model, more in SECOND.items()
    ),
    Rule(
        "rewards are for answers",
        ("reward_model", "reward_funcs", "stage"),
        lambda c: c.do_train and c.stage not in ONLINE and bool(c.reward_model or c.reward_funcs),
        "reward_model and reward_funcs belong to stages ppo and grpo.",
    ),
    Rule(
        "a reward adapter is one",
        ("reward_model_adapters", "reward_model_type"),
        lambda c: c.stage in ONLINE and bool(c.reward_model_adapters) and c.reward_model_type != "full",
        "reward_model_adapters belong to reward_model_type: full (with lora, reward_model itself is the adapter).",
    ),
    Rule(
        "answers are drawn as the model speaks",
        (*NOT_DRAWN, "stage"),
        lambda c: c.do_train and c.stage in ONLINE and any(_differs(c, key) for key in NOT_DRAWN),
        "this stage learns from answers drawn by chance: of these keys, only temperature, top_p and top_k may change them.",
    ),
)
