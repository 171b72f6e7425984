"""The launch scripts: linted, and as far as they can be run here, run."""

import contextlib
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


def bash(*command, status=0, **env):
    done = subprocess.run(
        ["bash", *map(str, command)], env=os.environ | env, capture_output=True, text=True
    )
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
    settings = {
        "NAME": "n",
        "ZONE": "z",
        "TYPE": "v4-32",
        "SPOT": "1",
        "RUNS": "gs://b/runs",
        "DATA": "gs://b/full",
    }
    printed = bash(LAUNCH / "tpu_vm.sh", "--dry-run", "recreate", **settings).splitlines()
    assert printed[0].startswith("gcloud compute tpus tpu-vm delete n --zone=z --quiet")
    assert printed[1].startswith(
        "gcloud compute tpus tpu-vm create n --zone=z --accelerator-type=v4-32"
    )
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
    printed = bash(
        LAUNCH / "tpu_vm.sh", "delete", "--dry-run", PATH=f"{tmp_path}:{os.environ['PATH']}"
    )
    assert "tpu-vm delete" in printed
    assert not (LAUNCH.parent / "called").exists()


def test_a_run_on_a_disk_that_goes_with_its_machine_is_refused():
    assert "give RUNS=gs://BUCKET/PATH" in bash(
        LAUNCH / "tpu_vm.sh", "--dry-run", "train", status=1, RUNS="runs"
    )


# What `tpu_vm.sh` meets instead of Google Cloud and the network: a folder is the machine, its commands run in bash here.
STUBS = {
    "gcloud": """#!/bin/bash
set -eu
echo "$*" >> "$CLOUD/calls"
words=() command='' worker=''
for word in "$@"; do
    case $word in
        --command=*) command=${word#*=} ;;
        --worker=*) worker=${word#*=} ;;
        -*) ;;
        *) words+=("${word/#gs:\\/\\//$CLOUD/gs/}") ;;
    esac
done
home=$CLOUD/home
case ${words[*]} in
    "compute tpus tpu-vm create svhn-jax") mkdir "$home" ;;
    "compute tpus tpu-vm delete svhn-jax") rm -r "$home" ;;
    "compute tpus tpu-vm ssh svhn-jax") cd "$home" && HOME=$home bash -c "$command" ;;
    "compute tpus tpu-vm scp "*) cp -r "${words[4]}" "$home/${words[5]#svhn-jax:}" ;;
    "storage rsync "*) cp -r "${words[2]}/." "${words[3]}" ;;
    *) exit 64 ;;
esac
""",
    "python3": """#!/bin/bash
set -eu
[[ $* == "-m uv venv"* ]] || exit 0
mkdir -p .venv/bin
cp "$CLOUD/bin/trainer" .venv/bin/python
""",
    "trainer": """#!/bin/bash
echo "$$ $*" >> "$CLOUD/trainers"
exec sleep 60
""",
}


class Cloud:
    """tpu_vm.sh of a checkout of its own, with STUBS in place of what it calls."""

    def __init__(self, folder):
        self.folder, self.checkout = folder, folder / "checkout"
        (folder / "bin").mkdir(parents=True)
        for name, text in STUBS.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        shutil.copytree(LAUNCH, self.checkout / "launch")
        git = ["git", "-C", self.checkout, "-c", "user.name=n", "-c", "user.email=e@localhost"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
            subprocess.run([*git, *command], check=True)
        for path in ("data/full/manifest.json", "runs/full/results/test.csv"):
            (folder / "gs" / "b" / path).parent.mkdir(parents=True)
            (folder / "gs" / "b" / path).write_text("here")
        self.env = {
            "CLOUD": str(folder),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "RUNS": "gs://b/runs",
        }

    def __call__(self, action, status=0, **env):
        return bash(self.checkout / "launch" / "tpu_vm.sh", action, status=status, **self.env | env)

    def trainers(self, count):
        """Process numbers of the runs that were started, oldest first; waits until there are `count`."""
        path = self.folder / "trainers"
        for _ in range(100):
            if path.exists() and len(lines := path.read_text().splitlines()) == count:
                return [int(line.split()[0]) for line in lines]
            time.sleep(0.1)
        raise AssertionError(f"{count} runs were not started")


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path)
    yield cloud
    for line in (
        (tmp_path / "trainers").read_text().splitlines() if (tmp_path / "trainers").exists() else ()
    ):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.split()[0]), signal.SIGTERM)


def test_a_machine_is_created_installed_trained_on_fetched_from_and_deleted(cloud):
    for action in ("create", "install", "data", "train"):
        cloud(action, DATA="gs://b/data/full", OPTIONS="--seed 3")
    work = cloud.folder / "home" / "svhn_jax_checkout"
    assert (work / "launch" / "tpu_vm.sh").exists()
    assert (work / "data" / "full" / "manifest.json").read_text() == "here"
    cloud.trainers(1)
    started = (cloud.folder / "trainers").read_text().split(maxsplit=1)[1]
    assert started == "-m svhn_jax.train --config configs/full.py --runs-dir gs://b/runs --seed 3\n"
    cloud("fetch")
    assert (cloud.checkout / "checkpoints" / "full" / "results" / "test.csv").read_text() == "here"
    cloud("delete")
    assert not (cloud.folder / "home").exists()


def test_a_second_run_on_the_same_machine_is_refused_until_the_first_has_ended(cloud):
    for action in ("create", "install", "train"):
        cloud(action)
    [first] = cloud.trainers(1)
    assert "already training" in cloud("train", status=1)
    keeper = parent_of(first)
    os.kill(first, signal.SIGTERM)
    wait_until_gone(
        keeper
    )  # keep_going ends after the run, with its status 143; it holds the lock until then
    cloud("train")
    second = cloud.trainers(2)[1]
    keeper = parent_of(second)
    os.kill(keeper, signal.SIGKILL)
    wait_until_gone(keeper)
    assert "already training" in cloud("train", status=1)  # the run itself is there still
    os.kill(second, signal.SIGKILL)
    wait_until_gone(second)
    cloud("train")
    cloud.trainers(3)


def test_after_a_preemption_the_run_starts_on_a_new_machine_with_data_of_this_checkout(cloud):
    (cloud.checkout / "data" / "full").mkdir(parents=True)
    (cloud.checkout / "data" / "full" / "manifest.json").write_text("mine")
    for _ in range(2):  # with no machine left, and with one
        cloud("recreate", SPOT="1")
    assert (cloud.folder / "home/svhn_jax_checkout/data/full/manifest.json").read_text() == "mine"
    cloud.trainers(2)


def test_the_log_of_worker_0_is_followed(cloud):
    cloud("create")
    (cloud.folder / "home" / "svhn_jax_checkout").mkdir()
    (cloud.folder / "home" / "svhn_jax_checkout" / "train.log").write_text("Step:     4\n")
    with subprocess.Popen(
        ["bash", cloud.checkout / "launch" / "tpu_vm.sh", "log"],
        env=os.environ | cloud.env, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert "--worker=0" in process.stdout.readline()
        assert process.stdout.readline() == "Step:     4\n"
        os.killpg(process.pid, signal.SIGTERM)


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until_gone(process):
    for _ in range(100):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {process} is there still")


@pytest.mark.parametrize(
    ("statuses", "end"),
    [("75 137 0", 0), ("134 1", 1), ("143", 143), ("75 75 75 75", 75), ("127", 127)],
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
        ["bash", LAUNCH / "keep_going.sh", sys.executable, command],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(30) == 143
        assert process.stdout.read() == ""


def test_keep_going_told_twice_still_waits_for_the_command_to_save(tmp_path):
    command = tmp_path / "command.py"
    command.write_text("import signal, time\nheard = []\n"
                       "signal.signal(signal.SIGTERM, lambda *_: (heard.append(1), print('heard', flush=True)))\n"
                       "print('up', flush=True)\nwhile len(heard) < 2: time.sleep(0.05)\n"
                       "time.sleep(0.3)\nprint('saved', flush=True)\nraise SystemExit(143)\n")  # fmt: skip
    with subprocess.Popen(
        ["bash", LAUNCH / "keep_going.sh", sys.executable, command],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in ("up", "heard"):
            assert process.stdout.readline() == f"{line}\n"
            process.terminate()
        assert process.stdout.readline() == "heard\n"
        assert process.wait(30) == 143
        assert process.stdout.readline() == "saved\n"


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


@pytest.mark.parametrize(
    ("status", "restarts", "is_requeued"),
    [(0, 0, False), (1, 0, False), (143, 0, True), (75, 19, True), (137, 20, False)],
)
def test_a_slurm_job_queues_itself_again_where_it_may_go_on(
    tmp_path, status, restarts, is_requeued
):
    for name, text in {
        "srun": 'echo "$*"; exit "$STATUS"',
        "scontrol": 'echo "scontrol $*"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
    done = subprocess.run(
        ["bash", LAUNCH / "slurm.sbatch", "--config", "configs/full.py"], capture_output=True, text=True,
        env=os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STATUS": str(status)},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    requeue = "scontrol requeue 7\n" if is_requeued else ""
    assert done.stdout == f".venv/bin/python -m svhn_jax.train --config configs/full.py\n{requeue}"
