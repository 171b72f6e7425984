from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from svhn_jax.checked import Checked, Fraction, Positive, at_least, within
from svhn_jax.errors import InputError


@dataclass(frozen=True)
class Options(Checked):
    crop_size: Annotated[int, within(8, 512)] = 64
    limit: Annotated[int | None, at_least(1)] = None
    share: Fraction = 0.5
    rate: Positive = 1.0
    kind: Literal["a", "b", "c"] = "a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_size": 7}, "--crop-size is 7; it must be 8 to 512"),
        ({"crop_size": "64"}, "--crop-size is '64': str is not an instance of int"),
        ({"share": 1.0}, "--share is 1.0; it must be at least 0 and less than 1"),
        ({"share": float("nan")}, "--share is nan; it must be finite"),
        ({"rate": 0}, "--rate is 0; it must be greater than 0"),
        ({"kind": "d"}, "--kind is 'd': str is not any of ('a', 'b', 'c')"),
    ],
    ids=str,
)
def test_a_value_of_another_type_or_against_its_rule_is_named(values, message):
    with pytest.raises(InputError) as caught:
        Options(**values)
    assert str(caught.value) == message


def test_values_at_the_limits_are_kept():
    options = Options(crop_size=8, limit=1, share=0, rate=1e-9, kind="c")
    assert (options.crop_size, options.share, Options(crop_size=512).limit) == (8, 0, None)
