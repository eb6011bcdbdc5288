"""Landmark genes: a quarter of all, drawn at random; every other gene is a target."""

from pathlib import Path

import numpy as np

from exprcast.simulation.genome import Genes
from exprcast.tables import write_table

LANDMARK_SHARE = 0.25


def choose_landmarks(genes: int, rng: np.random.Generator) -> np.ndarray:
    """Return (genes,) True for a landmark; at least one is."""
    return np.isin(np.arange(genes), rng.permutation(genes)[: max(1, round(LANDMARK_SHARE * genes))])


def write_landmarks(folder: Path, genes: Genes, landmark: np.ndarray) -> None:
    """Write the two lists that a user would bring, each by gene."""
    for name, listed in (("landmarks", landmark), ("targets", ~landmark)):
        write_table(
            folder / f"{name}.tsv", ["gene_id", "symbol"], ((genes.ids[gene], genes.symbol(gene)) for gene in np.flatnonzero(listed))
        )
