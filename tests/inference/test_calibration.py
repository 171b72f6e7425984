"""Temperature scaling."""

import numpy as np
import pytest

from svhn_jax.inference import calibration
from svhn_jax.model.networks import Logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_labels_drawn_at_it_is_found(temperature):
    rng = np.random.default_rng(0)
    count = 4000
    logits = Logits(rng.normal(0, 3, (count, 7)), rng.normal(0, 3, (count, 5, 11)))

    def draw(values):
        noisy = values / temperature + rng.gumbel(
            size=values.shape
        )  # a draw from softmax(values / temperature)
        return noisy.argmax(axis=-1)

    lengths, digits = draw(logits.length), draw(logits.digits[..., :10])
    digits[np.arange(5) >= lengths[:, None]] = 10
    labels = np.concatenate([lengths[:, None], digits], axis=1).astype(np.int32)
    assert calibration.temperature_of(logits, labels) == pytest.approx(temperature, rel=0.05)
