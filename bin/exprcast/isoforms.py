"""Isoforms of genes: which are predicted, what share of its gene each has, and shares that fill their gene.

A share is the isoform's part of the expression of all transcripts of its gene, so a gene's total cannot help to predict it. What a gene has
beside its listed isoforms (`lists/isoform`) is one more class, the rest. Shares of a gene that a sample does not express are not known.
What the level of its gene alone tells of an isoform's level is a line; both are log2(unit + 1).
"""

from typing import NamedTuple

import numpy as np
import torch

from exprcast.dataset import Dataset
from exprcast.landmarks import blocks
from exprcast.means import nan_mean

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


class Line(NamedTuple):
    """An isoform's level on that of its gene, both (isoforms,) float64; slope 0 where the gene does not vary, NaN where nothing is known."""

    slope: np.ndarray
    offset: np.ndarray

    def level(self, of_gene: np.ndarray) -> np.ndarray:
        """Return (samples, isoforms) levels, 0 at least, of (samples, isoforms) those of their genes."""
        return np.maximum(self.slope * of_gene + self.offset, 0)


def fit_line(level: np.ndarray, of_gene: np.ndarray) -> Line:
    """Return the line of least squares of (samples, isoforms) levels on those of their genes, over samples in which both are known."""
    of_gene = np.where(np.isnan(level), np.nan, of_gene)
    level = np.where(np.isnan(of_gene), np.nan, level)
    mean, gene_mean = nan_mean(level, axis=0), nan_mean(of_gene, axis=0)
    spread = np.nansum((of_gene - gene_mean) ** 2, axis=0)
    slope = np.nansum((of_gene - gene_mean) * (level - mean), axis=0) / np.where(spread > 0, spread, np.inf)
    return Line(slope, mean - slope * gene_mean)


def fill_genes(shares: torch.Tensor, mean: torch.Tensor, rest: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Return (batch, isoforms) shares kept above 0 that with the rest add up to 1 in each gene: a softmax over the logarithms of what is predicted.

    `shares` (batch, isoforms) are any numbers, `mean` (isoforms,) and `rest` (genes,) the training means, `group` (isoforms,) the number
    of each isoform's gene. Where nothing has to be kept above its bound, shares stay as they are.
    """
    weight = torch.maximum(shares, LEAST_PART * mean + LEAST_WEIGHT)
    empty = shares.new_zeros(len(shares), len(rest))
    others = torch.maximum(1 - empty.index_add(1, group, shares), LEAST_PART * rest)
    return weight / (others + empty.index_add(1, group, weight))[:, group]
