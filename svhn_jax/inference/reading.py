"""What is read in one photo. Imports no JAX."""

from typing import Any, NamedTuple

from svhn_jax.data.crop import SIDES, Box
from svhn_jax.labels import NOTHING


class Reading(NamedTuple):
    """The number in a photo.

    number: its digits as text, such as "102"; with "+" after as many digits as the network reads, where there are more;
      "" where no number was read.
    confidence: probability that the whole number is right, 0 to 1, as well calibrated as the run is; 0 where no place
      of a number was found.
    digits: probability of each digit of `number`.
    length_p: probability of its length.
    box: of the number, in pixels of the upright photo; None if the whole photo was read, or no place was found.
    found: score of the box, 0 to 1, if it was searched for; 0 where none was found; None if it was given.
    """

    number: str
    confidence: float
    digits: tuple[float, ...]
    length_p: float
    box: Box | None
    found: float | None

    @property
    def shown(self) -> str:
        """The number as people are shown it."""
        return self.number or NOTHING

    def is_doubtful(self, min_confidence: float) -> bool:
        """Whether a person should check it: its confidence is below the wanted one."""
        return self.confidence < min_confidence


def as_json(reading: Reading) -> dict[str, Any]:
    """A reading as JSON values; `box` has left, top, width and height in pixels."""
    box = reading.box
    return {
        "reading": reading.number,
        "confidence": reading.confidence,
        "digits": list(reading.digits),
        "length_p": reading.length_p,
        "box": dict(zip(SIDES, box.left_top_width_height(), strict=True)) if box else None,
        "found": reading.found,
    }
