"""An ONNX graph under construction."""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 18  # of 2022: runtimes of that year and later read it
IR_VERSION = 8

Input = str | np.ndarray | list[int] | float


class Graph:
    """Nodes in the order of computation, and constants.

    graph = Graph()
    y = graph.op("Add", x, 1.0)  # the name of a value
    """

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._names: dict[str, int] = {}

    def op(self, kind: str, *inputs: Input, name: str = "", **attributes: Any) -> str:
        """Adds a node of one output, and returns the name of that.

        Args:
          inputs: names of values, or constants: arrays, lists as int64[n], numbers as float32.
          name: of the node and its output, by default its kind; a second one gets a number.
        """
        name = name or kind
        self._names[name] = count = self._names.get(name, 0) + 1
        label = name if count == 1 else f"{name}_{count}"
        names = [
            x if isinstance(x, str) else self._constant(f"{label}/{n}", x)
            for n, x in enumerate(inputs)
        ]
        self._nodes.append(helper.make_node(kind, names, [label], label, **attributes))
        return label

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """The whole, checked."""
        graph = helper.make_graph(self._nodes, "svhn_jax", inputs, outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _constant(self, name: str, value: np.ndarray | list[int] | float) -> str:
        dtype: Any = {list: np.int64, float: np.float32}.get(type(value))
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype, order="C"), name))
        return name
