"""The TFDS builder of SVHN's full house numbers: photos byte for byte, and every digit with its box.

Neither writing nor reading needs TensorFlow. TFDS's usual base class would need it for a split of more
than 1 GB, as extra is; ShardBasedBuilder streams, and keeps one shard in memory at a time.
"""

import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from rich.progress import track

from svhn_jax.data.photos import decode_photo
from svhn_jax.data.records import BadRecord, Photo, Record
from svhn_jax.data.sources.find import Source, find_source
from svhn_jax.data.sources.published import ARCHIVES, BASE_URL, LICENCE
from svhn_jax.data.svhn_full.record_order import in_order_of
from svhn_jax.errors import InputError

SPLITS = tuple(ARCHIVES)
PHOTOS_PER_SHARD = 8192  # 100 MB of published photos, which is also the memory they take while written
SECOND_PHOTO = "a second photo of that name"
Records = dict[str, tuple[int, Record]]  # by name: the position in digitStruct.mat, the record
Examples = Iterator[tuple[int, dict[str, Any]]]


class LeftOut(TypedDict):
    """What of a split could not be used: entries with `name`, `reason` and, where there is one, the record."""

    records: list[dict[str, Any]]
    photos: list[dict[str, Any]]


class Builder(tfds.core.ShardBasedBuilder):
    """SVHN Format 1. What could not be used is named in `info.metadata["left_out"][split]`, a LeftOut."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Photos, file names, numbers, digits and boxes of train, test and extra."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    manual_dir is the folder with train.tar.gz, test.tar.gz and extra.tar.gz from {BASE_URL}, or those
    of them that you want. `python -m svhn_jax.download` fetches them, resumes and checks them.
    Without that folder all three, 2.6 GB, are downloaded by TFDS, which cannot resume.
    """

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        super().__init__(file_format=file_format, **kwargs)
        if not file_format and not self.info.initialized:  # TFDS's default, tfrecord, needs TensorFlow
            self.info.set_file_format("array_record", override=True)

    def _info(self) -> tfds.core.DatasetInfo:
        digit = {
            "label": tfds.features.ClassLabel(num_classes=10),
            # tf.Example has float32 only; as bytes the published float64 pixels stay as they are
            "bbox": tfds.features.Tensor(
                shape=(4,), dtype=np.float64, encoding="bytes", doc="left, top, width, height in pixels"
            ),
        }
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "name": tfds.features.Text(doc="file name of the photo, such as 1.png"),
            "number": tfds.features.Text(doc="the digits in reading order, such as 210"),
            "digits": tfds.features.Sequence(digit, doc="one entry a digit, in reading order"),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage=BASE_URL,
            license=LICENCE,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _shard_iterators_per_split(self, dl_manager: Any) -> dict[str, list[Callable[[], Examples]]]:
        raw = _raw_folder(dl_manager)
        left_out: dict[str, LeftOut] = {split: {"records": [], "photos": []} for split in splits_in(raw)}
        self.info.metadata["left_out"] = left_out  # filled while the photos stream by; saved after them
        folder = Path(self.data_path)
        return {split: _shards(find_source(raw, split), left_out[split], folder) for split in left_out}


def splits_in(raw: Path) -> list[str]:
    """The splits that a folder holds, as SPLIT.tar.gz or SPLIT/.

    Raises:
      InputError: it holds none.
    """
    splits = [split for split in SPLITS if (raw / f"{split}.tar.gz").is_file() or (raw / split).is_dir()]
    if not splits:
        raise InputError(f"{raw}: none of train, test, extra in it, as NAME.tar.gz or NAME/; give their folder")
    return splits


def _raw_folder(dl_manager: Any) -> Path:
    """manual_dir where there is one; else all three archives, downloaded, under their published names."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # no such folder, or nothing in it
        archives = dl_manager.download({split: f"{BASE_URL}/{split}.tar.gz" for split in SPLITS})
    links = Path(dl_manager.download_dir) / "svhn_full" / "archives"
    links.mkdir(parents=True, exist_ok=True)
    for split, archive in archives.items():
        link = links / f"{split}.tar.gz"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(archive).resolve())
    return links


def _shards(source: Source, left_out: LeftOut, folder: Path) -> list[Callable[[], Examples]]:
    """One function a shard; called in turn, each gives the next share of one stream of examples."""
    records = _usable_records(source, left_out)
    examples = _examples(source, records, left_out, folder)
    shares = [PHOTOS_PER_SHARD] * (math.ceil(len(records) / PHOTOS_PER_SHARD) - 1)
    return [partial(islice, examples, share) for share in (*shares, None)]  # the last runs the stream to its end


def _usable_records(source: Source, left_out: LeftOut) -> Records:
    """The first good record of each name."""
    usable: Records = {}
    for position, record in enumerate(source.records()):
        if isinstance(record, BadRecord):
            left_out["records"].append({"name": record.name, "reason": record.reason, "position": position})
        elif len(record.boxes) != len(record.digits):
            raise InputError(
                f"{source.path}: {record.name} has not one box for each digit; svhn_full needs the published layout"
            )
        elif record.name in usable:
            left_out["records"].append(_entry(position, record, "a second record of that name"))
        else:
            usable[record.name] = (position, record)
    return usable


def _entry(position: int, record: Record, reason: str) -> dict[str, Any]:
    boxes = record.boxes.tolist()
    return {"name": record.name, "reason": reason, "position": position, "digits": record.digits, "boxes": boxes}


def _examples(source: Source, records: Records, left_out: LeftOut, folder: Path) -> Examples:
    """The examples of a split in the order of its records; whatever is left out is named."""
    bad_records = {entry["name"] for entry in left_out["records"]} - records.keys()
    seen: set[str] = set()

    def leave_out(name: str, reason: str) -> None:
        is_first = name in records and reason != SECOND_PHOTO
        entry = _entry(*records[name], reason) if is_first else {"name": name, "reason": reason}
        left_out["photos"].append(entry)

    def usable_photos() -> Iterator[Photo]:
        title, silent = f"{source.split}: photos", not sys.stdout.isatty()
        for photo in track(source.photos(), title, total=len(records), transient=True, disable=silent):
            if photo.name in bad_records:
                continue  # named already, for the record
            if photo.name in seen:
                leave_out(photo.name, SECOND_PHOTO)
            elif photo.problem or photo.name not in records:
                leave_out(photo.name, photo.problem or "no record of that name")
            else:
                yield photo
            seen.add(photo.name)

    count = 0
    for photo in in_order_of(records, usable_photos(), folder):
        try:
            decode_photo(photo.content)
        except ValueError as error:
            leave_out(photo.name, str(error))
            continue
        position, record = records[photo.name]
        yield position, _example(record, photo.content)
        count += 1
    for name in (name for name in records if name not in seen):
        leave_out(name, "no such photo")
    if not count:
        first = [*left_out["records"], *left_out["photos"], {"name": "digitStruct.mat", "reason": "no record"}][0]
        raise InputError(f"{source.path}: no photo can be used; the first, {first['name']}: {first['reason']}")


def _example(record: Record, photo: bytes) -> dict[str, Any]:
    return {
        "image": photo,
        "name": record.name,
        "number": "".join(map(str, record.digits)),
        "digits": [{"label": label, "bbox": box} for label, box in zip(record.digits, record.boxes, strict=True)],
    }
