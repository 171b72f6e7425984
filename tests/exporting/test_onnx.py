"""Saved steps as ONNX files, run by onnxruntime, beside the network in JAX."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from conftest import REPOSITORY
from tiny import CONFIG

from svhn_jax.config import ImageConfig, ModelConfig
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.exporting import check, interface, onnx_model, quantization
from svhn_jax.model import inputs, networks

SIDE = 24
CROPS = check.random_crops(SIDE)[:24]
RESNET = ModelConfig(patch=4, width=8, blocks=(1, 1))
CASES = {
    "resnet": (RESNET, ImageConfig(crop=20)),
    # Padding before the stem, odd sides before pooling, a stage without blocks, uneven slack around the window.
    "resnet of odd sides": (ModelConfig(patch=2, width=8, blocks=(1, 0, 1)), ImageConfig(crop=17)),
    "gray, resized": (RESNET, ImageConfig(crop=20, resize=15, grayscale=True, normalize="mean")),
    "enlarged": (RESNET, ImageConfig(crop=24, resize=28)),
    "bfloat16": (dataclasses.replace(RESNET, compute_dtype="bfloat16"), ImageConfig(crop=20)),
    "seed": (ModelConfig(architecture="seed"), ImageConfig(crop=20)),
    "potterhsu": (ModelConfig(architecture="potterhsu", convolution="xla"), ImageConfig(crop=8)),
}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(check, "BATCH_SIZE", 8)


def reader_of(model=RESNET, image=CONFIG.image):
    """A reader of random variables, batch statistics too, that reads numbers of many lengths."""
    config = dataclasses.replace(CONFIG, model=model, image=image)
    network = networks.build(interface.float32_config(config).model)
    shape = (1, *inputs.input_shape(image))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape, np.float32)
        name = path[-1].key
        if name in ("var", "scale"):
            return 0.5 + np.abs(values)
        return values * np.float32(2 / np.prod(leaf.shape[:-1]) ** 0.5 if name == "kernel" else 0.3)

    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros(shape), False))
    variables = jax.tree_util.tree_map_with_path(draw, variables)
    folder = SimpleNamespace(path=Path("nowhere"))
    reader = SimpleNamespace(
        config=config,
        crop=CropRule(SIDE, 0.3),
        max_digits=5,
        variables=variables,
        step=7,
        folder=folder,
    )
    # Of a random network one class would win in every crop; so the logits of each class get mean 0, those of a head
    # deviation 2, and long numbers an advantage, because each digit costs probability.
    _, logits = check._read_by_jax(reader, CROPS)
    heads = {"length": logits.length} | {
        f"digit{1 + n}": logits.digits[:, n] for n in range(logits.digits.shape[1])
    }
    for name, values in heads.items():
        head, mean = variables["params"][name], values.mean(axis=0)
        scale = 2 / (values - mean).std()
        variables["params"][name] = {
            "kernel": head["kernel"] * scale,
            "bias": (head["bias"] - mean) * scale,
        }
    variables["params"]["length"]["bias"] += np.arange(logits.length.shape[1], dtype=np.float32)
    return reader


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
def test_every_network_reads_as_in_jax_at_any_batch_size(name):
    reader = reader_of(*CASES[name])
    run = run_of(onnx_model.build(reader))
    compared = check.compare(reader, run, CROPS)
    assert compared.is_same
    assert (compared.crops, compared.changed, compared.accuracy) == (len(CROPS), 0, None)
    read = run(CROPS)
    assert len(np.unique(read["length"])) >= 3
    assert len(np.unique(read["digits"], axis=0)) >= 10
    for name, value in read.items():
        np.testing.assert_allclose(run(CROPS[5:8])[name], value[5:8], atol=1e-5)


def test_the_comparison_notices_other_probabilities_and_another_order_of_digits(plain):
    reader, _, run = plain

    def shifted(crops):
        return (read := run(crops)) | {"confidence": read["confidence"] * 0.999}

    def turned(crops):
        return (read := run(crops)) | {"digits": read["digits"][:, ::-1]}

    assert not check.compare(reader, shifted, CROPS).is_same
    compared = check.compare(reader, turned, CROPS)
    assert compared.changed > 10
    assert compared.ties == 0
    assert not compared.is_same
    with pytest.raises(
        InputError, match=r"^x\.onnx: not written, because it reads \d+ of 24 crops differently"
    ):
        check.require_sound(compared, "x.onnx", "float32")


def test_readings_that_jax_finds_equally_probable_are_ties():
    """Where two digits have equal logits, either may be read."""
    reader = reader_of()
    head = reader.variables["params"]["digit1"]
    for part in ("kernel", "bias"):
        head[part][..., 4] = head[part][..., 3]
    head["bias"][3:5] += 9  # so that digit 1 is 3 or 4 in every crop that has a digit
    reader.variables["params"]["length"]["bias"][0] -= 9
    run = run_of(onnx_model.build(reader))

    def other(crops):
        read = run(crops)
        digits = np.where(
            np.arange(5) == 0, np.where(read["digits"] == 3, 4, read["digits"]), read["digits"]
        )
        return read | {"digits": digits}

    compared = check.compare(reader, other, CROPS)
    assert compared.changed == compared.ties > 10
    assert compared.is_same


def test_accuracy_is_that_of_whole_numbers(plain):
    reader, _, run = plain
    read = run(CROPS[:8])
    labels = np.concatenate([read["length"][:, None], read["digits"]], axis=1)
    labels[:2, 0] = (labels[:2, 0] + 1) % 7
    compared = check.compare(reader, run, CROPS[:8], labels)
    assert (compared.accuracy, compared.accuracy_jax) == (0.75, 0.75)


def test_confidence_is_the_product_of_its_parts_and_absent_digits_are_blank(plain):
    read = plain[2](CROPS)
    np.testing.assert_allclose(
        read["confidence"], read["length_p"] * read["digit_p"].prod(axis=1), rtol=1e-5
    )
    is_absent = np.arange(5) >= read["length"][:, None]
    assert (read["digits"][is_absent] == 10).all()
    assert (read["digit_p"][is_absent] == 1).all()
    assert ((read["digits"] < 10) == ~is_absent).all()


def test_a_file_says_what_it_is(plain):
    model = plain[1]
    onnx.checker.check_model(model, full_check=True)
    about = onnx_model.described(model)
    assert json.loads(about["crop"]) == {
        "size": 24, "margin": 0.3, "border": "edge", "filter": "bicubic", "color": "RGB",
    }  # fmt: skip
    assert (about["run"], about["step"], about["precision"]) == ("tiny", "7", "float32")
    assert "non-commercial use only" in about["license"]
    meaning = json.loads(about["meaning"])
    assert list(meaning) == [interface.INPUT, *interface.OUTPUTS]
    assert "6: more than 5" in meaning["length"]
    [crops] = model.graph.input
    assert [side.dim_param or side.dim_value for side in crops.type.tensor_type.shape.dim] == [
        "N",
        24,
        24,
        3,
    ]
    assert [value.name for value in model.graph.output] == list(interface.OUTPUTS)
    assert [value.doc_string for value in (crops, *model.graph.output)] == list(meaning.values())


def test_float16_is_half_as_large_and_reads_nearly_the_same():
    reader = reader_of(dataclasses.replace(RESNET, width=32))
    models = {
        precision: onnx_model.build(reader, precision) for precision in ("float32", "float16")
    }
    sizes = {precision: model.ByteSize() for precision, model in models.items()}
    assert sizes["float16"] < 0.65 * sizes["float32"]
    compared = check.compare(reader, run_of(models["float16"]), CROPS)
    assert 0 < compared.greatest_difference < 0.05
    assert compared.changed <= 1
    assert onnx_model.described(models["float16"])["precision"] == "float16"


def test_a_network_whose_values_float16_cannot_hold_is_refused():
    reader = reader_of()
    for layer in (
        reader.variables["params"]["stem_norm"],
        reader.variables["params"]["stage1_block1"]["norm1"],
    ):
        layer["scale"] *= 5e3
    compared = check.compare(reader, run_of(onnx_model.build(reader, "float16")), CROPS)
    assert not compared.is_finite
    with pytest.raises(
        InputError, match=r"^x\.onnx: not written, .* leave the range of float16; give --precision"
    ):
        check.require_sound(compared, "x.onnx", "float16")
    assert check.compare(reader, run_of(onnx_model.build(reader)), CROPS).is_finite
    reader.variables["params"]["stem_norm"]["scale"] *= 1e3
    with pytest.raises(
        InputError, match=r"^weights leave the range of float16; give --precision float32$"
    ):
        onnx_model.build(reader, "float16")


def test_int8_is_a_quarter_as_large_and_keeps_the_heads():
    reader = reader_of(dataclasses.replace(RESNET, width=48))
    full = onnx_model.build(reader)
    size = full.ByteSize()
    model = quantization.quantize(full, CROPS)
    assert model.ByteSize() < 0.45 * size
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    int8 = [
        name
        for name, kind in weights.items()
        if kind == onnx.TensorProto.INT8 and name.startswith("network/")
    ]
    assert (
        len([name for name in int8 if name.endswith("quantized")]) == 6
    )  # the stem, two blocks of two, a shortcut
    assert not [name for name in weights if name.startswith("heads/") and "quantized" in name]
    compared = check.compare(reader, run_of(model), CROPS)
    assert compared.greatest_difference > 0
    assert compared.changed < 12
    assert (onnx_model.described(model)["precision"], model.producer_name) == ("int8", "svhn_jax")


def test_an_unknown_architecture_is_refused(plain):
    reader, model = SimpleNamespace(**vars(plain[0])), SimpleNamespace(architecture="lstm")
    reader.config = SimpleNamespace(model=model, image=reader.config.image)
    with pytest.raises(
        InputError,
        match=r"^model.architecture is 'lstm'; only resnet, seed, potterhsu can be exported$",
    ):
        onnx_model.build(reader)


def test_importing_the_command_imports_neither_jax_nor_onnx():
    code = "import sys, svhn_jax.export\nsys.exit(any(name in sys.modules for name in ('jax', 'onnx', 'onnxruntime')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
