"""Final numbers, as GSM8K writes them and as models do."""

from decimal import Decimal

import pytest

from luthier.evals.numbers import final_number, number_accuracy


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 3 + 4 = 7.\n#### 7", "7"),
        ("#### $1,200.50", "1200.50"),
        ("so \\boxed{-3} it is, of 10", "-3"),
        ("The answer is 42.", "42"),
        ("3 apples and 4 pears", "4"),
        ("It costs $1,000, then", "1000"),
        ("#### 1.2.3", "1.2"),
        ("between 3-4", "4"),
        ("**#### .5**", "0.5"),
        ("it is -5 degrees", "-5"),
    ],
)
def test_the_final_number(text, number):
    assert final_number(text) == Decimal(number)


def test_shares_and_references_of_another_kind():
    assert final_number("none") is None
    assert number_accuracy(["#### 7.0", "I say 8", "no idea"], ["x #### 7", "#### 9", "#### 1"]) == pytest.approx(100 / 3)
    assert number_accuracy(["7"], ["seven"]) is None and number_accuracy([], []) is None
