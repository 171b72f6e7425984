"""The launch scripts: linted, and as far as they can be run here, run."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
SCRIPTS = ("keep_going.sh", "tpu_vm.sh", "slurm.sbatch", "../benchmarks/on_gpu.sh")


def bash(*command, status=0, **env):
    done = subprocess.run(["bash", *map(str, command)], env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_has_nothing_to_say(script):
    shellcheck = shutil.which(
        "shellcheck", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    assert shellcheck, "pip install -e '.[dev]' brings shellcheck"
    done = subprocess.run([shellcheck, LAUNCH / script], capture_output=True, text=True)
    assert done.stdout == ""


def test_the_dry_run_shows_a_preemptible_run_from_creation_to_training():
    settings = {"NAME": "n", "ZONE": "z", "TYPE": "v4-32", "SPOT": "1", "RUNS": "gs://b/runs", "DATA": "gs://b/full"}
    printed = bash(LAUNCH / "tpu_vm.sh", "--dry-run", "recreate", **settings).splitlines()
    assert printed[0].startswith("gcloud compute tpus tpu-vm delete n --zone=z --quiet")
    assert printed[1].startswith("gcloud compute tpus tpu-vm create n --zone=z --accelerator-type=v4-32")
    assert "--spot" in printed[1]
    assert all("--worker=all" in line for line in printed if " ssh " in line or " scp " in line)
    assert "gcloud storage rsync -r" in printed[-2]
    assert "gs://b/full" in printed[-2]
    assert "python -m svhn_jax.train --config configs/full.py --runs-dir gs://b/runs" in printed[-1]


@pytest.mark.parametrize("arguments", [("delete", "create"), ("destroy",), ()])
def test_anything_but_one_action_is_refused(arguments):
    assert "ACTION" in bash(LAUNCH / "tpu_vm.sh", "--dry-run", *arguments, status=2)


def test_the_dry_run_may_be_asked_for_anywhere(tmp_path):
    (tmp_path / "gcloud").write_text("#!/bin/sh\ntouch called\n")
    (tmp_path / "gcloud").chmod(0o755)
    printed = bash(LAUNCH / "tpu_vm.sh", "delete", "--dry-run", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "tpu-vm delete" in printed
    assert not (LAUNCH.parent / "called").exists()


def test_a_run_on_a_disk_that_goes_with_its_machine_is_refused():
    assert "give RUNS=gs://BUCKET/PATH" in bash(LAUNCH / "tpu_vm.sh", "--dry-run", "train", status=1, RUNS="runs")


@pytest.mark.parametrize(
    ("statuses", "end"), [("75 137 0", 0), ("134 1", 1), ("143", 143), ("75 75 75 75", 75), ("127", 127)]
)
def test_keep_going_tries_again_what_may_pass(tmp_path, statuses, end):
    (tmp_path / "statuses").write_text("\n".join(statuses.split()) + "\n")
    command = tmp_path / "command.sh"
    command.write_text('status=$(head -n 1 statuses)\nsed -i 1d statuses\nexit "$status"\n')
    done = subprocess.run(
        ["bash", LAUNCH / "keep_going.sh", "bash", command],
        cwd=tmp_path, env=os.environ | {"PAUSE_S": "0", "RETRIES": "3"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == end
    assert (tmp_path / "statuses").read_text() == ""


def test_keep_going_hands_sigterm_on_and_does_not_start_again(tmp_path):
    command = tmp_path / "command.py"
    command.write_text("import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
                       "print('up', flush=True)\ntime.sleep(60)\n")  # fmt: skip
    with subprocess.Popen(
        ["bash", LAUNCH / "keep_going.sh", sys.executable, command], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(30) == 143
        assert process.stdout.read() == ""


def test_ctrl_c_in_a_terminal_reaches_the_command_once(tmp_path):
    command = tmp_path / "command.py"
    command.write_text("import signal, time\nseen = []\nfor s in (2, 15): signal.signal(s, lambda n, _: seen.append(n))\n"
                       "print('up', flush=True)\nwhile not seen: time.sleep(0.1)\ntime.sleep(1)\nprint(seen, flush=True)\n"
                       "raise SystemExit(130)\n")  # fmt: skip
    with subprocess.Popen(
        ["bash", LAUNCH / "keep_going.sh", sys.executable, command],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "up\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the group
        assert process.wait(30) == 130
        assert process.stdout.read() == "[15]\n"


def test_a_stop_between_two_attempts_is_the_end(tmp_path):
    with subprocess.Popen(
        ["bash", LAUNCH / "keep_going.sh", "bash", "-c", "echo once; exit 75"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PAUSE_S": "60"},
    ) as process:  # fmt: skip
        assert process.stderr.readline() == "keep_going: ended with status 75; again in 60 s\n"
        process.terminate()
        assert process.wait(30) == 75
        process.stdout.close()
