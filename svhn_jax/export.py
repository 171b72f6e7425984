"""python -m svhn_jax.export --to onnx: a saved step as a file that reads crops without svhn_jax.

uint8 crops in, digits and confidences out, any batch size; docs/export.md has the names and how to
crop. ONNX runs in onnxruntime and others, without JAX; StableHLO (jax.export) runs in JAX, on CPUs,
GPUs and TPUs. The file is compared with the network before it is written: on --check DIR, a
prepared data set, or on random crops.
"""

import importlib.util
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
    run: cli.OptionalStr = None
    """the run's folder; by default the weights that come with the package"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    file: cli.OptionalPath = None
    """the file to write; by default RUN.onnx, RUN-int8.onnx, RUN.stablehlo, in this folder"""
    precision: Literal["float32", "float16", "int8"] = "float32"
    """of the features and their weights; heads are float32. float16 and int8: ONNX only"""
    calibrate: cli.OptionalStr = None
    """with --precision int8: a prepared data set, to measure ranges on its training crops"""
    check: cli.OptionalStr = None
    """a prepared data set to compare with JAX on; by default random crops"""
    split: Literal["train", "validation", "test"] = "validation"
    """the split of --check"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.to == "stablehlo" and self.precision != "float32":
            raise InputError(f"--precision is {self.precision}; StableHLO is float32 only")
        if (self.precision == "int8") != (self.calibrate is not None):
            raise InputError("give --calibrate DIR with --precision int8, and with no other")
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
        precision, crop = options.precision, reader.crop
        suffix = "" if precision == "float32" else f"-{precision}"
        path = options.file or Path(f"{reader.folder.path.name}{suffix}.{options.to}")
        files.require_writable(path)
        crops, labels = check.random_crops(crop.size), None
        if options.check:
            crops, labels = _split(options.check, options.split, reader)
        content, run = _build(options, reader)
        comparison = check.compare(reader, run, crops, labels)
    comparison.require_sound(str(path), precision)
    files.write_bytes(path, content)
    name, size = reader.config.name, len(content) / 1e6
    terminal.print(f"{path}: step {reader.step} of {name}, {size:.1f} MB", str(comparison))
    terminal.print(
        f"its input: crops of {crop.size} x {crop.size} pixels, the number's box enlarged by "
        f"{crop.margin:.0%}; docs/export.md has the rest"
    )
    about = {"file": str(path), "bytes": len(content), "check": comparison._asdict()}
    terminal.result(about | {"metadata": interface.metadata(reader, precision)})


def _split(folder: str, split: str, reader: Any) -> tuple[Any, Any]:
    """Crops and labels of a prepared data set whose crops are those that the run reads."""
    from svhn_jax.training.dataset import load_images

    rule = reader.crop, f"the run {reader.folder.path}"
    loaded = load_images(folder, split, reader.config, rule)
    return loaded.images, loaded.labels


def _build(options: Options, reader: Any) -> tuple[bytes, Any]:
    """The file, and the function that runs it."""
    if options.to == "stablehlo":
        from svhn_jax.exporting import stablehlo

        content = stablehlo.build(reader)
        return content, partial(stablehlo.run, content)
    from svhn_jax.exporting import onnx_model, quantization

    model = onnx_model.build(reader, "float16" if options.precision == "float16" else "float32")
    if options.calibrate:
        model = quantization.quantize(model, _split(options.calibrate, "train", reader)[0])
    content = bytes(model.SerializeToString())
    return content, partial(onnx_model.run, onnx_model.load(content))


if __name__ == "__main__":
    cli.run(Options, main)
