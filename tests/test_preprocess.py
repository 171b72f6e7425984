"""python -m svhn_jax.preprocess: which numbers end in which split, and what becomes of the rest."""

import json
import os
import shutil
import signal
import sys
import tarfile
import time

import numpy as np
import pytest
from archives import (
    MAT,
    REPOSITORY,
    assert_one_error_line,
    color_of,
    contents,
    fields,
    mat_bytes,
    png,
    run_python,
    split_files,
    tree,
    write_split,
)

from svhn_jax import labels, preprocess
from svhn_jax.data import accounting, arrays, photos, writing
from svhn_jax.data.prepare import build, crops, progress
from svhn_jax.data.prepare.assign import choose_validation
from svhn_jax.errors import InputError

TRAIN = [
    str(n) for n in [*range(1, 10), *range(10, 40), *range(100, 119), 123456]
]  # 9, 30, 19 and one of six
EXTRA = [str(n) for n in range(40, 60)]
TEST = ["7", "31", "270", "4711", "98765"]


def prepare(monkeypatch, raw, to, *options):
    """The command, run in this process; returns the manifest."""
    monkeypatch.setattr(
        sys, "argv", ["preprocess", "--raw", str(raw), "--to", str(to), *map(str, options)]
    )
    preprocess.main()
    return json.loads((to / "manifest.json").read_text())


def numbers_of(folder, split):
    return [labels.decode(label) for label in arrays.load_split(folder, split).labels]


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    for split, numbers in (("train", TRAIN), ("extra", EXTRA), ("test", TEST)):
        write_split(folder, split, split_files(tmp_path, numbers))
    return folder


@pytest.fixture
def small(tmp_path):
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TEST))
    return tmp_path / "raw"


def test_every_number_lands_once_with_its_own_image_label_and_name(raw, tmp_path, monkeypatch):
    manifest = prepare(
        monkeypatch, raw, tmp_path / "set", "--size", 16, "--validation-fraction", 0.1
    )
    # a tenth, rounded down, of train's 9, 30 and 19 and of extra's 20: 0 + 3 + 1 + 2; the one of six digits stays
    assert {split: entry["examples"] for split, entry in manifest["splits"].items()} == {
        "train": 59 + 20 - 6,
        "validation": 6,
        "test": 5,
    }
    assert manifest["splits"]["validation"]["lengths"] == {"2": 5, "3": 1}
    assert manifest["sources"]["train"]["noted"]["a number of more than 5 digits"] == 1
    assert [manifest["sources"][split]["kept"] for split in ("train", "extra", "test")] == [
        59,
        20,
        5,
    ]
    seen = []
    for split in arrays.SPLITS:
        images, targets, names, *_ = arrays.load_split(tmp_path / "set", split)
        assert images.shape == (len(names), 16, 16, 3)
        for image, label, name in zip(images, targets, names, strict=True):
            source, file = name.decode().split("/")
            number = {"train": TRAIN, "extra": EXTRA, "test": TEST}[source][
                int(file.removesuffix(".png")) - 1
            ]
            assert labels.decode(label) == (number if len(number) < 6 else number[:5] + "+")
            assert (image == color_of(number)).all()
            assert (source == "test") == (split == "test")
            seen.append(name)
    assert len(seen) == len(set(seen)) == 59 + 20 + 5


def test_the_published_counts_give_11782_validation_numbers():
    counts = {
        "train": (5137, 18130, 8691, 1434, 9, 1),
        "extra": (9385, 71726, 106789, 14338, 115, 0),
    }
    lengths = {split: np.repeat(np.arange(1, 7), by_length) for split, by_length in counts.items()}
    chosen = choose_validation(lengths, 0.05, seed=0, max_digits=5)
    held_out = {
        split: np.bincount(lengths[split][chosen[split]], minlength=7)[1:].tolist()
        for split in lengths
    }
    assert held_out == {"train": [256, 906, 434, 71, 0, 0], "extra": [469, 3586, 5339, 716, 5, 0]}
    assert sum(map(sum, held_out.values())) == 11_782


def test_the_choice_depends_on_the_seed_and_the_split_and_on_no_other_length():
    def choose(lengths, split="train", seed=3):
        return choose_validation({split: np.array(lengths)}, 0.2, seed, 5)[split].tolist()

    assert choose([2] * 50) == choose([2] * 50)
    assert choose([2] * 50) != choose([2] * 50, seed=4)
    assert choose([2] * 50) != choose([2] * 50, split="extra")
    assert choose([2] * 50 + [3] * 50)[:50] == choose([2] * 50)
    assert sum(choose([2] * 14)) == 2
    assert not any(choose([0] * 50 + [6] * 50))


def test_whatever_cannot_be_used_is_named_with_the_reason(tmp_path, monkeypatch):
    box = [[4.0, 6, 6, 12]]
    records = [
        ("good.png", fields("1", box)),
        ("gone.png", fields("2", box)),
        ("torn.png", fields("3", box)),
        ("good.png", fields("4", box)),
        ("boxless.png", {}),
        ("outside.png", fields("5", [[400, 6, 6, 12]])),
        ("long.png", fields("654321", [[1.0 + 6 * i, 6, 6, 12] for i in range(6)])),
        ("edge.png", fields("6", [[-2.0, 6, 10, 12]])),
    ]
    photos = {"good": "1", "outside": "5", "long": "65432", "edge": "6", "stranger": "7"}
    files = {f"{name}.png": png(color_of(number)) for name, number in photos.items()}
    files["torn.png"] = png(size=(300, 200))[:-40]
    write_split(
        tmp_path / "raw", "test", files | {MAT: mat_bytes(tmp_path, records)}, as_archive=False
    )
    source = prepare(monkeypatch, tmp_path / "raw", tmp_path / "set")["sources"]["test"]
    reasons = {(entry["name"], entry["reason"].split(" (")[0]) for entry in source["skipped"]}
    assert reasons == {
        ("good.png", "a second record of that name"),
        ("gone.png", "no such photo"),
        ("torn.png", "damaged image"),
        ("boxless.png", "no box: its bbox has no field label"),
        ("outside.png", "its boxes lie outside the photo of 40 x 24 pixels"),
        ("stranger.png", "no record of that name"),
    }
    assert source["kept"] == 3
    assert numbers_of(tmp_path / "set", "test") == ["1", "65432+", "6"]
    shown = arrays.load_split(tmp_path / "set", "test").images[:, 32, 32]
    assert shown.tolist() == [list(color_of(number)) for number in ("1", "65432", "6")]
    assert source["noted"] == {
        "a box reaches past the photo's edge": 1,
        "a box starts left of or above the photo": 1,
        "a number of more than 5 digits": 1,
    }


def test_a_photo_whose_record_is_bad_is_named_once_for_the_record(tmp_path, monkeypatch):
    good = ("2.png", {"label": [5], "left": [1], "top": [1], "width": [5], "height": [9]})
    files = {"1.png": png(), "2.png": png(), MAT: mat_bytes(tmp_path, [("1.png", {}), good])}
    write_split(tmp_path / "raw", "test", files)
    source = prepare(monkeypatch, tmp_path / "raw", tmp_path / "set")["sources"]["test"]
    assert source["skipped"] == [{"name": "1.png", "reason": "no box: its bbox has no field label"}]


def test_a_split_without_one_usable_record_is_refused_naming_the_first(tmp_path, monkeypatch):
    files = {"1.png": png(), MAT: mat_bytes(tmp_path, [("1.png", {})])}
    write_split(tmp_path / "raw", "test", files)
    with pytest.raises(
        InputError, match=r"none of its photos can be used; the first, 1.png: no box"
    ):
        prepare(monkeypatch, tmp_path / "raw", tmp_path / "set")


def test_archive_or_folder_and_any_number_of_jobs_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(crops, "PHOTOS_PER_BLOCK", 4)  # several blocks
    monkeypatch.setattr(crops, "PHOTOS_PER_PROCESS", 1)
    files = split_files(tmp_path, TRAIN)
    write_split(tmp_path / "packed", "train", files)
    write_split(tmp_path / "unpacked", "train", files, as_archive=False)
    made = []
    for name, source, jobs in (("a", "packed", 1), ("b", "packed", 2), ("c", "unpacked", 2)):
        prepare(
            monkeypatch,
            tmp_path / source,
            tmp_path / name,
            "--jobs",
            jobs,
            "--validation-fraction",
            0.3,
        )
        made.append({k: v for k, v in contents(tmp_path / name).items() if k.endswith(".npy")})
    assert sorted(made[0]) == sorted(
        f"{s}/{a}.npy"
        for s in ("train", "validation")
        for a in ("images", "labels", "names", "boxes", "sizes")
    )
    assert made[0] == made[1] == made[2]


def test_a_second_run_touches_nothing_and_another_margin_makes_all_anew(small, tmp_path):
    arguments = ("-m", "svhn_jax.preprocess", "--raw", small, "--to", tmp_path / "set")
    first = run_python(*arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert "test: 5 kept, 0 skipped" in first.stdout
    made = tree(tmp_path / "set")
    shutil.copytree(
        tmp_path / "set", tmp_path / ".set.old"
    )  # left by a kill just after the set took its place
    second = run_python(*arguments)
    assert second.returncode == 0
    assert not (tmp_path / ".set.old").exists()
    assert "is up to date" in " ".join(second.stdout.split())
    assert tree(tmp_path / "set") == made
    third = run_python(*arguments, "--margin", "0.5")
    assert "up to date" not in " ".join(third.stdout.split())
    assert json.loads((tmp_path / "set" / "manifest.json").read_text())["crop"]["margin"] == 0.5


@pytest.mark.parametrize("change", ["another source", "damaged array", "damaged manifest"])
def test_a_set_that_no_longer_fits_is_made_anew(small, tmp_path, monkeypatch, change):
    prepare(monkeypatch, small, tmp_path / "set")
    if change == "another source":
        write_split(small, "test", split_files(tmp_path, ["8", "9"]))
    elif change == "damaged array":
        (tmp_path / "set" / "test" / "images.npy").write_bytes(b"junk")
    else:
        (tmp_path / "set" / "manifest.json").write_text("{")
    prepare(monkeypatch, small, tmp_path / "set")
    assert numbers_of(tmp_path / "set", "test") == (
        ["8", "9"] if change == "another source" else TEST
    )


def test_max_digits_makes_longer_labels_and_holds_out_longer_numbers(
    raw, tmp_path, monkeypatch, capsys
):
    options = ("--size", 16, "--validation-fraction", 0.5)
    five = prepare(monkeypatch, raw, tmp_path / "set", *options)
    assert five["max_digits"] == 5
    assert "123456" not in "".join(numbers_of(tmp_path / "set", "validation"))
    write_split(raw, "train", split_files(tmp_path, [*TRAIN, "7654321"]))
    eight = prepare(monkeypatch, raw, tmp_path / "set", *options, "--max-digits", 8)
    assert "up to date" not in capsys.readouterr().out
    assert eight["max_digits"] == 8
    assert eight["sources"]["train"]["noted"]["a number of more than 8 digits"] == 0
    for split in arrays.SPLITS:
        assert arrays.load_split(tmp_path / "set", split).labels.shape[1] == 9
    assert {"123456", "7654321"} < {*numbers_of(tmp_path / "set", "train")}
    both = prepare(monkeypatch, raw, tmp_path / "set", *options, "--max-digits", 6)
    assert "765432+" in numbers_of(tmp_path / "set", "train")
    assert both["sources"]["train"]["noted"]["a number of more than 6 digits"] == 1
    prepare(monkeypatch, raw, tmp_path / "set", *options, "--max-digits", 6)
    assert "is up to date" in " ".join(capsys.readouterr().out.split())


def test_numbers_of_every_length_up_to_max_digits_are_held_out():
    lengths = {"train": np.repeat(np.arange(1, 10), 10)}
    chosen = choose_validation(lengths, 0.2, seed=0, max_digits=8)["train"]
    assert np.bincount(lengths["train"][chosen], minlength=10).tolist() == [0, *[2] * 8, 0]
    five = choose_validation(lengths, 0.2, seed=0, max_digits=5)["train"]
    assert (chosen[:50] == five[:50]).all()  # a length is drawn for itself


def test_a_set_of_a_version_without_max_digits_is_up_to_date(small, tmp_path, monkeypatch, capsys):
    prepare(monkeypatch, small, tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["max_digits"]
    path.write_text(json.dumps(manifest))
    monkeypatch.setattr(
        sys, "argv", ["preprocess", "--raw", str(small), "--to", str(tmp_path / "set")]
    )
    preprocess.main()
    assert "is up to date" in " ".join(capsys.readouterr().out.split())


def test_a_manifest_without_splits_is_made_anew(small, tmp_path, monkeypatch):
    prepare(monkeypatch, small, tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_text('{"format": 1}')
    prepare(monkeypatch, small, tmp_path / "set")


def test_a_run_that_fails_leaves_the_old_set_whole(small, tmp_path, monkeypatch):
    prepare(monkeypatch, small, tmp_path / "set")
    made = tree(tmp_path / "set")
    archive = small / "test.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-400])
    finished = run_python("-m", "svhn_jax.preprocess", "--raw", small, "--to", tmp_path / "set")
    assert_one_error_line(finished)
    assert f"{archive}: damaged or cut short" in finished.stderr
    assert tree(tmp_path / "set") == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "set"]


KILLED = """
import os, signal, sys
from svhn_jax import preprocess
from svhn_jax.data.prepare import crops
from {package} import {module}
crops.PHOTOS_PER_BLOCK = 4
original, calls = {module}.{function}, 0
def dies(*arguments, **named):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)
{module}.{function} = dies
preprocess.main()
"""
MOMENTS = [
    ("photos", "decode_photo", 30),
    ("progress", "_commit", 1),
    ("progress", "_commit", 3),
    ("progress.os", "fsync", 1),
    ("writing", "create_images", 2),
    ("writing", "finish_split", 1),
    ("writing", "finish_split", 3),
    ("files", "sha256", 4),
    ("files", "write_text", 1),
    ("files", "write_text", 2),
    ("writing.os", "rename", 1),
]


@pytest.mark.parametrize(("module", "function", "call"), MOMENTS)
def test_killed_anywhere_the_same_command_ends_with_the_same_bytes(
    raw, tmp_path, monkeypatch, module, function, call
):
    with tarfile.open(raw / "train.tar.gz") as archive:
        files = {
            member.name.removeprefix("train/"): archive.extractfile(member).read()
            for member in archive
        }
    files["7.png"] = b"damaged: its row is closed up at the end"
    write_split(raw, "train", files)
    prepare(monkeypatch, raw, tmp_path / "whole")
    package = {"progress": "svhn_jax.data.prepare", "files": "svhn_jax"}.get(
        module.split(".")[0], "svhn_jax.data"
    )
    code = KILLED.format(package=package, module=module, function=function, call=call)
    code = code.replace(f"import {module}", f"import {module.removesuffix('.os')}")
    killed = run_python("-c", code, "--raw", raw, "--to", tmp_path / "set")
    assert killed.returncode == -signal.SIGKILL, killed
    assert not (tmp_path / "set").exists()
    assert (tmp_path / ".set.partial").exists()
    prepare(monkeypatch, raw, tmp_path / "set")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "set", "whole"]


def test_what_a_killed_run_has_cropped_is_not_cropped_again(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(crops, "PHOTOS_PER_BLOCK", 4)
    monkeypatch.setattr(build, "BLOCKS_PER_COMMIT", 2)
    decode, decoded = photos.decode_photo, []

    def stop_after_30(content):
        decoded.append(content)
        if len(decoded) == 30:
            raise KeyboardInterrupt
        return decode(content)

    monkeypatch.setattr(photos, "decode_photo", stop_after_30)
    with pytest.raises(KeyboardInterrupt):
        prepare(monkeypatch, raw, tmp_path / "set")
    prepare(monkeypatch, raw, tmp_path / "set")
    total = len(TRAIN) + len(EXTRA) + len(TEST)
    assert len(decoded) == 30 + total - 24  # three commits of two blocks of four
    prepare(monkeypatch, raw, tmp_path / "other")
    assert contents(tmp_path / "set") == contents(tmp_path / "other")


ORPHANED = """
import os, sys
from svhn_jax import preprocess
from svhn_jax.data.prepare import crops, progress
crops.PHOTOS_PER_PROCESS = 1
def tell_and_die(*_):
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    print(*[c for c in children if "spawn_main" in open(f"/proc/{c}/cmdline").read()], flush=True)
    os.kill(os.getpid(), 9)
progress._commit = tell_and_die
preprocess.main()
"""


def test_worker_processes_do_not_outlive_a_killed_parent(raw, tmp_path):
    killed = run_python("-c", ORPHANED, "--raw", raw, "--to", tmp_path / "set", "--jobs", 2)
    workers = killed.stdout.split()
    assert workers
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{worker}") for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_plan_takes_nothing_over_from_an_unfinished_one(raw, tmp_path, monkeypatch):
    original = progress._commit

    def stop_at_the_end_of_extra(unfinished, sizes, entry):
        original(unfinished, sizes, entry)
        if entry.source == "extra":
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "_commit", stop_at_the_end_of_extra)
    with pytest.raises(KeyboardInterrupt):
        prepare(monkeypatch, raw, tmp_path / "set")
    monkeypatch.setattr(progress, "_commit", original)
    prepare(monkeypatch, raw, tmp_path / "set", "--margin", 0.7)
    prepare(monkeypatch, raw, tmp_path / "fresh", "--margin", 0.7)
    assert contents(tmp_path / "set") == contents(tmp_path / "fresh")


def test_two_at_once_on_one_target_do_not_spoil_each_other(small, tmp_path, monkeypatch):
    with writing.building(tmp_path / "set") as partial:
        (partial / "mine").write_text("half")
        with pytest.raises(
            InputError, match=rf"process {os.getpid()} on \S+ is preparing that data set"
        ):
            prepare(monkeypatch, small, tmp_path / "set")
        assert (partial / "mine").read_text() == "half"


def test_half_a_line_of_progress_is_forgotten(raw, tmp_path, monkeypatch):
    original = progress._commit

    def tear(unfinished, sizes, entry):
        original(unfinished, sizes, entry)
        with open(unfinished.folder / "progress.jsonl", "a") as file:
            file.write('{"source": "te')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "_commit", tear)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            prepare(monkeypatch, raw, tmp_path / "set")
    monkeypatch.setattr(progress, "_commit", original)
    prepare(monkeypatch, raw, tmp_path / "set")
    prepare(monkeypatch, raw, tmp_path / "whole")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_a_source_that_changes_while_it_is_read_is_noticed(small, tmp_path, monkeypatch):
    original = build._crop_source

    def crop_then_change(*arguments, **named):
        original(*arguments, **named)
        write_split(small, "test", split_files(tmp_path, ["8", "9", "10"]))

    monkeypatch.setattr(build, "_crop_source", crop_then_change)
    with pytest.raises(InputError, match=r"test\.tar\.gz: changed while it was read"):
        prepare(monkeypatch, small, tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_few_large_photos_are_in_flight_at_once(monkeypatch):
    monkeypatch.setattr(crops, "BYTES_PER_BLOCK", 100)
    sizes = [60, 60, 10, 10, 300, 5]
    blocks = crops.blocks(crops.Task(str(size), "", bytes(size)) for size in sizes)
    assert [[len(task.content) for task in block] for block in blocks] == [
        [60, 60],
        [10, 10, 300],
        [5],
    ]


def test_limit_takes_the_first_numbers_of_each_source(raw, tmp_path, monkeypatch):
    manifest = prepare(monkeypatch, raw, tmp_path / "set", "--limit", 4, "--validation-fraction", 0)
    assert numbers_of(tmp_path / "set", "train") == TRAIN[:4] + EXTRA[:4]
    assert numbers_of(tmp_path / "set", "test") == TEST[:4]
    assert [source["skipped"] for source in manifest["sources"].values()] == [[], [], []]


def test_boxes_and_sizes_are_those_of_the_photo(small, tmp_path, monkeypatch):
    prepare(monkeypatch, small, tmp_path / "set")
    boxes, sizes = arrays.load_geometry(tmp_path / "set", "test")
    assert sizes.tolist() == [[40, 24]] * 5
    assert boxes.tolist() == [[4.0, 6, 6 * len(number), 12] for number in TEST]


def test_too_little_space_is_said_before_anything_is_cropped(small, tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 400_000})  # enough for digitStruct.mat
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"the crops need 0\.00 GB and 0\.00 GB are free there"):
        prepare(monkeypatch, small, tmp_path / "set", "--size", 256)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("name", ["thesis.txt", "manifest.json"])
def test_a_folder_of_something_else_is_refused_and_kept(small, tmp_path, monkeypatch, name):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text('{"name": "my web page"}')
    with pytest.raises(InputError, match="holds other files than a prepared data set"):
        prepare(monkeypatch, small, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {name: b'{"name": "my web page"}'}


def test_the_photos_themselves_are_never_the_target(tmp_path, monkeypatch):
    write_split(tmp_path / "raw", "test", split_files(tmp_path, TRAIN), as_archive=False)
    before = contents(tmp_path / "raw")
    for target in ("raw", "raw/test", "."):
        with pytest.raises(InputError, match=r"the folder of the photos|holds other files"):
            prepare(monkeypatch, tmp_path / "raw", tmp_path / target)
    (tmp_path / "other").mkdir()
    (tmp_path / "raw" / "test").rename(tmp_path / "other" / "test")
    with pytest.raises(InputError, match="holds other files"):
        prepare(monkeypatch, small_raw(tmp_path), tmp_path / "other")
    assert contents(tmp_path / "other") == before


def small_raw(folder):
    write_split(folder / "small_raw", "test", split_files(folder, TRAIN))
    return folder / "small_raw"


def test_a_split_that_is_there_is_not_lost_for_want_of_its_archive(raw, tmp_path, monkeypatch):
    prepare(monkeypatch, raw, tmp_path / "set")
    before = contents(tmp_path / "set")
    with pytest.raises(
        InputError, match="also holds extra, train, which this command would delete"
    ):
        prepare(monkeypatch, raw, tmp_path / "set", "--splits", "test")
    assert contents(tmp_path / "set") == before


def test_a_bad_second_record_does_not_cost_the_good_first(tmp_path, monkeypatch):
    good = ("1.png", {"label": [5], "left": [1], "top": [1], "width": [5], "height": [9]})
    write_split(
        tmp_path / "raw", "test", {"1.png": png(), MAT: mat_bytes(tmp_path, [good, ("1.png", {})])}
    )
    source = prepare(monkeypatch, tmp_path / "raw", tmp_path / "set")["sources"]["test"]
    assert source["kept"] == 1
    assert [entry["name"] for entry in source["skipped"]] == ["1.png"]


def test_an_empty_folder_is_a_fine_target(small, tmp_path, monkeypatch):
    (tmp_path / "set").mkdir()
    assert list(prepare(monkeypatch, small, tmp_path / "set")["splits"]) == ["test"]


def test_splits_names_the_sources_to_read(raw, tmp_path, monkeypatch):
    assert list(prepare(monkeypatch, raw, tmp_path / "set", "--splits", "test")["splits"]) == [
        "test"
    ]
    (raw / "extra.tar.gz").unlink()
    with pytest.raises(InputError, match=r"holds neither extra\.tar\.gz nor extra/"):
        prepare(monkeypatch, raw, tmp_path / "set", "--splits", "train", "extra")


def test_reasons_that_are_not_shown_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(accounting, "REASONS_SHOWN", 1)
    write_split(
        tmp_path / "bad",
        "test",
        split_files(tmp_path, TEST) | {"1.png": b"junk", "2.png": b"", "x.txt": b""},
    )
    prepare(monkeypatch, tmp_path / "bad", tmp_path / "set")
    assert "  and 2 more reasons, in manifest.json\n" in capsys.readouterr().out


def test_a_raw_path_that_is_no_folder_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for name, words in (("file", "file: not a folder"), ("nowhere", "nowhere: no such folder")):
        with pytest.raises(InputError, match=words):
            prepare(monkeypatch, tmp_path / name, tmp_path / "set")


def test_a_raw_folder_of_nothing_is_one_line_that_says_where_to_turn(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"none of train, test, extra in it.*synthesize"):
        prepare(monkeypatch, tmp_path, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("margin", -0.1),
        ("margin", float("nan")),
        ("size", 7),
        ("size", 513),
        ("validation_fraction", 1.0),
        ("jobs", 0),
        ("seed", -1),
    ],
)
def test_a_bad_option_is_named_as_the_user_typed_it(option, value):
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')} is {value}; it must be"):
        preprocess.Options(raw=REPOSITORY, to=REPOSITORY, **{option: value})


def test_a_bad_option_is_one_line_on_stderr(small, tmp_path):
    finished = run_python(
        "-m", "svhn_jax.preprocess", "--raw", small, "--to", tmp_path / "set", "--size", 7
    )
    assert_one_error_line(finished)
    assert not (tmp_path / "set").exists()


def test_the_data_commands_load_no_jax():
    code = "import sys, svhn_jax.preprocess, svhn_jax.synthesize; print('jax' in sys.modules)"
    assert run_python("-c", code).stdout == "False\n"
