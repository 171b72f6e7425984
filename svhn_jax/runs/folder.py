"""A run is one folder: RUNS/NAME/.

config.json     the configuration as used
run.json        its data (DataRecord), number of steps and versions, or what was published
lock            held while a process trains here
metrics.jsonl   a row for every printed line and every validation
events/         TensorBoard: train/ and validation/, whose curves share charts
steps/N/        Orbax checkpoints
results/        of svhn_jax.evaluate, see svhn_jax.runs.results
"""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from etils import epath

from svhn_jax import config_files, files, output
from svhn_jax.config import Config
from svhn_jax.data.crop import CropRule, require_same_rule
from svhn_jax.errors import InputError, one_line
from svhn_jax.output import SILENT, Terminal

REMEDY = "give the saved values to continue the run, or another --name for a new one"


@dataclass(frozen=True)
class DataRecord:
    """The data that a run trains and validates on.

    fingerprints: of the splits train (of all data sets) and validation (of the first one).
    crop: how all the photos were cropped.
    folder: of `data.dir`: an absolute path, or an address.
    """

    fingerprints: dict[str, str]
    crop: CropRule
    folder: str

    @classmethod
    def of(cls, config: Config, fingerprints: dict[str, str], crop: CropRule) -> "DataRecord":
        """The record of the data that `config` names."""
        path = config.data.dir
        is_remote = path.startswith(files.REMOTE)
        return cls(fingerprints, crop, path if is_remote else os.path.abspath(path))


class RunFolder:
    """The text files of a run and its lock.

    run = RunFolder("checkpoints/demo")
    run.config().batch_size, run.metrics()[-1]["loss"]
    """

    def __init__(self, path: str):
        """Names the folder, which need not exist."""
        self.is_remote = str(path).startswith(files.REMOTE)
        if ":/" in str(path) and not self.is_remote:
            raise InputError(f"{path}: give a local path or gs://BUCKET/PATH")
        self.path = epath.Path(path)
        if not self.is_remote:
            self.path = self.path.resolve()  # Orbax needs absolute paths
        self._lock: IO[str] | None = None
        self._lines: list[str] = []
        self.steps_path = str(self.path / "steps")

    def config(self) -> Config:
        """The configuration the run was trained with; InputError if the folder holds no run."""
        path = self.path / "config.json"
        if not path.exists():
            raise InputError(
                f"{self.path}: no run there (no config.json); "
                "train one with python -m svhn_jax.train"
            )
        return config_files.from_json(path.read_bytes().decode("utf-8", "replace"), str(path))

    def facts(self) -> dict[str, Any]:
        """run.json: "data", and "versions" and "total_steps", or "published"; {} if damaged."""
        try:
            facts = json.loads((self.path / "run.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def data(self) -> DataRecord:
        """The data the run trains and validates on; InputError if their record cannot be read."""
        try:
            record: DataRecord = config_files.build(DataRecord, self.facts()["data"])
            return record
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise InputError(
                f"{self.path}/run.json: missing or damaged ({one_line(error)}); train under "
                "another --name, or fetch published weights again"
            ) from None

    def lock(self, terminal: Terminal = SILENT) -> None:
        """Locks the run against other trainers until this process ends or calls `close`.

        A bucket has no locks.

        Raises:
          InputError: another process holds the lock; names its host and number.
        """
        if not self.is_remote:
            doing = "is training here; wait for it, or give another --name"
            self._lock = files.hold_lock(Path(self.path) / "lock", doing, terminal)

    def close(self) -> None:
        """Gives up the lock, if it was taken."""
        if self._lock:
            self._lock.close()

    def start_or_continue(
        self,
        config: Config,
        data: DataRecord,
        facts: dict[str, Any] | None = None,
        *,
        has_steps: bool,
    ) -> None:
        """Writes config.json and run.json; compares them first, if steps were saved.

        Raises:
          InputError: names the field of the configuration that differs, or the split of the data.
        """
        if has_steps:
            saved = self.data()
            if difference := config_files.differences(config, self.config()):
                raise InputError(f"{self.path}: {difference}; {REMEDY}")
            require_same_rule(data.folder, data.crop, saved.crop, f"the run {self.path}")
            for split, fingerprint in data.fingerprints.items():
                if saved.fingerprints.get(split) != fingerprint:
                    raise InputError(f"{self.path}: the {split} data have changed; {REMEDY}")
        values = {"data": dataclasses.asdict(data)} | (facts or {})
        self.write_text("run.json", json.dumps(values, indent=1) + "\n")
        self.write_text("config.json", config_files.to_json(config))

    def truncate_metrics(self, step: int) -> None:
        """Drops the metrics rows after `step`, so that a resumed run writes each of them once."""
        self._lines = [_line(row) for row in self.metrics() if row["step"] <= step]
        if self._lines or (self.path / "metrics.jsonl").exists():
            self.write_text("metrics.jsonl", "".join(self._lines))

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Appends a row to metrics.jsonl; a value that is not finite becomes null.

        In a bucket, where nothing can be appended to, `flush_metrics` writes the rows.
        """
        if self.is_remote:
            self._lines.append(_line(row))
        else:
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(_line(row))

    def flush_metrics(self) -> None:
        """Writes the rows of `add_metrics`, and those before, to the bucket."""
        if self.is_remote:
            self.write_text("metrics.jsonl", "".join(self._lines))

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, without a damaged line, or one that is still being written."""
        path = self.path / "metrics.jsonl"
        text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        rows = []
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
        return rows

    def write_text(self, name: str, text: str) -> None:
        """Replaces a text file of the run as a whole: a kill leaves the old or the new one."""
        if self.is_remote:  # object stores replace an object as a whole
            (self.path / name).write_text(text)
        else:
            path = Path(self.path / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(path, text)


def _line(row: dict[str, Any]) -> str:
    return output.json_line(row) + "\n"
