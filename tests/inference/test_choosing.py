import numpy as np
import pytest

from svhn_jax import labels
from svhn_jax.data.crop import Box
from svhn_jax.inference import choosing
from svhn_jax.inference.finder import Candidate
from svhn_jax.model.decode import Predictions

BOX = Box(0, 0, 9, 9)


def candidate(number, value=2.0, p=0.9, is_stack=False):
    return Candidate(BOX, 0.8, value, number, (p,) * len(number), is_stack)


def choose(candidates, numbers, p, nothing_p=1e-9):
    """The choice where the reader reads these numbers with these probabilities."""
    encoded = np.stack([labels.encode([int(digit) for digit in number]) for number in numbers])
    log_p = np.log(np.array(p, np.float32))
    digits = np.where(encoded[:, 1:] == labels.BLANK, 0, log_p[:, None]).astype(np.float32)
    nothing = np.full_like(log_p, np.log(nothing_p))
    read = Predictions(encoded, np.zeros_like(log_p), digits, log_p, nothing)
    return choosing.choose(candidates, read)


def test_a_row_is_read_by_the_reader_and_a_stack_by_the_finder():
    row = choose([candidate("17")], ["12"], [0.9])
    assert (row.number, row.box, row.found) == ("12", BOX, 0.8)
    assert row.digits == pytest.approx((0.9, 0.9))
    stack = choose([candidate("17", is_stack=True)], ["12"], [0.9])
    assert (stack.number, stack.digits) == ("17", (0.9, 0.9))


def test_value_and_probability_choose_among_candidates():
    both = [candidate("12", value=2.0), candidate("345", value=2.2)]
    assert choose(both, ["12", "345"], [0.9, 0.9]).number == "345"
    assert choose(both, ["12", "345"], [0.9, 0.2]).number == "12"
    both[0] = both[0]._replace(value=0.5)
    assert choose(both, ["12", "345"], [0.9, 0.2]).number == "345"


def test_agreement_and_probability_raise_the_confidence():
    agreed, other, unsure = (
        choose([candidate(found)], ["12"], [p]).confidence
        for found, p in (("12", 0.9), ("17", 0.9), ("17", 0.5))
    )
    assert 1 > agreed > other > unsure > 0


def test_of_an_unsure_reading_there_is_no_number():
    nothing = choose([candidate("17")], ["12"], [1e-5])
    assert (nothing.number, nothing.box, nothing.confidence) == ("", None, 0.0)


def test_the_reader_may_see_no_number():
    both = [candidate("12", value=9.0), candidate("345")]
    assert choose(both, ["", "345"], [0.9, 0.9]).number == "345"
    assert choose(both[:1], [""], [0.9]).number == ""
    assert choose(both[:1], ["12"], [0.9], nothing_p=0.05).number == "12"
    assert choose(both[:1], ["12"], [0.5], nothing_p=0.45).number == ""
    assert choose([candidate("12", is_stack=True)], [""], [0.9]).number == "12"
