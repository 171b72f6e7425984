"""python -m svhn_jax.export --to onnx: a saved step as a file that reads crops without svhn_jax.

uint8 crops in, digits and confidences out, any batch size; docs/export.md has the names and how to crop. ONNX runs in
onnxruntime and others, without JAX; StableHLO (jax.export) runs in JAX, on CPUs, GPUs and TPUs. The file is compared with
the network before it is written: on --check DIR, a prepared data set, or on random crops.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import importlib
import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from svhn_jax import command_line, files, output
from svhn_jax.checked import Checked
from svhn_jax.errors import InputError, run_command
from svhn_jax.options import OptionalPath, OptionalStr, OutputOptions
from svhn_jax.output import Output

if TYPE_CHECKING:  # they import JAX, which takes seconds
    from svhn_jax.data.arrays import Split
    from svhn_jax.exporting.check import Comparison
    from svhn_jax.inference.reader import Reader

# How an ONNX file begins, with producer_name as its second field; and how a StableHLO file ends, but for zeros, with the
# name of its function.
ONNX_START = re.compile(rb"\x08.\x12\x08svhn_jax", re.DOTALL)
STABLEHLO_END = re.compile(rb"\x0e\0{3}svhn_jax_reads\0+\Z")
LOOKED_AT = 64  # bytes at either end of a file


@dataclass(frozen=True)
class Options(Checked):
    """Writes a saved step as a file that reads crops without svhn_jax."""

    to: Literal["onnx", "stablehlo"]
    """the format"""
    run: OptionalStr = None
    """the run's folder; by default the weights that come with the package"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    file: OptionalPath = None
    """the file to write; none given: RUN.onnx, RUN-int8.onnx, RUN.stablehlo and so on, in this folder"""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """of the features and their weights; heads are float32. float16 and int8 are for ONNX alone"""
    calibrate: OptionalStr = None
    """with --precision int8: a prepared data set, on whose training crops the ranges of values are measured"""
    check: OptionalStr = None
    """a prepared data set to compare with JAX on; none given: random crops"""
    split: Literal["train", "validation", "test"] = "validation"
    """the split of --check"""
    output: OutputOptions = field(default_factory=Output)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to == "stablehlo" and self.precision != "float32":
            raise InputError(
                f"--precision is {self.precision}; StableHLO is written in float32 alone"
            )
        if (self.precision == "int8") != (self.calibrate is not None):
            raise InputError(
                "give --calibrate DIR, a prepared data set, with --precision int8, and with no other"
            )
        if self.file and (
            self.file.suffix != f".{self.to}" or not self.file.absolute().parent.is_dir()
        ):
            raise InputError(
                f"--file is {self.file}; it must end in .{self.to}, and its folder must exist"
            )


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.export", __doc__ or "")
    console = output.console(options.output)
    _require_packages(options)
    from svhn_jax.exporting import (
        check,
        interface,
    )  # imports JAX, which takes seconds: not for --help
    from svhn_jax.inference.photo_reader import PRETRAINED
    from svhn_jax.inference.reader import Reader
    from svhn_jax.training import compilation

    compilation.enable_compilation_cache()
    with output.progress("exporting", 4, "stages") as advance:
        reader = Reader(options.run or str(PRETRAINED), options.step)
        path = _path(options, reader.folder.path.name)
        files.require_writable(path)
        crops, calibration = (
            _split(options.check, options.split, reader),
            _split(options.calibrate, "train", reader),
        )
        interrupts.raise_interrupts()  # so that no unfinished file stays, nor those of the quantization
        advance(1)
        content = _build(options, reader, calibration)
        advance(1)
        comparison = _compare(options, reader, content, crops)
        advance(1)
        if comparison:
            check.require_sound(comparison, str(path), options.precision)
        files.write_bytes(path, content)
        advance(1)
    console.print(
        f"{path}: step {reader.step} of {reader.config.name}, {len(content) / 1e6:.1f} MB",
        soft_wrap=True,
    )
    for line in _told(options, comparison, reader):
        console.print(line, soft_wrap=True)
    result = {
        "file": str(path),
        "bytes": len(content),
        "check": comparison._asdict() if comparison else None,
        "metadata": interface.metadata(reader, options.precision),
    }
    output.print_json(options.output, result)
    return 0


def _require_packages(options: Options) -> None:
    """Raises InputError, with the remedy, if a package that the options need is not installed."""
    needed = {"stablehlo": ["flatbuffers"], "onnx": ["onnx"]}[options.to]
    needed += ["onnxruntime"] if options.precision == "int8" else []
    for name in needed:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"--to {options.to} needs the package {name} ({error}): pip install 'svhn_jax[export]'"
            ) from None


def _path(options: Options, run: str) -> Path:
    """The file to write; InputError if something else is there."""
    suffix = "" if options.precision == "float32" else f"-{options.precision}"
    path = options.file or Path(f"{run}{suffix}.{options.to}")
    if os.path.lexists(path) and not _is_export(path, options.to):
        raise InputError(
            f"{path}: exists already, and is no export of svhn_jax; move it away, or give another --file"
        )
    return path


def _is_export(path: Path, to: str) -> bool:
    """Whether a file of this format was written by this command, as far as its first or last bytes tell."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        if to == "onnx":
            return bool(ONNX_START.match(file.read(LOOKED_AT)))
        file.seek(max(0, path.stat().st_size - LOOKED_AT))
        return bool(STABLEHLO_END.search(file.read()))


def _split(folder: str | None, split: str, reader: "Reader") -> "Split | None":
    """A split of a prepared data set whose crops are those that the run reads."""
    if folder is None:
        return None
    from svhn_jax.training.dataset import load_images

    return load_images(folder, split, reader.config, (reader.crop, f"the run {reader.folder.path}"))


def _build(options: Options, reader: "Reader", calibration: "Split | None") -> bytes:
    if options.to == "stablehlo":
        from svhn_jax.exporting import stablehlo

        return stablehlo.build(reader)
    from svhn_jax.exporting import onnx_model

    model = onnx_model.build(reader, "float16" if options.precision == "float16" else "float32")
    if calibration:
        from svhn_jax.exporting import quantization

        model = quantization.quantize(model, calibration.images)
    return bytes(model.SerializeToString())


def _compare(
    options: Options, reader: "Reader", content: bytes, split: "Split | None"
) -> "Comparison | None":
    """The comparison with JAX; None if onnxruntime is not installed."""
    from svhn_jax.exporting import check

    run: Any
    if options.to == "stablehlo":
        from svhn_jax.exporting import stablehlo

        run = partial(stablehlo.run, content)
    else:
        from svhn_jax.exporting import onnx_model

        try:
            run = partial(onnx_model.run, onnx_model.load(content))
        except ImportError:
            return None
    if split is None:
        return check.compare(reader, run, check.random_crops(reader.crop.size))
    return check.compare(reader, run, split.images, split.labels)


def _told(options: Options, comparison: "Comparison | None", reader: "Reader") -> list[str]:
    """The comparison and the crop rule in words."""
    crop = reader.crop
    lines = [
        f"its input: crops of {crop.size} x {crop.size} pixels, the number's box enlarged by {crop.margin:.0%}; "
        "docs/export.md has the rest"
    ]
    if comparison is None:
        return ["not compared with JAX: pip install 'svhn_jax[export]' for onnxruntime", *lines]
    of = f"{options.split} photos of {options.check}" if options.check else "random crops"
    same = (
        f"{comparison.crops - comparison.changed:,} of {comparison.crops:,} {of} are read as by JAX"
    )
    said = f"{same}; their probabilities differ by {comparison.greatest_difference:.1e} at most"
    if comparison.accuracy is not None and comparison.accuracy_jax is not None:
        said += (
            f"; sequence accuracy {comparison.accuracy:.4f}, by JAX {comparison.accuracy_jax:.4f}"
        )
    return [said, *lines]


if __name__ == "__main__":
    run_command(main)
