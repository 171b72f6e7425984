import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from svhn_jax.inference import scores
from svhn_jax.labels import decode, encode_text
from svhn_jax.model import metrics


def labels(*texts, max_digits=5):
    return np.stack([encode_text(text, max_digits) for text in texts])


@pytest.fixture
def random_photos():
    draw = np.random.default_rng(0)
    confidence = draw.random(400)
    return confidence, draw.random(400) < confidence**0.5


def test_wilson_by_hand():
    z = 1.959964
    for right, total in [(0, 7), (9, 10), (7, 7), (482, 500)]:
        share, center = right / total, right / total + z**2 / (2 * total)
        half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
        expected = [
            share,
            (center - half) / (1 + z**2 / total),
            (center + half) / (1 + z**2 / total),
        ]
        np.testing.assert_allclose(scores.wilson_interval(right, total), expected, atol=1e-6)
    assert np.isnan(scores.wilson_interval(0, 0)).all()


def test_coverage_by_hand():
    """Goodfellow's definition: of ten photos, the first wrong one is the seventh by confidence."""
    confidence = np.linspace(0.95, 0.5, 10)
    is_right = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1], bool)
    assert scores.coverage(confidence, is_right, 0.98) == 0.6
    assert scores.coverage(confidence, is_right, 0.9) == 1.0  # 9 of 10, though 6 of 7 is less
    assert scores.coverage(confidence, ~is_right, 0.2) == 0.0  # 1 of 7 at best
    assert scores.coverage(confidence[:0], is_right[:0], 0.98) == 0.0


def test_coverage_keeps_ties_together():
    confidence = np.array([0.9, 0.9, 0.9, 0.5])
    is_right = np.array([True, True, False, True])
    assert scores.coverage(confidence, is_right, 0.98) == 0.0
    assert scores.coverage(confidence, is_right, 0.75) == 1.0
    assert scores.coverage(confidence, is_right, 0.7) == 1.0


def test_coverage_against_a_search_over_thresholds(random_photos):
    confidence, is_right = random_photos
    for accuracy in (0.7, 0.8, 0.9, 0.98):
        kept = [confidence >= threshold for threshold in confidence]
        best = max((mask.mean() for mask in kept if is_right[mask].mean() >= accuracy), default=0.0)
        assert scores.coverage(confidence, is_right, accuracy) == pytest.approx(best)


def test_calibration_by_hand():
    confidence = np.array([0.1, 0.2, 0.95, 0.85])
    is_right = np.array([False, True, True, True])
    bins = scores.calibration_bins(confidence, is_right, bins=2)
    assert [row.photos for row in bins] == [2, 2]
    np.testing.assert_allclose([row[1:] for row in bins], [(0.15, 0.5), (0.9, 1.0)])
    assert scores.calibration_error(confidence, is_right, bins=2) == pytest.approx(
        (2 * 0.35 + 2 * 0.1) / 4
    )
    assert scores.calibration_bins(np.array([0.0, 1.0]), np.array([False, True]), bins=10)[-1] == (
        1,
        1.0,
        1.0,
    )


def test_calibration_bins_against_scikit_learn(random_photos):
    from sklearn.calibration import calibration_curve

    confidence, is_right = random_photos
    accuracies, confidences = calibration_curve(is_right, confidence, n_bins=10)
    ours = scores.calibration_bins(confidence, is_right, bins=10)
    np.testing.assert_allclose([row.confidence for row in ours], confidences)
    np.testing.assert_allclose([row.accuracy for row in ours], accuracies)


def test_confusion_against_scikit_learn():
    draw = np.random.default_rng(1)
    truths, predictions = draw.integers(0, 7, (50, 6)), draw.integers(0, 7, (50, 6))
    expected = sklearn_metrics.confusion_matrix(
        truths[:, 1:].ravel(), predictions[:, 1:].ravel(), labels=range(11)
    )
    np.testing.assert_array_equal(scores.digit_confusion(truths, predictions), expected)
    expected = sklearn_metrics.confusion_matrix(truths[:, 0], predictions[:, 0], labels=range(7))
    np.testing.assert_array_equal(scores.length_confusion(truths, predictions), expected)


def test_edit_distances_by_hand():
    pairs = [
        ("12", "12", 0),
        ("12", "21", 2),
        ("123", "23", 1),
        ("1", "12345", 4),
        ("54321", "5431", 1),
        ("7", "1", 1),
    ]
    truths, predictions, expected = zip(*pairs, strict=True)
    assert scores.edit_distances(labels(*truths), labels(*predictions)).tolist() == list(expected)


def test_longer_labels_are_scored_to_their_last_digit():
    truths, predictions = (
        labels(*texts, max_digits=8) for texts in (("1234567", "12"), ("12345678", "1234568"))
    )
    assert scores.edit_distances(truths, predictions).tolist() == [1, 5]
    confusion = scores.length_confusion(truths, predictions)
    assert confusion.shape == (10, 10)
    assert (confusion[7, 8], confusion[2, 7], confusion.sum()) == (1, 1, 2)


def test_compare_by_hand():
    first = np.array([True] * 70 + [True] * 9 + [False] * 3 + [False] * 18)
    second = np.array([True] * 70 + [False] * 9 + [True] * 3 + [False] * 18)
    paired = scores.compare(first, second)
    assert paired[:4] == (70, 9, 3, 18)
    assert paired.difference.share == pytest.approx(-0.06)
    assert paired.p_value == pytest.approx(
        2 * (1 + 12 + 66 + 220) / 2**12
    )  # at most 3 of 12, two-sided
    assert scores.compare(first, first).p_value == 1.0


def test_coverage_against_scikit_learns_precision(random_photos):
    confidence, is_right = random_photos
    precision, _, thresholds = sklearn_metrics.precision_recall_curve(is_right, confidence)
    for accuracy in (0.7, 0.8, 0.9):
        kept = [
            np.mean(confidence >= threshold) for threshold in thresholds[precision[:-1] >= accuracy]
        ]
        assert scores.coverage(confidence, is_right, accuracy) == pytest.approx(max(kept))


def random_labels(draw, count):
    return labels(
        *("".join(map(str, draw.integers(0, 10, draw.integers(1, 6)))) for _ in range(count))
    )


def test_edit_distances_of_random_numbers_against_the_recursive_definition():
    def distance(a, b):
        if not a or not b:
            return len(a) + len(b)
        cheapest = min(distance(a[1:], b), distance(a, b[1:])) + 1
        return min(cheapest, distance(a[1:], b[1:]) + (a[0] != b[0]))

    draw = np.random.default_rng(2)
    truths, predictions = random_labels(draw, 60), random_labels(draw, 60)
    expected = [
        distance(*(decode(row) for row in pair)) for pair in zip(truths, predictions, strict=True)
    ]
    assert scores.edit_distances(truths, predictions).tolist() == expected


def test_accuracies_of_random_numbers_against_scikit_learn():
    draw = np.random.default_rng(3)
    truths, predictions = random_labels(draw, 300), random_labels(draw, 300)
    predictions[::2] = truths[::2]
    counted = metrics.count(predictions, truths, np.zeros(300), np.ones(300))
    ours = metrics.summarize([{name: float(value) for name, value in counted.items()}], 5)
    is_there = truths[:, 1:] != 10
    expected = {
        "sequence_accuracy": (
            [decode(row) for row in truths],
            [decode(row) for row in predictions],
        ),
        "digit_accuracy": (truths[:, 1:][is_there], predictions[:, 1:][is_there]),
        "positional_digit_accuracy": (truths[:, 1:].ravel(), predictions[:, 1:].ravel()),
        "length_accuracy": (truths[:, 0], predictions[:, 0]),
    }
    for name, pair in expected.items():
        assert ours[name] == pytest.approx(sklearn_metrics.accuracy_score(*pair)), name


def test_mcnemar_and_wilson_of_random_photos_against_scipy():
    draw = np.random.default_rng(4)
    first, second = draw.random(200) < 0.6, draw.random(200) < 0.7
    paired = scores.compare(first, second)
    tail = stats.binom.cdf(
        min(paired.only_first, paired.only_second), paired.only_first + paired.only_second, 0.5
    )
    assert paired.p_value == pytest.approx(min(1.0, 2 * tail))
    z = stats.norm.ppf(0.975)
    interval = scores.wilson_interval(int(first.sum()), 200)
    for bound in (
        interval.low,
        interval.high,
    ):  # Wilson's bounds are where the score test just does not reject
        assert abs(first.mean() - bound) / np.sqrt(bound * (1 - bound) / 200) == pytest.approx(z)
