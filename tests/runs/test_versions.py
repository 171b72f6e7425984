import pytest
from test_house_rules import PACKAGE, imports_of

from svhn_jax.runs import versions

SOURCE = '''
"""A module."""

RATE = 0.5  # of learning


class Rates:
    """Some."""

    first: float = 1.0
    """the first"""


def double(x: float) -> float:
    """Twice x."""
    return f"{x}" and 2 * x
'''
SAME = [
    SOURCE.replace('"""Twice x."""', '"""Two times x."""'),
    SOURCE.replace('    """Twice x."""\n', ""),
    SOURCE.replace('"""the first"""', '"""the very first"""'),
    SOURCE.replace("# of learning", "").replace("0.5", "(\n    0.5\n)"),
]
OTHER = [
    SOURCE.replace("0.5", "0.25"),
    SOURCE.replace("2 * x", "x * 2"),
    SOURCE + "A = 1\n",
    SOURCE.replace("RATE", "R"),
]


@pytest.mark.parametrize("changed", SAME)
def test_comments_docstrings_and_layout_do_not_count(changed):
    assert changed != SOURCE
    assert versions.code_sha256([changed]) == versions.code_sha256([SOURCE])


@pytest.mark.parametrize("changed", OTHER)
def test_a_change_of_the_code_does(changed):
    assert versions.code_sha256([changed]) != versions.code_sha256([SOURCE])


def test_the_code_is_the_same_for_every_version_of_python():
    """As computed by Python 3.11 and by 3.12: update it with SOURCE alone."""
    assert versions.code_sha256([SOURCE]).startswith("73feefb19fd3e319")


def test_notes_name_what_has_changed():
    now = versions.versions()
    assert versions.notes([now]) == versions.notes([{}]) == versions.notes([]) == []
    (note,) = versions.notes([now, now | {"code": "another"}, {}, now | {"code": "another still"}])
    assert note.startswith(
        "note: the code that computes a step has changed since the checkpoint was saved"
    )
    (note,) = versions.notes([now | {"jax": "0.0.1"}])
    assert note.endswith(f"its last bits may differ: jax 0.0.1 -> {now['jax']}")
    assert len(versions.notes([{"jax": "0.0.1"}])) == 2
    assert "\x1b" not in versions.notes([now | {"jax": "\x1b[2J"}])[0]


def test_all_that_a_step_imports_of_ours_counts_as_computing():
    needed, coming = set(), {"training/steps", "training/input_pipeline"}
    while coming:
        module = coming.pop()
        needed.add(module)
        names = {
            name.removeprefix("svhn_jax.").replace(".", "/")
            for name in imports_of(PACKAGE / f"{module}.py")
        }
        coming |= {name for name in names if (PACKAGE / f"{name}.py").is_file()} - needed
    reading = {
        "files",
        "data/arrays",
        "data/crop",
        "data/overlap",
        "data/remote",
    }  # verified by fingerprints
    placing = {"training/devices", "training/processes"}
    assert (
        needed - set(versions.COMPUTING) <= {"checked", "errors", "interrupts"} | reading | placing
    )
