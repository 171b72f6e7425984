"""The published archives of SVHN Format 1: address, size, checksum and licence."""

from typing import NamedTuple

BASE_URL = "http://ufldl.stanford.edu/housenumbers"
LICENCE = "The SVHN data are for non-commercial use only."
CITATION = (
    "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng: Reading Digits in Natural "
    "Images with Unsupervised Feature Learning. NIPS Workshop on Deep Learning and Unsupervised "
    "Feature Learning, 2011."
)


class Published(NamedTuple):
    """A published SPLIT.tar.gz: size in bytes, SHA-256 in hexadecimal, number of photos."""

    bytes: int
    sha256: str
    photos: int


ARCHIVES = {
    "train": Published(
        404_141_560, "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898", 33_402
    ),
    "test": Published(
        276_555_967, "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5", 13_068
    ),
    "extra": Published(
        1_955_489_752, "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c", 202_353
    ),
}
