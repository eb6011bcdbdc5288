"""What test and training parts of a dataset share: groups, identical inputs or targets, near-duplicates. Validation counts as training.

A dataset says which of these its folds promise to keep apart. Twins are never promised: they are samples of different groups
whose expression departs from the training mean in the same way, and a score that needs them says little of a new sample.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from exprcast.dataset import TEST, VALID, Dataset
from exprcast.paralogs import ALIKE

TWIN_R, SURE_R = 0.75, 0.95  # the halves of one blood population (GMP), and HSC and MPP, lie between them; see is_twin()
COMMON_GENES = 200  # that two samples need to be compared, or half of all genes
MOST_NAMES = 10
LOG_UNITS = ("log2_intensity", "log10_rpkm", "zscore")
N = 4  # the code of an unknown base
GROUPS = ("samples/replicate_group", "samples/donor", "samples/biosample")
BLOCK = 512  # promoters that are in memory at once

Shared = list[dict[int, str]]  # for each fold: {test member: the name of what it shares with training}


class Leak(NamedTuple):
    """One row of the leakage table: how many folds and different test members share a thing with training, and what it is.

    `unknown` counts the members of the axis that have no value: of them it cannot be told.
    """

    axis: str
    shared: str
    held_out: int
    promised: int
    folds: int
    members: int
    unknown: int
    names: str


class Near(NamedTuple):
    """A held-out sample or gene with the training member that is most like it."""

    axis: str
    fold: int
    id: str
    nearest: str  # "" where nothing is alike or it cannot be told
    similarity: float  # samples: r of expression, each gene's mean taken away; genes: containment of promoters
    twin: int  # 1 for a near-duplicate (is_twin; of genes from ALIKE on), else 0


def leakage(dataset: Dataset, near: Sequence[Near]) -> list[Leak]:
    """Return one row for each thing that the dataset could share; what it does not hold has none. `near` is what nearest() found."""
    rows = []
    for axis, things in THINGS.items() if dataset.samples else [("genes", THINGS["genes"])]:
        held_out = dataset.hold_out in (axis, "both")
        for thing, key, find in things:
            if dataset.has(key):
                shared = find(dataset, key, axis) if held_out else []
                unknown = dataset.text(key).count("") if held_out and key in GROUPS else 0
                rows.append(leak(axis, thing, held_out, f"{axis}:{thing}" in dataset.promised, shared, unknown))
        if axis == "samples" and dataset.has("expression/gene"):
            unknown = {row.id for row in near if row.axis == axis and np.isnan(row.similarity)}
            rows.append(leak(axis, "twin", held_out, False, twins(near, dataset, axis), len(unknown)))
        if axis == "genes" and dataset.has("similarity/gene"):
            rows.append(leak(axis, "twin", held_out, False, twins(near, dataset, axis)))
    return rows


def leak(axis: str, thing: str, held_out: bool, promised: bool, shared: Shared, unknown: int = 0) -> Leak:
    """Count one thing."""
    names = sorted({name for fold in shared for name in fold.values()})
    members = {member for fold in shared for member in fold}
    return Leak(axis, thing, int(held_out), int(promised), sum(map(bool, shared)), len(members), unknown, ",".join(names[:MOST_NAMES]))


def promised_leaks(rows: Sequence[Leak]) -> list[Leak]:
    """Return the rows that break a promise."""
    return [row for row in rows if row.promised and row.folds]


def shared_values(dataset: Dataset, key: str, axis: str) -> Shared:
    """Find test members whose text stands in training, too."""
    values = dataset.text(key)
    return [{i: values[i] for i in fold} for fold in first_meetings(values, dataset, axis)]


def same_values(digests: list[str], dataset: Dataset, axis: str) -> Shared:
    """Find test members that have the digest of one in training, and name both."""
    ids = dataset.samples if axis == "samples" else dataset.genes
    return [
        {i: "=".join(ids[one] for one in sorted((i, other))) for i, other in fold.items()}
        for fold in first_meetings(digests, dataset, axis)
    ]


def first_meetings(values: list[str], dataset: Dataset, axis: str) -> list[dict[int, int]]:
    """Return for each fold {test member: first training member with the same value}; an empty value is like no other."""
    found = []
    for roles in dataset.sample_role if axis == "samples" else dataset.gene_role:
        training = {values[i]: i for i in np.flatnonzero(roles <= VALID)[::-1].tolist() if values[i]}
        found.append({i: training[values[i]] for i in np.flatnonzero(roles == TEST).tolist() if values[i] in training})
    return found


def same_peaks(dataset: Dataset, key: str, axis: str) -> Shared:
    """Find test samples with exactly the open bins and signal of a training sample; one sample is in memory at a time."""
    digests = []
    for sample in range(len(dataset.samples)):
        bins, signal = dataset.open_bins(sample)
        digests.append(digest(bins, signal) if len(bins) else "")
    return same_values(digests, dataset, axis)


def same_expression(dataset: Dataset, key: str, axis: str) -> Shared:
    """Find test members with exactly the values of a training member: samples over genes, or genes over samples."""
    values = dataset.array(key) + 0.0  # there is no -0
    rows = values if axis == "samples" else values.T
    return same_values([digest(row) if telling(row) else "" for row in rows], dataset, axis)


def telling(values: np.ndarray) -> bool:
    """Say whether equal vectors prove a copy: more than half of the values, or fifty, are measured and not 0, and they differ.

    Rare genes of a table of counts are equal by chance.
    """
    known = values[np.isfinite(values) & (values != 0)]
    return 2 * len(known) > min(len(values), 100) and known.min() < known.max()


def same_promoters(dataset: Dataset, key: str, axis: str) -> Shared:
    """Find test genes with exactly the promoter of a training gene; promoters that are N throughout do not count."""
    array, digests = dataset.file[key], []
    for start in range(0, len(array), BLOCK):
        digests += [digest(row) if (row != N).any() else "" for row in array[start : start + BLOCK]]
    return same_values(digests, dataset, axis)


def digest(*arrays: np.ndarray) -> str:
    """Return a text that only equal arrays have in common."""
    made = blake2b(digest_size=16)
    for array in arrays:
        made.update(np.ascontiguousarray(array))
    return made.hexdigest()


def twins(near: Sequence[Near], dataset: Dataset, axis: str) -> Shared:
    """Name the held-out samples (or genes) whose nearest training member is a near-duplicate."""
    ids, measure = (dataset.samples, "r") if axis == "samples" else (dataset.genes, "containment")
    place = {one: i for i, one in enumerate(ids)}
    shared: Shared = [{} for _ in range(dataset.n_folds)]
    for row in near:
        if row.axis == axis and row.twin:
            shared[row.fold][place[row.id]] = f"{row.id}~{row.nearest} ({measure} {row.similarity:.2f})"
    return shared


def nearest(dataset: Dataset) -> list[Near]:
    """Return a row for each held-out sample, and for each held-out gene where promoters were compared, in every fold."""
    rows = []
    if dataset.hold_out != "genes" and dataset.has("expression/gene"):
        rows += nearest_samples(dataset)
    if dataset.hold_out != "samples" and dataset.has("similarity/gene"):
        rows += nearest_genes(dataset)
    return rows


def nearest_samples(dataset: Dataset) -> list[Near]:
    """Return each test sample's training sample with the highest r across genes, each gene's mean over all samples taken away."""
    values = dataset.array("expression/gene").astype(np.float64)
    r = correlate_samples(values if dataset.unit("expression/gene") in LOG_UNITS else np.log2(values + 1))
    rows = []
    for fold, roles in enumerate(dataset.sample_role):
        others = np.flatnonzero(roles <= VALID)
        for sample in np.flatnonzero(roles == TEST):
            known = others[~np.isnan(r[sample, others])]
            order = known[np.argsort(-r[sample, known], kind="stable")[:2]]
            if not len(order):
                rows.append(Near("samples", fold, dataset.samples[sample], "", np.nan, 0))
            else:
                rows.append(
                    Near(
                        "samples", fold, dataset.samples[sample], dataset.samples[order[0]], r[sample, order[0]], is_twin(r[sample, order])
                    )
                )
    return rows


def is_twin(r: np.ndarray) -> int:
    """Say (1 or 0) whether the first of these correlations, the highest, is a near-duplicate's: nearly 1, or high and the next half as close at most."""
    alone = len(r) == 1 or 1 - r[0] <= (1 - r[1]) / 2
    return int(r[0] >= SURE_R or (r[0] >= TWIN_R and alone))


def correlate_samples(values: np.ndarray) -> np.ndarray:
    """Return (samples, samples) Pearson's r across the genes that both have, each gene's mean taken away; NaN for too few genes or a constant."""
    measured = ~np.isnan(values)
    seen = np.maximum(measured.sum(axis=0), 1)
    z = np.where(measured, values - np.where(measured, values, 0).sum(axis=0) / seen, 0)
    mask = measured.astype(np.float64)
    n, total, squares = mask @ mask.T, z @ mask.T, z**2 @ mask.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares - total**2 / n
        covariance = z @ z.T - total * total.T / n
        r = covariance / np.sqrt(spread * spread.T)
    enough = (n >= min(COMMON_GENES, values.shape[1] / 2)) & (n >= 3)
    varies = (spread > 1e-10 * n) & (spread.T > 1e-10 * n)
    return np.where(enough & varies, r, np.nan)


def nearest_genes(dataset: Dataset) -> list[Near]:
    """Return each test gene's training gene with the most similar promoter; nothing and 0 where no pair is known."""
    first, second, value = (dataset.array(f"similarity/{name}") for name in ("gene", "other", "containment"))
    gene, other, value = np.concatenate([first, second]), np.concatenate([second, first]), np.concatenate([value, value])
    order = np.lexsort((other, -value, gene))
    gene, other, value = gene[order], other[order], value[order]
    rows = []
    for fold, roles in enumerate(dataset.gene_role):
        pairs = np.flatnonzero((roles[gene] == TEST) & (roles[other] <= VALID))
        tested, best = np.unique(gene[pairs], return_index=True)
        found = dict(zip(tested.tolist(), pairs[best].tolist(), strict=True))
        for i in np.flatnonzero(roles == TEST).tolist():
            known = i in found
            name, alike = (dataset.genes[other[found[i]]], float(value[found[i]])) if known else ("", 0.0)
            rows.append(Near("genes", fold, dataset.genes[i], name, alike, int(alike >= ALIKE)))
    return rows


Finder = Callable[[Dataset, str, str], Shared]  # (dataset, key, axis)
THINGS: dict[str, list[tuple[str, str, Finder]]] = {
    "samples": [
        ("replicate_group", "samples/replicate_group", shared_values),
        ("donor", "samples/donor", shared_values),
        ("biosample", "samples/biosample", shared_values),
        ("peaks", "accessibility/bin", same_peaks),
        ("expression", "expression/gene", same_expression),
    ],
    "genes": [
        ("chrom", "genes/chrom", shared_values),
        ("paralog_group", "genes/paralog_group", shared_values),
        ("promoter", "promoters/sequence", same_promoters),
        ("expression", "expression/gene", same_expression),
    ],
}
