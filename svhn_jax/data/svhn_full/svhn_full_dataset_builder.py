"""The TFDS builder of SVHN's full house numbers: photos byte for byte, and every digit with its box.

Neither writing nor reading needs TensorFlow. TFDS's usual base class needs it for a split of more than
1 GB, such as extra; ShardBasedBuilder streams, with one shard in memory at a time.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import tensorflow_datasets as tfds

from svhn_jax.data.accounting import SECOND_PHOTO, Account
from svhn_jax.data.photos import decode_photo
from svhn_jax.data.records import Photo, Record, Skipped
from svhn_jax.data.sources.find import find_all
from svhn_jax.data.sources.published import ARCHIVES, BASE_URL, LICENCE
from svhn_jax.data.svhn_full.record_order import in_order_of
from svhn_jax.errors import InputError

PHOTOS_PER_SHARD = (
    8192  # 100 MB of published photos, which is also the memory they take while written
)
Examples = Iterator[tuple[int, dict[str, Any]]]


class LeftOut(TypedDict):
    """What was skipped of a split: entries with `name`, `reason` and, if there is one, the record."""

    records: list[dict[str, Any]]
    photos: list[dict[str, Any]]


class Builder(tfds.core.ShardBasedBuilder):
    """SVHN Format 1. `info.metadata["left_out"][split]`, a LeftOut, names everything that was skipped."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {  # noqa: RUF012
        "1.0.0": "Photos, file names, numbers, digits and boxes of train, test and extra."
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    manual_dir is a folder with one or more of train.tar.gz, test.tar.gz and extra.tar.gz from {BASE_URL}.
    `python -m svhn_jax.download` downloads and verifies them, and can be resumed.
    Without that folder TFDS downloads all three, 2.6 GB, and cannot resume.
    """

    def __init__(self, *, file_format: str | None = None, **kwargs: Any):
        super().__init__(file_format=file_format, **kwargs)
        if (
            not file_format and not self.info.initialized
        ):  # TFDS's default, tfrecord, needs TensorFlow
            self.info.set_file_format("array_record", override=True)

    def _info(self) -> tfds.core.DatasetInfo:
        digit = {
            "label": tfds.features.ClassLabel(num_classes=10),
            # tf.Example has float32 only; as bytes the published float64 pixels stay as they are
            "bbox": tfds.features.Tensor(
                shape=(4,),
                dtype=np.float64,
                encoding="bytes",
                doc="left, top, width, height in pixels",
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

    def _shard_iterators_per_split(
        self, dl_manager: Any
    ) -> dict[str, list[Callable[[], Examples]]]:
        sources = find_all(_raw_folder(dl_manager))
        left_out: dict[str, LeftOut] = {
            source.split: {"records": [], "photos": []} for source in sources
        }
        self.info.metadata["left_out"] = (
            left_out  # filled at the end of each stream; saved after that
        )
        folder = Path(self.data_path)
        return {
            source.split: _shards(Account(source), left_out[source.split], folder)
            for source in sources
        }


def _raw_folder(dl_manager: Any) -> Path:
    """manual_dir if there is one; else a folder of all three archives, downloaded, under their published names."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # no such folder, or nothing in it
        archives = dl_manager.download({split: f"{BASE_URL}/{split}.tar.gz" for split in ARCHIVES})
    links = Path(dl_manager.download_dir) / "svhn_full" / "archives"
    links.mkdir(parents=True, exist_ok=True)
    for split, archive in archives.items():
        link = links / f"{split}.tar.gz"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(archive).resolve())
    return links


def _shards(account: Account, left_out: LeftOut, folder: Path) -> list[Callable[[], Examples]]:
    """One function for each shard; called in turn, they give the parts of one stream of examples."""
    for record in account.records:
        if len(record.boxes) != len(record.digits):
            raise InputError(
                f"{account.source.path}: {record.name} does not have one box for each digit, as the published records have"
            )
    examples = _examples(account, left_out, folder)
    parts = [PHOTOS_PER_SHARD] * (math.ceil(len(account.records) / PHOTOS_PER_SHARD) - 1)
    return [
        partial(islice, examples, part) for part in (*parts, None)
    ]  # the last one runs the stream to its end


def _examples(account: Account, left_out: LeftOut, folder: Path) -> Examples:
    """The examples of a split in the order of its records; fills `left_out` at the end."""
    records_skipped, count = len(account.skipped), 0
    for photo in in_order_of(account.rows, _usable_photos(account), folder):
        try:
            decode_photo(photo.content)
        except ValueError as error:
            account.skip(photo.name, str(error))
            continue
        row = account.rows[photo.name]
        yield account.positions[row], _example(account.records[row], photo.content)
        count += 1
    account.skip_missing()
    if not count:
        first = [*account.skipped, Skipped("digitStruct.mat", "no record")][0]
        raise InputError(
            f"{account.source.path}: no photo can be used; the first, {first.name}: {first.reason}"
        )
    for (position, record), skipped in zip(account.unusable.items(), account.skipped, strict=False):
        left_out["records"].append(_entry(skipped, position, record))
    for skipped in account.skipped[records_skipped:]:
        row = account.rows.get(skipped.name, -1)
        if row < 0 or skipped.reason == SECOND_PHOTO:
            left_out["photos"].append(_entry(skipped))
        else:
            left_out["photos"].append(_entry(skipped, account.positions[row], account.records[row]))


def _usable_photos(account: Account) -> Iterator[Photo]:
    for photo, problem in account.photos():
        if problem:
            account.skip(photo.name, problem)
        else:
            yield photo


def _entry(
    skipped: Skipped, position: int | None = None, record: Record | Skipped | None = None
) -> dict[str, Any]:
    """An entry of LeftOut, with the record if there is one."""
    entry: dict[str, Any] = {"name": skipped.name, "reason": skipped.reason}
    if position is not None:
        entry["position"] = position
    if isinstance(record, Record):
        entry |= {"digits": record.digits, "boxes": record.boxes.tolist()}
    return entry


def _example(record: Record, photo: bytes) -> dict[str, Any]:
    return {
        "image": photo,
        "name": record.name,
        "number": "".join(map(str, record.digits)),
        "digits": [
            {"label": label, "bbox": box}
            for label, box in zip(record.digits, record.boxes, strict=True)
        ],
    }
