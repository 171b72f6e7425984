"""A saved step as an ONNX model: uint8 crops in, the number and its probabilities out."""

from typing import Any

import jax
import numpy as np
import onnx
from onnx import TensorProto, helper

from svhn_jax import __version__
from svhn_jax.config import ImageConfig
from svhn_jax.errors import InputError
from svhn_jax.exporting import interface
from svhn_jax.exporting.graph import Graph
from svhn_jax.exporting.interface import Outputs
from svhn_jax.exporting.onnx_network import Features, add_network
from svhn_jax.inference.reader import Reader
from svhn_jax.labels import BLANK
from svhn_jax.model.inputs import CONTRAST_FLOOR

HOW_TO = (
    "Reads house numbers in RGB crops, cropped as the metadata say. length: number of digits, one "
    "more than the most for more; digits: 10 where there is none; confidence: of the whole number."
)


def build(reader: Reader) -> onnx.ModelProto:
    """The model of a reader's step for any batch size, in float32.

    Raises:
      InputError: there is no graph for the configuration.
    """
    graph, config, side, most = Graph(), reader.config, reader.crop.size, reader.max_digits
    x = _prepared(graph, config.image, side)
    variables = jax.tree.map(np.asarray, reader.variables)
    _decode(graph, *add_network(graph, config.model, variables, x), most)

    def value(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["N", *shape])

    outputs = [
        value("length", TensorProto.INT32),
        value("digits", TensorProto.INT32, most),
        value("confidence", TensorProto.FLOAT),
        value("length_p", TensorProto.FLOAT),
        value("digit_p", TensorProto.FLOAT, most),
    ]
    model = graph.model([value(interface.INPUT, TensorProto.UINT8, side, side, 3)], outputs)
    model.producer_name, model.producer_version, model.doc_string = "svhn_jax", __version__, HOW_TO
    helper.set_model_props(model, interface.metadata(reader))
    return model


def load(content: bytes, threads: int = 0) -> Any:
    """An onnxruntime session of a model's bytes, on the CPU; threads: 0 for one a core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: Any, crops: np.ndarray) -> Outputs:
    """The outputs by name for uint8[N, S, S, 3]."""
    values = session.run(list(interface.OUTPUTS), {interface.INPUT: crops})
    return dict(zip(interface.OUTPUTS, values, strict=True))


def _prepared(graph: Graph, image: ImageConfig, size: int) -> Features:
    """The middle window, normalised, as svhn_jax.model.inputs."""
    if image.grayscale or image.resize:
        raise InputError("runs of image.grayscale or image.resize have no ONNX graph")
    x, side = interface.INPUT, image.crop
    if size > side:
        start = (size - side) // 2
        x = graph.op("Slice", x, [start] * 2, [start + side] * 2, [1, 2], name="window")
    x = graph.op("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.op("Cast", x, to=TensorProto.FLOAT)
    x = graph.op("Div", x, 255.0)
    x = graph.op("Sub", x, _mean(graph, x), name="centered")
    if image.normalize == "mean and contrast":
        deviation = graph.op("Sqrt", _mean(graph, graph.op("Mul", x, x, name="square")))
        x = graph.op("Div", x, graph.op("Add", deviation, CONTRAST_FLOOR), name="normalized")
    return Features(x, 3, side)


def _mean(graph: Graph, x: str) -> str:
    by_column = graph.op("ReduceMean", x, [2], keepdims=1)
    return graph.op("ReduceMean", by_column, [1, 3], keepdims=1)


def _decode(graph: Graph, length_logits: str, digit_logits: str, digits: int) -> None:
    """The number of greatest joint probability, as svhn_jax.model.decode; adds the outputs.

    Values keep two dimensions to the end: OpenCV 4.12 stops at functions of one dimension.
    """
    length_log_p = graph.op("LogSoftmax", length_logits, axis=1)
    ten = graph.op("Slice", digit_logits, [0], [BLANK], [2])
    digit_log_p = graph.op("LogSoftmax", ten, axis=2)
    best = graph.op("ReduceMax", digit_log_p, [2], keepdims=0)
    # [digits, lengths]: 1 where a number of that length has that digit; a longer one has them all.
    has = (np.arange(digits)[:, None] < np.arange(digits + 2)).astype(np.float32)
    joint = graph.op("Add", length_log_p, graph.op("MatMul", best, has), name="joint")
    length = graph.op("ArgMax", joint, axis=1, keepdims=1)
    is_present = graph.op("Less", np.arange(digits), length)
    all_digits = graph.op("ArgMax", digit_log_p, axis=2, keepdims=0)
    int32: Any = {"to": TensorProto.INT32}
    graph.op("Cast", graph.op("Squeeze", length, [1]), name="length", **int32)
    graph.op("Cast", graph.op("Where", is_present, all_digits, [BLANK]), name="digits", **int32)
    confidence = graph.op("Exp", graph.op("ReduceMax", joint, [1], keepdims=1))
    graph.op("Squeeze", confidence, [1], name="confidence")
    length_p = graph.op("Exp", graph.op("GatherElements", length_log_p, length, axis=1))
    graph.op("Squeeze", length_p, [1], name="length_p")
    graph.op("Where", is_present, graph.op("Exp", best), 1.0, name="digit_p")
