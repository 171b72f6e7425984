import dataclasses
import json
import os

import pytest
from tiny import CONFIG

from svhn_jax.config import DataConfig
from svhn_jax.data.crop import CropRule
from svhn_jax.errors import InputError
from svhn_jax.runs.checksums import sealed
from svhn_jax.runs.folder import DataRecord, RunFolder


def data(train="a", *, folder="/data/tiny", **crop):
    rule = CropRule(**{"size": 24, "margin": 0.3} | crop)
    return DataRecord({"train": train, "validation": "v"}, rule, folder, ("/data/more",))


def test_a_run_goes_on_with_its_own_config_and_data(tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    run.start_or_continue(CONFIG, data(), has_steps=False)
    assert run.data() == data()
    moved = data(folder="/moved/tiny")
    run.start_or_continue(dataclasses.replace(CONFIG, log_every_steps=9), moved, has_steps=True)
    assert run.config().log_every_steps == 9
    assert run.data() == moved


def test_a_run_refuses_another_config_and_other_data_and_stays_as_it_was(tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    run.start_or_continue(CONFIG, data(), has_steps=False)
    with pytest.raises(InputError, match="batch_size is 8, but 16 in the saved run"):
        run.start_or_continue(dataclasses.replace(CONFIG, batch_size=8), data(), has_steps=True)
    with pytest.raises(InputError, match="the train data differ"):
        run.start_or_continue(CONFIG, data("b"), has_steps=True)
    with pytest.raises(
        InputError, match=r"have size 48, but the run .* has size 24; .* --size 24 --margin 0\.3"
    ):
        run.start_or_continue(CONFIG, data("b", size=48), has_steps=True)
    assert run.config() == CONFIG
    assert run.data() == data()


def test_a_run_without_a_saved_step_begins_anew_with_any_config_and_data(tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    run.start_or_continue(CONFIG, data(), has_steps=False)
    (tmp_path / "run" / "data.json").write_text("{")
    other = dataclasses.replace(CONFIG, batch_size=8)
    run.start_or_continue(other, data("b", size=48), has_steps=False)
    assert run.config() == other
    assert run.data() == data("b", size=48)


def test_results_of_before_are_moved_away_where_a_run_starts_anew_alone(tmp_path):
    run, table = RunFolder(str(tmp_path)), tmp_path / "results" / "test.csv"
    run.start_or_continue(CONFIG, data(), has_steps=False)
    table.parent.mkdir()
    table.write_text("rows")
    run.start_or_continue(CONFIG, data(), has_steps=True)
    assert table.exists()
    run.start_or_continue(CONFIG, data(), has_steps=False)
    assert not table.exists()
    assert [path.read_text() for path in tmp_path.glob("results-old-*/test.csv")] == ["rows"]


def test_what_a_run_was_trained_with_is_recorded_by_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(
        CONFIG, data=DataConfig(dir="data/tiny", mix_in=("/else", "gs://bucket/data"))
    )
    record = DataRecord.of(config, {"train": "t", "validation": "v"}, CropRule(24, 0.3))
    assert (record.folder, record.mix_in) == (
        f"{tmp_path}/data/tiny",
        ("/else", "gs://bucket/data"),
    )


def test_a_record_of_the_data_that_was_changed_is_not_believed(tmp_path):
    run = RunFolder(str(tmp_path))
    run.start_or_continue(CONFIG, data(), has_steps=False)
    text = (tmp_path / "data.json").read_text()
    (tmp_path / "data.json").write_text(text.replace("0.3", "0.7"))
    with pytest.raises(InputError, match=r"data\.json: missing, damaged or of an older version"):
        run.data()


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(InputError, match="no run there"):
        RunFolder(str(tmp_path)).config()


def test_metrics_after_the_restored_step_and_torn_lines_are_forgotten(tmp_path):
    run = RunFolder(str(tmp_path))
    for step in (1, 2, 3):
        run.add_metrics({"step": step, "loss": step / 2})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 1, "lo')
    run.truncate_metrics(2)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0}]


def test_a_second_trainer_is_refused_with_the_owners_process(tmp_path):
    first = RunFolder(str(tmp_path))
    first.lock()
    with pytest.raises(InputError, match=rf"process {os.getpid()} on \S+ is training here"):
        RunFolder(str(tmp_path)).lock()
    first._lock.close()
    again = RunFolder(str(tmp_path))
    again.lock()
    again._lock.close()


def test_config_and_data_are_mended_from_what_a_checkpoint_says(tmp_path):
    run, config = RunFolder(str(tmp_path)), dataclasses.replace(CONFIG, seed=5)
    run.start_or_continue(config, data(), has_steps=False)
    whole = {name: (tmp_path / name).read_text() for name in ("config.json", "data.json")}
    metadata = {
        "config": dataclasses.asdict(config),
        "data": dataclasses.asdict(data()),
        "versions": json.loads(whole["data.json"])["versions"],
    }
    assert run.repair(metadata) == []
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "data.json").unlink()
    assert run.repair({}) == []
    assert run.repair(json.loads(json.dumps(metadata))) == ["config.json", "data.json"]
    assert {name: (tmp_path / name).read_text() for name in whole} == whole
    (tmp_path / "config.json").write_text(whole["config.json"].replace('"crop": 20', '"crop": 21'))
    with pytest.raises(
        InputError, match=r"config\.json: image\.crop is 21, but 20 in the saved run; "
    ):
        run.refuse_changed_config(metadata)
    assert run.repair(metadata) == ["config.json"]
    assert run.config() == config
    run.refuse_changed_config(metadata)
    run.refuse_changed_config({})


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprints": {}},
        {"fingerprints": ["train", "validation"]},
        {"crop": {"size": 24, "margin": "0.3"}},
        {"crop": {"size": "24", "margin": 0.3}},
        {"folder": 3},
        {"mix_in": [3]},
        {"versions": ["jax"]},
    ],
    ids=str,
)
def test_a_sealed_record_of_other_types_is_refused(tmp_path, change):
    values = dataclasses.asdict(data()) | {"versions": {}} | change
    (tmp_path / "data.json").write_text(json.dumps(sealed(values, "data.json")))
    with pytest.raises(InputError, match=r"data\.json: missing, damaged or of an older version"):
        RunFolder(str(tmp_path)).data()


def test_where_steps_are_saved_the_train_command_mends_config_and_data(tmp_path):
    run = RunFolder(str(tmp_path))
    run.start_or_continue(CONFIG, data(), has_steps=False)
    (tmp_path / "steps" / "3").mkdir(parents=True)
    for name, read in (("config.json", run.config), ("data.json", run.data)):
        for spoil in (
            (tmp_path / name).write_text,
            lambda _, name=name: (tmp_path / name).unlink(),
        ):
            spoil("{")
            with pytest.raises(
                InputError,
                match=r"; run the same train command: it writes it anew from a checkpoint$",
            ):
                read()


def test_the_steps_of_a_sound_run_are_not_read_for_a_remedy(tmp_path, monkeypatch):
    run = RunFolder(str(tmp_path))
    run.start_or_continue(CONFIG, data(), has_steps=False)
    monkeypatch.setattr(
        RunFolder, "_rewriting_remedy", lambda *_: pytest.fail("in a bucket these are many reads")
    )
    assert run.config() == CONFIG
    assert run.data() == data()
