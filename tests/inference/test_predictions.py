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
            [encode_text(text, max_digits) if text else encode([], max_digits) for text in values]
        )

    predicted = labels(texts)
    digit_p = np.where(predicted[:, 1:] != 10, 0.75, np.nan)
    confidence = np.linspace(0.25, 0.5, len(names))
    return PredictionTable(
        list(names), labels(truths), predicted, confidence, confidence * 2, digit_p
    )


def test_written_and_read_again(tmp_path):
    written = table()
    (tmp_path / "p.csv").write_text(written.to_csv())
    again = predictions.read(tmp_path / "p.csv")
    assert again.names == written.names
    assert again.is_right.tolist() == [True, False, False]
    for ours, theirs in zip(again[1:], written[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (tmp_path / "p.csv").read_text().splitlines()[
        2
    ] == "ü.png,12,1,0.375000,0.750000,0.750000,,,,"


def test_more_than_five_digits_and_no_photo_at_all(tmp_path):
    many = table(("123456",), ("123457",), ("x.png",))
    (tmp_path / "p.csv").write_text(many.to_csv())
    assert "x.png,12345+,12345+," in (tmp_path / "p.csv").read_text()
    assert predictions.read(tmp_path / "p.csv").is_right.all()
    (tmp_path / "p.csv").write_text(
        PredictionTable([], *(column[:0] for column in many[1:])).to_csv()
    )
    assert predictions.read(tmp_path / "p.csv").predictions.shape == (0, 6)


def test_the_columns_follow_the_most_digits(tmp_path):
    written = table(("0012345", "7"), ("123456789", "12345678"), ("a.png", "b.png"), max_digits=8)
    (tmp_path / "p.csv").write_text(written.to_csv())
    header, first, second = (tmp_path / "p.csv").read_text().splitlines()
    assert header == "name,truth,prediction,confidence,length_p," + ",".join(
        f"digit_{n}_p" for n in range(1, 9)
    )
    assert first.startswith("a.png,0012345,12345678+,")
    assert second.startswith("b.png,7,12345678,")
    again = predictions.read(tmp_path / "p.csv")
    assert again.max_digits == 8
    np.testing.assert_array_equal(again.predictions, written.predictions)
    assert predictions.by_length(again) == {1: (0, 1), 7: (0, 1)}
    assert predictions.by_position(again)[7] == (0, 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,12,1x,0.5,0.5,,,,,", "'1x' is not a house number"),
        ("a,12,1+,0.5,0.5,,,,,", r"'1\+' has \+ after fewer than 5 digits"),
        ("a,12,1,half,0.5,,,,,", "could not convert"),
        ("a,12,1,1.5,0.5,,,,,", "not a row of such a table"),
        ("a,12,1,,0.5,,,,,", "not a row of such a table"),
        ("a,12,1,0.5", "not a row of such a table"),
        ("a", "not enough values"),
    ],
)
def test_a_damaged_row_is_named_by_its_line(tmp_path, row, said):
    path = tmp_path / "p.csv"
    path.write_text(f"{','.join(predictions.columns(5))}\nok,1,1,0.5,0.5,0.5,,,,\n{row}\n")
    with pytest.raises(InputError, match=f"line 3: .*{said}"):
        predictions.read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"step,loss\n", b"name,truth,prediction,confidence,length_p\n", b"\xff\xfe", None],
)
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "p.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"p\.csv"):
        predictions.read(path)


def test_tables_of_other_photos_are_refused():
    first = table()
    predictions.require_same_photos(first, table(texts=("7", "7", "7")), ("a", "b"))
    with pytest.raises(InputError, match=r"row 3 is c\.png in a and d\.png in b"):
        predictions.require_same_photos(
            first, table(names=("a,b.png", "ü.png", "d.png")), ("a", "b")
        )
    with pytest.raises(InputError, match=r"row 1, a,b\.png: its label is 007 in a and 8 in b"):
        predictions.require_same_photos(first, table(truths=("8", "12", "")), ("a", "b"))
    with pytest.raises(
        InputError,
        match=r"a is of numbers of at most 5 digits, b of at most 8; compare .*max_digits",
    ):
        predictions.require_same_photos(first, table(max_digits=8), ("a", "b"))
    fewer = PredictionTable(*(column[:2] for column in first))
    with pytest.raises(InputError, match="a has 3 photos, b 2"):
        predictions.require_same_photos(first, fewer, ("a", "b"))
