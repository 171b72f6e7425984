"""The camera: a view of the flat wall in perspective, uneven light, blur, noise and JPEG."""

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

# A digit leaves its box's corners mostly empty: its outline is taken for this octagon, in shares
# of the box.
OCTAGON = np.array([[0.2, 0], [0.8, 0], [1, 0.2], [1, 0.8], [0.8, 1], [0.2, 1], [0, 0.8], [0, 0.2]])


def homography(rng: np.random.Generator, stretch: float, scale: float, length: float) -> np.ndarray:
    """float[3, 3] from the wall, its origin the number's centre, to the photo likewise.

    stretch: of the width relative to the height; scale: of the height; length: of the number's
    longer side, on the wall. Street View sees most walls from the side: base lines slope while
    upright strokes stay upright. The slopes follow those of the published boxes: beyond 5 degrees
    in 46 % of the train photos, 10 in 21 %, 20 in 6 %.
    """
    kind, other = rng.random(2)
    slope = rng.normal(-1.0, 2.5 if kind < 0.5 else 8.0 if kind < 0.85 else 16.0)
    slant = rng.normal(0, 3.5 if other < 0.7 else 10.0)
    turn = slope if rng.random() < 0.35 else 0.0  # the rest is seen from the side
    tilt = np.tan(np.radians(min(45.0, max(-45.0, slope))))
    lean = np.tan(np.radians(min(35.0, max(-35.0, slant + turn))))
    wide = stretch * scale
    depth = (rng.normal(0, 0.05, 2) / length).tolist()
    return np.array([[wide, -lean * scale, 0], [tilt * wide, scale, 0], [*depth, 1.0]])


def turned(
    rng: np.random.Generator, size: float, place: np.ndarray, center: np.ndarray
) -> np.ndarray:
    """float[3, 3]: the wall turned in space, `place` on it at `center` of the photo; size: of the
    wall, pixels. Ordinary photos, by eye."""
    strong = rng.random() < 0.3
    yaw = rng.uniform(-0.95, 0.95) if strong else rng.normal(0, 0.25)
    pitch = rng.normal(0, 0.25 if strong else 0.12)
    roll = rng.uniform(-0.4, 0.4) if rng.random() < 0.15 else rng.normal(0, 0.04)
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turn = around_z @ around_x @ around_y
    far = size * rng.uniform(1.0, 3.0)  # focal length and distance, pixels
    plane = np.stack([turn[:, 0], turn[:, 1], np.array([0, 0, far])], axis=1)
    lens = np.array([[far, 0, center[0]], [0, far, center[1]], [0, 0, 1.0]])
    matrix = lens @ plane @ np.array([[1, 0, -place[0]], [0, 1, -place[1]], [0, 0, 1.0]])
    return np.asarray(matrix / matrix[2, 2])


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float[..., 2] points after the homography."""
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(moved[..., :2] / moved[..., 2:])


def project_boxes(matrix: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes (left, top, right, bottom) around the digits after the homography."""
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    outlines = project(matrix, boxes[:, None, :2] + OCTAGON * sides)
    return np.concatenate([outlines.min(axis=1), outlines.max(axis=1)], axis=1)


def view(photo: Image.Image, matrix: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The wall through a window of `size` pixels, after the homography to the photo's pixels."""
    inverse = np.linalg.inv(matrix)
    coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
    return photo.transform(
        size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )


def expose(rng: np.random.Generator, photo: Image.Image, unit: float) -> Image.Image:
    """The photo as Street View takes it; unit: the number's height in pixels. Constants are fitted
    to crops of real train photos (quartiles of contrast, saturation and spectrum;
    docs/experiments.md)."""
    pixels = light(rng, np.asarray(photo, np.float32), unit)
    blur = 0.55 * float(np.exp(rng.normal(0, 0.35))) + 0.006 * unit
    blur = min(blur + unit * (rng.uniform(0, 0.06) if rng.random() < 0.2 else 0), 0.065 * unit)
    wide = rng.uniform(1, 1.35) if rng.random() < 0.5 else 1.0  # stitching, and motion sideways
    photo = focus(rng, to_image(pixels), (blur * wide, blur), sharpened=0.5)
    pixels = _legible(rng, np.asarray(photo, np.float32))
    pixels += smooth_noise(rng, photo.size, rng.uniform(1.5, 6), abs(rng.normal(0, 5)), channels=3)
    return sensor(rng, pixels, noise=2.0, compressed=0.85)


def focus(
    rng: np.random.Generator, photo: Image.Image, blur: tuple[float, float], sharpened: float
) -> Image.Image:
    """Blurred, and a share `sharpened` of photos sharpened after that; blur: pixels, x and y."""
    photo = photo.filter(ImageFilter.GaussianBlur(blur))
    if rng.random() < sharpened:
        mask = ImageFilter.UnsharpMask(rng.uniform(1, 2.5), int(rng.uniform(30, 150)), 0)
        photo = photo.filter(mask)
    return photo


def sensor(
    rng: np.random.Generator, pixels: np.ndarray, noise: float, compressed: float
) -> Image.Image:
    """float32[H, W, 3] with grain, and a share `compressed` of photos saved as JPEG.

    noise: of the standard deviation, its own standard deviation.
    """
    grain = rng.standard_normal((*pixels.shape[:2], 1), np.float32)
    photo = to_image(pixels + grain * np.float32(rng.normal(0, noise)))
    if rng.random() < compressed:
        stream = io.BytesIO()
        photo.save(stream, "JPEG", quality=int(rng.integers(30, 92)))
        photo = Image.frombytes("RGB", photo.size, stream.getvalue(), "jpeg", "RGB", "")
    return photo


def to_image(pixels: np.ndarray) -> Image.Image:
    """The picture of float32[H, W, 3] or [H, W]."""
    return Image.fromarray(np.minimum(np.maximum(pixels, 0), 255).astype(np.uint8))


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
    """Uneven light, exposure, contrast and colour cast; of float32[H, W, 3]."""
    height, width = pixels.shape[:2]
    x = (np.arange(width, dtype=np.float32) - width / 2)[None, :, None] / unit
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None, None] / unit
    angle = rng.uniform(0, 2 * np.pi)
    across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    kind, other = rng.random(2)
    share = np.float32(1)
    if kind < 0.5:
        share = share * np.minimum(
            np.maximum(1 + across * np.float32(rng.normal(0, 0.2)), 0.4), 1.6
        )
    if other < 0.1:  # the edge of a shadow
        side = np.clip((across + rng.uniform(-0.7, 0.7)) * rng.uniform(3, 12) + 0.5, 0, 1)
        share = share * (1 - rng.uniform(0.2, 0.6) * side).astype(np.float32)
    pixels = pixels * share
    if other > 0.9:  # glare
        spot = (x - rng.normal(0, 0.6)) ** 2 + (y - rng.normal(0, 0.5)) ** 2
        glare = rng.uniform(20, 110) * np.exp(-spot / rng.uniform(0.05, 0.6))
        pixels = pixels + glare.astype(np.float32)
    middle = pixels.mean()
    contrast, exposure = rng.uniform(0.95, 1.35), float(np.exp(rng.normal(0, 0.15)))
    cast = 1 + rng.normal(0, 0.02, 3)
    gain, bias = (contrast * cast).astype(np.float32), middle * (exposure - contrast) * cast
    pixels = pixels * gain + bias.astype(np.float32)
    # Real photos seldom hold black: haze and stray light. Their 2nd percentile is 20 grey levels
    # or more in 95 %.
    black = np.float32(rng.uniform(0, 30))
    reach = (np.float32(rng.uniform(232, 255)) - black) / np.float32(255)
    return black + np.minimum(np.maximum(pixels, 0), 255) * reach


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], cell: float, strength: float, channels: int = 1
) -> np.ndarray:
    """float32[H, W, channels]: noise in blobs of about `cell` pixels; 3 channels change hue."""
    high, wide = (max(2, int(side / cell)) for side in (size[1], size[0]))
    coarse = rng.standard_normal((min(channels, 2), high, wide), np.float32) * np.float32(strength)
    above, low = _interpolation(high, size[1])
    left, right = _interpolation(wide, size[0])
    rows = coarse[:, above] + np.diff(coarse, axis=1)[:, above] * low[:, None]
    layers = rows[..., left] + np.diff(rows, axis=2)[..., left] * right
    if channels == 3:
        red, blue = layers
        layers = np.stack([red, -0.5 * red - 0.2 * blue, blue])
    return layers.transpose(1, 2, 0)


@functools.lru_cache(maxsize=4096)
def _interpolation(cells: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel, the cell before it, int[pixels], and the share of the next, float32[pixels].

    Linear, between the middles of the cells.
    """
    place = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    before = np.minimum(place.astype(int), cells - 2)
    return before, (place - before).astype(np.float32)
