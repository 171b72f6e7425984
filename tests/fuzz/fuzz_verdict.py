"""Whether the command did right by one input: what it printed, what it left, and whether every record is accounted for."""

import csv
import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from fuzz_run import LIMIT_S, Run
from fuzz_scene import Scene
from fuzz_tar_names import tar_names

from svhn_jax.data import arrays
from svhn_jax.data.photos import OTHER_FILES, SUFFIXES
from svhn_jax.data.records import Record
from svhn_jax.data.sources.find import find_source
from svhn_jax.errors import InputError, printable

MAX_MEGABYTES = 2000.0
DETAIL = re.compile(r"line \d+: .+")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

Snapshot = dict[str, tuple[Any, ...]]


def snapshot(scene: Scene) -> Snapshot:
    """Everything in the scene's folder; of files their bytes too."""
    return dict(_entries(scene.folder, scene.folder))


def _entries(folder: Path, root: Path) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for entry in os.scandir(folder):
        path, about = Path(entry.path), entry.stat(follow_symlinks=False)
        name, kind = os.fsdecode(path.relative_to(root)), stat.S_IFMT(about.st_mode)
        if kind == stat.S_IFLNK:
            yield name, (kind, os.readlink(path))
        elif kind == stat.S_IFDIR:
            yield name, (kind,)
            yield from _entries(path, root)
        elif kind == stat.S_IFREG and about.st_size < 2**26:
            yield (
                name,
                (
                    kind,
                    about.st_mode,
                    about.st_mtime_ns,
                    hashlib.sha256(path.read_bytes()).digest(),
                ),
            )
        else:
            yield name, (kind, about.st_size, about.st_mtime_ns)


def problems(scene: Scene, before: Snapshot, run: Run) -> list[str]:
    """What is wrong, in words; nothing if all is well."""
    found = [
        *_problems_of_words(scene, run),
        *_problems_of_cost(run),
        *_problems_of_files(scene, before, run),
    ]
    if scene.is_sound and run.status != 0:
        found.append("nothing was wrong with it")
    if run.status == 0:
        try:
            found += _problems_of_the_set(scene, "is up to date" in " ".join(run.stdout.split()))
        except InputError as error:
            found.append(f"the set made cannot be read: {error}")
    return found


def _problems_of_words(scene: Scene, run: Run) -> Iterator[str]:
    if run.status not in (0, 1):
        yield f"ended with status {run.status}"
    if "Traceback" in run.stderr + run.stdout:
        yield f"a traceback: {run.stderr.strip().splitlines()[-1]}"
    if CONTROL.search(run.stderr + run.stdout):
        yield "control characters in what is printed"
    first, *rest = run.stderr.splitlines() or [""]
    if run.status == 0 and run.stderr:
        yield f"words on stderr: {first}"
    if run.status == 1 and not (
        first.startswith("error: ") and all(DETAIL.fullmatch(line) for line in rest)
    ):
        yield f"not one line of error: {run.stderr[:300]!r}"
    if (
        rest
        and not (scene.raw / "labels.csv").is_file()
        and not (scene.raw / scene.split / "labels.csv").is_file()
    ):
        yield "more than one line of error"


def _problems_of_cost(run: Run) -> Iterator[str]:
    if run.is_late:
        yield f"took more than {LIMIT_S:g} s"
    if run.megabytes > MAX_MEGABYTES:
        yield f"took {run.megabytes:.0f} MB"


def _problems_of_files(scene: Scene, before: Snapshot, run: Run) -> Iterator[str]:
    after, target = snapshot(scene), f"out/{scene.to.name}"
    own = (target, *(f"out/.{scene.to.name}.{word}" for word in ("partial", "old", "lock")))
    for name in sorted(before.keys() | after.keys()):
        is_own = any(name == place or name.startswith(f"{place}/") for place in own)
        if before.get(name) != after.get(name) and (
            not is_own or (run.status and name.startswith(target))
        ):
            how = "created" if name not in before else "removed" if name not in after else "changed"
            yield f"{how} {name!r}"
    is_made = run.status == 0 and "is up to date" not in " ".join(run.stdout.split())
    if is_made and any(name.startswith(own[1:]) for name in after):
        yield "leftovers beside the set"


def _problems_of_the_set(scene: Scene, is_old: bool) -> Iterator[str]:
    """Reads the set as its users do, and compares the manifest with what there was to read.

    Of an old one, which the command has taken for up to date by its manifest and the shapes of its
    arrays, only that much is asked.
    """
    manifest = arrays.read_manifest(scene.to)
    splits = [
        (arrays.load_split(scene.to, name), arrays.load_geometry(scene.to, name))
        for name in manifest["splits"]
    ]
    if is_old:
        return
    kept = [name.decode() for split, _ in splits for name in split.names.tolist()]
    for data, (boxes, sizes) in splits:
        lengths, digits = data.labels[:, 0], data.labels[:, 1:]
        are_labels = ((lengths >= 1) & (lengths <= 6)).all() and (
            (digits >= 0) & (digits <= 10)
        ).all()
        if not (
            are_labels
            and np.isfinite(boxes).all()
            and (boxes[:, 2:] > 0).all()
            and (sizes > 0).all()
        ):
            yield "labels, boxes or sizes that cannot be"
    yield from (
        f"{path.name} is not as the manifest says"
        for path, bad in arrays.damaged_arrays(scene.to)
        if bad
    )
    for split, source in manifest["sources"].items():
        names = (name.partition("/")[2] for name in kept if name.startswith(f"{split}/"))
        of_split = Counter(map(printable, names))
        if of_split.total() != source["kept"] or max(of_split.values(), default=0) > 1:
            yield f"{split}: {source['kept']} kept, says the manifest; there are {of_split}"
        skipped = Counter(printable(entry["name"]) for entry in source["skipped"])
        yield from _unaccounted(scene, split, of_split, skipped)


def _unaccounted(
    scene: Scene, split: str, kept: Counter[str], skipped: Counter[str]
) -> Iterator[str]:
    photos, records = _photo_names(scene, split), _record_names(scene, split)
    if records is not None:
        if scene.records not in (None, len(records)) and split == scene.split:
            yield f"{len(records)} records where {scene.records} were written"
        bad = {name for name, is_good in records if not is_good} - {
            name for name, is_good in records if is_good
        }
        for name, count in Counter(name for name, _ in records).items():
            if kept[name] + skipped[name] < count:
                yield f"{count} records of {name!r}, {kept[name]} kept, {skipped[name]} skipped"
        for name, count in Counter(map(printable, photos or ())).items():
            if kept[name] + skipped[name] < count and name not in bad:
                yield f"{count} photos {name!r}, {kept[name]} kept, {skipped[name]} skipped"
        there = {name for name, _ in records} | set(map(printable, photos or ()))
        if photos is not None and (strangers := sorted((kept + skipped).keys() - there)):
            yield f"names that nothing has: {strangers}"


def _photo_names(scene: Scene, split: str) -> list[str] | None:
    """The names of what may be a photo in an archive or folder; None where it is not plain which they are."""
    archive, folder = scene.raw / f"{split}.tar.gz", scene.raw / split
    if archive.is_file():
        return tar_names(archive, split)
    for place in (scene.raw, folder):
        if (place / "labels.csv").is_file():
            files = (path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
            return [str(path.relative_to(place)) for path in files]
    if not folder.is_dir():
        return None
    return [
        path.name for path in folder.iterdir() if path.name not in OTHER_FILES and not path.is_dir()
    ]


def _record_names(scene: Scene, split: str) -> list[tuple[str, bool]] | None:
    """Each record's name, and whether it is a good one; None where that is not plain."""
    for table in (scene.raw / "labels.csv", scene.raw / split / "labels.csv"):
        if table.is_file() and not (scene.raw / f"{split}.tar.gz").is_file():
            first, *lines = table.read_text(encoding="utf-8-sig").splitlines()
            rows = csv.reader(
                lines, delimiter=";" if ";" in first else "\t" if "\t" in first else ","
            )
            files = [row[0].strip() for row in rows if any(map(str.strip, row))]
            return [(printable(str(PurePosixPath(file))) if file else "", True) for file in files]
    records = find_source(scene.raw, split).records()
    return [(printable(record.name), isinstance(record, Record)) for record in records]


def describe(scene: Scene, run: Run, found: list[str]) -> str:
    """A text that tells how to see the failure again."""
    about = {
        "options": scene.options,
        "split": scene.split,
        "status": run.status,
        "seconds": round(run.seconds, 2),
    }
    return "\n".join(
        [*found, json.dumps(about), "--- stdout", run.stdout, "--- stderr", run.stderr]
    )
