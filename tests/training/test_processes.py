"""Runs of many processes, each with two virtual devices, over loopback: real processes, JAX's own collectives."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from test_commands import TRAIN, assert_same_results, rows_of, run, start, wait_for_line
from tiny import CONFIG, write_config

from svhn_jax.training import run as training_run

EVALUATE = ("svhn_jax.evaluate", "--run", "checkpoints/many", "--split", "test", "--step", "latest")

LOST = (
    75,
    -signal.SIGABRT,
)  # or JAX itself ends the process, where it hears of the loss before the step does


@pytest.fixture(scope="module")
def one_device_env(one_device_env):
    """That of conftest.py; programs for many counts of devices and processes are compiled here, each in half the time."""
    return one_device_env | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, one_device_env):
    """A folder with tiny.py, prepared data, and a finished run "alone" of one process."""
    folder = tmp_path_factory.mktemp("processes")
    run(folder, one_device_env, "svhn_jax.synthesize", "--arrays", "data/tiny", "--train", "200", "--test", "30",
        "--size", "24")  # fmt: skip
    write_config(folder, CONFIG)
    run(folder, one_device_env, *TRAIN, "--name", "alone")
    return folder


class Processes:
    """The same command as processes 0 to count - 1 of one run; stdout and stderr of each in a file of `folder`.

    places: for some of them, the folder that it runs in instead.
    """

    def __init__(self, folder, env, count, *command, places=None):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        env = env | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        self.outputs = [folder / f"out{index}.txt" for index in range(count)]
        self.all = []
        for index, output in enumerate(self.outputs):
            place = ("--coordinator", address, "--processes", str(count), "--process", str(index))
            with output.open("w") as file:
                self.all.append(
                    subprocess.Popen(
                        [sys.executable, "-m", *command, *place],
                        cwd=(places or {}).get(index, folder),
                        env=env,
                        stdout=file,
                        stderr=subprocess.STDOUT,
                    )
                )

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

    def end(self, *, within_s=150):
        """Their exit statuses and what they said."""
        statuses = [process.wait(within_s) for process in self.all]
        return statuses, [output.read_text() for output in self.outputs]


def losses(folder, name):
    rows = [
        json.loads(line)
        for line in (folder / "checkpoints" / name / "metrics.jsonl").read_text().splitlines()
    ]
    return {(row["split"], row["step"]): row["loss"] for row in rows}


def assert_equal_to_alone(folder, name):
    """Same rows, same validation losses; a train row just after a start is of fewer steps.

    Rounding compounds over the run: 2.4e-4 was seen after 16 steps on 8 devices, then 1. A gradient or a batch statistic that is
    not the global batch's, or an image's mean that is off by 1e-4, gives more than 5e-3.
    """
    alone, many = losses(folder, "alone"), losses(folder, name)
    assert list(many) == list(alone)
    rows = [row for row in alone if row[0] == "validation"]
    np.testing.assert_allclose([many[row] for row in rows], [alone[row] for row in rows], rtol=1e-3)


def test_stopped_by_a_signal_to_one_and_gone_on_with_alone_it_is_the_run_of_one(
    workplace, one_device_env
):
    command = (*TRAIN, "--name", "many", "--data.placement", "streamed")
    with Processes(workplace, one_device_env, 2, *command) as processes:
        processes.wait_for_line("Step:     4")
        processes.all[1].send_signal(signal.SIGTERM)
        statuses, said = processes.end()
    assert statuses == [143, 143], said
    assert "4 device(s) of 2 processes" in said[0]
    assert "the same command goes on from there" in said[0]
    assert "Step" not in said[1]
    printed = run(workplace, one_device_env, *TRAIN, "--name", "many")
    assert "Restored step" in printed
    assert_equal_to_alone(workplace, "many")

    results = workplace / "checkpoints" / "many" / "results" / "test.csv"
    run(workplace, one_device_env, *EVALUATE)
    of_one = rows_of(results)
    results.unlink()
    with Processes(workplace, one_device_env, 2, *EVALUATE, "--batch-size", "7") as processes:
        statuses, said = processes.end()
    assert statuses == [0, 0], said
    assert "written to" in said[0]
    assert "written to" not in said[1]
    assert_same_results(rows_of(results), of_one)


def test_where_one_is_killed_the_others_stop_and_say_so_and_any_number_goes_on(
    workplace, one_device_env
):
    command = (*TRAIN, "--name", "killed", "--eval-every-steps", "3")
    with Processes(workplace, one_device_env, 2, *command) as processes:
        processes.wait_for_line("Step:     6/24, validation")
        processes.all[1].kill()
        statuses, said = processes.end()
    assert statuses[0] in LOST
    assert "another process of this run has stopped" in said[0] or "another task died" in said[0]
    assert "Traceback" not in said[0]
    with Processes(workplace, one_device_env, 2, *command) as processes:
        statuses, said = processes.end()
    assert statuses == [0, 0], said
    assert "Restored step" in said[0]
    assert_equal_to_alone(workplace, "killed")


def test_a_mistake_that_one_process_finds_stops_all(workplace, one_device_env):
    with Processes(
        workplace, one_device_env, 2, *TRAIN, "--name", "alone", "--seed", "5"
    ) as processes:
        statuses, said = processes.end()
    assert statuses == [1, 1], said
    assert "seed is 5, but 0 in the saved run" in said[0]
    assert "error: process 0 of this run could not go on" in said[1]


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_run_stopped_among_skipped_updates_gives_up_at_the_same_step_on_all_processes(
    workplace, one_device_env, monkeypatch
):
    """Step 3 is skipped before the stop; only with it, which process 0 reads from disk, step 102 is the 100th in a row."""
    optimizer = dataclasses.replace(
        CONFIG.optimizer, learning_rate=1e30, warmup_fraction=0.0, skip_nonfinite=True
    )
    config = dataclasses.replace(
        CONFIG, name="skipped", num_steps=120, eval_every_steps=1000, optimizer=optimizer
    )
    write_config(workplace, config, "skipped.py")
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("svhn_jax.training.processes.is_stop_agreed", lambda step: step == 3)
    assert training_run._run(config) == 143
    with Processes(workplace, one_device_env, 2, TRAIN[0], "--config", "skipped.py") as processes:
        statuses, said = processes.end(within_s=60)
    assert statuses == [1, 1], said
    for text in said:
        assert (
            "error: the last 100 updates, up to step 102, were all skipped: the run has diverged"
            in text
        )


@pytest.fixture
def elsewhere(workplace, tmp_path):
    """A folder with the same runs, and other data or none."""
    (tmp_path / "checkpoints").symlink_to(workplace / "checkpoints")
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    return tmp_path


EVALUATE_ALONE = (EVALUATE[0], "--run", "checkpoints/alone", "--split", "test")


def test_data_that_one_process_lacks_stop_the_evaluation_on_all(
    workplace, elsewhere, one_device_env
):
    with Processes(
        workplace, one_device_env, 2, *EVALUATE_ALONE, "--data", "data/tiny", places={1: elsewhere}
    ) as processes:
        statuses, said = processes.end()
    assert statuses == [1, 1], said
    assert "error: process 1 of this run could not go on" in said[0]
    assert "data/tiny" in said[1]


def test_sigterm_ends_an_evaluation_at_once_though_its_processes_were_joined(
    workplace, elsewhere, one_device_env
):
    """Process 1 waits for the other end of a pipe, and process 0, in a collective operation, for process 1."""
    os.mkfifo(elsewhere / "pipe")
    (elsewhere / "alone.py").write_text("open('pipe').read()\n")
    (workplace / "alone.py").write_text(
        f"{(workplace / 'tiny.py').read_text()}object.__setattr__(config, 'name', 'alone')"
    )
    command = (EVALUATE[0], "--config", "alone.py")
    with (
        Processes(workplace, one_device_env, 2, *command, places={1: elsewhere}) as processes,
        open(elsewhere / "pipe", "w"),  # this waits until process 1 has opened it too
    ):
        time.sleep(1)  # for process 0 to arrive where it waits
        for process in processes.all:
            process.send_signal(signal.SIGTERM)
        statuses, said = processes.end(within_s=10)
    assert statuses == [143, 143], said
    assert [text.splitlines()[-1] for text in said] == ["error: ended by SIGTERM"] * 2


def test_sigterm_ends_a_run_that_waits_for_its_other_processes(workplace, one_device_env, capfd):
    place = ("--coordinator", "127.0.0.1:9", "--processes", "2", "--process", "1")
    with start(workplace, one_device_env, *TRAIN, *place) as process:
        wait_for_line(process, "process 1 of 2: waits")
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 143
    assert capfd.readouterr().err == "error: ended by SIGTERM\n"


@pytest.mark.slow
def test_four_processes_one_killed_and_one_goes_on(workplace, one_device_env):
    command = (*TRAIN, "--name", "four")
    with Processes(workplace, one_device_env, 4, *command) as processes:
        processes.wait_for_line("Step:     6/24, validation")
        processes.all[2].kill()
        statuses, said = processes.end()
    assert set(statuses) <= {*LOST, -signal.SIGKILL}, said
    with Processes(workplace, one_device_env, 1, *command) as processes:  # one, of two devices
        assert processes.end()[0] == [0]
    assert_equal_to_alone(workplace, "four")


def test_a_run_goes_on_with_another_number_of_devices(workplace, one_device_env):
    for devices, stop_after in ((8, "Step:     4"), (1, "Step:    12"), (4, None)):
        env = one_device_env | {
            "NPROC": "32",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        with start(workplace, env, *TRAIN, "--name", "devices") as process:
            if stop_after:
                wait_for_line(process, stop_after)
                process.send_signal(signal.SIGTERM)
            printed = process.stdout.read()
        assert process.returncode == (143 if stop_after else 0), printed
    assert_equal_to_alone(workplace, "devices")


def test_slurm_is_recognised_and_its_sigterm_heard(workplace, one_device_env):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
    }
    env = one_device_env | slurm | {"SLURM_LOCALID": "0", "JAX_COORDINATOR_PORT": port}
    process = start(workplace, env, *TRAIN, "--name", "slurm")
    with process:
        wait_for_line(process, "Step:     2")
        process.send_signal(signal.SIGTERM)
        printed = process.stdout.read()
    assert process.returncode == 143, printed
    assert "Saved step" in printed
    assert "Done: 24 steps" in run(workplace, env, *TRAIN, "--name", "slurm")
    assert_equal_to_alone(workplace, "slurm")


def test_arguments_that_do_not_belong_together_are_refused(workplace, one_device_env):
    said = run(workplace, one_device_env, *TRAIN, "--coordinator", "127.0.0.1:9", status=1)
    assert "give all of --coordinator" in said
    for place in ("127.0.0.1", "127.0.0.1:99999"):
        said = run(
            workplace,
            one_device_env,
            *TRAIN,
            "--coordinator",
            place,
            "--processes",
            "2",
            "--process",
            "0",
            status=1,
        )
        assert f"--coordinator is {place}; it must be HOST:PORT" in said
    bad = ("--coordinator", "127.0.0.1:9", "--processes", "2", "--process", "2")
    assert "--process is 2; it must be 0 to 1" in run(
        workplace, one_device_env, *TRAIN, *bad, status=1
    )


JOIN = """
import jax
from svhn_jax import errors
from svhn_jax.training import processes
def main():
    processes.join_processes()
    print(processes.is_joined(), jax.process_count())
errors.run_command(main)
"""
CLIENT = """
from types import SimpleNamespace as N
from jax._src.clusters.k8s_cluster import K8sCluster
K8sCluster._namespace = lambda: "default"
class Api:
    def list_namespaced_pod(self, **_):
        return N(items=[N(metadata=N(labels={"job-name": "train"}, name="train-0", owner_references=[]))])
    def read_namespaced_job(self, **_):
        return N(spec=N(parallelism=1))
config = N(load_incluster_config=lambda: None)
client = N(CoreV1Api=Api, BatchV1Api=Api, exceptions=N(ApiException=ValueError))
"""


def join_in_a_pod(folder, env, *, status=0, **pod):
    env = (
        env
        | pod
        | {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "PYTHONPATH": f"{folder}:{env['PYTHONPATH']}"}
    )
    done = subprocess.run([sys.executable, "-c", JOIN], env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("has_client", [False, True])
def test_a_pod_that_is_no_indexed_job_is_alone(tmp_path, one_device_env, has_client):
    if has_client:  # JAX would fail: the pod has no controller
        (tmp_path / "kubernetes.py").write_text(CLIENT)
    assert join_in_a_pod(tmp_path, one_device_env) == "False 1\n"


def test_a_pod_of_an_indexed_job_that_cannot_find_the_others_is_refused(tmp_path, one_device_env):
    said = join_in_a_pod(tmp_path, one_device_env, JOB_COMPLETION_INDEX="3", status=1)
    assert said.startswith(
        "error: pod 3 of an indexed Kubernetes Job cannot find the others (the package kubernetes is "
    )
    assert "pip install 'svhn_jax[k8s]'" in said
    assert said.count("\n") == 1
    (tmp_path / "kubernetes.py").write_text(
        f"{CLIENT}config = N(load_incluster_config=lambda: 1 / 0)"
    )
    said = join_in_a_pod(tmp_path, one_device_env, JOB_COMPLETION_INDEX="3", status=1)
    assert said.startswith(
        "error: pod 3 of an indexed Kubernetes Job cannot find the others (ZeroDivisionError"
    )


def test_with_the_client_of_kubernetes_jax_joins_the_pods_of_an_indexed_job(
    tmp_path, one_device_env
):
    (tmp_path / "kubernetes.py").write_text(CLIENT)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pod = {"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "localhost", "JAX_COORDINATOR_ADDRESS": address}
    assert "True 1\n" in join_in_a_pod(tmp_path, one_device_env, **pod)
