"""What the families share that tell isoforms from splicing factors: genes in the place of factors, and samples whose factors can be changed.

Factors of another sample of the same biosample (permuted) and other genes of equal mean and spread (matched) are what a network of the same kind
reads as a control; a factor whose level is halved is knocked down.
"""

from copy import copy

import numpy as np
import torch

from exprcast.cell_state import matched_genes
from exprcast.dataset import Dataset
from exprcast.isoforms import Isoforms

FACTORS = "lists/splicing_factor"


def factors_and_matched(dataset: Dataset, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Return the numbers of the listed factors, and of the genes that in these samples are most like them."""
    factors = np.flatnonzero(dataset.array(FACTORS))
    return {"factor": factors, "matched": matched_genes(dataset, samples, factors, seed=len(samples))}


class SplicingExamples:
    """All samples: z-scores of splicing factors, and what a family reads beside them → isoforms."""

    explained = ["factors"]

    def __init__(self, dataset: Dataset, state: dict, extracted: dict[str, np.ndarray]) -> None:
        self.isoforms = Isoforms(dataset)
        self.rows, self.columns = dataset.samples, self.isoforms.ids
        self.names = {"factors": [dataset.genes[gene] for gene in state["factor_genes"]]}
        self.factors, self.matched = extracted["factors"], extracted["matched"]  # (samples, factors)
        self.factor_mean, self.factor_sd = (state[f"factor_{name}"].numpy() for name in ("mean", "sd"))
        self.biosample = dataset.text("samples/biosample") if dataset.has("samples/biosample") else [""] * len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def under(self, control: str, seed: int) -> "SplicingExamples":
        """Return the same samples with other factors: those of another sample of their biosample, or genes of equal mean and spread."""
        other = copy(self)
        if control == "matched":
            other.factors = self.matched
            return other
        order, rng, kinds = np.arange(len(self)), np.random.default_rng(seed), np.array(self.biosample)
        for kind in np.unique(kinds):
            own = np.flatnonzero(kinds == kind)
            order[own] = rng.permutation(own)
        other.factors = self.factors[order]
        return other

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the factors of the mean training sample, all else as it is."""
        factors, *others = self.inputs(index)
        return torch.zeros_like(factors), *others

    def knocked_down(self, sample: int) -> tuple[torch.Tensor, ...]:
        """Return a sample's inputs as they are (first), and with the level of each factor halved."""
        halved = (self.halved(self.factors[sample] * self.factor_sd + self.factor_mean) - self.factor_mean) / self.factor_sd
        factors = np.tile(self.factors[sample], (1 + len(halved), 1))
        factors[np.arange(1, len(factors)), np.arange(len(halved))] = halved
        return torch.from_numpy(factors), *self.inputs(np.array([sample] * len(factors)))[1:]
