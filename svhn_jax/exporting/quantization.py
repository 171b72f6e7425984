"""int8 for an ONNX model: onnxruntime's static quantization, with ranges measured on crops."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization

from svhn_jax.exporting import interface
from svhn_jax.exporting.onnx_model import describe, described
from svhn_jax.exporting.onnx_networks import BODY

KINDS = ("Conv", "Relu", "MaxPool", "Add", "Gemm")
CROPS = 512  # whose ranges are measured
BATCH_SIZE = 32


class _Crops(quantization.CalibrationDataReader):
    def __init__(self, crops: np.ndarray):
        self._batches = iter(np.split(crops, range(BATCH_SIZE, len(crops), BATCH_SIZE)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {interface.INPUT: batch}


def quantize(model: onnx.ModelProto, crops: np.ndarray) -> onnx.ModelProto:
    """The model with convolutions and large dense layers in int8, a scale for each output channel; heads stay float32.

    Args:
      model: of svhn_jax.exporting.onnx_model, in float32.
      crops: uint8[N, S, S, 3], of the kind that the model will read; CROPS of them, evenly spaced, are used.
    """
    chosen = crops[np.linspace(0, len(crops) - 1, min(CROPS, len(crops))).astype(int)]
    nodes = [
        node.name
        for node in model.graph.node
        if node.name.startswith(BODY) and node.op_type in KINDS
    ]
    copy, metadata = onnx.ModelProto.FromString(model.SerializeToString()), described(model)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            copy,  # which it empties of its weights
            path,
            _Crops(chosen),
            quant_format=quantization.QuantFormat.QDQ,
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,  # what x86 CPUs multiply by int8 weights
            weight_type=quantization.QuantType.QInt8,
        )
        quantized = onnx.load_model(path)
    describe(quantized, metadata | {"precision": "int8"})
    return quantized


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice to optimise the model first, which would fuse what is to be quantized."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
