"""python benchmarks/best_of.py FILE...: the best of svhn_jax beside the best of PyTorch, over several batch sizes and modes.

Each file is an archive of benchmarks/on_gpu.sh, or the last line of benchmarks/against_pytorch.py. The ratio of two medians
that were not taken in turn: a row's own ratio, in its file, is the sounder where both are best at one batch size.
"""

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from svhn_jax.errors import InputError, run_command


def main() -> int:
    if len(sys.argv) < 2:
        raise InputError("give the archives of benchmarks/on_gpu.sh")
    by_config: dict[str, list[dict[str, Any]]] = {}
    for path in sys.argv[1:]:
        figures = read(Path(path))
        by_config.setdefault(figures["config"], []).append(figures)
    for config, rows in by_config.items():
        for kind, ours, theirs in (
            ("step alone", "svhn_jax", "pytorch"),
            ("end to end", "svhn_jax, end to end", "pytorch_end_to_end"),
        ):
            best, batch = max(
                (row["images_per_s"][ours]["median"], row["batch_size"]) for row in rows
            )
            peer, peer_batch, name = max(
                (row["images_per_s"][row[theirs]]["median"], row["batch_size"], row[theirs])
                for row in rows
            )
            print(
                f"{config}, {kind}: svhn_jax {best:,.0f} images/s (batch {batch}), "
                f"{name} {peer:,.0f} (batch {peer_batch}): {best / peer:.2f}"
            )
    return 0


def read(path: Path) -> dict[str, Any]:
    """The figures of one comparison.

    Raises:
      InputError: the file holds none.
    """
    try:
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                member = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/result.json")
                assert member
                figures = json.load(member)
        else:
            figures = json.loads(path.read_text().splitlines()[-1])
        figures["images_per_s"]["svhn_jax"], figures["pytorch"]
    except (OSError, KeyError, ValueError, IndexError, TypeError, tarfile.TarError) as error:
        raise InputError(
            f"{path}: no result of benchmarks/against_pytorch.py ({type(error).__name__}: {error})"
        ) from None
    return figures


if __name__ == "__main__":
    run_command(main)
