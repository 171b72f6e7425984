"""Runs of two real processes, each with two virtual devices, over loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from test_commands import TRAIN, run, start, wait_for_line
from tiny import CONFIG, write_config

from svhn_jax.errors import InputError
from svhn_jax.training.processes import find_place

LOST = (75, -signal.SIGABRT)  # or JAX ends the process, where it hears of the loss before the step
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "localhost",
}
MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
}


def place_of(monkeypatch, run="runs/a", **env):
    """The place, and the port of the coordinator, of a process with these variables."""
    with monkeypatch.context() as patch:
        for name in (*SLURM, *MPI, "JOB_COMPLETION_INDEX", "JAX_COORDINATOR_PORT"):
            patch.delenv(name, raising=False)
        for name, value in env.items():
            patch.setenv(name, value)
        try:
            return find_place(None, None, None, run), os.environ.get("JAX_COORDINATOR_PORT")
        finally:
            os.environ.pop("JAX_COORDINATOR_PORT", None)


@pytest.mark.parametrize(("env", "launcher"), [(SLURM, "SLURM"), (MPI, "Open MPI")])
def test_a_process_of_several_tasks_joins_the_others(monkeypatch, env, launcher):
    place, _ = place_of(monkeypatch, **env)
    assert (place.launcher, place.count, place.index) == (launcher, 4, 2)


@pytest.mark.parametrize(
    "env", [{}, SLURM | {"SLURM_NTASKS": "1"}, MPI | {"OMPI_COMM_WORLD_SIZE": "1"}]
)
def test_a_job_of_one_task_joins_nobody(monkeypatch, env):
    assert place_of(monkeypatch, **env) == (None, None)


def test_two_runs_and_two_steps_of_one_job_meet_at_different_ports(monkeypatch):
    _, first = place_of(monkeypatch, **SLURM)
    assert place_of(monkeypatch, **SLURM | {"SLURM_PROCID": "0"})[1] == first
    assert place_of(monkeypatch, "runs/b", **SLURM)[1] != first
    assert place_of(monkeypatch, **SLURM | {"SLURM_STEP_ID": "1"})[1] != first
    assert place_of(monkeypatch, **SLURM, JAX_COORDINATOR_PORT="99")[1] == "99"


@pytest.mark.parametrize("given", [("127.0.0.1:9", None, None), ("127.0.0.1:9", 2, 2)])
def test_arguments_that_do_not_belong_together_are_refused(given):
    with pytest.raises(InputError, match="--coordinator"):
        find_place(*given, "run")


def test_pods_that_do_not_know_of_one_another_do_not_train_one_run(monkeypatch):
    with pytest.raises(InputError, match="--processes 1"):
        place_of(monkeypatch, JOB_COMPLETION_INDEX="3")
    assert find_place(None, 1, None, "run") is None


@pytest.fixture(scope="module")
def one_device_env(one_device_env):
    """As in conftest.py; programs for many counts of devices compile in half the time."""
    return one_device_env | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, one_device_env):
    """A folder with tiny.py, prepared data, and a finished run "alone" of one process."""
    folder = tmp_path_factory.mktemp("processes")
    synthesize = ("svhn_jax.synthesize", "--arrays", "data/tiny", "--train", "200", "--test", "30")
    run(folder, one_device_env, *synthesize, "--size", "24")
    write_config(folder, CONFIG)
    run(folder, one_device_env, *TRAIN, "--name", "alone")
    return folder


class Processes:
    """One command as processes 0 and 1 of a run; the output of each in a file of `folder`."""

    def __init__(self, folder, env, *command):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        env = env | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        self.outputs = [folder / f"out{index}.txt" for index in range(2)]
        self.all = []
        for index, output in enumerate(self.outputs):
            place = ("--coordinator", address, "--processes", "2", "--process", str(index))
            with output.open("w") as file:
                words = [sys.executable, "-m", *command, *place]
                streams = {"stdout": file, "stderr": subprocess.STDOUT}
                self.all.append(subprocess.Popen(words, cwd=folder, env=env, **streams))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.all:
            process.kill()
            process.wait()

    def wait_for_line(self, words):
        while words not in self.outputs[0].read_text():
            assert self.all[0].poll() is None, self.outputs[0].read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.all[0].wait(0.1)

    def end(self):
        """Their exit statuses and what they printed."""
        statuses = [process.wait(150) for process in self.all]
        return statuses, [output.read_text() for output in self.outputs]


def losses(folder, name):
    text = (folder / "checkpoints" / name / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    return {(row["split"], row["step"]): row["loss"] for row in rows}


def assert_equal_to_alone(folder, name):
    """Same rows, same validation losses; a train row just after a start is of fewer steps.

    Rounding compounds over the run: 2.4e-4 was seen after 16 steps on 8 devices, then 1. A gradient
    or a batch statistic that is not the global batch's gives more than 5e-3.
    """
    alone, many = losses(folder, "alone"), losses(folder, name)
    assert list(many) == list(alone)
    rows = [row for row in alone if row[0] == "validation"]
    np.testing.assert_allclose([many[row] for row in rows], [alone[row] for row in rows], rtol=1e-3)


def test_stopped_by_a_signal_to_one_and_continued_alone_it_is_the_run_of_one(
    workplace, one_device_env
):
    command = (*TRAIN, "--name", "many", "--data.placement", "streamed")
    with Processes(workplace, one_device_env, *command) as processes:
        processes.wait_for_line("Step:     4")
        processes.all[1].send_signal(signal.SIGTERM)
        statuses, printed = processes.end()
    assert statuses == [143, 143], printed
    assert "4 device(s) of 2 processes" in printed[0]
    assert "Saved step" in printed[0]
    assert "Step" not in printed[1]
    assert "Restored step" in run(workplace, one_device_env, *TRAIN, "--name", "many")
    assert_equal_to_alone(workplace, "many")


def test_where_one_is_killed_the_other_stops_and_the_same_command_continues(
    workplace, one_device_env
):
    command = (*TRAIN, "--name", "killed", "--eval-every-steps", "3")
    with Processes(workplace, one_device_env, *command) as processes:
        processes.wait_for_line("Step:     6/24, validation")
        processes.all[1].kill()
        statuses, printed = processes.end()
    assert statuses[0] in LOST
    assert "Traceback" not in printed[0]
    with Processes(workplace, one_device_env, *command) as processes:
        statuses, printed = processes.end()
    assert statuses == [0, 0], printed
    assert "Restored step" in printed[0]
    assert_equal_to_alone(workplace, "killed")


def test_a_mistake_that_one_process_finds_stops_all(workplace, one_device_env):
    command = (*TRAIN, "--name", "alone", "--seed", "5")
    with Processes(workplace, one_device_env, *command) as processes:
        statuses, printed = processes.end()
    assert statuses == [1, 1], printed
    assert "seed is 5, but 0 in the saved run" in printed[0]
    assert "process 0 of this run could not continue" in printed[1]


WAIT_1_S = "from svhn_jax.training import processes; processes.JOIN_S = 1; "
COMMAND = "from svhn_jax import cli, train; cli.run(train.Options, train.main)"


@pytest.mark.parametrize("index", ["0", "1"])
def test_others_that_never_come_are_named_at_once_and_end_in_75(workplace, one_device_env, index):
    env = one_device_env | SLURM | {"SLURM_PROCID": index}
    command = ("-c", WAIT_1_S + COMMAND, *TRAIN[1:], "--name", "waiting")
    done = subprocess.run(
        [sys.executable, *command], cwd=workplace, env=env, capture_output=True, text=True
    )
    assert done.returncode == 75, done.stderr
    assert f"process {index} of 4 (SLURM): waits" in done.stdout
    assert "--processes 1" in done.stdout
    assert done.stderr.startswith("error: the processes of this run did not find one another")
    assert done.stderr.count("\n") == 1


def test_sigterm_ends_a_run_that_waits_for_its_other_processes(workplace, one_device_env, capfd):
    place = ("--coordinator", "127.0.0.1:9", "--processes", "2", "--process", "1")
    with start(workplace, one_device_env, *TRAIN, *place) as process:
        wait_for_line(process, "process 1 of 2 (by hand): waits")
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert capfd.readouterr().err == "error: ended by SIGTERM\n"
