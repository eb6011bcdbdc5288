"""Profiles of landmark genes, read as a dataset whose targets are not known: what a family learnt is applied to them without its training samples."""

import numpy as np

from exprcast.dataset import ENTRIES, Dataset

EXPRESSION, SAMPLE_UNIT = "expression/gene", "samples/unit"


class Profiles:
    """Some samples whose landmarks were measured; genes, their lists and the unit of the main matrix are those that were trained on."""

    def __init__(self, training: Dataset, samples: list[str], values: np.ndarray, measured: np.ndarray, unit: str) -> None:
        """Take (samples, measured) values in `unit`; `measured` are numbers of the training dataset's genes."""
        self.training, self.path, self.samples, self.genes = training, training.path, samples, training.genes
        self.values = np.full((len(samples), len(self.genes)), np.nan, dtype=np.float32)
        self.values[:, measured] = values
        self.texts = {"samples/id": samples, SAMPLE_UNIT: [unit] * len(samples)}

    @property
    def asked(self) -> np.ndarray:
        """Return the samples whose examples are going to be read: all of them."""
        return np.arange(len(self.samples))

    @property
    def judged(self) -> bool:
        """Say whether targets are going to be read: there are none."""
        return False

    def has(self, path: str) -> bool:
        """Say whether an entry is known of these samples, or of genes."""
        return path == EXPRESSION or path in self.texts or ("samples" not in ENTRIES[path].axes and self.training.has(path))

    def text(self, path: str) -> list[str]:
        """Return a text entry."""
        return self.texts[path] if path in self.texts else self.training.text(path)

    def array(self, path: str) -> np.ndarray:
        """Return a numeric entry whole."""
        return self.values if path == EXPRESSION else self.training.array(path)

    def row(self, path: str, number: int) -> np.ndarray:
        """Return one row of a numeric entry."""
        return self.array(path)[number]

    def rows(self, path: str, numbers: np.ndarray) -> np.ndarray:
        """Return some rows of a numeric entry."""
        return self.array(path)[numbers]

    def unit(self, path: str) -> str:
        """Return the unit of an entry in the training dataset."""
        return self.training.unit(path)
