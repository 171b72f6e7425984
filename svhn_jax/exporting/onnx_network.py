"""svhn_jax.model.networks.AttentionResNet as an ONNX graph, in the layout fastest for runtimes.

Features are float32[N, C, H, W]; batch norm is part of the convolution before it, whose kernel and
bias are scaled at export. Every export is compared with the network (svhn_jax.exporting.check).
"""

from typing import Any, NamedTuple

import numpy as np

from svhn_jax.config import ModelConfig
from svhn_jax.errors import InputError
from svhn_jax.exporting.graph import Graph, Input
from svhn_jax.model.networks import head_names
from svhn_jax.model.normalization import EPSILON


class Features(NamedTuple):
    """A value float32[N, channels, side, side] of the graph."""

    name: str
    channels: int
    side: int


class Layers:
    """Adds layers with the weights of one module to a graph; their names begin with `scope`."""

    def __init__(self, graph: Graph, variables: Any, scope: str):
        self.graph, self._scope = graph, scope
        self._variables, self.params = variables, variables["params"]

    def inside(self, name: str) -> "Layers":
        """The layers of a module of this one."""
        variables = {kind: tree[name] for kind, tree in self._variables.items()}
        return Layers(self.graph, variables, f"{self._scope}{name}/")

    def op(self, kind: str, *inputs: Input, name: str = "", **attributes: Any) -> str:
        return self.graph.op(kind, *inputs, name=self._scope + (name or kind), **attributes)

    def relu(self, x: Features) -> Features:
        return x._replace(name=self.op("Relu", x.name))

    def conv(self, x: Features, conv: str, norm: str) -> Features:
        """A convolution, padded as Flax's "SAME", and the batch norm that follows it."""
        kernel, statistics = self.params[conv]["kernel"], self._variables["batch_stats"][norm]
        factor = self.params[norm]["scale"] / np.sqrt(statistics["var"] + np.float64(EPSILON))
        bias = self.params[conv].get("bias", 0) - statistics["mean"].astype(np.float64)
        size, channels = kernel.shape[0], kernel.shape[3]
        low, high = (size - 1) // 2, size // 2
        name = self.op(
            "Conv",
            x.name,
            (kernel * factor).transpose(3, 2, 0, 1).astype(np.float32),
            (bias * factor + self.params[norm]["bias"]).astype(np.float32),
            name=conv,
            kernel_shape=[size, size],
            strides=[1, 1],
            pads=[low, low, high, high],
        )
        return Features(name, channels, x.side)

    def halved(self, x: Features) -> Features:
        """Max-pooling of 2 x 2, as svhn_jax.model.layers.max_pool."""
        pads = [0, 0, x.side % 2, x.side % 2]
        name = self.op("MaxPool", x.name, kernel_shape=[2, 2], strides=[2, 2], pads=pads)
        return x._replace(name=name, side=(x.side + 1) // 2)

    def space_to_depth(self, x: Features, patch: int) -> Features:
        """As svhn_jax.model.layers.space_to_depth."""
        side = -(-x.side // patch)
        zeros, name = side * patch - x.side, x.name
        if zeros:
            low, high = zeros // 2, zeros - zeros // 2
            name = self.op("Pad", name, [0, 0, low, low, 0, 0, high, high])
        return Features(self.op("SpaceToDepth", name, blocksize=patch), x.channels * patch**2, side)

    def residual_block(self, x: Features) -> Features:
        y = self.conv(self.relu(self.conv(x, "conv1", "norm1")), "conv2", "norm2")
        if "shortcut" in self.params:
            x = self.conv(x, "shortcut", "shortcut_norm")
        return self.relu(y._replace(name=self.op("Add", y.name, x.name)))


def add_network(graph: Graph, config: ModelConfig, variables: Any, x: Features) -> tuple[str, str]:
    """Adds the network to a graph: names of the logits float32[N, D + 2] and float32[N, D, 11].

    Raises:
      InputError: there is no graph for the architecture.
    """
    if config.architecture != "resnet":
        name = config.architecture
        raise InputError(f"model.architecture is {name!r}; only resnet has an ONNX graph")
    layers = Layers(graph, variables, "network/")
    x = layers.space_to_depth(x, config.patch)
    x = layers.relu(layers.conv(x, "stem", "stem_norm"))
    for stage, blocks in enumerate(config.blocks, start=1):
        if stage > 1:
            x = layers.halved(x)
        for block in range(1, 1 + blocks):
            x = layers.inside(f"stage{stage}_block{block}").residual_block(x)
    return _heads(Layers(graph, variables, "heads/"), x, config.max_digits)


def _heads(layers: Layers, x: Features, max_digits: int) -> tuple[str, str]:
    """Attention pooling, and the linear heads."""
    op, params = layers.op, layers.params
    by_channel = op("Reshape", x.name, [0, x.channels, x.side**2])  # [N, C, positions]
    kernel = params["pool"]["query"]["kernel"].T / np.float64(x.channels) ** 0.5
    scores = op("MatMul", kernel.astype(np.float32), by_channel, name="query")
    shares = op("Softmax", op("Add", scores, params["pool"]["position"].T), axis=2)
    by_position = op("Transpose", by_channel, perm=[0, 2, 1])
    pooled = op("MatMul", shares, by_position, name="pool")  # [N, heads, C]
    by_head = op("Transpose", pooled, perm=[1, 0, 2])
    of_length = op("Gather", by_head, np.array(0), axis=0)
    of_digits = op("Slice", by_head, [1], [2**31], [0])
    length_name, *names = head_names(max_digits)
    kernels, biases = (
        np.stack([params[name][part] for name in names]) for part in ("kernel", "bias")
    )
    by_digit = op("MatMul", of_digits, kernels, name="digits")
    by_digit = op("Add", by_digit, biases[:, None], name="digits_bias")
    head = params[length_name]
    length = op("Gemm", of_length, head["kernel"], head["bias"], name=length_name)
    return length, op("Transpose", by_digit, perm=[1, 0, 2], name="digit_logits")
