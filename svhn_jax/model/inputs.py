"""The network's input from a window of a stored crop: gray, size, normalization."""

import jax
import jax.numpy as jnp

from svhn_jax.config import ImageConfig

# Shifts in pixels of the views that --tta averages: the middle, then each side
# (docs/experiments.md).
VIEWS = ((0, 0), (3, 0), (-3, 0), (0, 3), (0, -3))
GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma, as Pillow and TensorFlow use
CONTRAST_FLOOR = 0.02  # added to the deviation: keeps noise small in a photo without contrast


def center_window(images: jax.Array, image: ImageConfig) -> jax.Array:
    """uint8[B, S, S, 3] to the model's input float32[B, s, s, C]: the middle window."""
    return shifted_window(images, image, (0, 0))


def shifted_window(images: jax.Array, image: ImageConfig, shift: tuple[int, int]) -> jax.Array:
    """As `center_window`, `shift` pixels (down, right) from the middle, at most to the edge."""
    slack = images.shape[1] - image.crop
    top, left = (min(max(slack // 2 + part, 0), slack) for part in shift)
    window = images[:, top : top + image.crop, left : left + image.crop]
    return prepare(window.astype(jnp.float32) / 255, image)


def input_shape(image: ImageConfig) -> tuple[int, int, int]:
    """Shape of one image as the model sees it."""
    side = image.resize or image.crop
    return side, side, 1 if image.grayscale else 3


def prepare(windows: jax.Array, image: ImageConfig) -> jax.Array:
    """Gray, size, mean and contrast: shared by training and evaluation."""
    if image.grayscale:
        windows = to_gray(windows)
    if image.resize:
        shape = (windows.shape[0], image.resize, image.resize, windows.shape[3])
        windows = jax.image.resize(windows, shape, "bilinear", antialias=True)
    windows = windows - _mean(windows)
    if image.normalize == "mean and contrast":
        # The mean is 0 already: jnp.std would compute it once more.
        deviation = jnp.sqrt(_mean(jnp.square(windows)))
        windows = windows / (deviation + CONTRAST_FLOOR)
    return windows


def _mean(images: jax.Array) -> jax.Array:
    """float32[B, 1, 1, 1]. By rows first: one long sum on a CPU would lose two digits."""
    return images.mean(axis=1, keepdims=True).mean(axis=(2, 3), keepdims=True)


def to_gray(images: jax.Array) -> jax.Array:
    return (images * jnp.array(GRAY)).sum(axis=-1, keepdims=True)
