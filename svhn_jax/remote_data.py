"""Prepared data sets in a bucket: copied once to this machine, for training reads them through memory maps."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from etils import epath

from svhn_jax.data import arrays
from svhn_jax.errors import InputError
from svhn_jax.run_folder import REMOTE

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "svhn_jax"


def local(folder: str) -> str:
    """The folder itself, or, of one at gs:// or s3://, the copy on this machine, made where there is none.

    The copy goes by the place and the manifest it has there, which holds the SHA-256 of every array.

    Raises:
      InputError: there is no data set, or what arrived is not what its manifest says.
    """
    return str(copy_of(epath.Path(folder))) if folder.startswith(REMOTE) else folder


def copy_of(source: epath.Path) -> Path:
    """The copy of a data set in CACHE; see `local`."""
    try:
        manifest = (source / arrays.MANIFEST).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{source}: no prepared data set there (no {arrays.MANIFEST})") from None
    target = CACHE / hashlib.sha256(f"{source}\n".encode() + manifest).hexdigest()[:16]
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="copying-") as work:
        copy = Path(work) / "set"
        copy.mkdir()
        (copy / arrays.MANIFEST).write_bytes(manifest)
        for split, entry in arrays.read_manifest(copy)["splits"].items():
            (copy / split).mkdir()
            for name in entry["sha256"]:
                with (
                    (source / split / f"{name}.npy").open("rb") as there,
                    open(copy / split / f"{name}.npy", "wb") as here,
                ):
                    shutil.copyfileobj(there, here, 2**24)
        if damaged := [str(path.relative_to(copy)) for path, is_damaged in arrays.damaged_arrays(copy) if is_damaged]:
            raise InputError(f"{source}: {', '.join(damaged)} are not what the manifest says; copy it there again")
        try:
            copy.rename(target)
        except OSError:  # another process was faster, or it truly failed
            if not target.exists():
                raise
    return target
