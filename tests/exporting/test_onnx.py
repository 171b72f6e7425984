"""Saved steps as ONNX files, run by onnxruntime, beside the network in JAX."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import onnx
import pytest
from tiny import CONFIG

from svhn_jax.config import ImageConfig, ModelConfig
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.exporting import check, interface, onnx_model
from svhn_jax.model import inputs, networks

SIDE = 24
CROPS = check.random_crops(SIDE)[:24]
RESNET = ModelConfig(patch=4, width=8, blocks=(1, 1))
CASES = {
    "resnet": (RESNET, ImageConfig(crop=20)),
    # Padding before the stem, odd sides before pooling, a stage without blocks, uneven slack.
    "odd sides": (ModelConfig(patch=2, width=8, blocks=(1, 0, 1)), ImageConfig(crop=17)),
    "mean": (RESNET, ImageConfig(crop=24, normalize="mean")),
    "bfloat16": (dataclasses.replace(RESNET, compute_dtype="bfloat16"), ImageConfig(crop=20)),
}


def reader_of(model=RESNET, image=CONFIG.image):
    """A reader of random variables, batch statistics too, that reads numbers of many lengths."""
    config = dataclasses.replace(CONFIG, model=model, image=image)
    network = networks.build(dataclasses.replace(model, compute_dtype="float32"))
    window = inputs.center_window(CROPS, image)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape, np.float32)
        name = path[-1].key
        if name in ("var", "scale"):
            return 0.5 + np.abs(values)
        return values * np.float32(2 / np.prod(leaf.shape[:-1]) ** 0.5 if name == "kernel" else 0.3)

    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), window, False))
    variables = jax.tree_util.tree_map_with_path(draw, variables)
    # In a random network one class would win in every crop; so the logits of each class get mean
    # 0, those of a head deviation 2, and long numbers an advantage: each digit costs probability.
    length, digits = jax.device_get(network.apply(variables, window, False))
    heads = {"length": length} | {f"digit{1 + n}": digits[:, n] for n in range(digits.shape[1])}
    for name, values in heads.items():
        head, mean = variables["params"][name], values.mean(axis=0)
        scale = 2 / (values - mean).std()
        head["bias"] = (head["bias"] - mean) * scale
        head["kernel"] = head["kernel"] * scale
    variables["params"]["length"]["bias"] += np.arange(length.shape[1], dtype=np.float32)
    return SimpleNamespace(
        config=config, crop=CropRule(SIDE, 0.3), max_digits=5, variables=variables, step=7,
        folder=SimpleNamespace(path=Path("nowhere")),
    )  # fmt: skip


def run_of(model):
    session = onnx_model.load(model.SerializeToString())
    return lambda crops: onnx_model.run(session, crops)


@pytest.fixture(scope="module")
def plain():
    """A reader, its model, and the function that runs the model."""
    reader = reader_of()
    model = onnx_model.build(reader)
    return reader, model, run_of(model)


@pytest.mark.parametrize("name", CASES)
def test_it_reads_as_in_jax_at_any_batch_size(name):
    reader = reader_of(*CASES[name])
    run = run_of(onnx_model.build(reader))
    assert check.require_same(reader, run, CROPS)["crops"] == len(CROPS)
    read = run(CROPS)
    np.testing.assert_allclose(run(CROPS[5:8])["digit_p"], read["digit_p"][5:8], atol=1e-5)
    assert len(np.unique(read["length"])) >= 3
    assert len(np.unique(read["digits"], axis=0)) >= 10
    product = read["length_p"] * read["digit_p"].prod(axis=1)
    np.testing.assert_allclose(read["confidence"], product, rtol=1e-5)
    is_absent = np.arange(5) >= read["length"][:, None]
    assert (read["digits"][is_absent] == 10).all()
    assert (read["digit_p"][is_absent] == 1).all()


def test_the_comparison_notices_other_probabilities_and_another_order_of_digits(plain):
    reader, _, run = plain

    def shifted(crops):
        return (read := run(crops)) | {"confidence": read["confidence"] * 0.999}

    def turned(crops):
        return (read := run(crops)) | {"digits": read["digits"][:, ::-1]}

    for wrong in (shifted, turned, lambda crops: run(crops) | {"length_p": np.float32("nan")}):
        with pytest.raises(InputError, match="report this"):
            check.require_same(reader, wrong, CROPS)


def test_a_file_describes_itself(plain):
    model = plain[1]
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["crop"]) == {
        "size": 24, "margin": 0.3, "border": "edge", "filter": "bicubic", "color": "RGB",
    }  # fmt: skip
    assert (about["run"], about["step"]) == ("tiny", "7")
    assert [one.name for one in model.graph.output] == [*interface.OUTPUTS]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_param or side.dim_value for side in shape] == ["N", 24, 24, 3]


def test_another_network_is_refused():
    with pytest.raises(InputError, match=r"model\.architecture is 'seed'"):
        onnx_model.build(reader_of(ModelConfig(architecture="seed"), ImageConfig(crop=20)))


def test_nodes_are_of_forms_that_other_runtimes_need(plain):
    """kernel_shape: OpenCV, NCNN and burn; functions of two dimensions at least: OpenCV 4.12."""
    graph = onnx.shape_inference.infer_shapes(plain[1]).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.value_info}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 6
    for node in convolutions:
        assert "kernel_shape" in {attribute.name for attribute in node.attribute}
    assert all(ranks[node.input[0]] >= 2 for node in graph.node if node.op_type == "Exp")
