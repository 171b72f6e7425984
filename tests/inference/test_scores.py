import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from svhn_jax.inference import scores


@pytest.fixture
def random_photos():
    draw = np.random.default_rng(0)
    confidence = draw.random(400)
    return confidence, draw.random(400) < confidence**0.5


@pytest.mark.parametrize(("right", "total"), [(0, 7), (9, 10), (7, 7), (482, 500)])
def test_wilson_by_hand(right, total):
    z = stats.norm.ppf(0.975)
    share, center = right / total, right / total + z**2 / (2 * total)
    half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    bounds = [(center - half) / (1 + z**2 / total), (center + half) / (1 + z**2 / total)]
    np.testing.assert_allclose(scores.wilson_interval(right, total), [share, *bounds], atol=1e-9)


def test_wilson_of_nothing_is_nan():
    assert np.isnan(scores.wilson_interval(0, 0)).all()


def test_coverage_by_hand():
    """Goodfellow's definition: of ten photos, the first wrong one is the seventh by confidence."""
    confidence = np.linspace(0.95, 0.5, 10)
    is_right = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1], bool)
    assert scores.coverage(confidence, is_right, 0.98) == 0.6
    assert scores.coverage(confidence, is_right, 0.9) == 1.0  # 9 of 10, though 6 of 7 is less
    assert scores.coverage(confidence, ~is_right, 0.2) == 0.0  # 1 of 7 at best
    assert scores.coverage(confidence[:0], is_right[:0], 0.98) == 0.0
    tied = np.array([0.9, 0.9, 0.9, 0.5]), np.array([True, True, False, True])
    assert scores.coverage(*tied, 0.98) == 0.0
    assert scores.coverage(*tied, 0.75) == 1.0


def test_coverage_against_scikit_learns_precision(random_photos):
    confidence, is_right = random_photos
    precision, _, thresholds = sklearn_metrics.precision_recall_curve(is_right, confidence)
    for accuracy in (0.7, 0.8, 0.9):
        enough = thresholds[precision[:-1] >= accuracy]
        kept = max(np.mean(confidence >= threshold) for threshold in enough)
        assert scores.coverage(confidence, is_right, accuracy) == pytest.approx(kept)


def test_calibration_by_hand():
    confidence = np.array([0.1, 0.2, 0.95, 0.85])
    is_right = np.array([False, True, True, True])
    bins = scores.calibration_bins(confidence, is_right, bins=2)
    assert [row.photos for row in bins] == [2, 2]
    np.testing.assert_allclose([row[1:] for row in bins], [(0.15, 0.5), (0.9, 1.0)])
    error = scores.calibration_error(confidence, is_right, bins=2)
    assert error == pytest.approx((2 * 0.35 + 2 * 0.1) / 4)
    sure = scores.calibration_bins(np.array([0.0, 1.0]), np.array([False, True]), bins=10)
    assert sure[-1] == (1, 1.0, 1.0)


def test_calibration_bins_against_scikit_learn(random_photos):
    confidence, is_right = random_photos
    expected = calibration_curve(is_right, confidence, n_bins=10)
    ours = scores.calibration_bins(confidence, is_right, bins=10)
    pairs = [(row.accuracy, row.confidence) for row in ours]
    np.testing.assert_allclose(np.transpose(pairs), expected)


def test_confusion_against_scikit_learn():
    truths, predictions = np.random.default_rng(1).integers(0, 11, (2, 50, 5))
    pair = truths.ravel(), predictions.ravel()
    expected = sklearn_metrics.confusion_matrix(*pair, labels=range(11))
    np.testing.assert_array_equal(scores.confusion(truths, predictions, 11), expected)
