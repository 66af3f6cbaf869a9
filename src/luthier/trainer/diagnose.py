"""A loss curve in plain words: what happened, and what to change.

What enters: the rows of metrics.jsonl, some facts of the configuration. What leaves: a Reading, named by the rule that fired,
with its words (diagnose.yaml) and the numbers behind them. Pure: the same rows give the same reading. It never guesses from the
look of a curve: each rule is a comparison with the noise that was measured in the curve itself, by the thresholds of one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from luthier.trainer.curve import Array, median_error, noise, rolling_median, spikes, steps_to_settle, trend
from luthier.trainer.reading import Reading, rate_words, round_steps, say
from luthier.trainer.series import Series, Tail, series_of

THRESHOLDS = {
    "min_points": 6,  # log points below which no curve is read
    "min_steps": 10,
    "tail": 0.4,  # share of the run that tells whether it is still falling
    "slow": 0.25,  # a fall over the whole run of less than this share
    "straight": 0.6,  # that is at its end still this much as steep as before
    "falling": 0.05,  # fall of the training loss over the tail, as a share of the loss there
    "eval_falling": 0.03,  # the same for the eval loss, which scatters less
    "falling_errors": 1.3,  # in half 95 % intervals: a little more than 99 % sure
    "uncertain": 0.25,  # half of the 95 % interval of that fall, above which nothing is said about it,
    "noisy": 0.10,  # and noise of one point as a share of the loss: above it noise is the cause, below it too few points are
    "diverging": 0.10,  # rise above the best level, as a share of it,
    "diverging_errors": 5.0,  # and in standard errors
    "overfitting": 0.03,  # rise of the eval loss above its minimum, as a share of it, when the last two are above it,
    "overfitting_once": 0.08,  # or when only one evaluation followed the minimum
    "overfitting_errors": 3.0,
    "flat": 0.05,  # first third against last third: a smaller difference, for sure, is none
    "flat_start": 0.08,  # the first tenth above the rest, as a share: a larger fall cannot be excluded above this
    "flat_errors": 2.0,
    "fallen": 0.005,  # a fall larger than this, that is likely, is learning: one false alarm is worse than one miss
    "fallen_errors": 1.5,
    "flat_first": 0.1,  # only if the first point lies in this share of the run: later ones have missed the fall
    "memorised": 0.05,  # nats a token
    "level": 0.3,  # nats: a smaller loss counts as this much when a change is taken as a share of it
    "spike": 0.5,  # height above the level around it, as a share of that level,
    "spike_errors": 8.0,
    "settled": 0.02,  # "train longer" aims at this distance from the limit
}


@dataclass(frozen=True, slots=True)
class Curves:
    """What the rules look at. width: points of a rolling median.  sigma: noise of one log point.

    judged: the series that tells how it goes at the end: the eval loss where there are two of it, else of the epochs' means and
    the log points the one that scatters less.
    """

    points: Series
    evaluations: Series
    judged: Series
    tail: Tail
    width: int
    sigma: float
    facts: Mapping[str, Any]

    @property
    def steps(self) -> Array:
        return self.points.steps

    @property
    def loss(self) -> Array:
        return self.points.values

    @property
    def last(self) -> float:
        return float(np.median(self.loss[-self.width :]))

    @property
    def error(self) -> float:
        """Standard error of a difference of two rolling medians."""
        return median_error(self.sigma, self.width) * math.sqrt(2)


def read_curve(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Reading:
    """The first rule that fires, in the order of RULES. Lesser findings are in .also.

    rows: {"step", "loss"} of log points, {"step", "eval_loss"} of evaluations; a loss of None was not a number.
    facts: what is known of learning_rate, num_train_epochs or max_steps, total_steps, loss_is_nan.
    """
    series = series_of(rows)
    points = series["points"]
    if facts.get("loss_is_nan") or any("loss" in row and row["loss"] is None for row in rows):
        steps = points.steps[-1] if len(points.steps) else 0.0
        return say("nan", {"steps": steps}, rule="diverging", **rate_words(facts, 1 / 5))
    if not len(points.steps):
        return say("nothing_logged", {})
    if not points.values.any():
        return say("nothing_supervised", {"steps": points.steps[-1]}, rule="no_learning")
    if len(points.steps) < THRESHOLDS["min_points"] or points.steps[-1] < THRESHOLDS["min_steps"]:
        return _too_few(points)
    curves = _curves(series, facts)
    first = next((reading for rule in RULES if (reading := rule(curves)) is not None), None) or _settled(curves)
    lesser = (
        () if first.rule in FINAL else tuple(r for rule in (memorising, spike) if (r := rule(curves)) and r.rule != first.rule)
    )
    return replace(first, also=lesser)


# ---- rules: each returns what it has to say, or None -----------------------------------------------------------------


def diverging(curves: Curves) -> Reading | None:
    """The level at the end is far above the best level before it."""
    levels = rolling_median(curves.loss, curves.width)
    best = int(levels.argmin())
    rise = curves.last - levels[best]
    if rise <= max(THRESHOLDS["diverging"] * abs(levels[best]), THRESHOLDS["diverging_errors"] * curves.error):
        return None
    numbers = {
        "best": levels[best],
        "best_step": curves.steps[best + curves.width // 2],
        "last": curves.last,
        "errors": rise / max(curves.error, 1e-12),
    }
    return say("diverging", numbers, **rate_words(curves.facts, 1 / 3))


def overfitting(curves: Curves) -> Reading | None:
    """The eval loss has turned and risen, by more than it scatters."""
    values = curves.evaluations.values
    if len(values) < 2:
        return None
    best, last = int(values.argmin()), len(values) - 1
    if best == last or values[best] <= 0:
        return None
    rise = values[-1] / values[best] - 1
    once = last - best == 1
    turned = rise > THRESHOLDS["overfitting_once" if once else "overfitting"]
    lasting = once or values[-2] > values[best] * (1 + THRESHOLDS["overfitting"] / 3)
    scatter = noise(values) if len(values) >= 6 else 0.0
    if not (turned and lasting and values[-1] - values[best] > THRESHOLDS["overfitting_errors"] * scatter):
        return None
    step = float(curves.evaluations.steps[best])
    numbers = {"best": values[best], "best_step": step, "last": values[-1], "rise_percent": 100 * rise}
    epochs = curves.facts.get("num_train_epochs")
    total = curves.facts.get("total_steps") or curves.steps[-1]
    about = f"{epochs * step / total:.2g}" if epochs else ""
    words = (
        {"epochs_en": f" (num_train_epochs about {about})", "epochs_zh": f"（num_train_epochs 约 {about}）"} if epochs else {}
    )
    return say("overfitting", numbers, **{"epochs_en": "", "epochs_zh": ""} | words)


def no_learning(curves: Curves) -> Reading | None:
    """Seen from the very start, the last third is where the first third was, and the beginning was not above the rest."""
    total = curves.facts.get("total_steps") or curves.steps[-1]
    count, level = len(curves.loss), float(np.median(curves.loss))
    if curves.steps[0] > max(THRESHOLDS["flat_first"] * total, 1) or level < THRESHOLDS["memorised"]:
        return None
    one = curves.sigma / level  # error of one point, as a share
    third = count // 3
    change = float(curves.loss[-third:].mean() - curves.loss[:third].mean()) / level
    starts = {width: float(curves.loss[:width].mean()) / level - 1 for width in {max(count // n, 2) for n in (20, 10, 5)}}
    start = starts[max(count // 10, 2)]
    sure = THRESHOLDS["flat_errors"]
    may_have_moved = (
        abs(change) + sure * one * math.sqrt(2 / third) > THRESHOLDS["flat"]
        or abs(start) + sure * one / math.sqrt(max(count // 10, 2)) > THRESHOLDS["flat_start"]
    )
    likely = THRESHOLDS["fallen_errors"]
    has_fallen = -change - likely * one * math.sqrt(2 / third) > THRESHOLDS["fallen"] or any(
        height - likely * one / math.sqrt(width) > THRESHOLDS["fallen"] for width, height in starts.items()
    )
    if may_have_moved or has_fallen:
        return None
    numbers = {"last": curves.last, "change_percent": 100 * change, "start_percent": 100 * start}
    return say("no_learning", numbers, **rate_words(curves.facts, 10))


def memorising(curves: Curves) -> Reading | None:
    """Almost no training loss is left, and the eval loss, where there is one, does not show the same."""
    if curves.last >= THRESHOLDS["memorised"]:
        return None
    if len(curves.evaluations.values) and curves.evaluations.values[-1] < max(2 * THRESHOLDS["memorised"], 3 * curves.last):
        return None
    return say("memorising", {"last": curves.last})


def slow(curves: Curves) -> Reading | None:
    """A small fall that has not begun to bend, against the learning rate added up: each step does too little."""
    judged = curves.judged
    if len(judged.values) < (20 if judged.kind == "points" else 6):
        return None
    head, tail = judged.split(THRESHOLDS["tail"])
    if min(len(head.values), len(tail.values)) < 3:
        return None
    whole, before, after = (trend(part.clock, part.values) for part in (judged, head, tail))
    rates = [line.change / (part.clock[-1] - part.clock[0]) for line, part in ((before, head), (after, tail))]
    fall = -whole.change / max(abs(whole.end), THRESHOLDS["level"])
    is_falling = -after.change > THRESHOLDS["falling_errors"] * after.half_width
    is_straight = rates[0] < 0 and rates[1] / rates[0] > THRESHOLDS["straight"]
    if not (is_falling and is_straight and THRESHOLDS["fallen"] < fall < THRESHOLDS["slow"]):
        return None
    numbers = {"first": whole.end - whole.change, "last": whole.end, "fall_percent": 100 * fall, "bend": rates[1] / rates[0]}
    return say("slow", numbers, **_which(curves), **rate_words(curves.facts, 3))


def still_falling(curves: Curves) -> Reading | None:
    """The eval loss decides where there is one; else the training loss."""
    tail = curves.tail
    sure = tail.fall > THRESHOLDS["falling_errors"] * tail.give
    if tail.fall < THRESHOLDS["eval_falling" if tail.kind == "eval" else "falling"] or not sure:
        return None
    return say("still_falling", _tail_numbers(tail), **_which(curves), **_longer_words(curves))


def spike(curves: Curves) -> Reading | None:
    if len(curves.loss) < 2 * THRESHOLDS["min_points"]:
        return None
    found = spikes(curves.loss, curves.width, THRESHOLDS["spike_errors"] * curves.sigma, THRESHOLDS["spike"])
    if not found:
        return None
    top = max(found, key=lambda index: curves.loss[index])
    around = np.delete(curves.loss, found)
    level = float(np.median(around[max(top - curves.width, 0) : top + curves.width]))
    return say("spike", {"step": curves.steps[top], "value": curves.loss[top], "level": level, "count": len(found)})


def noisy(curves: Curves) -> Reading | None:
    """The last part cannot be judged: because the points scatter, or because they are few."""
    share = curves.sigma / max(abs(curves.last), 1e-9)
    if curves.tail.kind == "eval" or curves.tail.give <= THRESHOLDS["uncertain"]:
        return None
    if share < THRESHOLDS["noisy"]:
        return _too_few(curves.points)
    return say("noisy", _tail_numbers(curves.tail) | {"noise_percent": 100 * share})


RULES: tuple[Callable[[Curves], Reading | None], ...] = (
    diverging,
    overfitting,
    no_learning,
    memorising,
    slow,
    still_falling,
    spike,
    noisy,
)
"""In the order of how much they matter; a curve for which none fires has converged."""

FINAL = ("too_few_steps", "no_learning")
"""After these nothing else is worth saying."""


# ---- parts -----------------------------------------------------------------------------------------------------------


def _curves(series: Mapping[str, Series], facts: Mapping[str, Any]) -> Curves:
    def tail(each: Series) -> Tail:
        return each.tail(THRESHOLDS["tail"], floor=THRESHOLDS["level"])

    points, evaluations = series["points"], series["eval"]
    steady = [each for name, each in series.items() if name != "eval"]
    judged = evaluations if len(evaluations.values) >= 2 else min(steady, key=lambda each: tail(each).half_width)
    width = max(len(points.values) // 10, 3)
    return Curves(points, evaluations, judged, tail(judged), width, noise(points.values), facts)


def _too_few(points: Series) -> Reading:
    """Says which logging_steps would give about thirty points, or that the run is too short for any."""
    count, steps = len(points.values), float(points.steps[-1])
    if steps < THRESHOLDS["min_steps"] or count > steps / 2:
        en, zh = "Train more steps: more epochs, or fewer samples a step.", "请增加训练步数：增加轮数，或减少每步样本数。"
    else:
        every = max(int(steps // 30), 1)
        en, zh = f"Set logging_steps={every}.", f"请设置 logging_steps={every}。"
    return say("too_few_steps", {"points": count, "steps": steps}, advice_en=en, advice_zh=zh)


def _tail_numbers(tail: Tail) -> dict[str, float]:
    return {
        "before": tail.last - tail.change,
        "last": tail.last,
        "half_width": tail.half_width,
        "fall_percent": 100 * tail.fall,
        "give_percent": 100 * tail.give,
        "tail_percent": 100 * tail.share,
    }


def _which(curves: Curves) -> dict[str, str]:
    """The name of what was judged, and how sure its last part is."""
    en, zh = ("eval loss", "验证损失") if curves.judged.kind == "eval" else ("training loss", "训练损失")
    give = f"{curves.tail.half_width:.2g}"
    words = (f" (give or take {give})", f"（误差 ±{give}）") if curves.tail.half_width else ("", "")
    return {"which_en": en, "which_zh": zh, "give_en": words[0], "give_zh": words[1]}


def _settled(curves: Curves) -> Reading:
    """None of the rules fired. Where the noise could hide a fall that matters, that is said too."""
    tail = curves.tail
    first = float(curves.judged.values[0] if tail.kind != "points" else np.median(curves.loss[: curves.width]))
    possible = tail.fall + tail.give
    end = "More of the same would gain little.", "继续训练收益不大。"
    if possible > 2 * THRESHOLDS["falling"]:
        end = (
            f"The noise could hide a fall of up to {100 * possible:.0f} % there; more training would gain no more than that.",
            f"噪声可能掩盖其中不超过 {100 * possible:.0f} % 的下降；继续训练的收益不会超过它。",
        )
    return say("converged", _tail_numbers(tail) | {"first": first}, **_which(curves), end_en=end[0], end_zh=end[1])


def _longer_words(curves: Curves) -> dict[str, str]:
    """How many more steps, from the limit that the curve seems to go to: at least a quarter, at most twice the run again."""
    clock, values = curves.judged.clock, curves.judged.values
    begin = len(clock) // 4
    more = steps_to_settle(clock[begin:], values[begin:], THRESHOLDS["settled"]) if len(clock) - begin >= 4 else None
    done = float(curves.steps[-1])
    more = min(max(more if more is not None else done, done / 4), 2 * done)
    epochs = curves.facts.get("num_train_epochs")
    en, zh = f"about {round_steps(more)} more steps", f"大约再训练 {round_steps(more)} 步"
    key, now = ("num_train_epochs", epochs) if epochs else ("max_steps", curves.facts.get("max_steps"))
    if now:
        target = math.ceil(now * (done + more) / done)
        en, zh = f"{en} ({key}={target})", f"{zh}（{key}={target}）"
    if curves.judged.kind != "eval":
        en, zh = f"{en}, and set val_size to see when it begins to over-fit", f"{zh}，并设置 val_size 以观察何时开始过拟合"
    return {"longer_en": en, "longer_zh": zh}
