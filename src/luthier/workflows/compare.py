"""Several models answer the same dataset; their answers and scores side by side, and how sure the differences are.

each model -> predict (in a folder of its own) -> scores of each row -> compare_results.json, report.html
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.config import Config
from luthier.errors import ConfigError, DataError
from luthier.evals.bootstrap import Difference, paired_bootstrap
from luthier.evals.page import answers_table, figures_table, page, table
from luthier.evals.text import similarity, text_metrics
from luthier.runs import Run, output_folder, read_rows, shown_path
from luthier.runtime.files import require_writable, write_atomic
from luthier.workflows.predict import predict

log = logging.getLogger(__name__)

BASE = "base"
"""Stands for the model that the adapters among the others were trained on."""

ROW_SCORES = ("rouge-1", "rouge-2", "rouge-l", "bleu-4", "exact_match")


def compare(config: Config) -> dict[str, Any]:
    """Answer config's dataset with each of config.models; returns what compare_results.json holds, {} where it was stopped.

    models: hub ids, folders of models or adapters, or "base"; the first is the one that the others are measured against.
    """
    configs = model_configs(config)
    folder = output_folder(config, "compare")
    require_writable(folder, "output_dir")
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, each in configs.items():
        run_folder = folder / name
        if not _is_answered(run_folder) or config.overwrite_output_dir:
            log.info("%s answers", name)
            if not predict(each.model_copy(update={"output_dir": str(run_folder)})):
                return {}
            gc.collect()
        rows[name] = list(read_rows(Run(run_folder).predictions_file))
    results = results_of(rows)
    write_atomic(Run(folder).comparison, json.dumps(results, ensure_ascii=False, indent=1) + "\n")
    write_atomic(Run(folder).report_page, compare_page(results, rows))
    log.info("%s", describe(results))
    log.info("side by side: %s", shown_path(Run(folder).report_page))
    return results


def model_configs(config: Config) -> dict[str, Config]:
    """name -> the configuration that predicts with it. Raises ConfigError for fewer than two, or the same twice."""
    models = config.models or []
    if len(models) < 2 or len(set(models)) < len(models):
        raise ConfigError(f"compare needs two models or more, each once; it has {', '.join(models) or 'none'}.", "--models a,b")
    adapters = [name for name in models if (Path(name).expanduser() / "adapter_config.json").is_file()]
    configs: dict[str, Config] = {}
    for model in models:
        changes: dict[str, Any] = {"model_name_or_path": model, "adapter_name_or_path": None}
        if model == BASE:
            changes["model_name_or_path"] = config.model_name_or_path or _base_of_one(adapters)
        elif model in adapters:
            changes |= {"model_name_or_path": config.model_name_or_path, "adapter_name_or_path": [model]}
        name = Path(model).name
        while name in configs:
            name += "-2"
        configs[name] = config.model_copy(update=changes)
    return configs


def results_of(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Figures of each model, and for all but the first the difference of each row score with its 95 % interval."""
    first, *others = rows
    labels = [row["label"] for row in rows[first]]
    for name in others:
        if [row["label"] for row in rows[name]] != labels:
            raise DataError(f"{name} answered other rows than {first}.", "Start over with overwrite_output_dir=true.")
    scores = {name: row_scores(each) for name, each in rows.items()}
    differences = {
        name: {score: _plain(paired_bootstrap(scores[first][score], scores[name][score])) for score in ROW_SCORES}
        for name in others
    }
    figures = {
        name: text_metrics([row["predict"] for row in each], labels, _pairs(scores[name])) for name, each in rows.items()
    }
    return {"rows": len(labels), "against": first, "models": figures, "differences": differences}


def row_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Each score of each row, out of 100."""
    pairs = [similarity(row["predict"], row["label"]) for row in rows]
    scores = {name: [pair[name] for pair in pairs] for name in ROW_SCORES if name != "exact_match"}
    scores["exact_match"] = [100.0 * (row["predict"].strip() == row["label"].strip()) for row in rows]
    return scores


def compare_page(results: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The figures, the differences, and the answers side by side, those first that lost most against the first model."""
    names = list(rows)
    metrics = list(results["models"][names[0]])
    parts = [figures_table({"rows": results["rows"], "measured against": results["against"]})]
    figures = [[metric, *(results["models"][name].get(metric, "") for name in names)] for metric in metrics]
    parts.append(f"<h2>Figures</h2>{table(['', *names], figures)}")
    lines = [
        [f"{name}: {score}", each["mean"], f"{each['low']:.2f} to {each['high']:.2f}", "yes" if each["sure"] else "no"]
        for name, by_score in results["differences"].items()
        for score, each in by_score.items()
    ]
    head = ("difference", "mean", "95 % of resamples", "sure")
    parts.append(f"<h2>Against {results['against']}</h2>{table(head, lines)}")
    scores = {name: row_scores(each)["rouge-l"] for name, each in rows.items()}
    lost = [min(scores[name][i] for name in names[1:]) - scores[names[0]][i] for i in range(results["rows"])]
    answers = [
        {
            "index": i, "score": lost[i], "prompt": row["prompt"], "label": row["label"],
            **{name: rows[name][i]["predict"] for name in names},
        }
        for i, row in enumerate(rows[names[0]])
    ]  # fmt: skip
    parts.append(answers_table(sorted(answers, key=lambda row: row["score"]), names, results["rows"]))
    return page(f"{' and '.join(names)} compared", *parts)


def describe(results: Mapping[str, Any]) -> str:
    """A few lines for people."""
    lines = [f"{results['rows']} rows, measured against {results['against']}"]
    for name, figures in results["models"].items():
        shown = "   ".join(f"{score} {figures[score]:.2f}" for score in ROW_SCORES)
        lines.append(f"  {name:<16} {shown}")
    for name, by_score in results["differences"].items():
        each = by_score["rouge-l"]
        verdict = "" if each["sure"] else " (it may be chance)"
        lines.append(
            f"  {name:<16} rouge-l {each['mean']:+.2f}, 95 % between {each['low']:+.2f} and {each['high']:+.2f}{verdict}"
        )
    return "\n".join(lines)


def _base_of_one(adapters: Sequence[str]) -> str:
    from luthier.workflows.answering import base_of

    bases = {base_of(Path(name).expanduser()) for name in adapters}
    if len(bases) != 1:
        raise ConfigError(
            f'"base" is the model that the adapters were trained on; here are {len(bases)} such models.',
            "Name it by its own name.",
        )
    return bases.pop()


def _is_answered(folder: Path) -> bool:
    return Run(folder).status_file.is_file() and Run.open(folder).status().get("state") == "finished"


def _pairs(scores: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    names = [name for name in ROW_SCORES if name != "exact_match"]
    return [dict(zip(names, values)) for values in zip(*(scores[name] for name in names))]


def _plain(difference: Difference) -> dict[str, Any]:
    return {
        "mean": round(difference.mean, 4), "low": round(difference.low, 4), "high": round(difference.high, 4),
        "sure": difference.sure,
    }  # fmt: skip
