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


def test_there_are_the_four_configs_the_readme_names():
    assert {path.stem for path in (REPOSITORY / "configs").glob("*.py")} >= {
        "demo",
        "real",
        "full",
        "seed",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config = Config(batchsize=3)", ["batchsize", "did you mean batch_size?"]),
        (
            "config = Config(optimizer=OptimizerConfig(lerning_rate=1.0))",
            ["did you mean learning_rate?"],
        ),
        ("config = Config(batch_size='64')", ["batch_size is '64'", "int"]),
        ("config = Config(batch_size=0)", ["batch_size is 0", "at least 1"]),
        ("config = Config(model=ModelConfig(dropout=1.0))", ["model.dropout is 1.0"]),
        (
            "config = Config(optimizer=OptimizerConfig(learning_rate=float('nan')))",
            ["optimizer.learning_rate is nan"],
        ),
        (
            "config = Config(augment=AugmentConfig(gamma=1.0))",
            ["augment.gamma is 1.0", "less than 1"],
        ),
        ("config = Config(augment=AugmentConfig(blur=-1.0))", ["augment.blur is -1.0", "0 to 8"]),
        (
            "config = Config(augment=AugmentConfig(downscale=0.5))",
            ["augment.downscale is 0.5", "0, or 1 to 8"],
        ),
        ("config = Config(augment=AugmentConfig(cutout=33))", ["augment.cutout is 33", "0 to 32"]),
        (
            "config = Config(data=DataConfig(mix_in=('a', 'b'), mix_in_repeat=(2,)))",
            ["data.mix_in_repeat is (2,)", "2 data"],
        ),
        (
            "config = Config(data=DataConfig(mix_in=('a',), mix_in_repeat=(0,)))",
            ["counts of at least 1"],
        ),
        ("config = Config(name='a/b')", ["name is 'a/b'"]),
        ("config = Config(name='\\x1b[2J')", ["printable characters"]),
        ("config = 3", ["defines no `config = Config(...)`"]),
        (
            "config = Config(optimizer=OptimizerConfig(algorithm='adam'))",
            ["it must be 'adamw' or 'sgd'"],
        ),
        (
            "config = Config(model=ModelConfig(architecture='big'))",
            ["it must be 'resnet', 'seed' or 'potterhsu'"],
        ),
        (
            "config = Config(model=ModelConfig(blocks=3))",
            ["model.blocks is 3; it must be of type tuple[int, ...]"],
        ),
        (
            "config = Config(model=ModelConfig(max_digits=0))",
            ["model.max_digits is 0; it must be 1 to 20"],
        ),
        (
            "config = Config(model=ModelConfig(max_digits=21))",
            ["model.max_digits is 21; it must be 1 to 20"],
        ),
        ("config = Config(num_steps=-1)", ["num_steps is -1; it must be at least 0"]),
        ("\nconfig = (", ["mine.py, line 3: SyntaxError: '(' was never closed"]),
        (
            "\nconfig = Config(batch_size=32 seed=3)",
            ["mine.py, line 3: SyntaxError: invalid syntax"],
        ),
        ("\nconfig = 1 / 0", ["mine.py, line 3: ZeroDivisionError: division by zero"]),
        (
            "\nconfig = Config(\n    lerning_rate=1.0\n)",
            ["mine.py, line 3: TypeError", "did you mean learning_rate?"],
        ),
        ("import sys\nsys.exit(3)", ["mine.py, line 3: ends the program", "define `config`"]),
        ("import nosuchmodule", ["mine.py, line 2: ModuleNotFoundError", "nosuchmodule"]),
    ],
)
def test_a_bad_config_file_gets_one_line_that_names_it_and_the_field(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        config_files.load(path)
    for word in (str(path), *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["import batchsize", "from svhn_jax.config import Confg", "{}['batchsize']", "[].batchsize"],
)
def test_only_an_unknown_field_gets_the_nearest_field(tmp_path, text):
    with pytest.raises(InputError, match=r"mine\.py, line 2: \w+Error") as error:
        config_files.load(write(tmp_path, text))
    assert "; did you mean" not in str(error.value)


def test_outside_the_repository_no_unrelated_file_is_taken_for_a_config(tmp_path, monkeypatch):
    write(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"^demo: no such config file; run this in the repository's top folder$"
    ):
        config_files.load("demo")


def test_a_bare_name_lists_the_files_in_configs(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    with pytest.raises(
        InputError,
        match=r"^demo: no such config file; there are: configs/demo\.py, configs/full\.py",
    ):
        config_files.load("demo")


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


def test_a_run_may_go_on_with_other_habits_but_not_with_other_mathematics():
    config = Config()
    assert (
        config_files.differences(
            dataclasses.replace(config, log_every_steps=7, runs_dir="x"), config
        )
        == ""
    )
    other = dataclasses.replace(config, batch_size=8, optimizer=OptimizerConfig(beta1=0.8))
    text = "batch_size is 8, but 64, optimizer.beta1 is 0.8, but 0.9 in the saved run"
    assert config_files.differences(other, config) == text
