"""A finder on disk: finder.json with its settings and a checksum, weights.npz with its variables as float16."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from svhn_jax import files
from svhn_jax.errors import InputError
from svhn_jax.finding.config import FinderConfig
from svhn_jax.finding.network import abstract_variables

SHIPPED = Path(__file__).parents[1] / "weights" / "finder"
SETTINGS, WEIGHTS = "finder.json", "weights.npz"
MAX_BYTES = 2**26
REMEDY = "install svhn_jax again, or train a finder: python -m svhn_jax.train_finder"


class Trained(NamedTuple):
    """A finder's settings, its variables as float32 numpy arrays, and the least score that it calls a number."""

    config: FinderConfig
    variables: Any
    least_score: float


def as_saved(variables: Any) -> Any:
    """The variables as `load` gives them after a `save`: rounded to float16."""
    return jax.tree.map(lambda value: value.astype(np.float16).astype(np.float32), variables)


def save(folder: Path, config: FinderConfig, variables: Any, least_score: float) -> None:
    """Writes both files; finder.json last, so that an interrupted save is never taken for a finder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).unlink(missing_ok=True)
    stream = io.BytesIO()
    np.savez(
        stream, **{name: value.astype(np.float16) for name, value in _by_path(variables).items()}
    )
    (folder / WEIGHTS).write_bytes(stream.getvalue())
    about = {
        "config": config.as_json(),
        "least_score": least_score,
        "sha256": files.sha256(folder / WEIGHTS),
    }
    files.write_text(folder / SETTINGS, json.dumps(about, indent=1) + "\n")


def load(folder: str | Path | None = None) -> Trained:
    """The finder in a folder; None: the one that comes with the project.

    Raises:
      InputError: there is none, or its files are damaged.
    """
    folder = Path(folder) if folder else SHIPPED
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file; {REMEDY}")
        if (folder / name).stat().st_size > MAX_BYTES:
            raise InputError(f"{folder / name}: larger than {MAX_BYTES} bytes; {REMEDY}")
    try:
        about = json.loads((folder / SETTINGS).read_text())
        config, least_score = FinderConfig(**about["config"]), float(about["least_score"])
        wanted = about["sha256"]
    except (ValueError, TypeError, KeyError, InputError) as error:
        raise InputError(f"{folder / SETTINGS}: damaged ({error}); {REMEDY}") from None
    if files.sha256(folder / WEIGHTS) != wanted:
        raise InputError(f"{folder / WEIGHTS}: its checksum is not the one in {SETTINGS}; {REMEDY}")
    abstract = abstract_variables(config)
    wanted_arrays = {
        name: (value.shape, np.dtype(np.float16)) for name, value in _by_path(abstract).items()
    }
    try:
        if (
            _headers(folder / WEIGHTS) != wanted_arrays
        ):  # before unpacking: a small file may hold gigabytes
            raise InputError(
                f"{folder / WEIGHTS}: not the arrays of the network in {SETTINGS}; {REMEDY}"
            )
        with np.load(folder / WEIGHTS, allow_pickle=False) as arrays:
            found = {name: arrays[name].astype(np.float32) for name in arrays.files}
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder / WEIGHTS}: damaged ({error}); {REMEDY}") from None
    paths, structure = jax.tree_util.tree_flatten_with_path(abstract)
    variables = jax.tree.unflatten(structure, [found[_name(path)] for path, _ in paths])
    return Trained(config, variables, least_score)


def load_for(config: FinderConfig, folder: Path) -> Any:
    """The variables of a finder of the network that a configuration has; InputError if it has another."""
    trained = load(folder)
    wanted, found = ((one.width, one.blocks) for one in (config, trained.config))
    if wanted != found:
        raise InputError(
            f"{folder}: its network has width {found[0]} and {found[1]} blocks; give --width {found[0]} --blocks {found[1]}"
        )
    return trained.variables


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each array of an .npz file, by name; unpacks the headers alone."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as stream:
                if np.lib.format.read_magic(stream) != (
                    1,
                    0,
                ):  # numpy.savez writes this version, unless names are long
                    raise ValueError(f"{name} is of another version of the npy format")
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
                found[name.removesuffix(".npy")] = shape, dtype
    return found


def _by_path(variables: Any) -> dict[str, Any]:
    return {
        _name(path): value for path, value in jax.tree_util.tree_flatten_with_path(variables)[0]
    }


def _name(path: Any) -> str:
    return "/".join(str(part.key) for part in path)
