"""Lists of landmark and target genes, and where in a matrix each of their genes is measured: by probe sets, gene ids or symbols."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log
from exprcast.matrices import gene_of
from exprcast.matrix_file import few_ids
from exprcast.tables import few, name_some, read_lines, read_table, refuse_duplicates

LANDMARKS, TARGETS = "landmarks", "targets"
CONTROL = "AFFX-"  # probe sets that few matrices keep
PAR = "_PAR_Y"


class Listed(NamedTuple):
    """A gene of a list, and the words that a matrix may know it by."""

    gene: str
    symbol: str
    probes: tuple[str, ...]

    def words(self, kind: str) -> tuple[str, ...]:
        """Return its probes, gene id or symbol."""
        return self.probes if kind == "probes" else (self.gene,) if kind == "gene_id" else (self.symbol,)


class Gene(NamedTuple):
    """A gene of the matrix that is made: the features whose mean is its value, by number, ordered by id; the list it is from ("": no lists)."""

    id: str
    symbol: str
    features: list[int]
    list: str


class LeftOut(NamedTuple):
    """A gene of a list that is not in the matrix that is made."""

    gene: str
    symbol: str
    list: str
    reason: str


def read_list(path: Path) -> list[Listed]:
    """Read a TSV with the column gene_id, perhaps symbol and probes (separated by commas), or a file with one id a line."""
    first = next((line for _, line in read_lines(path) if line.strip() and not line.startswith("#")), "")
    if "gene_id" in first.split("\t"):
        rows = [listed_row(row, f"{path.name} line {line}") for line, row in read_table(path, ["gene_id"])]
    else:
        lines = [(number, line.strip()) for number, line in read_lines(path) if line.strip() and not line.startswith("#")]
        wrong = next((number for number, line in lines if len(line.split()) > 1), None)
        if wrong is not None:
            raise InputError(f"{path.name} line {wrong}: one id a line is needed, or a table with a header that has gene_id")
        rows = [Listed(gene_of(line), line, (line,)) for _, line in lines]
    if not rows:
        raise InputError(f"{path.name}: no gene in it")
    refuse_duplicates((row.gene for row in rows), f"{path.name}: gene")
    return rows


def listed_row(row: dict[str, str], where: str) -> Listed:
    """Return a row of a list."""
    gene, probes = gene_of(row["gene_id"].strip()), tuple(probe.strip() for probe in row.get("probes", "").split(",") if probe.strip())
    if not gene.isprintable() or not gene or " " in gene:
        raise InputError(f"{where}: {gene[:40]!r} is no gene id")
    return Listed(gene, row.get("symbol", "").strip() or gene, probes)


def words_of(lists: Iterable[Sequence[Listed]]) -> set[str]:
    """Return all words that a matrix may know a listed gene by."""
    return {word for rows in lists for row in rows for word in (row.gene, row.symbol, *row.probes)}


def place_genes(features: list[str], lists: dict[str, list[Listed]], name: str) -> tuple[list[Gene], list[LeftOut]]:
    """Return the genes of landmarks and targets that a matrix measures, sorted by id, and those that are left out, each with its reason."""
    place = {feature: number for number, feature in enumerate(features)}
    rows = [row for listed in lists.values() for row in listed]
    kind = max(("probes", "gene_id", "symbol"), key=lambda kind: sum(any(word in place for word in row.words(kind)) for row in rows))
    report_lost_probes(rows, place, kind, name)
    found: dict[str, list[Gene]] = {}
    left_out: list[LeftOut] = []
    for list_name, listed in lists.items():
        genes = [Gene(row.gene, row.symbol, sorted_places(row.words(kind), place), list_name) for row in listed]
        left_out += [LeftOut(gene.id, gene.symbol, list_name, f"not in {name}") for gene in genes if not gene.features]
        found[list_name] = [gene for gene in genes if gene.features]
    landmarks = found.get(LANDMARKS, [])
    refuse_few(landmarks, lists.get(LANDMARKS, []), features, name)
    twins = landmark_twins(found.get(TARGETS, []), lists.get(LANDMARKS, []), landmarks)
    left_out += [LeftOut(gene.id, gene.symbol, TARGETS, "is a landmark") for gene in twins]
    dropped = {gene.id for gene in twins}
    kept = landmarks + [gene for gene in found.get(TARGETS, []) if gene.id not in dropped]
    if not kept:
        raise InputError(f"{name}: no listed gene is in it: the lists have {few(row.gene for row in rows)}, the file {few_ids(features)}")
    report(lists, kept, left_out, name, kind)
    return sorted(kept, key=lambda gene: gene.id), sorted(left_out)


def landmark_twins(targets: list[Gene], landmarks: list[Listed], found: list[Gene]) -> list[Gene]:
    """Return the targets that are landmarks: the same gene (or its copy on Y), or measured by a landmark's feature."""
    genes = {row.gene.removesuffix(PAR) for row in landmarks}
    features = {number for gene in found for number in gene.features}
    return [gene for gene in targets if gene.id.removesuffix(PAR) in genes or not features.isdisjoint(gene.features)]


def sorted_places(words: Iterable[str], place: dict[str, int]) -> list[int]:
    """Return the numbers of the features that a gene is measured by, in the order of their ids, so that a mean has the same last digits in any file."""
    return [place[word] for word in sorted(set(words)) if word in place]


def report_lost_probes(rows: list[Listed], place: dict[str, int], kind: str, name: str) -> None:
    """Say which probe sets of genes that are measured are not there; controls are often left out of a matrix."""
    if kind == "probes":
        measured = [row for row in rows if any(probe in place for probe in row.probes)]
        lost = [probe for row in measured for probe in row.probes if probe not in place and not probe.startswith(CONTROL)]
        if lost:
            log.warning(f"warning: {len(lost):,} probe sets are not in {name}: {few(lost)}; their genes are the means of the others")


def refuse_few(found: list[Gene], landmarks: list[Listed], features: list[str], name: str) -> None:
    """Raise InputError if fewer than half of the landmarks are there."""
    if 2 * len(found) < len(landmarks):
        first = landmarks[0]
        listed = ", ".join(dict.fromkeys([first.gene, first.symbol, *first.probes]))[:80]
        both = f"the list has {listed} …, the file {few_ids(features)}"
        raise InputError(f"{name}: {len(found):,} of {len(landmarks):,} landmarks are in it: {both}; are these the same kind of id?")


def report(lists: dict[str, list[Listed]], kept: list[Gene], left_out: list[LeftOut], name: str, kind: str) -> None:
    """Say how many genes of each list are there, and which are not."""
    for list_name, listed in lists.items():
        count = sum(gene.list == list_name for gene in kept)
        log.info(f"kept {count:,} of {len(listed):,} {list_name} (found by {'gene id' if kind == 'gene_id' else kind})")
        for reason in (f"not in {name}", "is a landmark"):
            genes = [gene.symbol for gene in left_out if (gene.list, gene.reason) == (list_name, reason)]
            if genes:
                what = (
                    "are landmarks under other probes: where a gene has one value, input would be output"
                    if reason == "is a landmark"
                    else reason
                )
                log.warning(f"warning: {len(genes):,} {list_name} {what}; left out: {name_some(genes)}")


def all_genes(features: list[str]) -> list[Gene]:
    """Return every feature as a gene, sorted by id."""
    return [Gene(features[i], features[i], [i], "") for i in sorted(range(len(features)), key=features.__getitem__)]


def mean_of_features(block: np.ndarray, genes: list[Gene]) -> np.ndarray:
    """Return (samples, genes) float32: the mean of a gene's features that are measured in (samples, features); NaN where none is."""
    order = np.concatenate([gene.features for gene in genes])
    starts = np.cumsum([0] + [len(gene.features) for gene in genes[:-1]])
    if len(order) == len(genes):
        return block[:, order]
    values = block[:, order]
    measured = ~np.isnan(values)
    counts = np.add.reduceat(measured, starts, axis=1, dtype=np.int32) if not measured.all() else np.diff([*starts, len(order)])
    sums = np.add.reduceat(np.where(measured, values, 0), starts, axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return (sums / np.where(counts, counts, np.nan)).astype(np.float32)
