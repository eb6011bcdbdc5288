"""Isoforms of genes: which are predicted, what share of its gene each has, and shares that fill their gene.

A share is the isoform's part of the expression of all transcripts of its gene, so a gene's total cannot help to predict it. What a gene has
beside its listed isoforms (`lists/isoform`) is one more class, the rest. Shares of a gene that a sample does not express are not known.
"""

import numpy as np
import torch

from exprcast.dataset import Dataset
from exprcast.landmarks import blocks

TARGET = "expression/transcript"
LISTED = "lists/isoform"
LEAST_PART = 0.02  # of its mean share, that an isoform keeps whatever is predicted
LEAST_WEIGHT = 1e-6  # of an isoform that training never saw


class Isoforms:
    """The listed isoforms of a dataset and their genes."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.gene_of = dataset.array("transcripts/gene")  # (transcripts,) number of a gene
        self.listed = np.flatnonzero(dataset.array(LISTED))
        ids = dataset.text("transcripts/id")
        self.ids = [ids[number] for number in self.listed]
        self.genes, self.group = np.unique(self.gene_of[self.listed], return_inverse=True)  # the genes; (isoforms,) which of these

    def values(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (samples, isoforms) expression and (samples, genes) that of their genes, float64 as measured; NaN = not measured."""
        expression = self.dataset.rows(TARGET, samples).astype(np.float64)
        totals = np.stack([np.bincount(self.gene_of, row, minlength=len(self.dataset.genes)) for row in expression])
        return expression[:, self.listed], totals[:, self.genes]

    def shares(self, samples: np.ndarray) -> np.ndarray:
        """Return (samples, isoforms) float32; NaN where the gene is not measured, or not expressed."""
        shares = np.full((len(samples), len(self.listed)), np.nan, dtype=np.float32)
        for start, part in zip(np.cumsum([0, *map(len, blocks(samples))]), blocks(samples), strict=False):
            own, total = self.values(part)
            total = np.where(total > 0, total, np.nan)
            shares[start : start + len(part)] = own / total[:, self.group]
        return shares


def fill_genes(shares: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Return (batch, isoforms) shares kept above 0 that with the rest add up to 1 in each gene: a softmax over the logarithms of what is predicted.

    `shares` (batch, isoforms) are any numbers, `mean` (isoforms,) and `rest` (genes,) the training means, `group` (isoforms,) the number
    of each isoform's gene. Where nothing has to be kept above its bound, shares stay as they are.
    """
    weight = torch.maximum(shares, LEAST_PART * mean + LEAST_WEIGHT)
    empty = shares.new_zeros(len(shares), len(rest))
    others = torch.maximum(1 - empty.index_add(1, group, shares), LEAST_PART * rest)
    return weight / (others + empty.index_add(1, group, weight))[:, group]
