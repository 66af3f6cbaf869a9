"""Any task of lm-evaluation-harness (`task: lm_eval:arc_easy,hellaswag`), computed by Luthier's scorer and engine.

The tasks, their prompts, metrics and figures are the harness's own; its texts go in without a chat template, as by its default.
A folder task_dir is searched for tasks of the user's (its YAML files). n_shot counts where it is set, else the task's own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.config import Config
from luthier.engines.base import Sampling
from luthier.engines.runner import context_length
from luthier.errors import ConfigError
from luthier.models.likelihood import likelihoods
from luthier.models.score import Scorer, base_of
from luthier.workflows.answering import Answerer, load_answerer, load_words, scorer_of
from luthier.workflows.benchmarks.marks import Marks

if TYPE_CHECKING:
    from lm_eval.api.model import LM

log = logging.getLogger(__name__)

USUAL_LENGTH = 2048
"""Context of a model that names none, as in the harness."""

USUAL_ANSWER = 256
"""Tokens of an answer where the task says nothing, as in the harness."""


def harness(config: Config, name: str, tasks: str) -> Marks:
    """categories: the harness's figures, "task metric" -> value, unscaled; average: none."""
    wanted = [each.strip() for each in tasks.split(",") if each.strip()]
    if find_spec("lm_eval") is None:
        raise ConfigError(f'task: "{config.task}" needs lm-evaluation-harness.', "pip install 'luthier[lm-eval]'")
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = Path(config.task_dir).expanduser()
    manager = TaskManager(include_path=str(folder) if folder.is_dir() else None)
    if not wanted or (unknown := set(manager.match_tasks(wanted)) ^ set(wanted)):
        named = ", ".join(sorted(unknown)) if wanted else "nothing"
        raise ConfigError(f'task: "{config.task}": the harness has no task {named}.', "lm-eval ls tasks lists them.")
    answerer = load_answerer(config, *load_words(config), keep_adapter=False)
    log.info("%s: %s", config.task, answerer.describes)
    found: Any = lm_eval.simple_evaluate(
        model=make_lm(answerer, scorer_of(answerer)),
        tasks=list(wanted),
        num_fewshot=config.n_shot if "n_shot" in config.model_fields_set else None,
        limit=config.max_samples,
        task_manager=manager,
        log_samples=False,
    )
    figures = {
        f"{task} {key.removesuffix(',none')}": float(value)
        for task, row in found["results"].items()
        for key, value in row.items()
        if isinstance(value, int | float) and "," in key and "_stderr" not in key
    }
    kept = {key: found[key] for key in ("results", "groups", "versions", "n-shot", "n-samples") if key in found}
    return Marks(average=None, categories=figures, answers=kept)


def make_lm(answerer: Answerer, scorer: Scorer) -> LM:
    """The harness's contract for a model, met by this one."""
    from lm_eval.api.model import TemplateLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokenizer = answerer.tokenizer
    assert tokenizer is not None
    longest = context_length(base_of(scorer.model).config) or USUAL_LENGTH
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    opening = tokenizer.decode([first])

    class LuthierLM(TemplateLM):
        @property
        def eot_token_id(self) -> int:
            return tokenizer.eos_token_id

        @property
        def prefix_token_id(self) -> int:
            return first

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            special = not string.startswith(opening) if add_special_tokens is None else add_special_tokens
            return tokenizer.encode(string, add_special_tokens=special)

        def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            """What does not fit the context is cut from the left."""
            pairs = []
            for _names, context, continuation in requests:
                whole = [*context, *continuation][-(longest + 1) :]
                count = min(len(continuation), len(whole) - 1)
                pairs.append((whole[: len(whole) - count], whole[len(whole) - count :]))
            found = dict(likelihoods(scorer, pairs))
            return [(found[number].logp, found[number].greedy) for number in range(len(pairs))]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            windows, owners = [], []
            for number, request in enumerate(requests):
                ids = self.tok_encode(request.args[0])
                for window in get_rolling_token_windows(ids, self.prefix_token_id, longest, 1):
                    windows.append((None, *make_disjoint_window(window)))
                    owners.append(number)
            totals = [0.0] * len(requests)
            for owner, (logp, _) in zip(owners, self._loglikelihood_tokens(windows)):
                totals[owner] += logp
            return totals

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            samplings = [sampling_of_task(request.args[1], answerer.config.seed) for request in requests]
            prompts = [
                self.tok_encode(request.args[0])[-(longest - each.max_new_tokens) :]
                for request, each in zip(requests, samplings)
            ]
            texts = [""] * len(requests)
            for completion in answerer.engine.generate(prompts, samplings):
                text = tokenizer.decode(list(completion.ids), skip_special_tokens=True)
                for stop in samplings[completion.index].stop:
                    text = text.split(stop)[0]
                texts[completion.index] = text
            return texts

    return LuthierLM()


def sampling_of_task(wish: dict[str, Any], seed: int) -> Sampling:
    """A task's generation settings; greedy unless it asks for sampling."""
    stops = wish.get("until") or []
    plain = {key: wish[key] for key in ("top_p", "top_k", "min_p", "repetition_penalty") if key in wish}
    samples = bool(wish.get("do_sample", wish.get("temperature", 0))) and wish.get("temperature", 1) > 0
    sampling = Sampling(
        do_sample=samples,
        max_new_tokens=int(wish.get("max_gen_toks") or wish.get("max_new_tokens") or USUAL_ANSWER),
        stop=tuple(stop for stop in ([stops] if isinstance(stops, str) else stops) if stop),
        num_beams=wish.get("num_beams", 1),
        **({"top_p": 1.0, "top_k": 0} | plain),
    )
    return replace(sampling, temperature=float(wish.get("temperature", 1)), seed=seed) if samples else sampling
