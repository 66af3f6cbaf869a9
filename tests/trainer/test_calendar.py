"""When a training logs, evaluates and saves, step by step."""

from luthier.config import Config
from luthier.trainer.calendar import Calendar
from luthier.trainer.callbacks.base import Progress


def steps_of(what, *, steps_per_epoch=4, **keys):
    calendar = Calendar(Config(num_train_epochs=2.5, **keys), steps_per_epoch)
    every = range(1, calendar.total_steps + 1)
    return [step for step in every if calendar.due(what, Progress(step=step, epoch=step / steps_per_epoch))]


def test_a_training_ends_in_the_middle_of_an_epoch_or_at_max_steps():
    assert Calendar(Config(num_train_epochs=2.5), 4).total_steps == 10
    assert Calendar(Config(num_train_epochs=0.01), 4).total_steps == 1
    assert Calendar(Config(max_steps=7), 4).total_steps == 7


def test_numbers_of_steps_shares_and_epochs():
    assert steps_of("logging", logging_steps=3) == [3, 6, 9]
    assert steps_of("logging", logging_steps=3, logging_first_step=True) == [1, 3, 6, 9]
    assert steps_of("save", save_steps=0.25) == [3, 6, 9]  # a quarter of ten, rounded up
    assert steps_of("save", save_strategy="epoch") == [4, 8, 10]
    assert steps_of("save", save_strategy="no") == []


def test_a_first_evaluation_that_waits():
    assert steps_of("eval", eval_strategy="steps", eval_steps=2, eval_delay=5) == [6, 8, 10]
    assert steps_of("eval", eval_strategy="epoch", eval_delay=2) == [8, 10]
    assert steps_of("eval", eval_strategy="epoch", eval_delay=1.5) == [8, 10]


def test_the_best_step_is_saved_where_it_is_to_be_loaded():
    progress = Progress(step=5, best_step=5)
    assert Calendar(Config(load_best_model_at_end=True, save_steps=100), 10).must_save(progress, stopped=False)
    assert not Calendar(Config(save_steps=100), 10).must_save(progress, stopped=False)
    assert Calendar(Config(save_strategy="best"), 10).must_save(progress, stopped=False)
    assert Calendar(Config(save_steps=100), 10).must_save(progress, stopped=True)
    assert not Calendar(Config(save_strategy="no"), 10).must_save(progress, stopped=True)
