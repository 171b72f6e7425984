"""From stored uint8 images to the model's input, on the device, inside the compiled step."""

import jax
import jax.numpy as jnp
import numpy as np

from svhn_jax.config import AugmentConfig, ImageConfig
from svhn_jax.model.inputs import prepare, to_gray

# True float32: by default GPUs multiply matrices in TF32, TPUs in bfloat16.
HIGHEST = jax.lax.Precision.HIGHEST
# Salts of the keys of the changes that are off by default: switching one on leaves the draws of the
# others as they are. The ten draws of every image use the counters 0 to 9 of its key.
CAST, SOFTEN, NOISE, GAMMA, CUTOUT, INVERT = range(10, 16)
# RGB to YIQ: rotating the I-Q plane rotates the hue and keeps the luma.
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def random_window(
    images: jax.Array, keys: jax.Array, image: ImageConfig, augment: AugmentConfig
) -> jax.Array:
    """As `inputs.center_window`, with random geometry and color.

    Args:
      images: uint8[B, S, S, 3].
      keys: B keys, such as jax.random.split(random_key(0), B); one alone changes each image.
    """
    draws = jax.vmap(lambda key: jax.random.uniform(key, (10,), minval=-1.0))(keys)
    cut = _warp if augment.scale or augment.rotate_degrees or augment.shear else _slice
    windows = jax.vmap(lambda x, u: cut(x, u, image.crop, augment))(images, draws[:, :6])
    windows = windows.astype(jnp.float32) / 255
    windows = jax.vmap(lambda x, u, key: _change(x, u, key, augment))(windows, draws[:, 6:], keys)
    return prepare(windows, image)


def _slice(image: jax.Array, u: jax.Array, crop: int, augment: AugmentConfig) -> jax.Array:
    """A window of [S, S, 3] at an offset of whole pixels."""
    slack = image.shape[0] - crop
    start = jnp.full(2, slack // 2)
    if augment.random_crop:
        start = jnp.minimum((u[:2] + 1) / 2 * (slack + 1), slack).astype(jnp.int32)
    return jax.lax.dynamic_slice(image, (*start, 0), (crop, crop, image.shape[2]))


def _warp(image: jax.Array, u: jax.Array, crop: int, augment: AugmentConfig) -> jax.Array:
    """A window of [S, S, 3] under a random affine map, bilinear; edge pixels are repeated."""
    size = image.shape[0]
    slack = (size - crop) / 2 if augment.random_crop else 0.0
    angle = u[2] * jnp.deg2rad(augment.rotate_degrees)
    scale_y, scale_x = jnp.exp(u[3] * augment.scale), jnp.exp(u[4] * augment.scale)
    y, x = jnp.meshgrid(*[jnp.arange(crop) - (crop - 1) / 2] * 2, indexing="ij")
    x = x + u[5] * augment.shear * y
    from_y = scale_y * (jnp.cos(angle) * y - jnp.sin(angle) * x) + (size - 1) / 2 + u[0] * slack
    from_x = scale_x * (jnp.sin(angle) * y + jnp.cos(angle) * x) + (size - 1) / 2 + u[1] * slack
    from_y, from_x = jnp.clip(from_y, 0, size - 1), jnp.clip(from_x, 0, size - 1)
    y0, x0 = jnp.floor(from_y).astype(jnp.int32), jnp.floor(from_x).astype(jnp.int32)
    y1, x1 = jnp.minimum(y0 + 1, size - 1), jnp.minimum(x0 + 1, size - 1)
    share_y, share_x = (from_y - y0)[..., None], (from_x - x0)[..., None]
    pixels = image.reshape(size * size, -1)

    def row(y: jax.Array) -> jax.Array:
        left, right = (pixels[y * size + x].astype(jnp.float32) for x in (x0, x1))
        return left * (1 - share_x) + right * share_x

    return row(y0) * (1 - share_y) + row(y1) * share_y


def _change(image: jax.Array, u: jax.Array, key: jax.Array, augment: AugmentConfig) -> jax.Array:
    """All random changes except geometry, of one float32[s, s, 3] in 0 ... 1, in a camera's order.

    The lens blurs; the sensor amplifies, adds noise and saturates; a tone curve and the negative
    follow. Cutout comes last, so that its color is not changed.
    """

    def draw(salt: int, shape: tuple[int, ...] = (), low: float = 0.0) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(key, salt), shape, minval=low)

    if augment.blur or augment.downscale:
        image = _soften(image, draw(SOFTEN, (2,)), augment)
    image = _recolor(image, u, augment)
    if augment.channel_gain or augment.channel_offset:
        gain, offset = draw(CAST, (2, 3), -1.0)
        image = image * (1 + gain * augment.channel_gain) + offset * augment.channel_offset
    if augment.noise:
        for_strength, for_noise = jax.random.split(jax.random.fold_in(key, NOISE))
        strength = augment.noise * jax.random.uniform(for_strength)
        image = image + strength * jax.random.normal(for_noise, image.shape)
    image = jnp.clip(image, 0, 1)  # as a camera saturates
    if augment.gamma:
        image = image ** jnp.exp(augment.gamma * draw(GAMMA, low=-1.0))
    if augment.invert:
        image = jnp.where(draw(INVERT) < augment.invert, 1 - image, image)
    if augment.cutout:
        image = _cut_out(image, draw(CUTOUT, (3,)), augment.cutout)
    return image


def _soften(image: jax.Array, u: jax.Array, augment: AugmentConfig) -> jax.Array:
    """Blur, then lower resolution, of one [s, s, 3]: one matrix [s, s] for columns and rows."""
    size, matrix = len(image), jnp.eye(len(image))
    if augment.blur:
        matrix = _gaussian(size, u[0] * augment.blur)
    if augment.downscale:
        lower = _low_resolution(size, augment.downscale ** u[1])
        matrix = jnp.matmul(lower, matrix, precision=HIGHEST)
    image = jnp.einsum("ij,jxc->ixc", matrix, image, precision=HIGHEST)
    return jnp.einsum("ij,yjc->yic", matrix, image, precision=HIGHEST)


def _gaussian(size: int, sigma: jax.Array) -> jax.Array:
    """The matrix [size, size] of a Gaussian blur, sigma in pixels, normalized at the edges."""
    distance = jnp.arange(size)[:, None] - jnp.arange(size)
    weights = jnp.exp(-(distance**2) / (2 * sigma**2 + 1e-6))  # the identity where sigma is 0
    return weights / weights.sum(axis=1, keepdims=True)


def _low_resolution(size: int, factor: jax.Array) -> jax.Array:
    """The matrix [size, size] that averages cells of `factor` >= 1 pixels and interpolates.

    With a fractional factor neighboring cells share a pixel; the last cell averages what exists.
    """
    pixel, cell = jnp.arange(size), jnp.arange(size)[:, None]
    ends = jnp.minimum((cell + 1) * factor, pixel + 1)
    overlap = jnp.maximum(ends - jnp.maximum(cell * factor, pixel), 0)
    # Average of each cell; 0 for cells beyond the edge.
    average = overlap / jnp.maximum(overlap.sum(axis=1, keepdims=True), 1e-6)
    # From the centers of pixels to those of cells, in cells.
    distance = (pixel[:, None] + 0.5) / factor - (jnp.arange(size) + 0.5)
    shares = jnp.maximum(1 - jnp.abs(distance), 0)
    weights = jnp.matmul(shares, average, precision=HIGHEST)
    return weights / weights.sum(axis=1, keepdims=True)


def _cut_out(image: jax.Array, u: jax.Array, greatest: int) -> jax.Array:
    """A square of at most `greatest` pixels gets the mean color (arXiv:1708.04552)."""
    size, reach = len(image), u[2] * greatest / 2
    pixel = jnp.arange(size) + 0.5
    in_row, in_column = (jnp.abs(pixel - center * size) < reach for center in u[:2])
    return jnp.where((in_row[:, None] & in_column)[..., None], image.mean(axis=(0, 1)), image)


def _recolor(image: jax.Array, u: jax.Array, augment: AugmentConfig) -> jax.Array:
    """Random brightness, contrast, saturation, hue of one float32[s, s, 3]; may leave 0 ... 1."""
    if augment.hue:
        turn = u[3] * augment.hue * 2 * jnp.pi
        cos, sin = jnp.cos(turn), jnp.sin(turn)
        rotation = jnp.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
        inverse, yiq = np.linalg.inv(YIQ), np.array(YIQ)
        matrix = jnp.linalg.multi_dot([inverse, rotation, yiq], precision=HIGHEST)
        image = jnp.matmul(image, matrix.T, precision=HIGHEST)
    if augment.saturation:
        gray = to_gray(image)
        image = gray + (image - gray) * (1 + u[2] * augment.saturation)
    if augment.contrast:
        mean = image.mean(axis=0).mean()  # by rows first, as inputs._mean
        image = mean + (image - mean) * (1 + u[1] * augment.contrast)
    if augment.brightness:
        image = image + u[0] * augment.brightness
    return image
