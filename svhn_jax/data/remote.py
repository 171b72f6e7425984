"""Copies prepared data sets from a bucket to this machine, to be read through memory maps."""

import hashlib
import shutil
from pathlib import Path

from etils import epath

from svhn_jax import files
from svhn_jax.data import arrays
from svhn_jax.data.writing import building
from svhn_jax.errors import InputError


def local(folder: str) -> str:
    """The local folder of a data set: of gs:// or s3:// the copy on this machine, made if needed.

    Raises:
      InputError: there is no data set, or the copied arrays differ from the manifest.
    """
    return str(copy_of(epath.Path(folder))) if folder.startswith(files.REMOTE) else folder


def copy_of(source: epath.Path) -> Path:
    """The copy of a data set in the user's cache: one for each address, made anew if it changed."""
    try:
        manifest = (source / arrays.MANIFEST).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{source}: no prepared data set there (no {arrays.MANIFEST})") from None
    target = files.user_cache() / "buckets" / hashlib.sha256(str(source).encode()).hexdigest()[:16]
    ours = target / arrays.MANIFEST
    if ours.exists() and ours.read_bytes() == manifest:
        return target
    with building(target) as unfinished:
        (unfinished / arrays.MANIFEST).write_bytes(manifest)
        for split in arrays.read_manifest(unfinished)["splits"]:
            (unfinished / split).mkdir()
            for path in (f"{split}/{name}.npy" for name in arrays.ARRAYS):
                with (source / path).open("rb") as there, open(unfinished / path, "wb") as here:
                    shutil.copyfileobj(there, here, 2**24)
        if damaged := arrays.damaged_arrays(unfinished):
            raise InputError(
                f"{source}: {', '.join(damaged)} differ from the manifest; "
                "copy the data set to the bucket again"
            )
    return target
