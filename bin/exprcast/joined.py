"""Training samples with new ones behind them, read as if they were one dataset: what a family learnt is applied to the new ones."""

import numpy as np

from exprcast.dataset import ENTRIES, LEARNT, TRAIN, Dataset
from exprcast.family import example_roles

INDPTR = "accessibility/indptr"


class JoinedDataset:
    """Some rows of a new dataset behind all samples of the one that was trained on; genes, start sites, chromosomes and folds are training's.

    Both have the same genes, which may stand in another order in the new one; what was not measured there is NaN.
    """

    def __init__(self, training: Dataset, new: Dataset, rows: np.ndarray) -> None:
        self.training, self.new, self.rows = training, new, rows
        self.samples, self.genes = training.samples + [new.samples[row] for row in rows], training.genes
        self.chrom_sizes, self.bin_bp = training.chrom_sizes, training.bin_bp

    @property
    def asked(self) -> np.ndarray:
        """Return the places of the new samples: only their examples are going to be read."""
        return len(self.training.samples) + np.arange(len(self.rows))

    @property
    def judged(self) -> bool:
        """Say whether targets are going to be read."""
        return True

    def has(self, path: str) -> bool:
        """Say whether training's dataset has an entry."""
        return self.training.has(path)

    def unit(self, path: str) -> str:
        """Return the unit of an entry in training's dataset."""
        return self.training.unit(path)

    def text(self, path: str) -> list[str]:
        """Return a text entry as a list of str."""
        own = self.training.text(path)
        if ENTRIES[path].axes[0] != "samples":
            return own
        more = self.new.text(path)
        return own + [more[row] for row in self.rows]

    def array(self, path: str) -> np.ndarray:
        """Return a numeric entry whole."""
        own = self.training.array(path)
        if path == INDPTR:
            return np.append(own, own[-1] + np.cumsum(np.diff(self.new.array(INDPTR))[self.rows]))
        if ENTRIES[path].axes[0] != "samples":
            return own
        return np.concatenate([own, self.measured(path).astype(own.dtype)])

    def measured(self, path: str) -> np.ndarray:
        """Return (new samples, genes) values in training's order of genes, NaN where the new dataset has none."""
        if not self.new.has(path):
            return np.full((len(self.rows), len(self.genes)), np.nan)
        column = {gene: i for i, gene in enumerate(self.new.genes)}
        return np.stack([self.new.row(path, row) for row in self.rows])[:, [column[gene] for gene in self.genes]]

    def rows(self, path: str, numbers: np.ndarray) -> np.ndarray:
        """Return some rows of a numeric entry of samples."""
        return self.array(path)[numbers]

    def open_bins(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one sample's open bins and their signal as measured."""
        known = len(self.training.samples)
        return self.training.open_bins(sample) if sample < known else self.new.open_bins(int(self.rows[sample - known]))

    def learnt(self, family: object, fold: int, refit: bool) -> np.ndarray:
        """Return the numbers of the examples that a fold's fit learnt from; new ones come behind them, so that these are as in training."""
        return np.flatnonzero(np.isin(example_roles(family, self.training, fold), LEARNT if refit else (TRAIN,)))
