"""svhn_jax: train and run readers of whole house numbers (SVHN Format 1) in JAX."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it imports JAX, which takes seconds
    from svhn_jax.inference.photo_reader import PhotoReader

__version__ = "0.1.0"


def load(run: str | None = None, step: str | int = "best", *, tta: bool = False) -> "PhotoReader":
    """A reader of photos. Where no box is given, it searches for the number.

        reader = svhn_jax.load()
        reader.read("door.jpg").number

    Args:
      run: the run's folder; by default the weights that come with the package.
      step: best (on validation while training), latest or a step's number.
      tta: test-time augmentation: more accurate, five times the work.

    Raises:
      svhn_jax.errors.InputError: there is no such run or step, or it is damaged.
    """
    from svhn_jax import files
    from svhn_jax.inference.finder import Finder
    from svhn_jax.inference.photo_reader import PhotoReader

    files.use_compilation_cache()
    return PhotoReader(run, step, tta=tta, finder=Finder())
