import dataclasses

import pytest
from conftest import REPOSITORY

from svhn_jax import config_files
from svhn_jax.config import Config, DataConfig, ModelConfig, OptimizerConfig
from svhn_jax.errors import InputError


def write(folder, text):
    path = folder / "mine.py"
    path.write_text("from svhn_jax.config import *\n" + text)
    return path


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "configs").glob("*.py")), ids=lambda path: path.stem
)
def test_every_shipped_config_loads_and_bears_its_files_name(path):
    assert config_files.load(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Config(batchsize=3)", ["batchsize", "did you mean batch_size?"]),
        ("Config(optimizer=OptimizerConfig(lerning_rate=1.0))", ["did you mean learning_rate?"]),
        ("Config(batch_size='64')", ["batch_size is '64'", "int"]),
        ("Config(model=ModelConfig(dropout=1.0))", ["model.dropout is 1.0"]),
        ("Config(augment=AugmentConfig(downscale=0.5))", ["augment.downscale is 0.5"]),
        ("Config(data=DataConfig(mix_in=('a', 'b'), mix_in_repeat=(2,)))", ["data.mix_in_repeat"]),
        ("Config(data=DataConfig(mix_in=('a',), mix_in_repeat=(0,)))", ["at least 1"]),
        ("Config(data=DataConfig(mix_in=('az://a',)))", ["data.mix_in", "az:/"]),
        ("Config(runs_dir='GS://bucket/runs')", ["runs_dir", "GS:/"]),
        ("Config(runs_dir='s3://bucket/runs')", ["runs_dir", "gs://"]),
        ("Config(name='a/b')", ["name is 'a/b'"]),
        ("Config(name='\\x1b[2J')", ["name is "]),
        ("3", ["defines no `config"]),
        (
            "Config(model=ModelConfig(architecture='big'))",
            ["'resnet', 'seed'"],
        ),
        ("Config(model=ModelConfig(blocks=3))", ["model.blocks is 3"]),
        ("Config(model=ModelConfig(max_digits=21))", ["model.max_digits is 21", "1 to 20"]),
        ("Config(num_steps=-1)", ["num_steps is -1"]),
        ("(", ["mine.py, line 2"]),
        ("1 / 0", ["mine.py: ZeroDivisionError"]),
    ],
)
def test_a_bad_config_file_is_one_line_that_names_it_and_the_field(tmp_path, text, words):
    path = write(tmp_path, f"config = {text}")
    with pytest.raises(InputError) as error:
        config_files.load(path)
    for word in (str(path), *words):
        assert word in str(error.value)


def test_the_length_of_a_run_is_given_in_epochs_or_in_steps():
    assert Config(num_epochs=2.0, batch_size=64).total_steps(1_000) == 31
    assert Config(num_epochs=0.001).total_steps(1_000) == 1
    assert Config(num_epochs=2.0, num_steps=7).total_steps(1_000) == 7


def test_a_config_survives_its_saved_form():
    config = Config(
        num_epochs=0.5, data=DataConfig(mix_in=("a", "b")), model=ModelConfig(blocks=(0, 3))
    )
    assert config_files.from_json(config_files.to_json(config), "file") == config


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"model": 3}', '{"batch_size": "x"}', '{"nonsense": 1}']
)
def test_a_damaged_saved_config_names_its_file(text):
    with pytest.raises(InputError, match=r"run/config\.json: "):
        config_files.from_json(text, "run/config.json")


def test_only_fields_that_change_a_step_forbid_resuming():
    config = Config()
    free = dataclasses.replace(config, log_every_steps=7, runs_dir="x")
    assert config_files.differences(free, config) == ""
    other = dataclasses.replace(config, batch_size=8, optimizer=OptimizerConfig(beta1=0.8))
    text = config_files.differences(other, config)
    assert "batch_size is 8, but 64" in text
    assert "optimizer.beta1 is 0.8, but 0.9" in text
