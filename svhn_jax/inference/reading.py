"""The number read in a photo. Imports no JAX."""

from typing import Any, NamedTuple

from svhn_jax.data.crop import SIDES, Box


class Reading(NamedTuple):
    """The number in a photo.

    number: its digits as text, such as "102"; with "+" after as many digits as the network reads,
      where there are more; "" where no number was read.
    confidence: probability that the whole number is right, 0 to 1, as well calibrated as the run
      is; where the number was searched for, also that it is in this place; 0 if none was found.
    digits: probability of each digit of `number`.
    length_p: probability of its length.
    box: of the number, in pixels of the upright photo; None if the whole photo was read, or no
      place was found.
    found: score of the box, 0 to 1, if it was searched for; 0 where none was found; None if it was
      given.
    """

    number: str
    confidence: float
    digits: tuple[float, ...]
    length_p: float
    box: Box | None
    found: float | None

    def as_json(self) -> dict[str, Any]:
        """As JSON values; `box` has left, top, width and height in pixels."""
        box = self.box
        return {
            "reading": self.number,
            "confidence": self.confidence,
            "digits": list(self.digits),
            "length_p": self.length_p,
            "box": dict(zip(SIDES, box.left_top_width_height(), strict=True)) if box else None,
            "found": self.found,
        }
