"""The TFDS builder of full house numbers: photos byte for byte, every digit with its box.

Neither writing nor reading needs TensorFlow. TFDS's usual base class needs it for a split of
more than 1 GB, such as extra; ShardBasedBuilder streams, with one shard in memory at a time.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from svhn_jax.data.photos import decode_photo
from svhn_jax.data.records import Account, Record
from svhn_jax.data.sources.find import find_all
from svhn_jax.data.sources.published import BASE_URL, LICENCE
from svhn_jax.errors import InputError, printable

PHOTOS_PER_SHARD = 8192  # 100 MB of published photos, which is also the memory they take
Examples = Iterator[tuple[int, dict[str, Any]]]


class Builder(tfds.core.ShardBasedBuilder):
    """SVHN Format 1. `info.metadata["skipped"][split]` lists what was skipped: name and reason."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {  # noqa: RUF012
        "1.0.0": "Photos, file names, numbers, digits and boxes of train, test and extra."
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    manual_dir is a folder with train.tar.gz, test.tar.gz, extra.tar.gz or some of them, from
    {BASE_URL}; `python -m svhn_jax.download` downloads and verifies them.
    """

    def __init__(self, *, file_format: str | None = "array_record", **kwargs: Any):
        super().__init__(file_format=file_format, **kwargs)  # the default needs TensorFlow

    def _info(self) -> tfds.core.DatasetInfo:
        digit = {
            "label": tfds.features.ClassLabel(num_classes=10),
            # tf.Example has float32 only; as bytes the published float64 pixels stay as they are
            "bbox": tfds.features.Tensor(shape=(4,), dtype=np.float64, encoding="bytes"),
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
        accounts = [Account(source) for source in find_all(Path(dl_manager.manual_dir))]
        skipped: dict[str, list[dict[str, str]]] = {one.source.split: [] for one in accounts}
        self.info.metadata["skipped"] = skipped  # filled by the streams; saved after them
        return {one.source.split: _shards(one, skipped[one.source.split]) for one in accounts}


def _shards(account: Account, skipped: list[dict[str, str]]) -> list[Callable[[], Examples]]:
    """One function for each shard; in turn they give the parts of one stream of examples."""
    for record in account.records:
        if len(record.boxes) != len(record.digits):
            raise InputError(
                f"{account.source.path}: {record.name} does not have one box for each digit, "
                "as published records have"
            )
    examples = _examples(account, skipped)
    full = math.ceil(len(account.records) / PHOTOS_PER_SHARD) - 1
    return [partial(islice, examples, count) for count in (*[PHOTOS_PER_SHARD] * full, None)]


def _examples(account: Account, skipped: list[dict[str, str]]) -> Examples:
    """The usable photos of a split in the order of its archive; at the end fills `skipped`."""
    count = 0
    for photo, row in account.photos():
        try:
            decode_photo(photo.content)
        except ValueError as error:
            account.skip(photo.name, str(error))
            continue
        yield count, _example(account.records[row], photo.content)
        count += 1
    skipped += [{"name": printable(one.name), "reason": one.reason} for one in account.skipped]
    if not count:
        raise InputError(f"{account.source.path}: no photo can be used: {skipped[:1]}")


def _example(record: Record, photo: bytes) -> dict[str, Any]:
    digits = zip(record.digits, record.boxes, strict=True)
    return {
        "image": photo,
        "name": record.name,
        "number": "".join(map(str, record.digits)),
        "digits": [{"label": label, "bbox": box} for label, box in digits],
    }
