"""Prepared data sets in a bucket: copied once to this machine, for training reads them through memory maps."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

from etils import epath

from svhn_jax.data import arrays
from svhn_jax.errors import InputError
from svhn_jax.run_folder import REMOTE


def cache() -> Path:
    """Where the copies are: ~/.cache/svhn_jax, or as XDG_CACHE_HOME says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svhn_jax"


def local(folder: str) -> str:
    """The folder itself, or, of one at gs:// or s3://, the copy on this machine, made where there is none.

    The copy goes by the place and the manifest it has there, which holds the SHA-256 of every array.

    Raises:
      InputError: there is no data set, or what arrived is not what its manifest says.
    """
    return str(copy_of(epath.Path(folder))) if folder.startswith(REMOTE) else folder


def copy_of(source: epath.Path) -> Path:
    """The copy of a data set in `cache()`; see `local`."""
    try:
        manifest = (source / arrays.MANIFEST).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{source}: no prepared data set there (no {arrays.MANIFEST})") from None
    target = cache() / hashlib.sha256(f"{source}\n".encode() + manifest).hexdigest()[:16]
    cache().mkdir(parents=True, exist_ok=True)
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
    (target / arrays.MANIFEST).write_bytes(manifest)
    for split, entry in arrays.read_manifest(target)["splits"].items():
        (target / split).mkdir()
        for name in entry["sha256"]:
            path = Path(split) / f"{name}.npy"
            with (source / path).open("rb") as there, open(target / path, "wb") as here:
                shutil.copyfileobj(there, here, 2**24)
    if damaged := [str(path.relative_to(target)) for path, is_damaged in arrays.damaged_arrays(target) if is_damaged]:
        raise InputError(f"{source}: {', '.join(damaged)} are not what the manifest says; copy it there again")
