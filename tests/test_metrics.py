"""Correlations agree with SciPy's; a constant has none; the mean has no skill; intervals hold what they should."""

import warnings

import numpy as np
import pytest
from scipy import stats

from exprcast.metrics import Estimate, benjamini_hochberg, bootstrap_mean, difference, p_value, pearson, score, spearman, summarise

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ours, theirs", [(pearson, stats.pearsonr), (spearman, stats.spearmanr)])
def test_correlations_equal_scipy_with_gaps(ours, theirs):
    x, y = RNG.normal(size=(2, 5, 40)).round(1)
    x[0, :7], y[1, 3:9] = np.nan, np.nan
    got = ours(x, y, axis=1)
    for i in range(5):
        known = ~(np.isnan(x[i]) | np.isnan(y[i]))
        assert got[i] == pytest.approx(theirs(x[i][known], y[i][known]).statistic, abs=1e-9)


def test_correlation_survives_large_offsets():
    x = 1e4 + RNG.normal(size=(1, 200)).astype(np.float32)
    assert pearson(x, 2 * x + 1, axis=1)[0] == pytest.approx(1, abs=1e-6)


def test_constant_has_no_correlation():
    y = RNG.normal(size=(3, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(pearson(np.full((3, 10), 0.005055092, dtype=np.float32), y, axis=1)).all()
        assert np.isnan(pearson(y, np.full((3, 10), np.nan), axis=1)).all()
    assert np.isnan(pearson(y[:, :2], y[:, :2], axis=1)).all(), "two points lie on a line always"


def test_p_and_q_values_equal_scipy():
    x, y = RNG.normal(size=(2, 6, 12))
    expected = [stats.pearsonr(a, b, alternative="greater").pvalue for a, b in zip(x, y, strict=True)]
    got = p_value(pearson(x, y, axis=1), np.full(6, 12))
    assert got == pytest.approx(expected, abs=1e-9)
    assert benjamini_hochberg(got) == pytest.approx(stats.false_discovery_control(expected), abs=1e-9)
    assert np.isnan(benjamini_hochberg(np.array([0.01, np.nan]))[1])


def test_training_mean_scores_nothing_where_plain_correlation_says_minus_one():
    observed = RNG.normal(size=(6, 50)) + RNG.normal(size=50) * 3
    mean = np.stack([np.delete(observed, i, axis=0).mean(axis=0) for i in range(6)])  # leave one out
    plain = pearson(mean, observed, axis=0)
    assert plain == pytest.approx(-1, abs=1e-6)
    scores = score(mean, observed, mean)
    assert np.isnan(scores.r_sample).all() and np.isnan(scores.r_gene_dev).all()
    assert scores.r_gene.mean() > 0.8, "across genes the mean looks like skill"
    assert np.isnan(summarise(scores, 1)["r_gene_dev"].value)


def test_rounding_noise_around_the_mean_is_no_deviation():
    observed, mean = RNG.normal(size=(6, 50)) + 5, np.full((6, 50), 5.0)
    nearly = (mean + 1e-6 * RNG.normal(size=mean.shape)).astype(np.float32)
    scores = score(nearly, observed, mean)
    assert np.isnan(scores.r_gene_dev).all() and np.isnan(scores.r_sample).all()


def test_errors_by_hand():
    observed, predicted = np.array([[0.0, 2.0], [4.0, np.nan]]), np.array([[1.0, 2.0], [2.0, 7.0]])
    scores = score(predicted, observed, np.zeros((2, 2)))
    assert scores.mse == pytest.approx(5 / 3) and scores.mae == pytest.approx(1)
    assert scores.r2_cod == pytest.approx(1 - 5 / 8)
    assert scores.mse_sample == pytest.approx([0.5, 4.0])
    assert scores.r2_pearson == pytest.approx(stats.pearsonr([1, 2, 2], [0, 2, 4]).statistic ** 2)


def test_interval_of_the_mean_covers():
    inside = [bootstrap_mean(RNG.normal(size=40), seed, draws=300) for seed in range(200)]
    assert 0.88 <= np.mean([estimate.low <= 0 <= estimate.high for estimate in inside]) <= 0.99
    assert bootstrap_mean(np.array([2.0, np.nan]), 1) == pytest.approx(Estimate(2.0, n=1), nan_ok=True)


def test_gain_counts_a_missing_baseline_as_zero():
    observed = RNG.normal(size=(4, 30))
    mean = np.zeros((4, 30))
    good, none = score(observed + 0.1 * RNG.normal(size=(4, 30)), observed, mean), score(mean, observed, mean)
    gain = difference(good, none, "r_gene_dev", 1)
    assert gain.value == pytest.approx(good.r_gene_dev.mean()) and gain.low > 0.9
    assert difference(good, none, "mse", 1).value > 0.5
