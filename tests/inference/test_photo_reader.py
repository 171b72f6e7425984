"""Reading whole photos: every kind of input, boxes, and that company changes nothing."""

import io
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from archives import REPOSITORY
from PIL import Image
from tiny import mesh_of, save_run

import svhn_jax
from svhn_jax import labels
from svhn_jax.data import crop
from svhn_jax.data.crop import Box, crop_number
from svhn_jax.errors import InputError
from svhn_jax.inference.photo_reader import PhotoReader
from svhn_jax.inference.reader import Reader
from svhn_jax.model import inputs, networks
from svhn_jax.training import steps
from svhn_jax.training.devices import put, sharded

BOX = (30.0, 10.5, 40, 22)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("photo_reader"))


@pytest.fixture(scope="module")
def reader(run):
    return PhotoReader(str(run[0].path))


def photo_of(seed, size=(90, 50)):
    """A smooth photo of random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 9, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def png_of(photo):
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    return stream.getvalue()


def test_a_path_bytes_an_image_and_an_array_are_read_alike(reader, tmp_path):
    photo = photo_of(0)
    (tmp_path / "a.png").write_bytes(png_of(photo))
    lazy = Image.open(tmp_path / "a.png")
    alike = [
        str(tmp_path / "a.png"),
        tmp_path / "a.png",
        png_of(photo),
        photo,
        np.asarray(photo),
        lazy,
    ]
    first, *others = (reader.read(one, BOX) for one in alike)
    assert others == [first] * 5
    assert first != reader.read(photo)
    grey = photo.convert("L")
    assert reader.read(np.asarray(grey)) == reader.read(grey) == reader.read(png_of(grey))


def test_a_box_is_cropped_as_training_crops_it(reader, run):
    photo = photo_of(1)
    image = crop_number(photo, crop.union(np.array([BOX])), margin=0.3, size=24)
    wanted = Reader(str(run[0].path), batch_size=4).read(image[None])
    read = reader.read(photo, BOX)
    assert read.number == labels.decode(wanted.labels[0])
    assert (read.box, read.found) == (Box(30, 10.5, 70, 32.5), None)
    assert read.confidence == float(np.exp(np.float64(wanted.log_p[0])))
    assert read.length_p == float(np.exp(np.float64(wanted.length_log_p[0])))
    assert len(read.digits) == len(read.number.rstrip("+"))
    np.testing.assert_allclose(read.length_p * np.prod(read.digits), read.confidence, rtol=1e-5)
    assert reader.read(photo, read.box) == read


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33])
def test_a_photo_alone_and_in_company_gives_the_same_bits(reader, count):
    pictures = [photo_of(seed) for seed in range(count)]
    assert reader.read_many(pictures) == [reader.read(photo) for photo in pictures]


def test_boxes_stand_beside_their_photos(reader):
    pictures, boxes = [photo_of(0), photo_of(1), photo_of(2)], [None, BOX, "whole"]
    assert reader.read_many(iter(pictures), iter(boxes)) == list(map(reader.read, pictures, boxes))
    with pytest.raises(InputError, match="photos and boxes differ in number"):
        reader.read_many(pictures, boxes[:2])
    assert reader.read_many([]) == []


class Place(NamedTuple):
    box: Box
    score: float


class FindsCorner:
    """Finds the top left quarter of wide photos, and something worse; nothing in high ones."""

    def find(self, photo):
        width, height = photo.size
        best = Place(Box(0, 0, width / 2, height / 2), 0.75)
        return [best, Place(Box(5, 5, 9, 9), 0.25)] if width > height else []


def test_without_a_box_the_finder_says_where_the_number_is(run, reader):
    finding = PhotoReader(str(run[0].path), finder=FindsCorner())
    photo = photo_of(3)
    read = finding.read(photo)
    assert (read.box, read.found) == (Box(0, 0, 45, 25), 0.75)
    assert read.confidence == reader.read(photo, (0, 0, 45, 25)).confidence
    assert finding.read(photo, BOX) == reader.read(photo, BOX)
    assert finding.read(photo, "whole") == reader.read(photo, "whole") == reader.read(photo)
    high = photo_of(4, (50, 90))
    nothing = finding.read(high)
    assert nothing == ("", 0.0, (), 0.0, None, 0.0)
    assert (nothing.shown, nothing.is_doubtful(0.1)) == ("nothing", True)
    assert finding.read_many([high, photo, high]) == [nothing, read, nothing]


class Finds:
    def __init__(self, *found):
        self.found = found

    def find(self, photo):
        return self.found


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_the_place_of_the_greatest_score_times_the_root_of_its_confidence_is_read(
    run, reader, factor
):
    photo = photo_of(3)
    boxes = [Box(x, y, x + 30, y + 20) for x in (0, 30, 60) for y in (0, 30)]
    readings = sorted(
        (reader.read(photo, box) for box in boxes), key=lambda reading: reading.confidence
    )
    low, high = readings[0], readings[-1]
    even = (
        0.8 * (low.confidence / high.confidence) ** 0.5
    )  # with this score the second place is worth as much as the first
    assert factor * even < 0.8
    first, second = Place(low.box, 0.8), Place(high.box, factor * even)
    read = PhotoReader(str(run[0].path), finder=Finds(first, second)).read(photo)
    assert (read.box, read.found) == (second if factor > 1 else first)


def test_the_exif_orientation_of_files_and_images_is_applied(reader):
    image = Image.Exif()
    image[0x0112] = 6
    turned, content = photo_of(5).rotate(90, expand=True), io.BytesIO()
    turned.save(content, "PNG", exif=image)
    opened = Image.open(io.BytesIO(content.getvalue()))
    assert opened.size == (50, 90)
    assert (
        reader.read(content.getvalue(), BOX)
        == reader.read(opened, BOX)
        == reader.read(photo_of(5), BOX)
    )


def test_test_time_augmentation_reads_as_evaluate_does(run, reader):
    folder, config, state = run
    averaging = PhotoReader(str(folder.path), tta=True)
    photo = photo_of(6)
    eval_step = steps.compile_eval_step(
        config, networks.build(config.model), mesh_of(1), len(inputs.VIEWS)
    )
    image = averaging.crop(photo, BOX).image[None]
    batch = put((image, np.full((1, 6), 10, np.int32), np.ones(1, np.int32)), sharded(mesh_of(1)))
    _, wanted = eval_step(state.eval_variables(), *batch)
    read = averaging.read(photo, BOX)
    assert read.number == labels.decode(np.asarray(wanted.labels[0]))
    np.testing.assert_allclose(np.log(read.confidence), wanted.log_p[0], rtol=1e-4, atol=1e-5)
    assert read.confidence != reader.read(photo, BOX).confidence


@pytest.mark.parametrize(
    ("photo", "box", "words"),
    [
        ("none.png", None, "none.png: no such file or directory"),
        (b"", None, "the photo: an empty file"),
        (b"no photo", None, "the photo: not a readable image; convert it to PNG or JPEG"),
        (np.zeros((4, 4, 3)), None, r"the photo: float64\[4, 4, 3\]; give a path, a file.s bytes"),
        (np.zeros((4, 4, 2), np.uint8), None, r"the photo: uint8\[4, 4, 2\]; give"),
        (np.zeros((0, 4, 3), np.uint8), None, "no pixels"),
        (photo_of(0), (95, 0, 10, 10), "its boxes lie outside the photo of 90 x 50 pixels"),
        (
            photo_of(0),
            (1, 2, 3),
            r"box is \(1, 2, 3\); give \(left, top, width, height\) in pixels",
        ),
        (photo_of(0), (1, 2, 0, 3), "the box has no width or height"),
        (photo_of(0), (1, float("nan"), 3, 3), "top is nan, outside any photo"),
        (photo_of(0), (1, "x", 3, 3), "give"),
        (photo_of(0), (-3e6, 0, 6e6, 3), r"left is -3e\+06, outside any photo"),
        (photo_of(0), Box(10, 5, 10, 20), "the box has no width or height"),
        (photo_of(0), Box(float("nan"), 5, 10, 20), "left is nan, outside any photo"),
        (photo_of(0), "all", "box is 'all'; give"),
        (None, None, "give a path, a file's bytes, a Pillow image"),
        (Image.new("I", (9, 9)), None, "32-bit pixels, whose white is unknown"),
        (Image.new("F", (9, 9)), None, "32-bit pixels, whose white is unknown"),
    ],
)
def test_what_cannot_be_read_is_one_line_of_error(reader, photo, box, words):
    with pytest.raises(InputError, match=words):
        reader.read(photo, box)


def test_a_damaged_image_object_is_an_error_too(reader):
    content = png_of(photo_of(0))
    opened = Image.open(io.BytesIO(content[: len(content) // 2]))  # reads the header alone
    with pytest.raises(InputError, match="the photo: damaged image"):
        reader.read(opened)


def test_load_gives_a_reader_of_a_run_and_step(run, reader, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept as it is")
    loaded = svhn_jax.load(str(run[0].path), "7", tta=True)
    assert (loaded.reader.step, loaded.max_digits) == (7, 5)
    assert loaded.read(photo_of(0)) != reader.read(photo_of(0))
    assert svhn_jax.load(str(run[0].path), 7).reader.step == 7
    with pytest.raises(InputError, match="--step is '8'; it must be latest, best or one of 7"):
        svhn_jax.load(str(run[0].path), 8)


def test_the_package_is_imported_without_jax():
    code = (
        "import sys, svhn_jax, svhn_jax.predict, svhn_jax.inference.reading\n"
        "svhn_jax.load\nsys.exit(any(name in sys.modules for name in ('jax', 'orbax', 'flax', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_one_photo_in_place_of_several_is_an_error(reader):
    with pytest.raises(InputError, match="photos is one photo"):
        reader.read_many("door.jpg")


def test_any_bytes_are_read(reader):
    content = png_of(photo_of(0))
    assert (
        reader.read(bytearray(content)) == reader.read(memoryview(content)) == reader.read(content)
    )
