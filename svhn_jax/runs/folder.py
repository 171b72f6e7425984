"""A run is one folder: RUNS/NAME/.

config.json     the configuration as used
data.json       what it trains and validates on (DataRecord), and the versions it began with
lock            held while a process trains here
metrics.jsonl   a row for every printed line and every validation
events/         TensorBoard: train/ and validation/, whose curves share charts
steps/N/        Orbax checkpoints
profile/        a trace of a few steps, where --profile asked for one
results/        of svhn_jax.evaluate, see svhn_jax.runs.results; results-old-TIME/ where the run then started anew
"""

import dataclasses
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

from etils import epath

from svhn_jax import config_files, files, output
from svhn_jax.checked import Checked, Rule
from svhn_jax.config import Config
from svhn_jax.data.crop import CropRule, require_same_rule
from svhn_jax.errors import InputError
from svhn_jax.runs.checksums import sealed, unsealed
from svhn_jax.runs.versions import versions

FETCH_AGAIN = (
    "these are published weights: fetch them again (git checkout of the folder, or a new download)"
)


@dataclass(frozen=True)
class DataRecord(Checked):
    """The data that a run trains and validates on.

    Attributes:
      fingerprints: of the splits train (of all data sets) and validation (of the first one).
      crop: how all the photos were cropped.
      folder: of `data.dir`; an absolute path, so that it is found from elsewhere, or an address in a bucket.
      mix_in: of `data.mix_in`, likewise.
    """

    fingerprints: Annotated[
        dict[str, str], Rule({"train", "validation"}.issubset, "of train and validation")
    ]
    crop: CropRule
    folder: str
    mix_in: tuple[str, ...]

    @classmethod
    def of(cls, config: Config, fingerprints: dict[str, str], crop: CropRule) -> "DataRecord":
        """The record of the data that `config` names."""
        return cls(
            fingerprints,
            crop,
            _absolute(config.data.dir),
            tuple(map(_absolute, config.data.mix_in)),
        )

    @classmethod
    def called(cls, name: str) -> str:
        """The field in data.json."""
        return name


class RunFolder:
    """The text files of a run and its lock.

    run = RunFolder("checkpoints/demo")
    run.config().batch_size, run.metrics()[-1]["loss"]
    """

    def __init__(self, path: str):
        self.path = epath.Path(path)
        if not str(path).startswith(files.REMOTE):
            self.path = self.path.resolve()  # Orbax needs absolute paths
        self._lock: IO[str] | None = None
        self.steps_path = str(self.path / "steps")
        self.events_path = str(self.path / "events")

    def config(self) -> Config:
        """The configuration the run was trained with; InputError if the folder holds no run."""
        path = self.path / "config.json"
        if not path.exists():
            remedy = self._rewriting_remedy("train one with python -m svhn_jax.train")
            raise InputError(f"{self.path}: no run there (no config.json); {remedy}")
        text = path.read_bytes().decode("utf-8", "replace")
        return config_files.from_json(text, str(path))

    def data(self) -> DataRecord:
        """The data the run trains and validates on; InputError if their record is missing or damaged."""
        path = self.path / "data.json"
        try:
            values = self._data_values()
            if not isinstance(values.pop("versions"), dict):
                raise TypeError("versions is no JSON object")
            record: DataRecord = config_files.build(DataRecord, values)
            return record
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            InputError,
        ) as error:
            remedy = self._rewriting_remedy("train under another --name")
            raise InputError(
                f"{path}: missing, damaged or of an older version ({error!r}); {remedy}"
            ) from None

    def _data_values(self) -> dict[str, Any]:
        return unsealed(json.loads((self.path / "data.json").read_bytes()), "data.json")

    def remedy(self, of_a_trained_run: str) -> str:
        """The remedy for damage: that of a run that was trained here, or of published weights, which were not."""
        return FETCH_AGAIN if self._is_published() else of_a_trained_run

    def _is_published(self) -> bool:
        """Whether svhn_jax.publish wrote a step, as its metadata tell even where they or the rest are damaged."""
        with suppress(OSError):
            metadata = epath.Path(self.steps_path).glob("*/metadata/metadata")  # JSON, by Orbax
            return any(b'"published": {' in path.read_bytes() for path in metadata)
        return False

    def _rewriting_remedy(self, without_steps: str) -> str:
        """The remedy for a missing or damaged config.json or data.json."""
        steps = epath.Path(self.steps_path)
        if steps.exists() and any(path.name.isdigit() for path in steps.iterdir()):
            return self.remedy("run the same train command: it writes it anew from a checkpoint")
        return without_steps

    def refuse_changed_config(self, metadata: dict[str, Any]) -> None:
        """Compares config.json with the configuration sealed in a checkpoint.

        Args:
          metadata: as in `repair`.

        Raises:
          InputError: naming the fields that differ; those that a run may change do not count.
        """
        if "config" in metadata and (
            difference := config_files.differences(self.config(), _saved_config(metadata))
        ):
            raise InputError(
                f"{self.path / 'config.json'}: {difference}; "
                + self._rewriting_remedy("put it right, or train under another --name")
            )

    def lock(self) -> None:
        """Locks the run against other trainers on this file system, until this process ends or calls `close`.

        Raises:
          InputError: another process holds the lock; names its host and number.
        """
        if str(self.path).startswith(files.REMOTE):
            return
        doing = "is training here; wait for it, or give another --name"
        self._lock = files.hold_lock(Path(self.path) / "lock", str(self.path), doing)

    def is_being_trained(self) -> bool:
        """Whether a process holds the lock. In a bucket, which has no locks, always True."""
        return str(self.path).startswith(files.REMOTE) or files.is_locked(Path(self.path) / "lock")

    def close(self) -> None:
        """Gives up the lock, if it was taken."""
        if self._lock:
            self._lock.close()

    def start_or_continue(self, config: Config, data: DataRecord, *, has_steps: bool) -> None:
        """Writes config.json and data.json; if steps were saved, first checks that config and data match the saved run.

        A run without a saved step starts anew, with any configuration and data; results of steps that it had are moved to
        results-old-TIME/.

        Raises:
          InputError: naming the field that differs, or that the data did.
        """
        began_with = versions()
        if has_steps:
            if difference := config_files.differences(config, self.config()):
                raise InputError(
                    f"{self.path}: {difference}; give the saved values to go on, or another --name for a new run"
                )
            saved = self.data()
            require_same_rule(data.folder, data.crop, saved.crop, f"the run {self.path}")
            for split, fingerprint in data.fingerprints.items():
                if saved.fingerprints.get(split) != fingerprint:
                    raise InputError(
                        f"{self.path}: the {split} data differ from those the saved run was trained with; "
                        "restore those data, or give another --name for a new run"
                    )
            began_with = self._data_values()["versions"]
        elif (results := self.path / "results").exists():
            results.rename(self.path / f"results-old-{time.time_ns()}")
        self._replace(
            "data.json", _data_json(dataclasses.asdict(data), began_with)
        )  # the data may have been moved
        self._replace(
            "config.json", config_files.to_json(config)
        )  # log_every_steps, for one, may change

    def repair(self, metadata: dict[str, Any]) -> list[str]:
        """Rewrites config.json and data.json if missing or damaged; returns the names of those rewritten.

        A config.json that contradicts the checkpoint counts as damaged.

        Args:
          metadata: config, data and versions from a checkpoint of the run; empty if there is none.
        """
        if not {"config", "data", "versions"} <= metadata.keys():
            return []
        mended = []
        for name, read in (
            ("config.json", lambda: self.refuse_changed_config(metadata)),
            ("data.json", self.data),
        ):
            try:
                read()
            except InputError:
                config, data = (
                    _saved_config(metadata),
                    _data_json(metadata["data"], metadata["versions"]),
                )
                self._replace(
                    name, {"config.json": config_files.to_json(config), "data.json": data}[name]
                )
                mended.append(name)
        return mended

    def truncate_metrics(self, step: int) -> None:
        """Drops the metrics rows after `step`, so that a resumed run writes each of them once."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            lines = path.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= step]
            if len(kept) != len(lines):
                self.write_text("metrics.jsonl", "".join(kept))

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Appends a row to metrics.jsonl; a value that is not finite, which JSON does not have, becomes null."""
        line = output.json_line(row) + "\n"
        path = self.path / "metrics.jsonl"
        if str(self.path).startswith(files.REMOTE):  # object stores cannot append
            path.write_text((path.read_text() if path.exists() else "") + line)
        else:
            with path.open("a") as file:
                file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a line that is still being written, or damaged, is left out."""
        path = self.path / "metrics.jsonl"
        rows = []
        for line in (
            path.read_bytes().decode("utf-8", "replace").splitlines() if path.exists() else ()
        ):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
        return rows

    @property
    def profile_path(self) -> str:
        """profile/."""
        return str(self.path / "profile")

    def _replace(self, name: str, text: str) -> None:
        """Writes a text file unless it has that content already."""
        path = self.path / name
        if not path.exists() or path.read_bytes() != text.encode():
            self.write_text(name, text)

    def write_text(self, name: str, text: str) -> None:
        """Replaces a text file of the run as a whole: a kill leaves the old or the new one."""
        if str(self.path).startswith(files.REMOTE):  # object stores replace an object as a whole
            (self.path / name).write_text(text)
            return
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_text(Path(self.path / name), text)


def _absolute(folder: str) -> str:
    return folder if folder.startswith(files.REMOTE) else os.path.abspath(folder)


def _saved_config(metadata: dict[str, Any]) -> Config:
    return config_files.from_json(json.dumps(metadata["config"]), "a checkpoint's configuration")


def _data_json(data: dict[str, Any], began_with: dict[str, str]) -> str:
    return json.dumps(sealed(data | {"versions": began_with}, "data.json"), indent=1) + "\n"


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return 2**62  # drops a torn line
