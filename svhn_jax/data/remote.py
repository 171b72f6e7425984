"""Prepared data sets in a bucket: copied once to this machine, because training reads them through memory maps."""

import fcntl
import hashlib
import shutil
from pathlib import Path

from etils import epath

from svhn_jax import files
from svhn_jax.data import arrays, writing
from svhn_jax.errors import InputError

BLOCK_BYTES = 2**24


def local(folder: str) -> str:
    """The folder itself, or, of one at gs:// or s3://, the copy on this machine, made where there is none.

    The copy goes by the place and the manifest it has there, which holds the SHA-256 of every array.

    Raises:
      InputError: there is no data set, or what arrived is not what its manifest says.
    """
    return str(copy_of(epath.Path(folder))) if folder.startswith(files.REMOTE) else folder


def copy_of(source: epath.Path) -> Path:
    """The copy of a data set in the user's cache; see `local`."""
    try:
        with (source / arrays.MANIFEST).open("rb") as file:
            manifest = file.read(arrays.MAX_MANIFEST_BYTES + 1)  # one byte more: `read_manifest` refuses it
    except FileNotFoundError:
        raise InputError(f"{source}: no prepared data set there (no {arrays.MANIFEST})") from None
    cache = files.user_cache()
    target = cache / hashlib.sha256(f"{source}\n".encode() + manifest).hexdigest()[:16]
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several processes of a machine one copies, and the others wait
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)  # of a copy that was killed
            partial.mkdir()
            try:
                _copy(source, manifest, partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


def _copy(source: epath.Path, manifest: bytes, target: Path) -> None:
    """Copies the arrays that the manifest must name, and of each split no more bytes than its examples take."""
    (target / arrays.MANIFEST).write_bytes(manifest)
    checked = arrays.read_manifest(target)
    size, splits = checked["crop"]["size"], checked["splits"]
    writing.check_space(target, sum(entry["examples"] for entry in splits.values()) * size * size * 3)
    for split, entry in splits.items():
        (target / split).mkdir()
        left = arrays.most_bytes(entry, size)
        for name in entry["sha256"]:
            path = Path(split) / f"{name}.npy"
            with (source / path).open("rb") as there, open(target / path, "wb") as here:
                while block := there.read(BLOCK_BYTES):
                    if (left := left - len(block)) < 0:
                        raise InputError(f"{source}/{split}: larger than the manifest says; copy it there again")
                    here.write(block)
    if damaged := [str(path.relative_to(target)) for path, is_damaged in arrays.damaged_arrays(target) if is_damaged]:
        raise InputError(f"{source}: {', '.join(damaged)} are not what the manifest says; copy it there again")
