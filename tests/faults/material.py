"""What tests/faults/attack.py attacks: a small training run, and archives with a slow server."""

import hashlib
import io
import json
import re
import tarfile
import time
import warnings
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import archives
import numpy as np
import tiny
from fuzz_material import columns
from PIL import Image

from svhn_jax.data.records import Record
from svhn_jax.data.synthetic import digit_struct_writer

REPOSITORY = Path(__file__).parents[2]
CONFIG = """
from svhn_jax.config import AugmentConfig, Config, DataConfig, ImageConfig, ModelConfig, OptimizerConfig
config = Config(
    name="tiny", num_epochs={epochs}, batch_size=16, eval_batch_size=64, log_every_steps=5,
    eval_every_steps=10, keep_newest=4,
    data=DataConfig(dir="data"), image=ImageConfig(crop=20), augment=AugmentConfig(scale=0.1),
    model=ModelConfig(patch=4, width=8, blocks=(1, 1)),
    optimizer=OptimizerConfig(learning_rate=0.01, warmup_fraction=0.1, ema_decay=0.9),
)
"""
PHOTOS = {"train": 4000, "test": 400}
LIBRARY_SPLIT = "test"  # its digitStruct.mat has a layout that only the HDF5 library reads, slowly
EVERY_BAD = 97
BYTES_PER_SECOND = 4_000_000
BLOCK_BYTES = 1 << 15


def make_run(folder: Path, *, epochs: int) -> dict[str, str]:
    """Writes data/ and tiny.py; returns environment variables of the train command, which keep compiled steps in `folder`."""
    tiny.prepare(folder / "data", 320, validation=64)
    (folder / "tiny.py").write_text(CONFIG.format(epochs=epochs))
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return cache | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}


def final_state(run: Path) -> dict[str, list[int]]:
    """The checksums of every array of the newest step, computed from its files; ValueError where the recorded ones differ.

    Equal checksums mean equal bits (see svhn_jax.runs.checksums).
    """
    import orbax.checkpoint as ocp

    from svhn_jax.runs.checksums import checksums

    steps = run / "steps"
    newest = max((int(path.name) for path in steps.iterdir() if path.name.isdigit()), default=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Orbax warns of a restore without a target
        sums = checksums(
            ocp.PyTreeCheckpointer().restore((steps / str(newest) / "state").resolve())
        )
    recorded = json.loads((steps / str(newest) / "checksums" / "metadata").read_text())
    if sorted(recorded.values()) != sorted(sums.values()):
        raise ValueError(f"{run.name}: the arrays of step {newest} do not match its checksums")
    return dict(recorded, step=[newest])


def make_archives(folder: Path, sums: Path, seed: int) -> None:
    """train.tar.gz and test.tar.gz of small photos, some damaged, missing or without a usable record; and their checksums."""
    folder.mkdir(parents=True)
    lines = []
    for split, count in PHOTOS.items():
        rng = np.random.default_rng([seed, count])
        path = folder / f"{split}.tar.gz"
        _write_archive(path, split, rng, count)
        lines.append(
            f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}\n"
        )
    sums.write_text("".join(lines))


def _write_archive(path: Path, split: str, rng: np.random.Generator, count: int) -> None:
    mat = path.with_suffix(".mat")
    records = [_record(number, rng) for number in range(1, count + 1)]
    if split == LIBRARY_SPLIT:
        archives.write_mat(mat, [(record.name, columns(record)) for record in records], "latest")
    else:
        digit_struct_writer.write(mat, records)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for place, record in enumerate(records, 1):
            content = _png(rng)
            if place % EVERY_BAD == 1:
                continue
            content = content[:-30] if place % EVERY_BAD == 2 else content
            entry = tarfile.TarInfo(f"{split}/{record.name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        archive.add(mat, f"{split}/digitStruct.mat")
    mat.unlink()


def _record(number: int, rng: np.random.Generator) -> Record:
    digits = tuple(rng.integers(0, 10, rng.integers(1, 6)).tolist())
    left = 1000 if number % EVERY_BAD == 3 else 5  # outside the photo
    return Record(
        f"{number}.png", digits, np.array([[left + 8.0 * i, 4, 8, 20] for i in range(len(digits))])
    )


def _png(rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(
        rng.integers(0, 30, (32, 56, 3), np.uint8) + rng.integers(0, 200, 3, np.uint8)
    ).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


class SlowServer(ThreadingHTTPServer):
    """Serves the files that lie in `folder`, byte ranges too, at a few megabytes a second."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: SlowServer

    def do_GET(self) -> None:
        content = (self.server.folder / Path(self.path).name).read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        self.send_response(HTTPStatus.PARTIAL_CONTENT if match else HTTPStatus.OK)
        self.send_header("Content-Length", str(len(content) - first))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        for start in range(first, len(content), BLOCK_BYTES):
            self.wfile.write(content[start : start + BLOCK_BYTES])
            time.sleep(BLOCK_BYTES / BYTES_PER_SECOND)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing of requests that went well."""
