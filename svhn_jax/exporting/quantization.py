"""int8 for an ONNX model: onnxruntime's static quantization, with ranges measured on crops."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization

from svhn_jax.exporting import interface
from svhn_jax.exporting.onnx_model import describe, described
from svhn_jax.exporting.onnx_networks import BODY

KINDS = ("Conv", "Relu", "MaxPool", "Add", "Gemm")
CROPS = 512  # to measure ranges on
BATCH_SIZE = 32


class _Crops(quantization.CalibrationDataReader):
    def __init__(self, crops: np.ndarray):
        self._batches = iter(np.split(crops, range(BATCH_SIZE, len(crops), BATCH_SIZE)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {interface.INPUT: batch}


def quantize(model: onnx.ModelProto, crops: np.ndarray) -> onnx.ModelProto:
    """The model with convolutions and large dense layers in int8, a scale for each output channel.

    Heads stay float32.

    Args:
      model: of svhn_jax.exporting.onnx_model, in float32.
      crops: uint8[N, S, S, 3] like those to read; CROPS of them, evenly spaced, are used.
    """
    chosen = crops[np.linspace(0, len(crops) - 1, min(CROPS, len(crops))).astype(int)]
    nodes = [
        node.name
        for node in model.graph.node
        if node.name.startswith(BODY) and node.op_type in KINDS
    ]
    copy = onnx.ModelProto.FromString(model.SerializeToString())  # its weights are taken out
    before = logging.root.manager.disable
    logging.disable(
        logging.WARNING
    )  # advice to fuse nodes first, some of which are to stay float32
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                copy,
                path,
                _Crops(chosen),
                nodes_to_quantize=nodes,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,  # x86 multiplies it by int8 weights
                weight_type=quantization.QuantType.QInt8,
            )
            quantized = onnx.load_model(path)
    finally:
        logging.disable(before)
    describe(quantized, described(model) | {"precision": "int8"})
    return quantized
