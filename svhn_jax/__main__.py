"""python -m svhn_jax: lists the commands."""

import ast
import difflib
import sys
from pathlib import Path

from svhn_jax.errors import InputError, run_command

COMMANDS = (
    "predict",
    "serve",
    "demo",
    "download",
    "synthesize",
    "preprocess",
    "box",
    "inspect",
    "train",
    "evaluate",
    "train_finder",
    "evaluate_finder",
    "compare",
    "report",
    "publish",
    "export",
    "benchmark",
)


def main() -> None:
    words = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
    if words:
        near = difflib.get_close_matches(
            words[0].removeprefix("svhn_jax."), COMMANDS, n=1, cutoff=0
        )
        raise InputError(
            f"python -m svhn_jax takes no {words[0]!r}; did you mean python -m svhn_jax.{near[0]}?"
        )
    print("The commands; --help after one lists its options:\n")
    for name in COMMANDS:
        print(f"  python -m svhn_jax.{name:15} {_purpose(name)}")


def _purpose(command: str) -> str:
    """What the first line of a command's docstring says of it, without importing it."""
    text = Path(__file__).with_name(f"{command}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").splitlines()[0].partition(": ")[2]


if __name__ == "__main__":
    run_command(main)
