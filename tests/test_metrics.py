"""Correlations agree with SciPy's, whole or block by block; a constant has none; the mean has no skill; intervals hold what they should."""

import warnings
from functools import reduce

import numpy as np
import pytest
from scipy import stats

from exprcast.metrics import (
    DRAWS,
    benjamini_hochberg,
    deviation,
    draw_units,
    fisher_interval,
    interval_of_draws,
    interval_of_ratio,
    jackknife,
    p_value,
    pearson,
    spearman,
)
from exprcast.moments import add_rows, centre, correlate, draw_correlations, measure, merge, merge_all, sum_blocks

RNG = np.random.default_rng(0)
NOISE = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "skewed to the left": lambda rng, shape: 1 - rng.exponential(size=shape),
    "heavy-tailed": lambda rng, shape: rng.standard_t(3, size=shape),
}


@pytest.fixture
def gappy() -> tuple[np.ndarray, np.ndarray]:
    """Return two (7, 40) matrices with gaps and ties."""
    x, y = np.random.default_rng(1).normal(size=(2, 7, 40)).round(1)
    x[0, :7], y[1, 3:9], x[2] = np.nan, np.nan, np.nan
    return x, y + x.round() * 0.5


@pytest.mark.parametrize("ours, theirs", [(lambda x, y: pearson(x, y, axis=1), stats.pearsonr), (spearman, stats.spearmanr)])
def test_correlations_equal_scipy_with_gaps_and_ties(gappy, ours, theirs):
    x, y = gappy
    got = ours(x, y)
    assert np.isnan(got[2])
    for i in (0, 1, 3, 4, 5, 6):
        known = ~(np.isnan(x[i]) | np.isnan(y[i]))
        assert got[i] == pytest.approx(theirs(x[i][known], y[i][known]).statistic, abs=1e-9)


def test_blocks_merge_to_the_whole(gappy):
    x, y = gappy
    blocks = [measure(centre(x[rows], y[rows], axis=0)) for rows in (slice(0, 1), slice(1, 3), slice(3, 7))]
    assert correlate(reduce(merge, blocks)) == pytest.approx(pearson(x, y, axis=0), abs=1e-12, nan_ok=True)
    known = ~(np.isnan(x) | np.isnan(y))
    assert correlate(merge_all(measure(centre(x, y, axis=1)))) == pytest.approx(stats.pearsonr(x[known], y[known]).statistic, abs=1e-12)


def test_correlation_survives_large_offsets():
    x = 1e4 + RNG.normal(size=(40, 200)).astype(np.float32)
    assert pearson(x, 2 * x + 1, axis=1)[0] == pytest.approx(1, abs=1e-6)
    y = x + RNG.normal(size=x.shape)
    blocks = [measure(centre(x[k : k + 1], y[k : k + 1], axis=0)) for k in range(40)]
    expected = [stats.pearsonr(x[:, k].astype(float), y[:, k]).statistic for k in range(200)]
    assert correlate(reduce(merge, blocks)) == pytest.approx(expected, abs=1e-6)


def test_constant_has_no_correlation():
    y = RNG.normal(size=(3, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant = np.full((3, 10), 0.005055092, dtype=np.float32)
        assert np.isnan(pearson(constant, y, axis=1)).all() and np.isnan(spearman(constant, y)).all()
        assert np.isnan(pearson(5 + 1e-7 * y, y, axis=1)).all(), "what is left of float32 is rounding"
        assert np.isnan(pearson(y, np.full((3, 10), np.nan), axis=1)).all()
        blocks = [measure(centre(constant[k : k + 1], y[k : k + 1], axis=0)) for k in range(3)]
        assert np.isnan(correlate(reduce(merge, blocks))).all()
    assert np.isnan(pearson(y[:, :2], y[:, :2], axis=1)).all(), "two points lie on a line always"


def test_p_and_q_values_equal_scipy():
    x, y = RNG.normal(size=(2, 6, 12))
    expected = [stats.pearsonr(a, b, alternative="greater").pvalue for a, b in zip(x, y, strict=True)]
    got = p_value(pearson(x, y, axis=1), np.full(6, 12))
    assert got == pytest.approx(expected, abs=1e-9)
    assert benjamini_hochberg(got) == pytest.approx(stats.false_discovery_control(expected), abs=1e-9)
    assert np.isnan(benjamini_hochberg(np.array([0.01, np.nan]))[1])


def test_interval_of_a_correlation_equals_scipy():
    x, y = RNG.normal(size=(2, 25))
    found = stats.pearsonr(x, y)
    low, high = fisher_interval(np.array([found.statistic]), np.array([25]))
    assert (low[0], high[0]) == pytest.approx(tuple(found.confidence_interval()), abs=1e-9)
    assert np.isnan(fisher_interval(np.array([0.5]), np.array([3]))).all()


def test_rounding_noise_around_the_mean_is_no_deviation():
    mean = np.full((6, 50), 5.0)
    nearly = (mean + 1e-6 * RNG.normal(size=mean.shape)).astype(np.float32)
    assert not deviation(nearly, mean).any() and deviation(mean + 0.001, mean).all()


@pytest.mark.parametrize(
    "sizes", [[1] * 6, [1] * 10, [1] * 50, [1, 1, 1, 1, 2, 2, 2, 3, 3, 4], [2, 2, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 1]], ids=str
)
@pytest.mark.parametrize("kind", NOISE)
def test_intervals_of_noise_hold_0_and_say_better_as_rarely_as_they_should(kind, sizes):
    """Sets of gains whose true mean is 0: a nominal 95 % interval covers it in 92 to 98 %, and lies above it in at most 6 %."""
    counts = np.array(sizes, dtype=float)
    sets = NOISE[kind](np.random.default_rng(len(sizes)), (4_000, len(sizes)))
    low, high = np.array([interval_of_ratio(gains * counts, counts, 1)[1:] for gains in sets]).T
    assert 0.92 <= ((low <= 0) & (high >= 0)).mean() <= 0.98
    assert (low > 0).mean() <= 0.06


def test_samples_of_a_group_do_not_count_as_independent():
    """Ten groups of four samples that share most of their error: intervals over groups hold, over samples they are far too narrow."""
    rng, covered = np.random.default_rng(2), {"groups": 0, "samples": 0}
    for _ in range(300):
        gains = rng.normal(size=(10, 1)) + 0.3 * rng.normal(size=(10, 4))
        for unit, sums, counts in (("groups", gains.sum(axis=1), np.full(10, 4)), ("samples", gains.ravel(), np.ones(40))):
            _, low, high = interval_of_ratio(sums, counts, 1)
            covered[unit] += low <= 0 <= high
    assert covered["groups"] >= 0.92 * 300 and covered["samples"] < 0.75 * 300


def test_a_mean_over_groups_of_unequal_size_is_that_over_samples():
    values = np.array([1.0, 2, 3, 10])
    assert interval_of_ratio(np.array([6.0, 10]), np.array([3, 1]), 1)[0] == values.mean()


@pytest.mark.parametrize("sizes", [[1] * 9 + [20], [2, 1, 1, 1, 1, 1][:5], [3, 1, 1, 1, 1, 1]], ids=str)
def test_groups_that_tell_no_more_than_five_equal_ones_have_no_interval(sizes):
    counts = np.array(sizes, dtype=float)
    value, low, high = interval_of_ratio(counts * np.arange(len(sizes)), counts, 1)
    assert value == pytest.approx(np.average(np.arange(len(sizes)), weights=counts)) and np.isnan([low, high]).all()


def test_equal_gains_have_an_interval_without_width_and_few_have_none():
    assert interval_of_ratio(np.full(8, 0.25), np.ones(8), 1) == (0.25, 0.25, 0.25)
    value, low, high = interval_of_ratio(np.arange(5.0), np.ones(5), 1)
    assert value == 2 and np.isnan([low, high]).all()
    value, low, high = interval_of_ratio(np.eye(8)[0], np.ones(8), 1)
    assert value == 1 / 8 and np.isnan([low, high]).all(), "a third of the draws have no spread"
    assert np.isnan(interval_of_draws(np.arange(100.0), 5)).all() and np.isnan(interval_of_ratio(np.array([]), np.array([]), 1)).all()


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).normal(size=12)
    found = jackknife(values.mean(), (values.sum() - values) / 11, 12, "samples", (-9, 9))
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected) and (found.n, found.unit) == (12, "samples")
    cut = jackknife(values.mean(), (values.sum() - values) / 11, 12, "samples", (0, 0.1))
    assert (cut.low, cut.high) == (0, 0.1)
    assert np.isnan(jackknife(0.5, np.zeros(5), 5, "samples", (0, 1)).low), "of five units"
    assert np.isnan(jackknife(0.5, np.array([*np.zeros(8), np.nan]), 9, "samples", (0, 1)).low), "without one it has no value"


def test_leaving_out_a_part_is_correlating_the_other_rows():
    x, y = RNG.normal(size=(2, 9, 5))
    x[1, 4] = x[8, 2] = np.nan
    x[1:, 3] = 0  # without the first row nothing is left of it
    parts, sums = np.array([0, 1, 2, 0, 1, 2, 3, 3, 3]), np.zeros((4, 6, 5))
    for rows in (slice(0, 4), slice(4, 9)):
        add_rows(sums, parts[rows], x[rows], y[rows])
    got = draw_correlations(sums.transpose(2, 0, 1), 1 - np.eye(4))
    for part in range(4):
        assert got[part] == pytest.approx(pearson(x[parts != part], y[parts != part], axis=0), abs=1e-9, nan_ok=True)
    assert np.isnan(got[0, 3])


def test_nothing_to_draw_has_no_correlation():
    weights = draw_units(0, 1)
    assert weights.shape == (DRAWS, 0) and np.isnan(draw_correlations(np.zeros((3, 0, 6)), weights)).all()


def test_drawing_genes_is_correlating_what_was_drawn():
    """Blocks of two genes: a draw that takes a block twice correlates as if its columns stood there twice."""
    x, y = RNG.normal(size=(2, 3, 12))
    x[1, 4] = np.nan
    sums = sum_blocks(centre(x, y, axis=1), np.arange(0, 12, 2))
    weights = draw_units(6, 1)
    got = draw_correlations(sums, weights)
    assert got.shape == (DRAWS, 3)
    for draw in range(20):
        taken = np.repeat(np.arange(12), np.repeat(weights[draw].astype(int), 2))
        assert got[draw] == pytest.approx(pearson(x[:, taken], y[:, taken], axis=1), abs=1e-9)


def test_intervals_over_genes_cover_the_correlation():
    rng, covered = np.random.default_rng(3), 0
    weights = draw_units(200, 1)
    for _ in range(200):
        x = rng.normal(size=(1, 200))
        y = 0.5 * x + np.sqrt(0.75) * rng.normal(size=x.shape)
        low, high = interval_of_draws(draw_correlations(sum_blocks(centre(x, y, axis=1), np.arange(200)), weights)[:, 0], 200)
        covered += low <= 0.5 <= high
    assert 0.92 * 200 <= covered <= 0.98 * 200
