"""Do 90 % intervals hold 90 % of what is then measured? Simulated cohorts with real sampling; and how long a large one takes.

Errors have a size and tails of the gene's own (Student's t of 3, 5 or 30 degrees; a fifth of the genes is switched on where nobody
expects it, in 2 to 30 % of samples), a size of the sample's and the group's own, and parts that genes share, so that the genes of a
sample are not independent. Networks of folds differ.

python -m pytest tests/bench/bench_coverage.py -s
"""

from time import monotonic
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from exprcast import calibration
from exprcast.calibration import CONFIDENCE, LEAST_OWN, LEVEL_BINS, Calibration, calibrate, coverage, intervals, learn
from exprcast.dataset import TEST

GENES = 1_500


class Cohort(NamedTuple):
    """How many samples in how many groups and folds, how many new ones, and by what errors grow from distance 0 to 1."""

    samples: int = 200
    groups: int = 200
    new: int = 100
    folds: int = 5
    ratio: float = 1.0
    sample_effect: float = 0.25  # SD of the logarithm of errors between samples
    group_effect: float = 0.15


class Outcome(NamedTuple):
    """What intervals of new samples were worth."""

    inside: np.ndarray  # (new samples, genes)
    width: np.ndarray  # (new samples,) mean
    score: float  # interval score, mean over all
    held_out: float  # what `coverage` says of held-out samples, mean
    distance: np.ndarray  # (new samples,)
    level: np.ndarray  # (genes,)


def simulate(cohort: Cohort, seed: int) -> tuple[Calibration, np.ndarray, np.ndarray, np.ndarray]:
    """Return the calibration of a cohort, and of new samples predictions (folds, samples, genes), truth (samples, genes), distances."""
    rng = np.random.default_rng(seed)
    level = np.where(rng.random(GENES) < 0.3, rng.exponential(0.1, GENES), rng.gamma(4, 1.2, GENES))
    size = np.exp(0.5 * rng.normal(size=GENES)) * (0.1 + 0.6 * np.minimum(level, 1) / (1 + 0.25 * level))
    shared = rng.normal(size=(4, GENES))
    total = cohort.samples + cohort.new
    group = np.r_[np.arange(cohort.samples) % cohort.groups, cohort.groups + np.arange(cohort.new)]
    distance = rng.beta(2, 4, total)
    own = np.exp(cohort.sample_effect * rng.normal(size=total) + cohort.group_effect * rng.normal(size=group.max() + 1)[group])
    own *= cohort.ratio ** (distance - 1 / 3)
    tails = rng.standard_t(rng.choice([3, 5, 30], GENES), (total, GENES))
    switched = 4 * (rng.random((total, GENES)) < np.where(rng.random(GENES) < 0.2, rng.uniform(0.02, 0.3, GENES), 0))
    noise = 0.8 * tails + switched + 0.5 * rng.normal(size=(total, 4)) @ shared / 2
    centre = np.maximum(level + 0.8 * size * rng.normal(size=(total, GENES)), 0)
    truth = np.maximum(centre + own[:, None] * size * noise, 0).astype(np.float32)
    drift = 0.3 * size * rng.normal(size=(cohort.folds, 1, GENES))
    predicted = np.maximum(centre + drift + 0.2 * size * rng.normal(size=(cohort.folds, total, GENES)), 0).astype(np.float32)
    known, new = slice(cohort.samples), slice(cohort.samples, None)
    with h5py.File("cohort", "w", driver="core", backing_store=False) as file:
        fold = group[known] % cohort.folds
        file.attrs["unit"] = "log2(tpm + 1)"
        file["rows"], file["observed"] = np.arange(cohort.samples), truth[known]
        file["predicted"] = predicted[:, None, known]
        file["role"] = np.broadcast_to(np.where(fold == np.arange(cohort.folds)[:, None], TEST, 0)[:, :, None], predicted[:, known].shape)
        file["training_mean"] = np.stack([truth[known][fold != k].mean(axis=0, keepdims=True) for k in range(cohort.folds)])
        return calibrate(file, group[known], distance[known]), predicted[:, new], truth[new], distance[new]


def judge(cohort: Cohort, seed: int) -> Outcome:
    """Return what the intervals of a cohort's new samples were worth."""
    found, predicted, truth, distance = simulate(cohort, seed)
    low, high = intervals(found, predicted, distance)
    beyond = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    score = float((high - low + 2 / (1 - CONFIDENCE) * beyond).mean())
    return Outcome(beyond == 0, (high - low).mean(axis=1), score, float(np.nanmean(coverage(found))), distance, found.level)


def show(name: str, outcomes: list[Outcome]) -> float:
    """Print and return the share of values inside, with what lies behind it."""
    samples = np.concatenate([one.inside.mean(axis=1) for one in outcomes])
    low, high = np.quantile(samples, [0.05, 0.95])
    share, width, held_out, score = np.mean([(one.inside.mean(), one.width.mean(), one.held_out, one.score) for one in outcomes], axis=0)
    genes = np.mean([(one.inside.mean(axis=0) < 0.8).mean() for one in outcomes])
    print(
        f"{name:44} inside {share:.3f} (samples {low:.3f} to {high:.3f}; genes below .8: {genes:.3f})  held out {held_out:.3f}"
        f"  width {width:.2f}  score {score:.3f}"
    )
    return float(share)


def test_nine_in_ten_lie_inside():
    print()
    assert 0.87 <= show("200 samples, 200 new", [judge(Cohort(new=200), 0)]) <= 0.93
    assert 0.87 <= show("20 cohorts of 40 samples", [judge(Cohort(40, 40), seed) for seed in range(20)]) <= 0.93
    assert 0.87 <= show("20 cohorts of 40 samples in 10 groups", [judge(Cohort(40, 10), seed) for seed in range(20)]) <= 0.93
    assert 0.85 <= show("20 cohorts of 10 samples in 8 groups, 8 folds", [judge(Cohort(10, 8, folds=8), seed) for seed in range(20)])


def test_errors_of_all_genes_serve_few_samples_and_own_errors_many(monkeypatch):
    print()
    scores = {}
    for samples in (15, LEAST_OWN, 40, 80):
        for way, least in (("own", 9), ("all genes", 1_000)):
            monkeypatch.setattr(calibration, "LEAST_OWN", least)
            outcomes = [judge(Cohort(samples, samples), seed) for seed in range(8)]
            show(f"{samples} samples, errors of {way}", outcomes)
            scores[samples, way] = np.mean([one.score for one in outcomes])
    assert scores[15, "all genes"] < scores[15, "own"] and scores[80, "own"] < scores[80, "all genes"]


def test_typical_errors_of_a_level_serve_genes_of_all_levels(monkeypatch):
    """Genes that are hardly expressed and genes that are: nine in ten inside of both, which one bin for all does not give."""
    gap = {}
    for bins in (1, LEVEL_BINS):
        monkeypatch.setattr(calibration, "LEVEL_BINS", bins)
        outcomes = [judge(Cohort(10, 8), seed) for seed in range(8)]
        low, high = (
            np.mean([one.inside[:, chosen(one.level)].mean() for one in outcomes]) for chosen in (lambda x: x < 0.2, lambda x: x > 3)
        )
        gap[bins] = abs(low - high)
        print(f"\n{bins} bins of level: inside of genes below 0.2 {low:.3f}, above 3 {high:.3f}", end="")
    assert gap[LEVEL_BINS] < gap[1]


def test_widths_follow_distance_where_errors_do(monkeypatch):
    cohort, off = Cohort(100, 100, ratio=8.0), {}
    print()
    for name in ("with distance", "without"):
        outcomes = [judge(cohort, seed) for seed in range(8)]
        classes = []
        for low, high in ((0, 0.2), (0.2, 0.45), (0.45, 1)):
            chosen = [(one.distance >= low) & (one.distance < high) for one in outcomes]
            inside, width = (
                np.mean([values(one)[own].mean() for one, own in zip(outcomes, chosen, strict=True)])
                for values in (lambda o: o.inside, lambda o: o.width)
            )
            print(f"{name:14} distance {low:.2f} to {high:.2f}: inside {inside:.3f}, width {width:.2f}")
            classes.append((inside, width))
        show(name, outcomes)
        off[name] = max(abs(inside - CONFIDENCE) for inside, _ in classes)
        if name == "with distance":
            assert classes[0][1] < classes[1][1] < classes[2][1]
        monkeypatch.setattr(calibration, "choose_growth", lambda _plain: 0.0)
    assert off["with distance"] < off["without"] / 2


@pytest.mark.parametrize(("samples", "groups"), [(10, 10), (60, 15), (100, 100)])
def test_distance_is_left_alone_where_errors_do_not_follow_it(samples, groups):
    chosen = [simulate(Cohort(samples, groups, new=0), seed)[0].growth > 0 for seed in range(40)]
    print(f"\n{samples} samples in {groups} groups: growth chosen in {sum(chosen)} of {len(chosen)} cohorts where there is none", end="")
    assert sum(chosen) <= 4


def test_time_of_a_large_cohort():
    rng = np.random.default_rng(0)
    samples, genes, new, folds = 200, 20_000, 100, 5
    level, number = rng.gamma(2, 2, genes), np.arange(samples)
    errors = np.abs(rng.standard_t(4, (samples, genes))).astype(np.float32)
    start = monotonic()
    found = learn("log2(tpm + 1)", number, errors, (number % folds).astype(np.uint16), number, rng.beta(2, 4, samples), level)
    learned = monotonic()
    intervals(found, (level + rng.normal(size=(folds, new, genes))).astype(np.float32), rng.beta(2, 4, new))
    ended = monotonic()
    coverage(found)
    print(
        f"\nlearned in {learned - start:.1f} s, {new} × {genes:,} intervals in {ended - learned:.1f} s, coverage in {monotonic() - ended:.1f} s"
    )
    assert ended - learned < 60
