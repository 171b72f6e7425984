import numpy as np
import pytest

from svhn_jax.errors import InputError
from svhn_jax.inference import predictions
from svhn_jax.inference.predictions import PredictionTable
from svhn_jax.labels import encode, encode_text


def table(
    truths=("007", "12", ""),
    texts=("007", "1", "5"),
    names=("a,b.png", "ü.png", "c.png"),
    max_digits=5,
):
    def labels(values):
        return np.stack(
            [encode_text(x, max_digits) if x else encode([], max_digits) for x in values]
        )

    predicted = labels(texts)
    digit_p = np.where(predicted[:, 1:] != 10, 0.75, np.nan)
    confidence = np.linspace(0.25, 0.5, len(names))
    numbers = list(names), labels(truths), predicted
    return PredictionTable(*numbers, confidence, confidence * 2, digit_p)


def test_written_and_read_again(tmp_path):
    written = table()
    (tmp_path / "p.csv").write_text(written.to_csv())
    again = predictions.read(tmp_path / "p.csv")
    assert again.names == written.names
    assert again.is_right.tolist() == [True, False, False]
    for ours, theirs in zip(again[1:], written[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    second = (tmp_path / "p.csv").read_text().splitlines()[2]
    assert second == "ü.png,12,1,0.375000,0.750000,0.750000,,,,"


def test_the_columns_follow_the_most_digits(tmp_path):
    written = table(("0012345", "7"), ("123456789", "12345678"), ("a.png", "b.png"), max_digits=8)
    (tmp_path / "p.csv").write_text(written.to_csv())
    header, first, _ = (tmp_path / "p.csv").read_text().splitlines()
    digits = ",".join(f"digit_{n}_p" for n in range(1, 9))
    assert header == f"name,truth,prediction,confidence,length_p,{digits}"
    assert first.startswith("a.png,0012345,12345678+,")
    again = predictions.read(tmp_path / "p.csv")
    np.testing.assert_array_equal(again.predictions, written.predictions)
    assert predictions.by_length(again) == {1: (0, 1), 7: (0, 1)}
    assert predictions.by_position(again)[7] == (0, 1)


ROW = "ok,1,1,0.5,0.5,0.5,,,,"


@pytest.mark.parametrize(
    "content",
    [b"", b"step,loss\n", b"\xff\xfe", None]
    + [f"name\n{ROW}\n{row}\n".encode() for row in ("a,12,1x,0.5,0.5,,,,,", "a,12,1,0.5", "a")],
)
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "p.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"p\.csv"):
        predictions.read(path)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (table(names=("a,b.png", "ü.png", "d.png")), "row 3"),
        (table(truths=("8", "12", "")), "row 1"),
        (PredictionTable(*(column[:2] for column in table())), "row 3"),
    ],
)
def test_tables_of_other_photos_are_refused(other, named):
    predictions.require_same_photos(table(), table(texts=("7", "7", "7")), ("a", "b"))
    with pytest.raises(InputError, match=named):
        predictions.require_same_photos(table(), other, ("a", "b"))
