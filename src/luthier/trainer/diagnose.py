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

from luthier.trainer.curve import Array, Trend, median_error, noise, rolling_median, spikes, steps_to_settle, trend
from luthier.trainer.reading import Reading, rate_words, round_steps, say

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
    "spike": 0.5,  # height above the level around it, as a share of that level,
    "spike_errors": 8.0,
    "settled": 0.02,  # "train longer" aims at this distance from the limit
}


@dataclass(frozen=True, slots=True)
class Curves:
    """What the rules look at. width: points of a rolling median.  sigma: noise of one training point.

    clock: the learning rate added up over the steps, scaled so that it ends at the last step. A curve that flattens only
    because the schedule ends is still straight against it.
    """

    steps: Array
    clock: Array
    loss: Array
    eval_steps: Array
    eval_clock: Array
    eval_loss: Array
    width: int
    sigma: float
    facts: Mapping[str, Any]

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
    curves = _curves(rows, facts)
    if _is_nan(rows, facts):
        return say("nan", _blown(curves, facts), rule="diverging")
    if not len(curves.steps):
        return say("nothing_logged", {})
    first = next((reading for rule in RULES if (reading := rule(curves)) is not None), None) or _settled(curves)
    lesser = (
        () if first.rule in FINAL else tuple(r for rule in (memorising, spike) if (r := rule(curves)) and r.rule != first.rule)
    )
    return replace(first, also=lesser)


# ---- rules: each returns what it has to say, or None -----------------------------------------------------------------


def nothing_supervised(curves: Curves) -> Reading | None:
    return say("nothing_supervised", {"steps": curves.steps[-1]}, rule="no_learning") if not curves.loss.any() else None


def too_few_steps(curves: Curves) -> Reading | None:
    """Too few points for a line with an error; says which logging_steps would give about thirty of them."""
    points, steps = len(curves.loss), float(curves.steps[-1])
    if points >= THRESHOLDS["min_points"] and steps >= THRESHOLDS["min_steps"]:
        return None
    return _too_few(curves)


def _too_few(curves: Curves) -> Reading:
    points, steps = len(curves.loss), float(curves.steps[-1])
    every = max(int(steps // 30), 1)
    if steps < THRESHOLDS["min_steps"] or points > steps / 2:
        advice = "Train more steps: more epochs, or fewer samples a step.", "请增加训练步数：增加轮数，或减少每步样本数。"
    else:
        advice = f"Set logging_steps={every}.", f"请设置 logging_steps={every}。"
    return say("too_few_steps", {"points": points, "steps": steps}, advice_en=advice[0], advice_zh=advice[1])


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
    values = curves.eval_loss
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
    step = float(curves.eval_steps[best])
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
    if len(curves.eval_loss) and curves.eval_loss[-1] < max(2 * THRESHOLDS["memorised"], 3 * curves.last):
        return None
    return say("memorising", {"last": curves.last})


def slow(curves: Curves) -> Reading | None:
    """A small fall that has not begun to bend, against the learning rate added up: each step does too little."""
    is_eval, _, clock, values = _judged(curves)
    if len(values) < (6 if is_eval else 20):
        return None
    split = int((clock < clock[-1] * (1 - THRESHOLDS["tail"])).sum())
    if split < 3 or len(values) - split < 3:
        return None
    head, tail = trend(clock[:split], values[:split]), trend(clock[split:], values[split:])
    whole = trend(clock, values)
    head_rate, tail_rate = head.change / (clock[split - 1] - clock[0]), tail.change / (clock[-1] - clock[split])
    fall = -whole.change / max(abs(whole.end), THRESHOLDS["memorised"])
    is_falling = -tail.change > THRESHOLDS["falling_errors"] * tail.half_width
    is_straight = head_rate < 0 and tail_rate / head_rate > THRESHOLDS["straight"]
    if not (is_falling and is_straight and THRESHOLDS["fallen"] < fall < THRESHOLDS["slow"]):
        return None
    numbers = {"first": values[0], "last": whole.end, "fall_percent": 100 * fall, "bend": tail_rate / head_rate}
    return say("slow", numbers, **_which({"is_eval": is_eval, "give": 0.0}), **rate_words(curves.facts, 3))


def still_falling(curves: Curves) -> Reading | None:
    """The eval loss decides where there is one; else the training loss."""
    tail = _tail(curves)
    sure = tail["fall"] > THRESHOLDS["falling_errors"] * tail["give"]
    if tail["fall"] < THRESHOLDS["eval_falling" if tail["is_eval"] else "falling"] or not sure:
        return None
    return say("still_falling", _tail_numbers(tail), **_which(tail), **_longer_words(curves))


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
    tail = _tail(curves)
    share = curves.sigma / max(abs(curves.last), 1e-9)
    if tail["is_eval"] or tail["give"] <= THRESHOLDS["uncertain"]:
        return None
    return (
        say("noisy", _tail_numbers(tail) | {"noise_percent": 100 * share}) if share > THRESHOLDS["noisy"] else _too_few(curves)
    )


RULES: tuple[Callable[[Curves], Reading | None], ...] = (
    nothing_supervised,
    too_few_steps,
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


def _curves(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Curves:
    def points(key: str) -> tuple[Array, Array]:
        found = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float)]
        array = np.array(found, dtype=np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]

    (steps, loss), (eval_steps, eval_loss), (_, rates) = points("loss"), points("eval_loss"), points("learning_rate")
    clock = steps
    if len(rates) == len(steps) and len(steps) and rates.any():
        clock = np.cumsum(rates * np.diff(steps, prepend=0.0))
        clock = clock * steps[-1] / clock[-1]
    eval_clock = np.interp(eval_steps, [0.0, *steps], [0.0, *clock])
    width = min(max(len(loss) // 10, 3), max(len(loss), 1))
    return Curves(steps, clock, loss, eval_steps, eval_clock, eval_loss, width, noise(loss), facts)


def _judged(curves: Curves) -> tuple[bool, Array, Array, Array]:
    """(is it the eval loss, steps, clock, values): the eval loss where there are two of it, else the training loss."""
    if len(curves.eval_loss) >= 2:
        return True, curves.eval_steps, curves.eval_clock, curves.eval_loss
    return False, curves.steps, curves.clock, curves.loss


def _tail(curves: Curves) -> dict[str, float]:
    """Fall over the tail and half of its 95 % interval, both as shares of the loss at the end. Of two to four evaluations only
    the last two count, without an interval."""
    is_eval, steps, clock, values = _judged(curves)
    if is_eval and len(values) < 5:
        count, line = 2, Trend(float(values[-1] - values[-2]), 0.0, float(values[-1]))
    else:
        begin = clock[-1] * (1 - THRESHOLDS["tail"])
        count = max(int((clock >= begin).sum()), 4 if is_eval else int(THRESHOLDS["min_points"]))
        line = trend(clock[-count:], values[-count:])
    level = max(abs(line.end), THRESHOLDS["memorised"])
    share = float(steps[-1] - steps[-count]) / max(float(steps[-1]), 1.0)
    return {"fall": -line.change / level, "give": line.half_width / level, "last": line.end, "share": share, "is_eval": is_eval}


def _tail_numbers(tail: Mapping[str, float]) -> dict[str, float]:
    return {
        "fall_percent": 100 * tail["fall"],
        "change_percent": -100 * tail["fall"],
        "give_percent": 100 * tail["give"],
        "tail_percent": 100 * tail["share"],
        "last": tail["last"],
    }


def _which(tail: Mapping[str, float]) -> dict[str, str]:
    en, zh = ("eval loss", "验证损失") if tail["is_eval"] else ("training loss", "训练损失")
    give = f"{100 * tail['give']:.1f}"
    words = (f" (give or take {give})", f"（误差 ±{give}）") if tail["give"] else ("", "")
    return {"which_en": en, "which_zh": zh, "give_en": words[0], "give_zh": words[1]}


def _settled(curves: Curves) -> Reading:
    tail = _tail(curves)
    values = curves.eval_loss if tail["is_eval"] else curves.loss
    first = float(np.median(values[: 1 if tail["is_eval"] else curves.width]))
    return say("converged", _tail_numbers(tail) | {"first": first}, **_which(tail))


def _longer_words(curves: Curves) -> dict[str, str]:
    """How many more steps, from the limit that the curve seems to go to: at least a quarter, at most twice the run again."""
    is_eval, _, clock, values = _judged(curves)
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
    if not is_eval:
        en, zh = f"{en}, and set val_size to see when it begins to over-fit", f"{zh}，并设置 val_size 以观察何时开始过拟合"
    return {"longer_en": en, "longer_zh": zh}


def _is_nan(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("loss_is_nan")) or any("loss" in row and row["loss"] is None for row in rows)


def _blown(curves: Curves, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {"steps": float(curves.steps[-1]) if len(curves.steps) else 0.0} | rate_words(facts, 1 / 5)
