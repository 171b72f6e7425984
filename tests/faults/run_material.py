"""A tiny run for the rehearsals that kill and damage it: its data, its configuration, its command."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
CONFIG = """
from svhn_jax.config import AugmentConfig, Config, DataConfig, ImageConfig, ModelConfig, OptimizerConfig
config = Config(
    name="tiny", num_epochs={epochs}, batch_size=16, eval_batch_size=64, log_every_steps=5,
    eval_every_steps={save_every_steps}, keep_newest=4,
    data=DataConfig(dir="data"), image=ImageConfig(crop=20), augment=AugmentConfig(scale=0.1),
    model=ModelConfig(patch=4, width=8, blocks=(1, 1)),
    optimizer=OptimizerConfig(learning_rate=0.01, warmup_fraction=0.1, ema_decay=0.9),
)
"""
NUMBERS = 320


def make(folder: Path, *, epochs: float, save_every_steps: int) -> None:
    """data/ and tiny.py in `folder`: numbers of random pixels, through the package's own writers."""
    from svhn_jax.data import arrays, writing

    rng = np.random.default_rng(0)
    entries = {}
    with writing.building(folder / "data") as partial:
        for split, count in (("train", NUMBERS), ("validation", 64), ("test", 64)):
            (partial / split).mkdir()
            images = rng.integers(0, 256, (count, 24, 24, 3), np.uint8)
            offset = writing.create_images(partial / split / "images.npy", count, 24)
            with open(partial / split / "images.npy", "r+b") as file:
                file.seek(offset)
                file.write(images.tobytes())
            labels = np.full((count, 6), 10, np.int32)
            labels[:, 0], labels[:, 1:3] = 2, rng.integers(0, 10, (count, 2))
            sizes, names = np.full((count, 2), 24), [f"{split}/{row}.png" for row in range(count)]
            entries[split] = writing.finish_split(partial / split, labels, names, np.ones((count, 4)), sizes)
        manifest = {"format": arrays.FORMAT, "crop": {"size": 24, "margin": 0.3}, "splits": entries, "sources": {}}
        (partial / arrays.MANIFEST).write_text(json.dumps(manifest))
    (folder / "tiny.py").write_text(CONFIG.format(epochs=epochs, save_every_steps=save_every_steps))


def command(name: str) -> list[str]:
    """The train command of the run `name`."""
    return [sys.executable, "-m", "svhn_jax.train", "--config", "tiny.py", "--name", name]


def environment(folder: Path) -> dict[str, str]:
    """The environment of the command: compiled steps are kept in `folder`, for it is started hundreds of times."""
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return os.environ | cache | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}


def finish(folder: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        [*command(name), *options],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def final_state(run: Path) -> dict[str, list[int]]:
    """The checksums of every array of the newest step, as its files hold them now; ValueError where its own differ.

    Equal checksums mean equal bits (see svhn_jax.runs.checksums).
    """
    import orbax.checkpoint as ocp

    from svhn_jax.runs.checksums import checksums

    steps = run / "steps"
    newest = max((int(path.name) for path in steps.iterdir() if path.name.isdigit()), default=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a restore onto the devices it was saved from
        sums = checksums(ocp.PyTreeCheckpointer().restore((steps / str(newest) / "state").resolve()))
    recorded = json.loads((steps / str(newest) / "checksums" / "metadata").read_text())
    if sorted(recorded.values()) != sorted(sums.values()):
        raise ValueError(f"{run.name}: the arrays of step {newest} are not those its checksums are of")
    return dict(recorded, step=[newest])
