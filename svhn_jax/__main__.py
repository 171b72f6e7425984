"""python -m svhn_jax COMMAND ...: runs svhn_jax.COMMAND; alone it lists the commands."""

import difflib
import runpy
import signal
import sys
from pathlib import Path

import svhn_jax

COMMANDS = (
    "predict",
    "serve",
    "demo",
    "download",
    "synthesize",
    "preprocess",
    "box",
    "train",
    "evaluate",
    "train_finder",
    "report",
    "publish",
    "export",
)


def main() -> int:
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in COMMANDS:
        del sys.argv[1]
        runpy.run_module(f"svhn_jax.{word}", run_name="__main__", alter_sys=True)
    elif word == "--version":
        print(f"svhn_jax {svhn_jax.__version__}")
    elif word in ("-h", "--help"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `python -m svhn_jax | head` ends quietly
        print("The commands; --help after one lists its options:\n")
        for name in COMMANDS:
            print(f"  python -m svhn_jax {name:15} {_purpose(name)}")
    else:
        [near] = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0)
        print(f"error: no command {word!r}; did you mean {near}?", file=sys.stderr)
        return 1
    return 0


def _purpose(command: str) -> str:
    """The purpose in the first paragraph of a command's docstring; it is not imported."""
    text = Path(__file__).with_name(f"{command}.py").read_text(encoding="utf-8")
    first = text.split('"""')[1].split("\n\n")[0]
    return " ".join(first.split()).partition(": ")[2]


if __name__ == "__main__":
    sys.exit(main())
