"""Where this user's caches lie: ~/.cache/svhn_jax, or svhn_jax in the folder that XDG_CACHE_HOME names."""

import os
from pathlib import Path


def folder() -> Path:
    """The cache folder, made where it is missing.

    Raises:
      OSError: there is no home folder, or it cannot be written.
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # the specification of XDG has a relative path ignored
        home = os.path.expanduser("~")
        if not os.path.isabs(home) or not os.path.isdir(home):
            raise FileNotFoundError(f"no home folder {home!r} for caches; let XDG_CACHE_HOME name a folder")
        root = os.path.join(home, ".cache")
    made = Path(root) / "svhn_jax"
    made.mkdir(parents=True, exist_ok=True)
    return made
