"""Chromosomes and the genes' start sites on them; the gene table."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.simulation.sizes import Sizes
from exprcast.tables import write_table

GENE_GAP_BP, MARGIN_BP = (60_000, 100_000), 120_000  # between TSSs; beyond the outer ones: wider than a window
CELL_BP = 2_000  # room that a peak is given; chromosomes are whole cells


class Genome(NamedTuple):
    """Chromosomes laid end to end: a position below is a base counted from the start of chr1."""

    names: list[str]
    starts: np.ndarray  # (chromosomes + 1,) int64, the last is the genome's length

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (chromosome number, position on that chromosome)."""
        chrom = np.searchsorted(self.starts, positions, side="right") - 1
        return chrom, positions - self.starts[chrom]


class Genes(NamedTuple):
    """Genes in genome order."""

    ids: list[str]  # without version
    versions: np.ndarray  # (genes,) int64
    tss: np.ndarray  # (genes,) int64, genome-wide
    strand: np.ndarray  # (genes,) 1 or -1

    def symbol(self, gene: int) -> str:
        """Return a gene's name."""
        return f"SIM{gene + 1}"


def place_genes(sizes: Sizes, rng: np.random.Generator) -> tuple[Genome, Genes]:
    """Spread the genes evenly over chromosomes that are as long as they need."""
    starts, tss = [0], []
    for genes in np.array_split(np.arange(sizes.genes), sizes.chromosomes):
        gaps = rng.integers(*GENE_GAP_BP, len(genes) - 1, endpoint=True)
        tss.append(starts[-1] + MARGIN_BP + rng.integers(CELL_BP) + np.concatenate([[0], np.cumsum(gaps)]))
        starts.append(-(-int(tss[-1][-1] + MARGIN_BP) // CELL_BP) * CELL_BP)
    genome = Genome([f"chr{number}" for number in range(1, sizes.chromosomes + 1)], np.array(starts))
    ids = [f"ENSG{number:011d}" for number in range(1, sizes.genes + 1)]
    versions = rng.integers(1, 20, sizes.genes)
    return genome, Genes(ids, versions, np.concatenate(tss).astype(np.int64), rng.choice([1, -1], sizes.genes))


def write_genome(folder: Path, genome: Genome, genes: Genes) -> None:
    """Write chrom.sizes and genes.tsv."""
    lengths = zip(genome.names, np.diff(genome.starts), strict=True)
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{length}\n" for name, length in lengths))
    chrom, tss = genome.locate(genes.tss)
    ids = [f"{identifier}.{version}" for identifier, version in zip(genes.ids, genes.versions, strict=True)]
    symbols = [genes.symbol(gene) for gene in range(len(ids))]
    strand = np.where(genes.strand > 0, "+", "-")
    rows = zip(ids, symbols, np.array(genome.names)[chrom], strand, tss, strict=True)
    write_table(folder / "genes.tsv", ["id", "symbol", "chrom", "strand", "tss"], rows)
