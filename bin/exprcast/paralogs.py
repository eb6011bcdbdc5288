"""Which genes are alike: a user's table of paralogs, or promoters that share k-mers (sketched with sourmash).

A sketch holds about a tenth of a promoter's 21-mers, of either strand. 21-mers of many promoters are repeats and say nothing
of descent: they are dropped. Containment is the shared part of the smaller sketch: 1 for a copy, about 0.34 for a copy
with 5 % substitutions, the overlap for windows that overlap, 0 for strangers.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array, hstack
from scipy.sparse.csgraph import connected_components

from exprcast.cli import InputError, log
from exprcast.tables import few, read_lines, read_table, strip_version

KMER_BP, SCALED = 21, 10
MOST_PROMOTERS = 20  # a 21-mer in more promoters is a repeat
LEAST_LEFT = 0.25  # what is left of a sketch without repeats counts as this part of it at least: a few shared 21-mers are no kinship
LISTED, ALIKE = 0.05, 0.2  # containment: what is written down, what makes a group
ROWS, SLICES = 1024, 16  # promoters compared with all at once; parts of the hashes sorted at once

Pairs = dict[tuple[str, str], float]  # (gene, other), gene < other: containment


def similar_promoters(path: Path) -> tuple[Pairs, list[tuple[str, str]]]:
    """Return the pairs of genes whose promoters share at least LISTED of their 21-mers, with containment; and those that are the same.

    `path` is a FASTA of one line a sequence, as extract_promoters.py writes it. Promoters that are N throughout are like none.
    """
    genes, hashes = [], []
    alike: dict[bytes, list[str]] = {}
    for gene, sequence in read_promoters(path):
        genes.append(gene)
        hashes.append(sketch(sequence))
        alike.setdefault(blake2b(sequence.encode()).digest(), []).append(gene)
    same = [pair for copies in alike.values() for pair in combinations(sorted(copies), 2)]
    pairs = {tuple(sorted((genes[i], genes[j]))): value for i, j, value in similar_sketches(hashes)}
    return pairs | dict.fromkeys(same, 1.0), same  # the same, even if all of it is repeats


def read_promoters(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (gene, sequence) of those that have a base."""
    lines = (line for _, line in read_lines(path))
    for header, sequence in zip(lines, lines, strict=True):
        if sequence.strip("N"):
            yield header[1:].split(maxsplit=1)[0], sequence


def sketch(sequence: str) -> np.ndarray:
    """Return the hashes, uint64, of about one in SCALED of a sequence's 21-mers; those with an N are skipped."""
    from sourmash import MinHash  # two seconds, once

    made = MinHash(n=0, ksize=KMER_BP, scaled=SCALED)
    made.add_sequence(sequence, force=True)
    return np.fromiter(made.hashes, dtype=np.uint64)


def similar_sketches(sketches: list[np.ndarray]) -> Iterator[tuple[int, int, float]]:
    """Yield (i, j, containment) of sketches that share at least LISTED of the smaller one, i < j; one block of rows in memory at a time."""
    shared, size = shared_hashes(sketches)
    turned = shared.T.tocsr()
    for start in range(0, len(sketches), ROWS):
        common = coo_array(shared[start : start + ROWS] @ turned)
        i, j = common.row + start, common.col
        containment = common.data / np.minimum(size[i], size[j])
        kept = np.flatnonzero((i < j) & (containment >= LISTED))
        yield from zip(i[kept].tolist(), j[kept].tolist(), containment[kept].tolist(), strict=True)


def shared_hashes(sketches: list[np.ndarray]) -> tuple[csr_array, np.ndarray]:
    """Return (sketches, hashes) ones of the hashes of 2 to MOST_PROMOTERS sketches; and each sketch's size without repeats, LEAST_LEFT of it at least."""
    size = np.array([len(hashes) for hashes in sketches], dtype=np.int64)
    least = np.maximum(LEAST_LEFT * size, 1)
    owner = np.repeat(np.arange(len(sketches), dtype=np.int32), size)
    hashes = np.concatenate([*sketches, np.empty(0, np.uint64)])
    blocks, repeats = [coo_array((len(sketches), 0), dtype=np.float32)], 0
    parts = np.bitwise_and(hashes, SLICES - 1, dtype=np.uint8, casting="unsafe")
    for part in range(SLICES):  # sorting a part of them at a time takes less memory
        inside = np.flatnonzero(parts == part)
        values, column, count = np.unique(hashes[inside], return_inverse=True, return_counts=True)
        repeats += int((count > MOST_PROMOTERS).sum())
        size -= np.bincount(owner[inside][count[column] > MOST_PROMOTERS], minlength=len(size))
        kept = (count[column] > 1) & (count[column] <= MOST_PROMOTERS)
        ones = np.ones(kept.sum(), dtype=np.float32)
        blocks.append(coo_array((ones, (owner[inside][kept], column[kept])), shape=(len(sketches), len(values))))
    log.info(
        f"{len(sketches):,} promoters sketched; {repeats:,} {KMER_BP}-mers of more than {MOST_PROMOTERS} promoters are repeats and left out"
    )
    return hstack(blocks, format="csr"), np.maximum(size, least)


def read_paralogs(path: Path, genes: Iterable[str]) -> list[tuple[str, str]]:
    """Return the links of a user's table, (gene, paralog) or (gene, group); some of its genes must be known."""
    rows = list(read_table(path, ["gene"]))
    columns = {"group", "paralog"} & set(rows[0][1]) if rows else set()
    if len(columns) != 1:
        header = f"; the header has {', '.join(rows[0][1])}" if rows else ", and rows"
        raise InputError(f"{path.name}: columns gene and group, or gene and paralog, are needed{header}")
    (column,) = columns
    links = [(strip_version(row["gene"]), strip_version(row[column])) for _, row in rows if row["gene"] and row[column]]
    if column == "group":
        links = [(gene, f"group {group}") for gene, group in links]
    known = set(genes)
    found = {gene for link in links for gene in link} & known
    if not found:
        raise InputError(f"{path.name}: no gene fits: it has {few(gene for gene, _ in links)}, the gene table {few(sorted(known))}")
    log.info(f"{path.name}: {len(links):,} rows name {len(found):,} of {len(known):,} genes")
    return links


def group_links(genes: Iterable[str], links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return {gene: group} of the genes that links join with others, directly or through others; a group has its first gene's name."""
    links, known = list(links), sorted(set(genes))
    place = {name: i for i, name in enumerate(dict.fromkeys([*known, *(name for link in links for name in link)]))}
    ends = [[place[link[side]] for link in links] for side in (0, 1)]
    graph = coo_array((np.ones(len(links)), ends), shape=(len(place), len(place)))
    members: dict[int, list[str]] = {}
    for gene, component in zip(known, connected_components(graph, directed=False)[1].tolist(), strict=False):
        members.setdefault(component, []).append(gene)
    return {gene: group[0] for group in members.values() if len(group) > 1 for gene in group}
