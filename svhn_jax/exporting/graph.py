"""An ONNX graph under construction."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18  # of 2022: runtimes of that year and later read it
IR_VERSION = 8


class Graph:
    """Nodes in the order of computation, and constants.

    graph = Graph()
    y = graph.op("Add", x, np.float32([1, 2]))  # the name of a value
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._names: dict[str, int] = {}

    def op(self, kind: str, *inputs: str | np.ndarray, name: str = "", **attributes: Any) -> str:
        """Adds a node of one output; arrays among the inputs become constants. Returns the name of the output.

        Args:
          name: of the node and of its output; none: its kind. A second one of a name gets a number.
        """
        label = self._unique(name or kind)
        names = [self._constant(f"{label}/{n}", x) if isinstance(x, np.ndarray) else x for n, x in enumerate(inputs)]
        self._nodes.append(helper.make_node(kind, names, [label], label, **attributes))
        return label

    def cast(self, x: str, dtype: Any) -> str:
        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The whole, checked."""
        graph = helper.make_graph(self._nodes, "svhn_jax", inputs, outputs, self._constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="svhn_jax"
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _unique(self, name: str) -> str:
        self._names[name] = count = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}_{count}"

    def _constant(self, name: str, value: np.ndarray) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name
