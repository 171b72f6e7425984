"""Fast convolutions on a CPU: Winograd's minimal filtering where it is faster, else XLA's own.

`conv_general_dilated` replaces `jax.lax.conv_general_dilated`: the same results and gradients up to
float32 rounding (1e-5 of the largest value).

Winograd's algorithm (Lavin & Gray 2016, arXiv:1509.09308) splits the image into overlapping tiles
of n x n pixels, n = m + r - 1, each of which gives m x m outputs of an r x r kernel. Tiles and
kernels are transformed, then multiplied as n * n matrix products: n^2 / m^2 multiply-accumulates an
output in place of r^2, 4 in place of 25 for m = 4, r = 5. Both gradients are the transposed steps.
A few images are computed at a time, so that their tiles stay in the cache.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Evaluation points of the Toom-Cook scheme, besides infinity; small ones round the least.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
OUTPUT_TILES = {3: (2,), 5: (3, 4)}  # m to choose from, by r; larger ones round more
LEAST_CHANNELS = {3: 128, 5: 48}  # with fewer, the transforms cost more than they save
LEAST_SIDE = {3: 7, 5: 6}
CACHED_BYTES = 16_000_000  # tiles held at once
Pair = tuple[jax.Array, jax.Array]


def conv_general_dilated(
    images: jax.Array, kernel: jax.Array, *rest: Any, **options: Any
) -> jax.Array:
    """As `jax.lax.conv_general_dilated`, by Winograd's algorithm where that is faster on a CPU.

    Only for NHWC, stride 1, no dilation or groups, and zero padding that keeps the size.
    """
    is_float32 = images.dtype == kernel.dtype == jnp.float32
    m = output_tile(images.shape, kernel.shape) if is_float32 else None
    if m is None:
        return lax.conv_general_dilated(images, kernel, *rest, **options)
    return winograd(images, kernel, m)


def output_tile(images_shape: tuple[int, ...], kernel_shape: tuple[int, ...]) -> int | None:
    """The cheapest m for [B, H, W, C] and [r, r, C, K]; None where XLA's own form is better."""
    (_, height, width, _), (r, columns, inputs, outputs) = images_shape, kernel_shape
    if r != columns or r not in OUTPUT_TILES or min(inputs, outputs) < LEAST_CHANNELS[r]:
        return None
    if min(height, width) < LEAST_SIDE[r]:
        return None

    def macs(m: int) -> int:
        tiles, n2 = -(-height // m) * -(-width // m), (m + r - 1) ** 2
        return tiles * n2 * (inputs * outputs + n2 * inputs + m * m * outputs)

    return min(OUTPUT_TILES[r], key=macs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _winograd(images: jax.Array, kernel: jax.Array, m: int) -> jax.Array:
    return _forward(images, kernel, m)[0]


def winograd(images: jax.Array, kernel: jax.Array, m: int) -> jax.Array:
    """float32[B, H, W, C] and [r, r, C, K], r odd, to [B, H, W, K]; zeros around, stride 1."""
    return _winograd(images, _varying_like(kernel, images), m)


class Transforms(NamedTuple):
    """F(m x m, r x r) as matrices: images [n^2, n^2], outputs [m^2, n^2], kernels [n^2, r^2]."""

    images: np.ndarray
    outputs: np.ndarray
    kernel: np.ndarray


@functools.cache
def transforms(m: int, r: int) -> Transforms:
    """The transposed Toom-Cook scheme: polynomial products from n - 1 points and infinity."""
    n = m + r - 1
    points = POINTS[: n - 1]
    others = [[other for other in points if other != point] for point in points]
    images = np.zeros((n, n))
    for row, roots in enumerate([*others, points]):
        images[row, : len(roots) + 1] = np.poly(roots)[::-1]
    scales = [np.prod(np.subtract(point, rest)) for point, rest in zip(points, others, strict=True)]
    kernel = np.vstack(
        [np.vander(points, r, increasing=True) / np.array(scales)[:, None], np.eye(r)[-1]]
    )
    outputs = np.vstack([np.vander(points, m, increasing=True), np.eye(m)[-1]]).T
    return Transforms(*(np.kron(x, x).astype(np.float32) for x in (images, outputs, kernel)))


class _Tiling(NamedTuple):
    """The layout of images [b, height, width, .] in rows x columns tiles of n x n pixels."""

    m: int
    r: int
    height: int
    width: int
    n: int
    rows: int
    columns: int

    def overlapping(self, x: jax.Array) -> jax.Array:
        """[b, H, W, C] to [n^2, b * tiles * C]: for each offset in a tile, its pixels."""
        m, n, low = self.m, self.n, self.r // 2
        down, across = (self.rows - 1) * m + 1, (self.columns - 1) * m + 1
        high = down + n - 1 - self.height - low, across + n - 1 - self.width - low
        x = jnp.pad(x, ((0, 0), (low, high[0]), (low, high[1]), (0, 0)))
        places = [x[:, i : i + down : m, j : j + across : m] for i in range(n) for j in range(n)]
        return jnp.stack(places).reshape(n * n, -1)

    def overlapping_transposed(self, tiles: jax.Array, channels: int) -> jax.Array:
        """The transpose of `overlapping`: shared pixels are summed."""
        m, low, reach = self.m, self.r // 2, -(-self.n // self.m)
        x = tiles.reshape(self.n, self.n, -1, self.rows, self.columns, channels)
        extra = reach * m - self.n
        padded = jnp.pad(x, ((0, extra), (0, extra), *((0, 0),) * 4))
        x = padded.reshape(reach, m, reach, m, *x.shape[2:])
        total: Any = 0
        for i in range(reach):
            for j in range(reach):
                part = x[i, :, j].transpose(2, 3, 0, 4, 1, 5)
                shift = [(i, reach - 1 - i), (0, 0), (j, reach - 1 - j)]
                total = total + jnp.pad(part, ((0, 0), *shift, (0, 0), (0, 0)))
        sides = (self.rows + reach - 1) * m, (self.columns + reach - 1) * m
        whole = total.reshape(total.shape[0], *sides, channels)
        return whole[:, low : low + self.height, low : low + self.width]

    def disjoint(self, y: jax.Array) -> jax.Array:
        """[b, H, W, K] to [m^2, b * tiles * K], for outputs."""
        m, (batch, _, _, channels) = self.m, y.shape
        down, across = self.rows * m - self.height, self.columns * m - self.width
        y = jnp.pad(y, ((0, 0), (0, down), (0, across), (0, 0)))
        y = y.reshape(batch, self.rows, m, self.columns, m, channels)
        return y.transpose(2, 4, 0, 1, 3, 5).reshape(m * m, -1)

    def disjoint_transposed(self, tiles: jax.Array, channels: int) -> jax.Array:
        """The transpose of `disjoint`."""
        m = self.m
        y = tiles.reshape(m, m, -1, self.rows, self.columns, channels).transpose(2, 3, 0, 4, 1, 5)
        y = y.reshape(-1, self.rows * m, self.columns * m, channels)
        return y[:, : self.height, : self.width]


def _tiling(images: jax.Array, kernel: jax.Array, m: int) -> _Tiling:
    (_, height, width, _), r = images.shape, kernel.shape[0]
    return _Tiling(m, r, height, width, m + r - 1, -(-height // m), -(-width // m))


def _forward(images: jax.Array, kernel: jax.Array, m: int) -> tuple[jax.Array, Pair]:
    tiling = _tiling(images, kernel, m)
    of, kernels = transforms(m, tiling.r), _transformed_kernel(kernel, m)
    _, _, inputs, outputs = kernel.shape

    def forward_chunk(chunk: jax.Array) -> jax.Array:
        tiles = _matmul(of.images, tiling.overlapping(chunk)).reshape(len(kernels), -1, inputs)
        products = _matmul(tiles, kernels).reshape(len(kernels), -1)
        return tiling.disjoint_transposed(_matmul(of.outputs, products), outputs)

    chunks = lax.map(forward_chunk, _in_chunks(images, kernel, tiling))
    return _whole(chunks, len(images)), (images, kernel)


def _backward(m: int, saved: Pair, grads: jax.Array) -> Pair:
    images, kernel = saved
    tiling = _tiling(images, kernel, m)
    of, kernels = transforms(m, tiling.r), _transformed_kernel(kernel, m)
    _, _, inputs, outputs = kernel.shape

    def backward_chunk(kernel_grads: jax.Array, chunk: Pair) -> Pair:
        tiles = _matmul(of.images, tiling.overlapping(chunk[0])).reshape(len(kernels), -1, inputs)
        grads = _matmul(of.outputs.T, tiling.disjoint(chunk[1])).reshape(len(kernels), -1, outputs)
        # Transposed first: XLA's product takes 1.5 times as long if it transposes an operand.
        turned = lax.optimization_barrier(tiles.transpose(0, 2, 1))
        kernel_grads += _matmul(turned, grads)
        tile_grads = _matmul(grads, kernels.transpose(0, 2, 1)).reshape(len(kernels), -1)
        return kernel_grads, tiling.overlapping_transposed(_matmul(of.images.T, tile_grads), inputs)

    chunks = (_in_chunks(images, kernel, tiling), _in_chunks(grads, kernel, tiling))
    nothing = _varying_like(jnp.zeros_like(kernels), images)
    kernel_grads, image_grads = lax.scan(backward_chunk, nothing, chunks)
    kernel_grads = _matmul(of.kernel.T, kernel_grads.reshape(len(kernels), -1))
    return _whole(image_grads, len(images)), kernel_grads.reshape(kernel.shape)


_winograd.defvjp(_forward, _backward)


def _transformed_kernel(kernel: jax.Array, m: int) -> jax.Array:
    """[r, r, C, K] to [n^2, C, K]."""
    r = kernel.shape[0]
    transformed = _matmul(transforms(m, r).kernel, kernel.reshape(r * r, -1))
    return transformed.reshape(-1, *kernel.shape[2:])


def _in_chunks(images: jax.Array, kernel: jax.Array, tiling: _Tiling) -> jax.Array:
    """[B, ...] to [chunks, b, ...]: b images, whose tiles fit in the cache; zeros fill the last."""
    values = tiling.rows * tiling.columns * tiling.n**2 * (kernel.shape[2] + kernel.shape[3])
    most = min(len(images), max(1, CACHED_BYTES // (4 * values)))
    size = 2 ** (most.bit_length() - 1)  # others are slower, and seldom divide a batch
    chunks = -(-len(images) // size)
    images = jnp.pad(images, ((0, chunks * size - len(images)), (0, 0), (0, 0), (0, 0)))
    return images.reshape(chunks, size, *images.shape[1:])


def _whole(chunks: jax.Array, batch_size: int) -> jax.Array:
    """The inverse of `_in_chunks`."""
    return chunks.reshape(-1, *chunks.shape[2:])[:batch_size]


def _matmul(a: Any, b: jax.Array) -> jax.Array:
    """A product in true float32 on every device: the transforms magnify rounding."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _varying_like(x: jax.Array, like: jax.Array) -> jax.Array:
    """x, under shard_map varying over devices if `like` is: then its gradient is summed."""
    return jnp.where(True, x, lax.stop_gradient(like[0, 0, 0, 0]))
