"""Each rule on a curve that a person would call so, with the noise of real batches, and no alarm on a good one.

Curves are made by hand from formulas; noise is multiplicative and skewed (gamma), as losses of small batches are.
"""

import numpy as np
import pytest

from luthier.trainer.diagnose import read_curve
from luthier.trainer.reading import nice, texts

FACTS = {"learning_rate": 5e-4, "num_train_epochs": 3}
SEEDS = range(20)


def rows(loss, eval_loss=None, eval_steps=None, step=1) -> list[dict]:
    made = [{"step": (i + 1) * step, "loss": float(value)} for i, value in enumerate(loss)]
    made += [{"step": int(at), "eval_loss": float(value)} for at, value in zip(eval_steps or [], eval_loss or [], strict=True)]
    return sorted(made, key=lambda row: row["step"])


def noisy(mean: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return mean * np.random.default_rng(seed).gamma(1 / noise**2, noise**2, len(mean))


def course(points: int = 100) -> np.ndarray:
    return np.linspace(1 / points, 1, points)


def good(t: np.ndarray) -> np.ndarray:
    """Falls quickly, then settles: fine-tuning with a cosine schedule."""
    return 1.2 + 0.9 * np.exp(-t / 0.1)


def rules_on(make, facts=FACTS) -> dict[str, int]:
    found = [read_curve(rows(make(seed)), facts).rule for seed in SEEDS]
    return {rule: found.count(rule) for rule in set(found)}


@pytest.mark.parametrize("noise", [0.03, 0.08, 0.15])
@pytest.mark.parametrize("points", [100, 400])
def test_a_good_curve_raises_no_alarm(points: int, noise: float) -> None:
    found = rules_on(lambda seed: noisy(good(course(points)), noise, seed))
    assert found.get("converged", 0) >= 18, found


@pytest.mark.parametrize("points", [30, 100, 400])
def test_still_falling_says_how_much_longer(points: int) -> None:
    found = rules_on(lambda seed: noisy(3 * np.exp(-1.2 * course(points)), 0.08, seed))
    assert found == {"still_falling": 20}
    reading = read_curve(rows(3 * np.exp(-1.2 * course(points))), FACTS)
    fall = 100 * (np.exp(-1.2 * 0.6) - np.exp(-1.2)) / np.exp(-1.2)
    assert reading.numbers["fall_percent"] == pytest.approx(fall, rel=0.1)
    assert "num_train_epochs=" in reading.en and "val_size" in reading.en
    by_steps = read_curve(rows(3 * np.exp(-1.2 * course(points))), {"max_steps": points})
    assert "max_steps=" in by_steps.en and "num_train_epochs" not in by_steps.en


@pytest.mark.parametrize("noise", [0.03, 0.08])
def test_diverging(noise: float) -> None:
    t = course(100)
    found = rules_on(lambda seed: noisy(good(t) + np.maximum(t - 0.7, 0) * 4, noise, seed))
    assert found == {"diverging": 20}
    reading = read_curve(rows(good(t) + np.maximum(t - 0.7, 0) * 4), FACTS)
    assert "0.0002 instead of 0.0005" in reading.en and "0.0002" in reading.zh
    assert reading.numbers["best_step"] == pytest.approx(65, abs=8)


def test_a_small_rise_that_is_sure_is_not_diverging() -> None:
    """Five percent up over the second half: another part of the data, not a learning rate too high."""
    t = course(400)
    found = rules_on(lambda seed: noisy(good(t) * (1 + 0.1 * np.maximum(t - 0.5, 0)), 0.03, seed))
    assert found.get("converged", 0) == 20, found


def test_a_small_fall_that_is_sure_is_not_still_falling() -> None:
    t = course(400)
    found = rules_on(lambda seed: noisy(good(t) * (1 - 0.03 * t), 0.02, seed))
    assert found == {"converged": 20}


def test_diverging_and_stuck_high() -> None:
    """A learning rate far too high: up in the first steps, then a plateau above the start."""
    t = course(100)
    assert rules_on(lambda seed: noisy(np.where(t < 0.1, 2.0, 7.0), 0.05, seed)) == {"diverging": 20}


def test_a_loss_that_is_no_number() -> None:
    made = [*rows(good(course(50))), {"step": 51, "loss": None}]
    for reading in (read_curve(made, FACTS), read_curve(made[:-1], FACTS | {"loss_is_nan": True})):
        assert reading.rule == "diverging" and "after step 50" in reading.en and "0.0001 instead of 0.0005" in reading.en


@pytest.mark.parametrize("evaluations", [3, 5, 20])
@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_overfitting_names_the_step(evaluations: int, noise: float) -> None:
    """Training loss falls all the way; the eval loss turns at 40 % and rises by a fifth."""
    t = np.arange(1, evaluations + 1) / evaluations
    mean = 1.4 + 0.6 * np.exp(-8 * t) + 0.5 * np.maximum(t - 0.4, 0)
    for seed in SEEDS:
        values = list(mean * (1 + noise * np.random.default_rng(seed).standard_normal(evaluations)))
        made = rows(noisy(0.4 + 1.6 * np.exp(-3 * course()), 0.1, seed), values, list((100 * t).astype(int)))
        reading = read_curve(made, FACTS)
        assert reading.rule == "overfitting"
        best = int(100 * t[int(np.argmin(values))])
        assert reading.numbers["best_step"] == best and f"step {best}" in reading.en
        assert f"num_train_epochs about {3 * best / 100:.2g}" in reading.en and "load_best_model_at_end" in reading.zh


@pytest.mark.parametrize("noise", [0.0, 0.003, 0.01])
def test_an_eval_loss_that_only_wavers_is_no_overfitting(noise: float) -> None:
    t = np.arange(1, 11) / 10
    found = []
    for seed in SEEDS:
        values = (1.4 + 0.6 * np.exp(-8 * t)) * (1 + noise * np.random.default_rng(seed).standard_normal(10))
        made = rows(noisy(0.4 + 1.6 * np.exp(-3 * course()), 0.1, seed), list(values), list((100 * t).astype(int)))
        found.append(read_curve(made, FACTS).rule)
    assert found.count("converged") >= 19, found  # the eval loss decides, though the training loss still falls


def test_an_eval_loss_that_still_falls() -> None:
    t = np.arange(1, 11) / 10
    reading = read_curve(rows(good(course()), list(1.2 + 0.9 * np.exp(-1.5 * t)), list((100 * t).astype(int))), FACTS)
    assert reading.rule == "still_falling" and reading.en.startswith("The eval loss is still falling")


def test_no_learning_when_flat_from_the_start() -> None:
    assert rules_on(lambda seed: noisy(np.full(200, 2.0), 0.04, seed)).get("no_learning", 0) >= 18
    reading = read_curve(rows(np.full(200, 2.0)), FACTS)
    assert "0.005 instead of 0.0005" in reading.en


@pytest.mark.parametrize("points", [100, 400])
@pytest.mark.parametrize("noise", [0.02, 0.08])
def test_a_small_fall_at_the_start_is_learning(noise: float, points: int) -> None:
    """A capable model on ordinary data: a tenth less within the first steps, then level."""
    found = rules_on(lambda seed: noisy(1.2 + 0.15 * np.exp(-course(points) / 0.05), noise, seed))
    assert found.get("converged", 0) >= 17, found


def test_noise_that_could_hide_a_fall_at_the_start_is_not_called_no_learning() -> None:
    found = rules_on(lambda seed: noisy(np.full(60, 2.0), 0.12, seed))
    assert "no_learning" not in found


def test_slow_is_told_from_settled_by_the_learning_rate() -> None:
    """A tenth less over the run. Against the steps it bends as the schedule ends; against the learning rate it does not."""
    steps = np.arange(1, 101)
    rates = 1e-5 * (1 - steps / 101)
    learned = np.cumsum(rates) / rates.sum()
    found = []
    for seed in SEEDS:
        made = rows(noisy(2 * (1 - 0.1 * learned), 0.02, seed))
        made = [row | {"learning_rate": rate} for row, rate in zip(made, rates, strict=True)]
        found.append(read_curve(made, FACTS | {"learning_rate": 1e-5}))
    assert [reading.rule for reading in found].count("slow") >= 17
    assert "3e-05 instead of 1e-05" in next(reading.en for reading in found if reading.rule == "slow")
    settled = [row | {"learning_rate": rate} for row, rate in zip(rows(good(course())), rates, strict=True)]
    assert read_curve(settled, FACTS).rule == "converged"


def test_flat_since_the_first_log_point_of_a_long_run_is_not_no_learning() -> None:
    """logging_steps=500 of 5,000: what happened before step 500 is not known."""
    reading = read_curve(rows(noisy(np.full(10, 1.2), 0.02, 0), step=500), FACTS | {"total_steps": 4000})
    assert reading.rule == "converged"


def test_nothing_supervised() -> None:
    reading = read_curve(rows(np.zeros(30)), FACTS)
    assert reading.rule == "no_learning" and "no token is supervised" in reading.en


def test_memorising() -> None:
    mean = 2 * np.exp(-6 * course()) + 0.01
    assert rules_on(lambda seed: noisy(mean, 0.2, seed)) == {"memorising": 20}
    same_on_eval = read_curve(rows(mean, [0.5, 0.03, 0.02], [30, 60, 100]), FACTS)
    assert same_on_eval.rule != "memorising"  # it answers what it has not read just as well
    worse_on_eval = read_curve(rows(mean, [0.9, 0.8, 1.2, 1.6], [25, 50, 75, 100]), FACTS)
    assert worse_on_eval.rule == "overfitting" and [each.rule for each in worse_on_eval.also] == ["memorising"]


@pytest.mark.parametrize("points", [1, 3, 5])
def test_too_few_log_points_gives_the_setting(points: int) -> None:
    reading = read_curve(rows(np.linspace(2, 1, points), step=100), FACTS)
    assert reading.rule == "too_few_steps" and f"logging_steps={max(points * 100 // 30, 1)}." in reading.en


def test_too_few_steps() -> None:
    reading = read_curve(rows(np.linspace(2, 1, 8)), FACTS)
    assert reading.rule == "too_few_steps" and "more steps" in reading.en


def test_spike() -> None:
    def curve(seed: int) -> np.ndarray:
        values = noisy(good(course()), 0.08, seed)
        values[60] *= 3
        return values

    assert rules_on(curve) == {"spike": 20}
    reading = read_curve(rows(curve(0)), FACTS)
    assert reading.numbers["step"] == 61 and reading.numbers["count"] == 1


def test_a_bump_in_a_very_even_curve_is_no_spike() -> None:
    values = good(course())
    values[60] *= 1.2
    assert read_curve(rows(values), FACTS).rule == "converged"


def test_a_spike_beside_something_more_important_is_mentioned_after_it() -> None:
    values = 3 * np.exp(-1.2 * course())
    values[50] *= 4
    reading = read_curve(rows(values), FACTS)
    assert reading.rule == "still_falling" and [each.rule for each in reading.also] == ["spike"]


def test_noisy() -> None:
    found = rules_on(lambda seed: noisy(good(course(40)), 0.3, seed))
    assert found.get("noisy", 0) >= 17, found


def epochs(mean: np.ndarray, per_epoch: int, seed: int) -> list[dict]:
    """Each epoch reads the same few batches, very unlike one another, in another order."""
    rng = np.random.default_rng(seed)
    batches = rng.gamma(4, 0.25, per_epoch)
    made = []
    for number, level in enumerate(mean):
        for place, batch in enumerate(rng.permutation(batches) / batches.mean()):
            step = number * per_epoch + place + 1
            made.append({"step": step, "epoch": step / per_epoch, "loss": float(level * batch * rng.gamma(100, 0.01))})
    return made


@pytest.mark.parametrize(
    ("mean", "rule"), [([5.4, 4.4, 3.2, 2.2, 2.1, 2.1, 2.1, 2.1], "converged"), (8 * 0.8 ** np.arange(8), "still_falling")]
)
def test_epochs_are_compared_with_one_another_where_batches_differ_much(mean, rule: str) -> None:
    found = [read_curve(epochs(np.array(mean), 12, seed), FACTS).rule for seed in SEEDS]
    assert found.count(rule) >= 16 and found.count("noisy") <= 3, found
    points_alone = [{key: row[key] for key in ("step", "loss")} for row in epochs(np.array(mean), 12, 0)]
    assert read_curve(points_alone, FACTS).rule == "noisy"


def test_nothing_logged_and_missing_facts() -> None:
    assert read_curve([], {}).rule == "nothing_logged"
    t = course()
    for values in (good(t), np.full(200, 2.0), good(t) + np.maximum(t - 0.7, 0) * 4, 3 * np.exp(-t)):
        assert read_curve(rows(values), {}).en
    assert "divide it by 3" in read_curve(rows(good(t) + np.maximum(t - 0.7, 0) * 4), {}).en


def test_readings_are_whole_sentences_in_both_languages_and_plain_numbers() -> None:
    for name, text in texts().items():
        assert text["en"].endswith((".", "}")) and text["zh"].endswith(("。", "}")), name
    reading = read_curve(rows(good(course())), FACTS)
    assert all(type(value) is float for value in reading.numbers.values())
    assert read_curve(rows(good(course())), FACTS) == reading


def test_nice() -> None:
    assert [nice(x) for x in (1.67e-4, 5e-3, 9.9e-6, 3.3e-5, 0.07)] == [2e-4, 5e-3, 1e-5, 3e-5, 0.05]
