"""python tests/faults/attack.py kill-run|damage-run --count N --seed S: attacks on a training run.

kill-run: kills a run at random moments and starts it again. It must end with the same bits, and the
same steps in metrics.jsonl, as one that was not killed.
damage-run: damages files of a stopped run. It must continue to the same bits, or be refused with
one line.

Prints a line for each kind of attack with its outcomes, the problems found, and the counts as JSON.
Exit status 1 if there was a problem.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(1, str(REPOSITORY))
sys.path.append(str(REPOSITORY / "tests"))

from svhn_jax import cli  # noqa: E402
from svhn_jax.checked import Checked, at_least  # noqa: E402
from svhn_jax.errors import InputError  # noqa: E402
from svhn_jax.output import Terminal  # noqa: E402

END_S = 300.0  # taken for a hang: thirty times as long as the tiny run
CONFIG = """
from svhn_jax.config import *
config = Config(
    name="run", num_epochs=4, batch_size=16, eval_batch_size=64, log_every_steps=5,
    eval_every_steps=10, keep_newest=4,
    data=DataConfig(dir="data"), image=ImageConfig(crop=20), augment=AugmentConfig(scale=0.1),
    model=ModelConfig(patch=4, width=8, blocks=(1, 1)),
    optimizer=OptimizerConfig(learning_rate=0.01, warmup_fraction=0.1, ema_decay=0.9),
)
"""
STOP_AT_STEP = 60  # of 80: damage-run deletes later steps
Result = tuple[str, str, str]  # of an attack: kind, outcome ("failed" or another word), problem
KILLS = ("kill -9 of all", "kill -9 of one", "Ctrl-C", "SIGTERM")
DAMAGES = ("bits flipped", "cut", "zeros", "deleted", "emptied", "exchanged")


@dataclass(frozen=True)
class Options(Checked):
    """Kills a run, or damages its files, at random."""

    attack: tyro.conf.Positional[Literal["kill-run", "damage-run"]]
    """the kind of attack"""
    count: Annotated[int, at_least(1)] = 30
    """kills, or damaged runs"""
    seed: int = 0
    """of the random choices"""


def main(options: Options, terminal: Terminal) -> int:
    attack = {"kill-run": kill_run, "damage-run": damage_run}[options.attack]
    counts = Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory(prefix="attack-") as work:
        for kind, outcome, problem in attack(
            Workplace(Path(work)), options.count, random.Random(options.seed)
        ):
            counts[kind, outcome] += 1
            if problem:
                terminal.print(problem)
    for (kind, outcome), count in sorted(counts.items()):
        terminal.print(f"{kind}: {count} {outcome}")
    failed = sum(count for (_, outcome), count in counts.items() if outcome == "failed")
    print(json.dumps({"attack": options.attack, "count": options.count, "failed": failed}))
    return int(failed > 0)


class Workplace:
    """A folder with data, a configuration of 80 steps, and the result of an undisturbed run."""

    def __init__(self, folder: Path):
        import tiny

        self.folder, self.runs = folder, folder / "runs"
        tiny.prepare(folder / "data", 320, validation=64)
        (folder / "tiny.py").write_text(CONFIG)
        self.environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.train()  # compiles; the second run lasts as long as those that are attacked
        shutil.rmtree(self.runs)
        started = time.perf_counter()
        self.expected = self.train()
        self.duration_s = time.perf_counter() - started

    def start(self, runs: str = "runs") -> "subprocess.Popen[str]":
        """The train command, in a process group of its own."""
        command = [sys.executable, "-m", "svhn_jax.train", "--config", "tiny.py"]
        return subprocess.Popen(
            [*command, "--runs-dir", runs],
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def train(self) -> dict[str, Any]:
        """Runs the command to its end; what it leaves. InputError if it fails."""
        process = self.start()
        printed, errors = process.communicate(timeout=END_S)
        if process.returncode or errors:
            raise InputError(f"the undisturbed run: status {process.returncode}: {errors[-500:]}")
        return result_of(self.runs / "run", printed)


def result_of(run: Path, printed: str) -> dict[str, Any]:
    """Checksums of the newest step, read from its files; steps of the log; the best step printed.

    ValueError if the arrays do not match the checksums that were saved with them.
    """
    import orbax.checkpoint as ocp

    from svhn_jax.runs.checkpoint import digests

    newest = max(int(path.name) for path in (run / "steps").iterdir() if path.name.isdigit())
    folder = (run / "steps" / str(newest)).resolve()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Orbax warns of a restore without a target
        sums = digests(ocp.PyTreeCheckpointer().restore(folder / "state"))
    recorded = json.loads((folder / "about" / "metadata").read_text())["sha256"]
    if not sums.items() <= recorded.items():
        raise ValueError(f"the arrays of step {newest} do not match their checksums")
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    log = [(row["split"], row["step"]) for row in rows]
    best = printed.partition("best on validation: step ")[2].partition(".")[0]
    return {"newest": newest, "arrays": sums, "log": log, "best step": best}


def kill_run(workplace: Workplace, count: int, rng: random.Random) -> Iterator[Result]:
    """Kills a run one to three times, lets it end, and compares; a result for each kill."""
    done = 0
    while done < count:
        shutil.rmtree(workplace.runs, ignore_errors=True)
        kills = list[str]()
        for _ in range(min(count - done, rng.choice((1, 1, 2, 3)))):
            kill = KILLS[(done + len(kills)) % len(KILLS)]
            process = workplace.start()
            try:
                process.communicate(timeout=rng.uniform(0, workplace.duration_s))
                break  # it ended before
            except subprocess.TimeoutExpired:
                kills.append(kill)
                end(process, kill)
        done += len(kills)
        try:
            found = workplace.train()
            differing = [key for key, value in workplace.expected.items() if found[key] != value]
            problem = f"{kills}: differing {differing}" if differing else ""
        except (InputError, ValueError, OSError, subprocess.TimeoutExpired) as error:
            problem = f"{kills}: {error}"
        for kill in kills:
            yield kill, "failed" if problem else "identical", problem


def end(process: "subprocess.Popen[str]", kind: str) -> None:
    """Ends the command in one way and waits until its process group is empty."""
    if kind == "kill -9 of one":
        process.kill()
    else:
        number = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}.get(kind, signal.SIGKILL)
        os.killpg(process.pid, number)
    process.communicate(timeout=END_S)
    for _ in range(1000):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    raise InputError(f"{kind}: a process of the run is still running after 10 s")


def damage_run(workplace: Workplace, count: int, rng: random.Random) -> Iterator[Result]:
    """Damages one to three files of a copy of the run, `count` times, and starts it again."""
    for path in (workplace.runs / "run" / "steps").iterdir():
        if path.name.isdigit() and int(path.name) > STOP_AT_STEP:
            shutil.rmtree(path)
    for number in range(count):
        runs = workplace.folder / f"damaged{number}"
        shutil.copytree(workplace.runs, runs)
        done = [damage(rng, runs / "run") for _ in range(rng.randint(1, 3))]
        process = workplace.start(runs.name)
        try:
            printed, errors = process.communicate(timeout=END_S)
            outcome = judge(workplace, process.returncode, printed, errors, runs / "run")
            text = f"status {process.returncode}: {errors[-300:]}"
        except (ValueError, OSError, KeyError, subprocess.TimeoutExpired) as error:
            outcome, text = "failed", repr(error)
            process.kill()
        shutil.rmtree(runs)
        problem = f"{outcome}, {done}: {text}" if outcome == "failed" else ""
        yield "all damages", outcome, problem
        for way in sorted({way for way, _ in done}):
            yield way, outcome, ""


def judge(workplace: Workplace, status: int, printed: str, errors: str, run: Path) -> str:
    """The outcome of a damaged run that was started again."""
    if "Traceback" in errors:
        return "failed"
    if status:
        is_one_line = errors.startswith("error: ") and errors.count("\n") == 1
        return "refused with one line" if is_one_line else "failed"
    found = result_of(run, printed)
    same = ["newest", "arrays"]
    if "metrics of this step are damaged" not in printed and "cannot be used" not in printed:
        same.append("best step")
    is_same = all(found[key] == workplace.expected[key] for key in same)
    return "continues" if is_same else "failed"


def damage(rng: random.Random, run: Path) -> tuple[str, str]:
    """Damages a file of the run; the way, and the file."""
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    path, way = rng.choice(files), rng.choice(DAMAGES)
    content = path.read_bytes()
    start = rng.randrange(len(content) + 1)
    after = content[start + rng.choice((1, 8, 512, 4096)) :]
    if way == "bits flipped":
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 3)) if content else 0):
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
    elif way == "cut":
        path.write_bytes(content[:start] + rng.choice((b"", after)))
    elif way == "zeros":
        path.write_bytes(content[:start] + bytes(len(content) - start - len(after)) + after)
    elif way == "exchanged":
        other = rng.choice([one for one in files if one != path])
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif way == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"")
    return way, str(path.relative_to(run))


if __name__ == "__main__":
    cli.run(Options, main)
