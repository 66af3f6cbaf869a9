"""Reward functions: the bundled ones by name, and how a user's own are found."""

from luthier.registry import Registry

REWARDS = Registry(
    "reward function",
    {
        "exact_answer": "luthier.stages.rewards.exact:exact_answer",
        "format": "luthier.stages.rewards.form:thinking_format",
        "tool_call": "luthier.stages.rewards.tools:tool_call",
        "length": "luthier.stages.rewards.length:short_answer",
    },
)
