"""How well two replicates of one sample agree, and so the most that any prediction can be expected to reach (the noise ceiling).

Replicates share their replicate group. A pair is compared where both are tested in one fold, with that fold's training means.
"""

from itertools import combinations

import h5py
import numpy as np

from exprcast.dataset import TEST, Dataset
from exprcast.metrics import Estimate, interval_of_ratio, pearson
from exprcast.scoring import read_mean

REPLICATE_GROUPS = "replicate groups"


def replicate_estimates(file: h5py.File, dataset: Dataset, seed: int) -> dict[str, dict[str, Estimate]]:
    """Return {predictor: {metric: estimate}} of a replicate that predicts the other, and of what could predict both; {} without pairs.

    A perfect prediction is the mean that replicates scatter around; its correlation with one of them is the root of theirs.
    """
    groups, values = agreement(file, dataset)
    if not groups:
        return {}
    number = np.unique(groups, return_inverse=True)[1]
    found: dict[str, dict[str, Estimate]] = {"replicate": {}, "ceiling": {}}
    for metric, r in zip(("r_gene", "r_gene_dev"), np.array(values).T, strict=True):
        known = ~np.isnan(r)
        own = np.unique(number[known], return_inverse=True)[1]
        interval = interval_of_ratio(np.bincount(own, r[known]), np.bincount(own), seed)
        n = len(set(own.tolist()))
        found["replicate"][metric] = Estimate(*interval, n, REPLICATE_GROUPS)
        found["ceiling"][metric] = Estimate(*(root(one) for one in interval), n, REPLICATE_GROUPS)
    return found


def root(r: float) -> float:
    """Return the square root of a correlation, NaN below 0."""
    return float(np.sqrt(r)) if r >= 0 else np.nan


def agreement(file: h5py.File, dataset: Dataset) -> tuple[list[str], list[tuple[float, float]]]:
    """Return of each pair of replicates its group, and the correlations across genes of what was observed and of the deviations."""
    place = {name: i for i, name in enumerate(file["rows"].asstr()[:])}
    tested = (dataset.sample_role == TEST) if dataset.hold_out != "genes" else np.ones(dataset.sample_role.shape, dtype=bool)
    groups, found = [], []
    for group, members in sorted(replicates(dataset).items()):
        for pair in combinations([i for i in members if dataset.samples[i] in place], 2):
            folds = [i for i, fold in enumerate(file["folds"][:]) if tested[fold, list(pair)].all()]
            if folds:
                groups.append(group)
                found.append(compare(file, sorted(place[dataset.samples[i]] for i in pair), folds))
    return groups, found


def replicates(dataset: Dataset) -> dict[str, list[int]]:
    """Return {replicate group: numbers of its samples}."""
    members: dict[str, list[int]] = {}
    for i, group in enumerate(dataset.text("samples/replicate_group") if dataset.has("samples/replicate_group") else ()):
        if group:
            members.setdefault(group, []).append(i)
    return members


def compare(file: h5py.File, rows: list[int], folds: list[int]) -> tuple[float, float]:
    """Return how two rows correlate where folds test both: as observed, and as deviations from the training means."""
    mean, count = np.zeros((2, len(file["columns"]))), np.zeros(len(file["columns"]))
    for i in folds:
        both = (file["role"][i, rows] == TEST).all(axis=0)
        mean += np.where(both, np.concatenate([read_mean(file, i, slice(row, row + 1)) for row in rows]), 0)
        count += both
    count[count == 0] = np.nan
    a, b = (file["observed"][rows] + 0 * count)[:, None]  # (1, columns) each
    mean_a, mean_b = (mean / count)[:, None]
    return float(pearson(a, b, axis=1)[0]), float(pearson(a - mean_a, b - mean_b, axis=1)[0])
