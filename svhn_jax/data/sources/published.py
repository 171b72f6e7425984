"""The published archives of SVHN Format 1: address, size, checksum and licence."""

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from rich.filesize import decimal

from svhn_jax.errors import InputError

BASE_URL = "http://ufldl.stanford.edu/housenumbers"
LICENCE = "The SVHN data are for non-commercial use only."
CITATION = (
    "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng: Reading Digits in Natural Images with "
    "Unsupervised Feature Learning. NIPS Workshop on Deep Learning and Unsupervised Feature Learning, 2011."
)


class Archive(NamedTuple):
    """The expected SPLIT.tar.gz: size in bytes, SHA-256 in lower-case hexadecimal, number of photos if known."""

    bytes: int
    sha256: str
    photos: int | None = None

    def __str__(self) -> str:
        photos = f"{self.photos:,} photos, " if self.photos else ""
        return f"{photos}{decimal(self.bytes)}, SHA-256 {self.sha256}"

    def problem_of(self, path: Path) -> str:
        """How the size or SHA-256 of a file differs from this archive; "" if both are right."""
        with open(path, "rb") as file:
            if (size := os.fstat(file.fileno()).st_size) != self.bytes:
                return f"{size:,} bytes, expected {self.bytes:,}"
            got = hashlib.file_digest(file, "sha256").hexdigest()
        return "" if got == self.sha256 else f"SHA-256 {got}, expected {self.sha256}"


ARCHIVES = {
    "train": Archive(
        404_141_560, "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898", 33_402
    ),
    "test": Archive(
        276_555_967, "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5", 13_068
    ),
    "extra": Archive(
        1_955_489_752, "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c", 202_353
    ),
}


def read_checksums(path: Path) -> dict[str, Archive]:
    """Archives by split, from a file with a line `SHA-256 BYTES SPLIT.tar.gz` for each; # starts a comment.

    Raises:
      InputError: a line has another form, an archive has two lines, or there is none.
    """
    archives: dict[str, Archive] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        if not (entry := line.partition("#")[0].strip()):
            continue
        match = re.fullmatch(
            r"([0-9a-fA-F]{64})\s+([1-9][0-9]{0,14})\s+(train|test|extra)\.tar\.gz", entry
        )
        if not match:
            raise InputError(
                f"{path}, line {number}: {entry!r} is not SHA-256 (64 hexadecimal digits), bytes and "
                "train.tar.gz, test.tar.gz or extra.tar.gz, separated by blanks"
            )
        sha256, size, split = match.groups()
        if split in archives:
            raise InputError(f"{path}, line {number}: a second {split}.tar.gz; keep one")
        archives[split] = Archive(int(size), sha256.lower())
    if not archives:
        raise InputError(
            f"{path}: has no archive; write a line for each: SHA-256, bytes, NAME.tar.gz"
        )
    return archives
