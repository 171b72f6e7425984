"""python -m svhn_jax.export --to onnx: a saved step as a file that reads crops without svhn_jax.

uint8 crops in, digits and confidences out, any batch size; docs/export.md has the names and how to
crop. ONNX runs in onnxruntime and others, without JAX; StableHLO (jax.export) runs in JAX, on CPUs,
GPUs and TPUs. The file reads random crops as the network does, or it is not written.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from svhn_jax import cli, files
from svhn_jax.checked import Checked
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal


@dataclass(frozen=True)
class Options(Checked):
    """Writes a saved step as a file that reads crops without svhn_jax."""

    to: Literal["onnx", "stablehlo"]
    """the format"""
    run: str | None = None
    """the run's folder; by default the weights that come with the package"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    file: Path | None = None
    """the file to write; by default RUN.onnx or RUN.stablehlo, in this folder"""

    def __post_init__(self) -> None:
        super().__post_init__()
        rule = cli.file_rule(f".{self.to}")
        if self.file and not rule.holds(self.file):
            raise self.mistake("file", rule.words)


def main(options: Options, terminal: Terminal) -> None:
    needed = ["onnx", "onnxruntime"] if options.to == "onnx" else ["flatbuffers"]
    if missing := [name for name in needed if not importlib.util.find_spec(name)]:
        raise InputError(f"--to {options.to} needs {missing[0]}: pip install 'svhn_jax[export]'")
    from svhn_jax.exporting import check, interface  # these import JAX: not for --help
    from svhn_jax.inference.photo_reader import PRETRAINED
    from svhn_jax.inference.reader import Reader
    from svhn_jax.model.settings import own_settings

    with own_settings():
        reader = Reader(options.run or str(PRETRAINED), options.step)
        crop, name = reader.crop, reader.config.name
        path = options.file or Path(f"{reader.folder.path.name}.{options.to}")
        files.require_writable(path)
        content, run = _build(options.to, reader)
        checked = check.require_same(reader, run, check.random_crops(crop.size))
    files.write_bytes(path, content)
    terminal.print(
        f"{path}: step {reader.step} of {name}, {len(content) / 1e6:.1f} MB; reads as in JAX",
        f"its input: crops of {crop.size} x {crop.size} pixels, the number's box enlarged by "
        f"{crop.margin:.0%}; docs/export.md has the rest",
    )
    about = {"file": str(path), "bytes": len(content), "check": checked}
    terminal.result(about | {"metadata": interface.metadata(reader)})


def _build(to: str, reader: Any) -> tuple[bytes, Callable[[Any], Any]]:
    """The file, and the function that runs it."""
    if to == "stablehlo":
        from svhn_jax.exporting import stablehlo

        content = stablehlo.build(reader)
        return content, partial(stablehlo.run, content)
    from svhn_jax.exporting import onnx_model

    content = bytes(onnx_model.build(reader).SerializeToString())
    return content, partial(onnx_model.run, onnx_model.load(content))


if __name__ == "__main__":
    cli.run(Options, main)
