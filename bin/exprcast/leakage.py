"""What test and training parts of a dataset share: groups, identical inputs or targets, near-duplicates. Validation counts as training.

A dataset says which of these its folds promise to keep apart. Twins are never promised: they are samples of different groups
whose expression departs from the training mean in the same way, and a score that needs them says little of a new sample.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.dataset import TEST, VALID, Dataset
from exprcast.paralogs import ALIKE
from exprcast.tables import RAW_UNITS

TWIN_R, SURE_R = 0.75, 0.95  # the halves of one blood population (GMP), and HSC and MPP, lie between them; see is_twin()
VARIES = 1e-10  # least variance of a sample that is no constant
COMMON_GENES = 200  # that two samples need to be compared, or half of all genes
MOST_NAMES = 10
MOST_VALUES, LEAST_GENES = 100_000_000, 1_000  # expression in memory: of more samples × genes every n-th gene is compared, so many at least
N = 4  # the code of an unknown base
GROUPS = ("samples/replicate_group", "samples/donor", "samples/biosample", "samples/batch")
ACCESSION = re.compile(
    r"(?:^|[^A-Za-z0-9])(GSE\d+|[SED]RP\d+|PRJ[A-Z]{2}\d+|E-[A-Z]{4}-\d+)"
)  # of a study: GEO, SRA, BioProject, ArrayExpress
BLOCK, COLUMNS = 512, 2048  # promoters or samples that are in memory at once; training samples that they are compared with at once

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
            promised = f"{axis}:{thing}" in dataset.promised
            if dataset.has(key) and (promised or thing != "batch"):  # batches are usually shared on purpose
                shared = find(dataset, key, axis) if held_out else []
                unknown = dataset.text(key).count("") if held_out and key in GROUPS else 0
                rows.append(leak(axis, thing, held_out, promised, shared, unknown))
        if axis == "samples" and any(accessions := study_accessions(dataset)):
            rows.append(leak(axis, "accession", held_out, False, named_meetings(accessions, dataset, axis) if held_out else []))
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
    return named_meetings(dataset.text(key), dataset, axis)


def named_meetings(values: list[str], dataset: Dataset, axis: str) -> Shared:
    """Find test members whose value one in training has, too, and name it."""
    return [{i: values[i] for i in fold} for fold in first_meetings(values, dataset, axis)]


def study_accessions(dataset: Dataset) -> list[str]:
    """Return the accession of a study in each sample's groups, "" without one: labels like GSE6956AA and GSE6956C are parts of one study."""
    columns = [dataset.text(key) for key in GROUPS if dataset.has(key)]
    matches = (next(filter(None, map(ACCESSION.search, labels)), None) for labels in zip(*columns, strict=True))
    return [match[1] if match else "" for match in matches]


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
    array = dataset.file[key]
    rows = sample_rows(array) if axis == "samples" else array[:].T
    return same_values([digest(row + 0.0) if telling(row) else "" for row in rows], dataset, axis)  # + 0.0: there is no -0


def sample_rows(array: h5py.Dataset) -> Iterator[np.ndarray]:
    """Yield each sample's row, a block of them in memory at a time."""
    for start in range(0, len(array), BLOCK):
        yield from array[start : start + BLOCK]


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
    """Return each test sample's training sample with the highest r across genes, each gene's mean over all samples of the set taken away."""
    expression = deviations(dataset)
    rows = []
    for fold, roles in enumerate(dataset.sample_role):
        tested, training = np.flatnonzero(roles == TEST), np.flatnonzero(roles <= VALID)
        for start in range(0, len(tested), BLOCK):
            samples = tested[start : start + BLOCK]
            parts = [training[first : first + COLUMNS] for first in range(0, len(training), COLUMNS)]
            r = np.concatenate([correlate_samples(expression.of(samples), expression.of(part)) for part in parts], axis=1)
            rows += [nearest_one(dataset, fold, sample, training, row) for sample, row in zip(samples.tolist(), r, strict=True)]
    return rows


def nearest_one(dataset: Dataset, fold: int, sample: int, training: np.ndarray, r: np.ndarray) -> Near:
    """Return the row of one test sample, whose r with each training sample is given (NaN = cannot be told)."""
    if np.isnan(r).all():
        return Near("samples", fold, dataset.samples[sample], "", np.nan, 0)
    best = int(np.nanargmax(r))
    others = np.delete(r, best)
    highest = r[[best]] if np.isnan(others).all() else np.array([r[best], np.nanmax(others)])
    return Near("samples", fold, dataset.samples[sample], dataset.samples[training[best]], r[best], is_twin(highest))


def is_twin(r: np.ndarray) -> int:
    """Say (1 or 0) whether the first of these correlations, the highest, is a near-duplicate's: nearly 1, or high and the next half as close at most."""
    alone = len(r) == 1 or 1 - r[0] <= (1 - r[1]) / 2
    return int(r[0] >= SURE_R or (r[0] >= TWIN_R and alone))


class Deviations(NamedTuple):
    """Expression (samples, genes) as logarithms without each gene's mean, 0 where it is not measured, and where it is."""

    values: np.ndarray  # float32
    measured: np.ndarray  # bool

    def of(self, samples: np.ndarray) -> "Deviations":
        """Return some of the samples, in float64."""
        return Deviations(self.values[samples].astype(np.float64), self.measured[samples])


def deviations(dataset: Dataset) -> Deviations:
    """Return the expression of all samples, each gene's mean over the samples of a set taken away: sets may be in other units."""
    array = dataset.file["expression/gene"]
    step = max(min(array.size // MOST_VALUES + 1, array.shape[1] // LEAST_GENES), 1)
    units = dataset.text("samples/unit") if dataset.has("samples/unit") else [dataset.unit("expression/gene")] * len(array)
    values = np.empty((len(array), len(range(0, array.shape[1], step))), np.float32)
    for i, row in enumerate(sample_rows(array)):
        values[i] = row[::step]
    raw = np.isin(units, RAW_UNITS)[:, None]
    np.log2(np.add(values, 1, out=values, where=raw), out=values, where=raw)
    measured = ~np.isnan(values)
    values[~measured] = 0
    sets = np.array(dataset.text("samples/set") if dataset.has("samples/set") else [""] * len(array))
    for name in np.unique(sets):
        member = (sets == name)[:, None]
        seen = np.maximum(measured.sum(axis=0, where=member), 1)
        mean = values.sum(axis=0, dtype=np.float64, where=member) / seen
        np.subtract(values, mean, out=values, where=member & measured, casting="same_kind")
    return Deviations(values, measured)


def correlate_samples(some: Deviations, others: Deviations) -> np.ndarray:
    """Return (some, others) Pearson's r across the genes that both have; NaN for too few genes or a constant."""
    x, y, genes = some.values, others.values, some.values.shape[1]
    if some.measured.all() and others.measured.all():
        n, sums = np.float64(genes), (x.sum(axis=1)[:, None], y.sum(axis=1))
        squares = (x**2).sum(axis=1)[:, None], (y**2).sum(axis=1)
    else:
        in_x, in_y = some.measured.astype(np.float64), others.measured.astype(np.float64)
        n, sums, squares = in_x @ in_y.T, (x @ in_y.T, in_x @ y.T), (x**2 @ in_y.T, in_x @ (y**2).T)
    with np.errstate(invalid="ignore", divide="ignore"):
        spreads = [square - total**2 / n for square, total in zip(squares, sums, strict=True)]
        r = (x @ y.T - sums[0] * sums[1] / n) / np.sqrt(spreads[0] * spreads[1])
    enough = (n >= min(COMMON_GENES, genes / 2)) & (n >= 3)
    varies = (spreads[0] > VARIES * n) & (spreads[1] > VARIES * n)
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
        ("batch", "samples/batch", shared_values),
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
