"""The camera: a view of the flat wall in perspective, uneven light, blur, noise and JPEG."""

import io

import numpy as np
from PIL import Image, ImageFilter


def homography(rng: np.random.Generator, stretch: float, scale: float, length: float) -> np.ndarray:
    """float[3, 3] from the wall, its origin the number's centre, to the photo likewise.

    stretch: of the width relative to the height; scale: of the height; length: of the number's
    longer side, on the wall. Street View sees most walls from the side: base lines slope while
    upright strokes stay upright. The slopes follow those of the published boxes: beyond 5 degrees
    in 46 % of the train photos, 10 in 21 %, 20 in 6 %.
    """
    slope = _mixture(rng, ((0.5, 2.5), (0.35, 8.0), (0.16, 16.0))) - 1.0
    slant = _mixture(rng, ((0.7, 3.5), (0.31, 10.0)))
    turn = slope if rng.random() < 0.35 else 0.0  # the rest is seen from the side
    tilt, lean = np.tan(np.radians([np.clip(slope, -45, 45), np.clip(slant + turn, -35, 35)]))
    matrix = np.array(
        [[stretch * scale, -lean * scale, 0], [tilt * stretch * scale, scale, 0], [0, 0, 1.0]]
    )
    matrix[2, :2] = rng.normal(0, 0.05, 2) / length
    return matrix


def _mixture(rng: np.random.Generator, parts: tuple[tuple[float, float], ...]) -> float:
    """A normal draw about 0; parts: (share, standard deviation)."""
    sums = np.cumsum([share for share, _ in parts])
    return float(rng.normal(0, parts[int(np.searchsorted(sums, rng.random()))][1]))


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float[..., 2] points after the homography."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved[..., :2] / moved[..., 2:])


def view(photo: Image.Image, matrix: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The wall through a window of `size` pixels, after the homography to the photo's pixels."""
    inverse = np.linalg.inv(matrix)
    coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
    return photo.transform(
        size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )


def expose(rng: np.random.Generator, photo: Image.Image, unit: float) -> Image.Image:
    """The photo as taken; unit: the number's height in pixels. Constants are fitted to crops of
    real train photos (quartiles of contrast, saturation and spectrum; docs/experiments.md)."""
    pixels = light(rng, np.asarray(photo, np.float32), unit)
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    blur = (
        0.55 * np.exp(rng.normal(0, 0.35))
        + 0.006 * unit
        + (unit * rng.uniform(0.0, 0.06) if rng.random() < 0.2 else 0)
    )
    blur = min(blur, 0.065 * unit)
    wide = (
        rng.uniform(1, 1.35) if rng.random() < 0.5 else 1.0
    )  # Street View's stitching and motion blur sideways
    photo = photo.filter(ImageFilter.GaussianBlur((blur * wide, blur)))
    if rng.random() < 0.5:
        photo = photo.filter(
            ImageFilter.UnsharpMask(rng.uniform(1, 2.5), int(rng.uniform(30, 150)), 0)
        )
    pixels = _legible(rng, np.asarray(photo, np.float32))
    pixels = pixels + rng.normal(0, abs(rng.normal(0, 2)), (*pixels.shape[:2], 1)).astype(
        np.float32
    )
    pixels += smooth_noise(rng, photo.size, rng.uniform(1.5, 6), abs(rng.normal(0, 5)), channels=3)
    photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < 0.85:
        stream = io.BytesIO()
        photo.save(stream, "JPEG", quality=int(rng.integers(30, 92)))
        photo = Image.open(stream).convert("RGB")
    return photo


def _legible(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Raises the contrast of a photo whose blurred number nobody could have annotated: 5 % of real
    crops have a standard deviation below 14 grey levels, 25 % below 20."""
    height, width = pixels.shape[:2]
    core = pixels[height // 4 : height - height // 4, width // 4 : width - width // 4, 1]
    deviation, middle = float(core.std()), float(core.mean())
    least = rng.uniform(13, 26)
    if deviation >= least:
        return pixels
    middle_after = min(max(middle, 2.2 * least), 255 - 2.2 * least)
    return (pixels - middle) * (least / max(deviation, 3.0)) + middle_after


def light(rng: np.random.Generator, pixels: np.ndarray, unit: float) -> np.ndarray:
    """Uneven light, exposure, contrast and colour cast."""
    height, width = pixels.shape[:2]
    x = (np.arange(width, dtype=np.float32) - width / 2)[None, :, None] / unit
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None, None] / unit
    angle = rng.uniform(0, 2 * np.pi)
    across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    if rng.random() < 0.5:
        pixels = pixels * np.clip(1 + across * np.float32(rng.normal(0, 0.2)), 0.4, 1.6)
    if rng.random() < 0.1:  # the edge of a shadow
        side = np.clip((across + rng.uniform(-0.7, 0.7)) * rng.uniform(3, 12) + 0.5, 0, 1)
        pixels = pixels * (1 - rng.uniform(0.2, 0.6) * side).astype(np.float32)
    if rng.random() < 0.1:  # glare
        spot = np.exp(
            -((x - rng.normal(0, 0.6)) ** 2 + (y - rng.normal(0, 0.5)) ** 2)
            / rng.uniform(0.05, 0.6)
        )
        pixels = pixels + (rng.uniform(20, 110) * spot).astype(np.float32)
    middle = pixels.mean()
    contrast, exposure = rng.uniform(0.95, 1.35), np.exp(rng.normal(0, 0.15))
    pixels = (pixels - middle) * contrast + middle * exposure
    pixels = pixels * (1 + rng.normal(0, 0.02, 3)).astype(np.float32)
    # Real photos seldom hold black: haze and stray light. Their 2nd percentile is 20 grey levels
    # or more in 95 %.
    black = rng.uniform(0, 30)
    return np.asarray(
        black + pixels.clip(0, 255) * ((rng.uniform(232, 255) - black) / 255), np.float32
    )


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], cell: float, strength: float, channels: int = 1
) -> np.ndarray:
    """float32[H, W, channels]: noise in blobs of about `cell` pixels; 3 channels change hue."""
    cells = (max(2, int(size[1] / cell)), max(2, int(size[0] / cell)))
    layers = []
    for _ in range(min(channels, 2)):
        coarse = Image.fromarray(rng.normal(0, strength, cells).astype(np.float32))
        layers.append(np.asarray(coarse.resize(size, Image.Resampling.BILINEAR)))
    if channels == 3:
        red, blue = layers
        layers = [red, -0.5 * red - 0.2 * blue, blue]
    return np.stack(layers, axis=-1)
