"""Copies prepared data sets from a bucket to this machine, because training reads them through memory maps."""

import fcntl
import hashlib
import shutil
from pathlib import Path

from etils import epath

from svhn_jax import files
from svhn_jax.data import arrays
from svhn_jax.errors import InputError

BLOCK_BYTES = 2**24


def local(folder: str) -> str:
    """The local folder of a data set: for gs:// or s3:// the copy on this machine, which is made if it does not exist.

    A copy belongs to the address and the manifest, which has the SHA-256 of every array.

    Raises:
      InputError: there is no data set, or the copied arrays differ from the manifest.
    """
    return str(copy_of(epath.Path(folder))) if folder.startswith(files.REMOTE) else folder


def copy_of(source: epath.Path) -> Path:
    """The copy of a data set in the user's cache; see `local`."""
    try:
        with (source / arrays.MANIFEST).open("rb") as file:
            manifest = file.read(
                arrays.MAX_MANIFEST_BYTES + 1
            )  # one byte more: `read_manifest` refuses it
    except FileNotFoundError:
        raise InputError(f"{source}: no prepared data set there (no {arrays.MANIFEST})") from None
    cache = files.user_cache()
    target = cache / hashlib.sha256(f"{source}\n".encode() + manifest).hexdigest()[:16]
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process of a machine copies, and the others wait
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)  # left by a kill
            partial.mkdir()
            try:
                _copy(source, manifest, partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


def _copy(source: epath.Path, manifest: bytes, target: Path) -> None:
    """Copies the arrays of the manifest, and of each split at most the bytes that its examples need."""
    (target / arrays.MANIFEST).write_bytes(manifest)
    checked = arrays.read_manifest(target)
    size, splits = checked["crop"]["size"], checked["splits"]
    files.check_space(target, sum(entry["examples"] for entry in splits.values()) * size * size * 3)
    for split, entry in splits.items():
        (target / split).mkdir()
        left = arrays.most_bytes(entry, size, checked["max_digits"])
        for name in entry["sha256"]:
            path = Path(split) / f"{name}.npy"
            with (source / path).open("rb") as there, open(target / path, "wb") as here:
                while block := there.read(BLOCK_BYTES):
                    if (left := left - len(block)) < 0:
                        raise InputError(
                            f"{source}/{split}: larger than the manifest says; copy the data set to the bucket again"
                        )
                    here.write(block)
    if damaged := [
        str(path.relative_to(target))
        for path, is_damaged in arrays.damaged_arrays(target)
        if is_damaged
    ]:
        raise InputError(
            f"{source}: {', '.join(damaged)} differ from the manifest; copy the data set to the bucket again"
        )
