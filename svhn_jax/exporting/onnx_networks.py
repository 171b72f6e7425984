"""The networks of svhn_jax.model.networks as ONNX graphs, in the layout fastest for runtimes.

Features are [N, C, H, W]; batch norm is part of the convolution before it, whose kernel and bias
are scaled at export. Every export is compared with the network itself (svhn_jax.exporting.check).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from svhn_jax.config import ModelConfig
from svhn_jax.errors import InputError
from svhn_jax.exporting.graph import Graph, Input
from svhn_jax.model.networks import head_names
from svhn_jax.model.normalization import EPSILON

# How the names of nodes begin; nodes under HEADS are float32 whatever the precision.
BODY, HEADS = "network/", "heads/"


class Features(NamedTuple):
    """A value float[N, channels, side, side] of the graph."""

    name: str
    channels: int
    side: int


class LogitNames(NamedTuple):
    """The values float32[N, D + 2] and float32[N, D, 11] of the graph, for at most D digits."""

    length: str
    digits: str


class Builder:
    """Adds layers with the weights of one network to a graph; features have the type `dtype`."""

    def __init__(self, graph: Graph, variables: Any, dtype: Any, scope: str = BODY):
        self.graph, self.dtype, self._scope = graph, dtype, scope
        self._variables, self.params = variables, variables["params"]

    def inside(self, name: str) -> "Builder":
        """The builder of a module of the network."""
        variables = {kind: tree[name] for kind, tree in self._variables.items()}
        return Builder(self.graph, variables, self.dtype, f"{self._scope}{name}/")

    def in_float32(self, x: str) -> tuple["Builder", str]:
        """The builder of the layers after the features, and the features as float32."""
        builder = Builder(self.graph, self._variables, np.float32, HEADS)
        return builder, self.graph.cast(x, np.float32)

    def op(self, kind: str, *inputs: Input, name: str = "", **attributes: Any) -> str:
        return self.graph.op(kind, *inputs, name=self._scope + (name or kind), **attributes)

    def conv(self, x: Features, conv: str, norm: str, stride: int = 1) -> Features:
        """A convolution, padded as Flax's "SAME", and the batch norm that follows it."""
        kernel, statistics = self.params[conv]["kernel"], self._variables["batch_stats"][norm]
        factor = self.params[norm]["scale"] / np.sqrt(statistics["var"] + np.float64(EPSILON))
        bias = self.params[conv].get("bias", 0) - statistics["mean"].astype(np.float64)
        size, channels = kernel.shape[0], kernel.shape[3]
        side = -(-x.side // stride)
        zeros = max((side - 1) * stride + size - x.side, 0)
        low, high = zeros // 2, zeros - zeros // 2
        name = self.op(
            "Conv",
            x.name,
            self._cast((kernel * factor).transpose(3, 2, 0, 1)),
            self._cast(bias * factor + self.params[norm]["bias"]),
            name=conv,
            kernel_shape=[size, size],
            strides=[stride] * 2,
            pads=[low, low, high, high],
        )
        return Features(name, channels, side)

    def relu(self, x: Features) -> Features:
        return x._replace(name=self.op("Relu", x.name))

    def max_pool(self, x: Features, stride: int, low: int, high: int) -> Features:
        """Of 2 x 2, as svhn_jax.model.layers.max_pool; low, high: padding."""
        window: Any = {
            "kernel_shape": [2, 2],
            "strides": [stride] * 2,
            "pads": [low, low, high, high],
        }
        side = (x.side + low + high - 2) // stride + 1
        return x._replace(name=self.op("MaxPool", x.name, **window), side=side)

    def space_to_depth(self, x: Features, patch: int) -> Features:
        """As svhn_jax.model.layers.space_to_depth."""
        side = -(-x.side // patch)
        zeros, name = side * patch - x.side, x.name
        if zeros:
            low, high = zeros // 2, zeros - zeros // 2
            name = self.op("Pad", name, [0, 0, low, low, 0, 0, high, high])
        return Features(self.op("SpaceToDepth", name, blocksize=patch), x.channels * patch**2, side)

    def flatten(self, x: Features) -> str:
        """float[N, channels * side * side]."""
        return self.op("Flatten", x.name)

    def dense(self, x: str, name: str, before: Features | None = None) -> str:
        """A linear layer; `before`: the map that was flattened, by Flax as [H, W, C]."""
        kernel, bias = self.params[name]["kernel"], self.params[name]["bias"]
        if before:
            shape = (before.side, before.side, before.channels, -1)
            kernel = kernel.reshape(shape).transpose(2, 0, 1, 3).reshape(kernel.shape)
        return self.op("Gemm", x, self._cast(kernel), self._cast(bias), name=name)

    def heads(self, length_features: str, digit_features: str, max_digits: int) -> LogitNames:
        """The linear heads of float32[N, C] and float32[D or 1, N, C]."""
        length_name, *names = head_names(max_digits)
        kernels, biases = (
            np.stack([self.params[name][part] for name in names]) for part in ("kernel", "bias")
        )
        by_digit = self.op("MatMul", digit_features, kernels, name="digits")
        by_digit = self.op("Add", by_digit, biases[:, None], name="digits_bias")
        digits = self.op("Transpose", by_digit, perm=[1, 0, 2], name="digit_logits")
        return LogitNames(self.dense(length_features, length_name), digits)

    def _cast(self, weights: np.ndarray) -> np.ndarray:
        """Weights in the type of the features; InputError if that cannot hold them."""
        with np.errstate(over="ignore"):
            cast = weights.astype(self.dtype)
        if not np.isfinite(cast).all():
            raise InputError(f"weights leave the range of {cast.dtype}; give --precision float32")
        return cast


def add_network(
    graph: Graph, config: ModelConfig, variables: Any, x: Features, dtype: Any
) -> LogitNames:
    """Adds the network to a graph. Params and heads are float32, features have the type `dtype`.

    Raises:
      InputError: there is no graph for the architecture.
    """
    networks: dict[str, Callable[[Builder, ModelConfig, Features], LogitNames]] = {
        "resnet": _attention_resnet,
        "seed": _seed_net,
        "potterhsu": _potterhsu_net,
    }
    name = config.architecture
    if name not in networks:
        known = ", ".join(networks)
        raise InputError(f"model.architecture is {name!r}; only {known} can be exported")
    return networks[name](Builder(graph, variables, dtype), config, x)


def _attention_resnet(b: Builder, config: ModelConfig, x: Features) -> LogitNames:
    x = b.relu(b.conv(b.space_to_depth(x, config.patch), "stem", "stem_norm"))
    for stage, blocks in enumerate(config.blocks, start=1):
        if stage > 1:
            x = b.max_pool(x, 2, 0, x.side % 2)
        for block in range(1, 1 + blocks):
            x = _residual_block(b.inside(f"stage{stage}_block{block}"), x)
    b, name = b.in_float32(x.name)
    return _attention_pool(b, config, x._replace(name=name))


def _residual_block(b: Builder, x: Features) -> Features:
    y = b.conv(b.relu(b.conv(x, "conv1", "norm1")), "conv2", "norm2")
    if "shortcut" in b.params:
        x = b.conv(x, "shortcut", "shortcut_norm")
    return b.relu(y._replace(name=b.op("Add", y.name, x.name)))


def _attention_pool(b: Builder, config: ModelConfig, x: Features) -> LogitNames:
    params = b.params["pool"]
    by_channel = b.op("Reshape", x.name, [0, x.channels, x.side**2])  # [N, C, positions]
    query = (params["query"]["kernel"].T / np.float64(x.channels) ** 0.5).astype(np.float32)
    scores = b.op("MatMul", query, by_channel, name="query")
    shares = b.op("Softmax", b.op("Add", scores, params["position"].T), axis=2)
    by_position = b.op("Transpose", by_channel, perm=[0, 2, 1])
    pooled = b.op("MatMul", shares, by_position, name="pool")  # [N, heads, C]
    by_head = b.op("Transpose", pooled, perm=[1, 0, 2])
    length_features = b.op("Gather", by_head, np.array(0), axis=0)
    return b.heads(length_features, b.op("Slice", by_head, [1], [2**31], [0]), config.max_digits)


def _seed_net(b: Builder, config: ModelConfig, x: Features) -> LogitNames:
    for index, stride in enumerate((1, 1, 3, 3), start=1):
        x = b.relu(b.conv(x, f"conv{index}", f"norm{index}", stride))
    b, flat = b.in_float32(b.flatten(x))
    return _shared(b, config, b.dense(flat, "dense", before=x))


def _potterhsu_net(b: Builder, config: ModelConfig, x: Features) -> LogitNames:
    for index in range(1, 9):
        x = b.relu(b.conv(x, f"conv{index}", f"norm{index}"))
        x = b.max_pool(x, 2 if index % 2 else 1, 1, 1)
    y = b.op("Relu", b.dense(b.flatten(x), "dense1", before=x))
    y = b.op("Relu", b.dense(y, "dense2"))
    b, features = b.in_float32(y)
    return _shared(b, config, features)


def _shared(b: Builder, config: ModelConfig, features: str) -> LogitNames:
    """The heads on features float32[N, F] that they share."""
    return b.heads(features, b.op("Unsqueeze", features, [0]), config.max_digits)
