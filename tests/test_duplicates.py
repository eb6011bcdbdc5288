"""Near-duplicate samples: the same pairs as by brute force, whatever the blocks, and who stays."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

import exprcast.duplicates
from exprcast.cli import InputError
from exprcast.duplicates import Pair, first_come, near_duplicates, near_in_projection
from exprcast.matrix_file import SampleMatrix


def matrix_of(values, rows=7):
    """Return (samples, features) in memory as blocks of some rows."""
    values = np.asarray(values, np.float32)
    names = [f"S{i}" for i in range(len(values))], [f"G{i}" for i in range(values.shape[1])]
    return SampleMatrix("m", *names, {}, {}, lambda: (values[start : start + rows] for start in range(0, len(values), rows)))


def planted(kind, seed):
    """Return (90, 300) samples, some of which are others with a little noise, in one or several steps."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(90, 300))
    if kind == "far from 0":
        values = values * 0.3 + 1000
    if kind == "few directions":
        values = rng.normal(size=(90, 2)) @ rng.normal(size=(2, 300))
    for _ in range(25):
        one, other = rng.choice(90, 2, replace=False)
        values[other] = values[one] + rng.normal(size=300) * rng.choice([0.0, 0.03, 0.05, 0.0577, 0.06, 0.08])
    return values.astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["plain", "far from 0", "few directions"])
def test_pairs_are_those_of_brute_force(tmp_path, monkeypatch, kind, seed):
    monkeypatch.setattr(exprcast.duplicates, "DIRECTIONS", 8)
    monkeypatch.setattr(exprcast.duplicates, "ROWS", 11)
    monkeypatch.setattr(exprcast.duplicates, "COLUMNS", 13)
    values = planted(kind, seed)
    distances = squareform(pdist(values.astype(np.float64)))
    expected = [(i, j) for i, j in zip(*np.nonzero(np.triu(distances < 1, 1)), strict=True)]
    assert len(expected) > 5 and ((distances > 1) & (distances < 1.5)).any(), "some pairs are near the limit"
    found = near_duplicates(matrix_of(values), 1.0, tmp_path)
    assert [pair[:2] for pair in found] == expected
    np.testing.assert_allclose([pair.distance for pair in found], [distances[pair] for pair in expected], rtol=1e-9)
    assert near_duplicates(matrix_of(values, rows=90), 1.0, tmp_path, seed=5) == found, "whatever the blocks and the directions"


def test_a_distance_that_is_just_reached_is_not_below(tmp_path):
    values = np.zeros((3, 4))
    values[1, 0], values[2, :2] = 1, (0.75, 0.5)
    assert [pair[:2] for pair in near_duplicates(matrix_of(values), 1.0, tmp_path)] == [(0, 2), (1, 2)]
    assert near_duplicates(matrix_of(np.zeros((3, 1))), 1.0, tmp_path) == [Pair(0, 1, 0.0), Pair(0, 2, 0.0), Pair(1, 2, 0.0)]


def test_most_pairs_need_no_close_look(tmp_path, caplog):
    caplog.set_level("INFO")
    rng = np.random.default_rng(0)
    assert near_duplicates(matrix_of(rng.normal(size=(200, 1000))), 1.0, tmp_path) == []
    assert "0 of 19,900 pairs are looked at closely" in caplog.text


def test_features_that_a_sample_lacks_do_not_count(tmp_path, caplog):
    caplog.set_level("INFO")
    values = np.random.default_rng(0).normal(size=(20, 30))
    values[15] = values[3]
    values[15, 4], values[8, 5] = np.nan, np.nan
    values[15, 5] = 99
    assert [pair[:2] for pair in near_duplicates(matrix_of(values), 1e-3, tmp_path)] == [(3, 15)]
    assert "over the 28 of 30 features" in caplog.text
    values[0] = np.nan
    with pytest.raises(InputError, match="--duplicates: m has no feature that is measured in every sample"):
        near_duplicates(matrix_of(values), 1.0, tmp_path)


def test_a_distance_that_most_pairs_are_below_is_refused_before_memory_is_full(monkeypatch):
    monkeypatch.setattr(exprcast.duplicates, "MOST_PAIRS", 100)
    with pytest.raises(InputError, match="--duplicates 5: more than 100 pairs of m may be nearer"):
        near_in_projection(np.random.default_rng(0).normal(size=(50, 2)), 5.0, "m")


def test_first_come_first_kept():
    """2 is near 1, which goes with 0, so 2 stays and 3 goes with it."""
    pairs = [Pair(0, 1, 0.1), Pair(0, 4, 0.5), Pair(1, 2, 0.2), Pair(2, 3, 0.3), Pair(2, 4, 0.1)]
    assert first_come(pairs) == [Pair(0, 1, 0.1), Pair(2, 3, 0.3), Pair(0, 4, 0.5)]
