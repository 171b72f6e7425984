"""Reading whole photos: every kind of input, boxes, and that company changes nothing."""

import io
import subprocess
import sys

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
from svhn_jax.inference import photo_reader
from svhn_jax.inference.finder import Candidate
from svhn_jax.inference.photo_reader import PhotoReader
from svhn_jax.inference.reader import Reader
from svhn_jax.model import inputs, networks
from svhn_jax.training import evaluator
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


def png_of(photo, **options):
    stream = io.BytesIO()
    photo.save(stream, "PNG", **options)
    return stream.getvalue()


def test_every_kind_of_photo_is_read_alike(reader, tmp_path):
    photo = photo_of(0)
    content = png_of(photo)
    (tmp_path / "a.png").write_bytes(content)
    files = [str(tmp_path / "a.png"), tmp_path / "a.png", Image.open(tmp_path / "a.png")]
    alike = [*files, content, bytearray(content), memoryview(content), photo, np.asarray(photo)]
    first, *others = (reader.read(one, BOX) for one in alike)
    assert others == [first] * 7
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
    assert len(read.digits) == len(read.number.rstrip("+"))
    np.testing.assert_allclose(read.length_p * np.prod(read.digits), read.confidence, rtol=1e-5)
    assert reader.read(photo, read.box) == read


def test_boxes_stand_beside_their_photos(reader):
    assert reader.read_many([]) == []
    pictures, boxes = [photo_of(0), photo_of(1), photo_of(2)], [None, BOX, "whole"]
    assert reader.read_many(iter(pictures), iter(boxes)) == list(map(reader.read, pictures, boxes))
    with pytest.raises(ValueError, match="zip"):
        reader.read_many(pictures, boxes[:2])
    with pytest.raises(InputError, match="one photo"):
        reader.read_many("door.jpg")


def candidate(box, number):
    """A stack, whose digits the finder reads: the reader's weights are random."""
    return Candidate(box, 0.75, 2.0, number, (0.9,) * len(number), True)


class Finds:
    """Finds these candidates in wide photos, nothing in high ones."""

    def __init__(self, *candidates):
        self.candidates = candidates

    def find(self, photo):
        return list(self.candidates) if photo.width > photo.height else []


def test_without_a_box_the_number_is_where_the_finder_finds_it(run, reader):
    corner = candidate(Box(0, 0, 45, 25), "12")
    finding = PhotoReader(str(run[0].path), finder=Finds(corner))
    photo, high = photo_of(3), photo_of(4, (50, 90))
    read = finding.read(photo)
    assert (read.box, read.found) == (corner.box, corner.score)
    assert read.number == "12"
    assert finding.read(photo, BOX) == reader.read(photo, BOX)
    assert finding.read(photo, "whole") == reader.read(photo, "whole") == reader.read(photo)
    nothing = finding.read(high)
    assert nothing == ("", 0.0, (), 0.0, None, 0.0)
    assert finding.read_many([high, photo, high]) == [nothing, read, nothing]


def test_the_exif_orientation_of_files_and_images_is_applied(reader):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = png_of(photo_of(5).rotate(90, expand=True), exif=exif)
    opened = Image.open(io.BytesIO(content))
    assert opened.size == (50, 90)
    assert reader.read(content, BOX) == reader.read(opened, BOX) == reader.read(photo_of(5), BOX)


def test_test_time_augmentation_reads_as_evaluate_does(run, reader):
    folder, config, state = run
    averaging = PhotoReader(str(folder.path), tta=True)
    photo, network = photo_of(6), networks.build(config.model)
    eval_step = evaluator.compile_eval_step(config, network, mesh_of(1), len(inputs.VIEWS))
    images = averaging.crop(photo, photo_reader.as_box(BOX))[None]
    batch = put((images, np.full((1, 6), 10, np.int32), np.ones(1, np.int32)), sharded(mesh_of(1)))
    _, wanted = eval_step(state.eval_variables(), *batch)
    read = averaging.read(photo, BOX)
    assert read.number == labels.decode(np.asarray(wanted.labels[0]))
    np.testing.assert_allclose(np.log(read.confidence), wanted.log_p[0], rtol=1e-4, atol=1e-5)
    assert read.confidence != reader.read(photo, BOX).confidence


@pytest.mark.parametrize(
    ("photo", "box", "named"),
    [
        ("none.png", None, "none.png"),
        (b"", None, "the photo"),
        (png_of(photo_of(0))[:900], None, "the photo"),
        (Image.open(io.BytesIO(png_of(photo_of(0))[:900])), None, "the photo"),
        (np.zeros((4, 4, 3)), None, "the photo"),
        (None, None, "the photo"),
        (Image.new("I", (9, 9)), None, "the photo"),
        (photo_of(0), (95, 0, 10, 10), "90 x 50"),
        (photo_of(0), (1, 2, 3), r"box is \(1, 2, 3\)"),
        (photo_of(0), (1, float("nan"), 3, 3), "top is nan"),
        (photo_of(0), Box(10, 5, 10, 20), "box is"),
        (photo_of(0), "all", "box is all"),
    ],
)
def test_what_cannot_be_read_is_one_line_of_error(reader, photo, box, named):
    with pytest.raises(InputError, match=named):
        reader.read(photo, box)


def test_load_gives_a_reader_of_a_run_and_step(run, reader):
    loaded = svhn_jax.load(str(run[0].path), "7", tta=True)
    assert (loaded.reader.step, loaded.max_digits) == (7, 5)
    assert loaded.read(photo_of(0), BOX) != reader.read(photo_of(0), BOX)
    with pytest.raises(InputError, match="--step is 8"):
        svhn_jax.load(str(run[0].path), 8)


@pytest.mark.parametrize("folder", ["https://x/y", "GS://bucket/run", "gs:/bucket/run"])
def test_a_folder_of_a_scheme_that_is_not_supported_is_one_line(folder):
    with pytest.raises(InputError, match=f"^{folder}"):
        svhn_jax.load(folder)


def test_the_package_is_imported_without_jax():
    code = (
        "import sys, svhn_jax.predict, svhn_jax.evaluate, svhn_jax.box\n"
        "sys.exit(any(name in sys.modules for name in ('jax', 'orbax', 'flax', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
