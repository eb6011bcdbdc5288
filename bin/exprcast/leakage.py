"""What test and training parts of a dataset share: groups, identical inputs or targets, near-duplicates. Validation counts as training.

A dataset says which of these its folds promise to keep apart. Twins are never promised: they are samples of different groups
whose expression departs from the training mean in the same way, and a score that needs them says little of a new sample.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from exprcast.cli import log
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.paralogs import ALIKE

TWIN_R = 0.75  # the two halves of one blood population, GMP, correlate at 0.79, HSC and MPP at 0.89, no other two of ten reach it
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
    similarity: float  # samples: r of expression's deviations from the training mean; genes: containment of promoters
    twin: int  # 1 from TWIN_R, or for genes from ALIKE on, else 0


def leakage(dataset: Dataset, near: Sequence[Near]) -> list[Leak]:
    """Return one row for each thing that the dataset could share; what it does not hold has none. `near` is what nearest() found."""
    rows = []
    for axis, things in THINGS.items():
        held_out = dataset.hold_out in (axis, "both")
        for thing, key, find in things:
            if dataset.has(key):
                shared = find(dataset, key, axis) if held_out else []
                unknown = dataset.text(key).count("") if held_out and key in GROUPS else 0
                rows.append(leak(axis, thing, held_out, f"{axis}:{thing}" in dataset.promised, shared, unknown))
        if axis == "samples" and dataset.has("expression/gene"):
            rows.append(leak(axis, "twin", held_out, False, twins(near, dataset)))
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


def twins(near: Sequence[Near], dataset: Dataset) -> Shared:
    """Name the held-out samples whose nearest training sample is a near-duplicate."""
    place = {sample: i for i, sample in enumerate(dataset.samples)}
    shared: Shared = [{} for _ in range(dataset.n_folds)]
    for row in near:
        if row.axis == "samples" and row.twin:
            shared[row.fold][place[row.id]] = f"{row.id}~{row.nearest} (r {row.similarity:.2f})"
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
    """Return each test sample's training sample with the highest r across genes of deviations from the fold's training mean.

    Genes that a sample lacks are left out. All folds follow from one matrix of products (samples, samples).
    """
    values = dataset.array("expression/gene")
    values = values[:, ~np.isnan(values).any(axis=0)].astype(np.float64)
    if values.shape[1] < 3:
        log.warning(f"warning: {values.shape[1]} genes are measured in all samples; near-duplicates cannot be told")
        values = np.zeros((len(values), 1))  # constants, which have no correlation
    if dataset.unit("expression/gene") not in LOG_UNITS:
        np.log2(values + 1, out=values)
    values -= values.mean(axis=0)  # changes no deviation, and keeps the products small
    products, means = values @ values.T / values.shape[1], values.mean(axis=1)
    rows = []
    for fold, roles in enumerate(dataset.sample_role):
        test, others = np.flatnonzero(roles == TEST), np.flatnonzero(roles <= VALID)
        r = correlate_deviations(products, means, (roles == TRAIN) / (roles == TRAIN).sum())[np.ix_(test, others)]
        for sample, known in zip(test, r, strict=True):
            if np.isnan(known).all():
                rows.append(Near("samples", fold, dataset.samples[sample], "", np.nan, 0))
            else:
                best = int(np.nanargmax(known))
                rows.append(
                    Near("samples", fold, dataset.samples[sample], dataset.samples[others[best]], known[best], int(known[best] >= TWIN_R))
                )
    return rows


def correlate_deviations(products: np.ndarray, means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (samples, samples) Pearson's r of rows x − Σ weights·x, from mean products of the rows and the rows' means; NaN for constants."""
    towards = products @ weights
    offset = means - means @ weights
    covariance = products - towards[:, None] - towards[None, :] + weights @ towards - np.outer(offset, offset)
    variance = covariance.diagonal()
    sd = np.sqrt(np.where(variance > 1e-10 * max(products.diagonal().max(), 1e-12), variance, np.nan))
    return covariance / np.outer(sd, sd)


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
