"""The archives, the server and the rehearsal of benchmarks/, on a few photos with annotations of our own."""

import gzip
import http.client
import importlib
import io
import json
import re
import subprocess
import sys
import tarfile

import h5py
import numpy as np
import pytest
from archives import REPOSITORY, run_python
from PIL import Image

from svhn_jax.data import photos
from svhn_jax.data.sources.find import find_source

BENCHMARKS = REPOSITORY / "benchmarks"
LIMIT = 30
TRAIN_LABELS = ["7", "10", "205", "1234", "98760", "135458"]
EXTRA_LABELS = ["42", "100", "9"]


def annotation(place, label):
    """Digits side by side; the first starts left of the photo, where place is even."""
    left = -2 if place % 2 == 0 else 3
    boxes = [[left + 9 * digit, 5 + digit, 8, 14 + place % 3] for digit in range(len(label))]
    return {
        "name": f"{place}.png",
        "width": 60 + place,
        "height": 30 + place,
        "label": label,
        "boxes": boxes,
    }


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """A folder of annotations: 40 photos in train, 20 in test, three numbers in extra."""
    folder = tmp_path_factory.mktemp("annotations")
    for split, count in (("train", 40), ("test", 20)):
        with gzip.open(folder / f"{split}.jsonl.gz", "wt") as lines:
            for place in range(1, count + 1):
                lines.write(
                    json.dumps(annotation(place, TRAIN_LABELS[place % len(TRAIN_LABELS)])) + "\n"
                )
    with gzip.open(folder / "extra_labels.txt.gz", "wt") as lines:
        lines.write("\n".join(EXTRA_LABELS) + "\n")
    return folder


def make_archives(annotations, folder, *more):
    command = [BENCHMARKS / "full_size_archives.py", "--annotations", annotations, "--to", folder]
    finished = run_python(*command, *map(str, more))
    assert finished.returncode == 0, finished
    return finished.stdout


@pytest.fixture(scope="module")
def made(annotations, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_archives(annotations, folder, "--limit", LIMIT)
    return folder


def members(archive):
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


@pytest.mark.parametrize(("split", "count"), [("train", 30), ("test", 20)])
def test_archives_are_read_back_as_annotated(made, annotations, split, count):
    with gzip.open(annotations / f"{split}.jsonl.gz", "rt") as lines:
        expected = [json.loads(line) for line in lines][:count]
    source = find_source(made, split)
    records = source.records()
    assert [record.name for record in records] == [entry["name"] for entry in expected]
    assert ["".join(map(str, record.digits)) for record in records] == [
        entry["label"] for entry in expected
    ]
    assert [record.boxes.tolist() for record in records] == [entry["boxes"] for entry in expected]
    sizes = [photos.decode_photo(photo.content).size for photo in source.photos()]
    assert sizes == [(entry["width"], entry["height"]) for entry in expected]


def test_extra_takes_its_numbers_from_its_file_and_its_boxes_from_train(made):
    records = find_source(made, "extra").records()
    numbers = ["".join(map(str, record.digits)) for record in records]
    assert numbers[:3] == EXTRA_LABELS
    assert numbers[3:] == ["9"] * (
        LIMIT - 3
    )  # one-digit numbers come first among those the file lacks
    boxes_of_train = [
        annotation(place, TRAIN_LABELS[place % len(TRAIN_LABELS)])["boxes"]
        for place in range(1, 41)
    ]
    assert all(record.boxes.tolist() in boxes_of_train for record in records)


def test_digit_struct_is_plain_hdf5(made, annotations):
    content = io.BytesIO(members(made / "train.tar.gz")["train/digitStruct.mat"])
    expected = [
        annotation(place, TRAIN_LABELS[place % len(TRAIN_LABELS)]) for place in range(1, LIMIT + 1)
    ]
    digits = [len(entry["label"]) for entry in expected]
    with h5py.File(content) as file:
        for row, entry in enumerate(expected):
            name, group = (file[file["digitStruct"][field][row, 0]] for field in ("name", "bbox"))
            assert "".join(map(chr, name[:, 0])) == entry["name"]
            columns = []
            for field in ("left", "top", "width", "height", "label"):
                values = group[field][:, 0]
                columns.append(
                    [file[value][0, 0] for value in values] if digits[row] > 1 else values.tolist()
                )
            assert np.array(columns[:4]).T.tolist() == entry["boxes"]
            assert [value % 10 for value in columns[4]] == [int(digit) for digit in entry["label"]]
            assert columns[4].count(10) == entry["label"].count("0")


def test_a_photo_shows_its_digits(made):
    """In the middle of train/7.png's box of a 1 the glyph's stem stands; at the box's corner it does not."""
    photo = Image.open(io.BytesIO(members(made / "train.tar.gz")["train/7.png"]))
    left, top, width, height = annotation(7, "10")["boxes"][0]
    corner, stem = (
        np.array(photo.getpixel(at), int)
        for at in ((left, top), (left + width // 2, top + height // 2))
    )
    assert abs(stem - corner).max() > 60


def test_the_first_photos_do_not_depend_on_how_many_there_are(made, annotations, tmp_path):
    make_archives(annotations, tmp_path, "--limit", 5, "--jobs", 1, "--splits", "test")
    few, many = (members(folder / "test.tar.gz") for folder in (tmp_path, made))
    assert len(few) == 6
    assert all(few[f"test/{place}.png"] == many[f"test/{place}.png"] for place in range(1, 6))


def test_photos_differ_by_split_seed_and_place(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    archives = importlib.import_module("full_size_archives")
    entry = archives.Annotation(**annotation(3, "205"))

    def wall(split, seed, place):
        return Image.open(io.BytesIO(archives.draw(split, seed, (place, entry)))).getpixel(
            (0, entry.height - 1)
        )

    first = wall("train", 0, 3)
    assert wall("train", 0, 3) == first
    for other in (wall("test", 0, 3), wall("train", 1, 3), wall("train", 0, 4)):
        assert np.abs(np.subtract(other, first)).max() > 10  # more than noise


def test_archives_that_are_there_are_not_made_again(made, annotations):
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("*.tar.gz")}
    assert make_archives(annotations, made, "--limit", LIMIT).count("up to date") == 3
    assert {path.name: path.stat().st_mtime_ns for path in made.glob("*.tar.gz")} == before


@pytest.fixture
def server(tmp_path):
    """Port and folder of a server that cuts every 20 kB or so; photo.bin has 100 kB."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "photo.bin").write_bytes(np.random.default_rng(0).bytes(100_000))
    (tmp_path / "beside.bin").touch()
    command = [sys.executable, BENCHMARKS / "flaky_server.py", folder, "--cut-every-mb", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield int(re.search(r":(\d+)$", process.stdout.readline())[1]), folder
        process.terminate()


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        try:
            return response.status, response.getheader("Content-Range"), response.read()
        except http.client.IncompleteRead as error:
            return response.status, response.getheader("Content-Range"), error.partial
    finally:
        connection.close()


def test_flaky_server_sends_the_right_bytes_across_cuts(server):
    port, folder = server
    whole = (folder / "photo.bin").read_bytes()
    status, _, got = get(port, "/photo.bin")
    assert status == 200
    answers = 1
    while len(got) < len(whole):
        status, content_range, more = get(port, "/photo.bin", Range=f"bytes={len(got)}-")
        assert (status, content_range) == (206, f"bytes {len(got)}-99999/100000")
        assert 0 < len(more) <= 30_000
        got += more
        answers += 1
    assert got == whole
    assert answers >= 4


def test_flaky_server_knows_ranges_and_its_folder(server):
    port, folder = server
    whole = (folder / "photo.bin").read_bytes()
    assert get(port, "/photo.bin", Range="bytes=10-19") == (206, "bytes 10-19/100000", whole[10:20])
    assert get(port, "/photo.bin", Range="bytes=100000-") == (416, "bytes */100000", b"")
    assert get(port, "/none.bin")[0] == 404
    assert get(port, "/../beside.bin")[0] == 404


def test_rehearsal_of_a_few_photos(annotations, tmp_path):
    command = [
        "--annotations",
        annotations,
        "--work",
        tmp_path / "work",
        "--limit",
        20,
        "--cuts",
        1,
    ]
    finished = run_python(
        BENCHMARKS / "data_rehearsal.py", *map(str, command), "--json", tmp_path / "figures.json"
    )
    assert finished.returncode == 0, finished
    figures = json.loads(finished.stdout.splitlines()[-1])
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    assert figures["photos"] == {"train": 20, "extra": 20, "test": 20}
    assert figures["checked"] == {"labels_right": 60, "crops_right": 60}
    assert all(
        stage["seconds"] > 0 and stage["largest_rss_mb"] > 0 for stage in figures["stages"].values()
    )
    assert all(found["seconds_for_all"] > 0 for found in figures["alternatives"].values())
