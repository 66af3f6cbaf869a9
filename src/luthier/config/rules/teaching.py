"""Rules on teachers and rewards."""

from luthier.config.rules.base import Rule

TEACHING = (
    Rule(
        "distillation has a teacher",
        ("stage", "teacher_model"),
        lambda c: c.stage == "kd" and c.teacher_model is None,
        "stage kd needs teacher_model: the model to learn from.",
    ),
    Rule(
        "a teacher teaches",
        ("teacher_model", "stage"),
        lambda c: c.teacher_model is not None and c.stage != "kd",
        "teacher_model belongs to stage kd.",
    ),
    Rule(
        "a stream is not asked before",
        ("precompute_ref_log_probs", "streaming"),
        lambda c: c.precompute_ref_log_probs and c.streaming,
        "with streaming, the samples are not known before the training: take precompute_ref_log_probs out.",
    ),
    Rule(
        "a teacher speaks of all tokens",
        ("precompute_ref_log_probs", "stage"),
        lambda c: c.precompute_ref_log_probs and (c.stage in ("kd", "grpo", "ppo") or c.use_asft_loss),
        "precompute_ref_log_probs keeps the given tokens' probabilities only, and this stage needs more.",
    ),
    Rule(
        "GRPO has a reward",
        ("stage", "reward_funcs"),
        lambda c: c.stage == "grpo" and not c.reward_funcs and c.reward_model is None,
        "stage grpo needs reward_model, or reward_funcs: exact_answer, format, tool_call, length, or your file.py:function.",
    ),
    Rule(
        "prompts are read as a whole",
        ("streaming", "stage"),
        lambda c: c.stage in ("grpo", "ppo") and c.streaming,
        "streaming is not built for stages that draw answers.",
    ),
    Rule(
        "one weight a reward",
        ("reward_weights", "reward_funcs"),
        lambda c: c.reward_weights is not None and len(c.reward_weights) != len(c.reward_funcs or ()),
        "reward_weights must have one number for each function in reward_funcs.",
    ),
)
