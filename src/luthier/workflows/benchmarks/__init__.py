"""Benchmarks by name, imported at first use. Each is a function (config, split) -> Marks."""

from luthier.registry import Registry

BENCHMARKS = Registry(
    "benchmark",
    {
        "mmlu": "luthier.workflows.benchmarks.choices:choices",
        "ceval": "luthier.workflows.benchmarks.choices:choices",
        "cmmlu": "luthier.workflows.benchmarks.choices:choices",
        "gsm8k": "luthier.workflows.benchmarks.worked:worked",
        "bfcl": "luthier.workflows.benchmarks.calls:calls",
        "lm_eval": "luthier.workflows.benchmarks.harness:harness",
    },
)
