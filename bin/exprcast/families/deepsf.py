"""Splicing factors and cell state → isoforms: what share of its gene each isoform has, all genes together.

After DeepSF, which reads splicing factors and an autoencoder's code of the transcriptome and predicts log2(TPM + 1) of transcripts with the level of
their own gene among the inputs. That level is the sum of what is to be predicted, so a network can score without any splicing factor.
Here shares within a gene are predicted, by a softmax, and the level enters after prediction.

Inputs are log2(unit + 1) of the listed splicing factors as z-scores by training samples, and the sample's state (principal components of the expressed
genes of training samples: a linear autoencoder, whose best weights are known without training). Beside a ridge regression of shares
a hidden layer predicts what that leaves over. The rule is the mean share of training samples of the same biosample. Controls are networks of the
same kind that read factors of other samples of the same biosample (permuted), or other genes of equal mean and spread (matched).
"""

from dataclasses import dataclass

import numpy as np
import torch

from exprcast.cell_state import learn_state, read_state
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.isoforms import LISTED, Isoforms, fill_genes
from exprcast.isoforms import TARGET as TARGET
from exprcast.landmark_network import Model as Network
from exprcast.landmark_network import NetworkSettings
from exprcast.landmark_network import initialise as initialise_network
from exprcast.landmarks import TARGET as LEVELS
from exprcast.landmarks import Reader, blocks, sample_groups
from exprcast.means import nan_mean
from exprcast.splicing import SplicingExamples, factors_and_matched

EXAMPLES = "samples"
INPUTS = (LEVELS, "transcripts/gene", "lists/splicing_factor", LISTED)
UNITS = ("tpm", "cpm", "rpkm")
CONTROLS = ("permuted", "matched")
METHODS = (
    "A network with hidden layers of {hidden} units ({activation}) reads the splicing factors of a sample as z-scores by training samples, and {context} principal "
    "components of all expressed genes, and predicts the share that each isoform has in its gene (a softmax within the gene). Its settings: beside_ridge "
    "{beside_ridge} (it predicts what ridge regression leaves over), components {components} (principal components of that), dropout {dropout_input} of inputs "
    "and {dropout} of units."
)


@dataclass
class Config(NetworkSettings):
    """Hyper-parameters."""

    quantile: str = "none"
    context: int = 64  # principal components of the expressed genes that are read beside the factors; 0 = none
    context_weight: float = 1.0  # variance of all of them together, as a multiple of that of all factors

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be."""
        super().__post_init__()
        if self.quantile != "none":
            raise InputError(
                f"quantile {self.quantile}: deepsf maps nothing by rank, because shares within a gene would not be shares any more"
            )
        if self.context < 0 or self.context_weight <= 0:
            raise InputError(f"context {self.context}, context_weight {self.context_weight}: 0 at least, and above 0, are needed")


PRESETS = {
    "default": {},
    "quick": {"epochs": 4, "hidden": [32]},
    "factors": {"context": 0},
}


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn from training samples: the scale of each factor, the directions of cell state, and the genes that stand in for factors in a control."""
    state = learn_state(dataset, rows.samples, config.context)
    for name, genes in factors_and_matched(dataset, rows.samples).items():
        mean, sd, _ = Reader(dataset, genes, "none").learn_scale(rows.samples)
        state |= {f"{name}_genes": torch.from_numpy(genes), f"{name}_mean": torch.from_numpy(mean), f"{name}_sd": torch.from_numpy(sd)}
    return state | {"components": torch.tensor(min(config.components, max(len(rows.samples) - 1, 1)))}


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill z-scores of the factors and of the genes in their place, 0 where not measured; codes of cell state; shares."""
    every, isoforms = np.arange(len(dataset.samples)), Isoforms(dataset)
    readers = {
        f"{name}s" if name == "factor" else name: (Reader(dataset, state[f"{name}_genes"].numpy(), "none"), name)
        for name in ("factor", "matched")
    }
    levels = {kind: allocate(kind, (len(every), len(reader.genes)), "f4") for kind, (reader, _) in readers.items()}
    codes = allocate("state", (len(every), state["state_weights"].shape[1]), "f4")
    shares = allocate("shares", (len(every), len(isoforms.ids)), "f4")
    weight = np.sqrt(config.context_weight * len(state["factor_genes"]))
    for part in blocks(every):
        for kind, (reader, name) in readers.items():
            levels[kind][part] = np.nan_to_num((reader.read(part) - state[f"{name}_mean"].numpy()) / state[f"{name}_sd"].numpy())
        codes[part] = weight * read_state(dataset, part, state)
        shares[part] = isoforms.shares(part) if dataset.judged else np.nan


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> "IsoformExamples":
    """Return all samples of a dataset."""
    return IsoformExamples(dataset, state, extracted)


class IsoformExamples(SplicingExamples):
    """All samples: z-scores of splicing factors and codes of cell state → shares of isoforms."""

    input_names, unit, neighbours = ["factors", "state"], "fraction", 10

    def __init__(self, dataset: Dataset, state: dict, extracted: dict[str, np.ndarray]) -> None:
        super().__init__(dataset, state, extracted)
        self.state, self.values = extracted["state"], extracted["shares"]
        self.sizes = {
            "landmarks": self.factors.shape[1] + self.state.shape[1],
            "targets": len(self.columns),
            "components": int(state["components"]),
            "genes": len(self.isoforms.genes),
        }
        self.groups = sample_groups(dataset)

    @property
    def landmarks(self) -> np.ndarray:
        """Return (samples, inputs) what ridge regression reads."""
        return np.hstack([self.factors, self.state])

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, factors) z-scores, 0 (the training mean) where not measured, and (index, components) codes."""
        return torch.from_numpy(self.factors[index]), torch.from_numpy(self.state[index])

    def halved(self, levels: np.ndarray) -> np.ndarray:
        """Return log2(unit + 1) of half of what has these."""
        return np.log2(np.maximum(np.exp2(levels) - 1, 0) / 2 + 1)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, isoforms) shares; NaN where the gene is not expressed."""
        return torch.from_numpy(self.values[index])

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, factors + components)."""
        return np.hstack([self.factors[index], self.state[index]])


class Model(Network):
    """Dense layers beside a ridge regression, whose shares are made to fill each gene; `initialise` sets the buffers."""

    def __init__(self, config: Config, sizes: dict[str, int]) -> None:
        super().__init__(config, sizes)
        self.register_buffer("rest", torch.zeros(sizes["genes"]))  # mean share of a gene that has no listed isoform
        self.register_buffer("group", torch.zeros(sizes["targets"], dtype=torch.int64))

    def forward(self, factors: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return (batch, isoforms) shares of (batch, factors) and (batch, components)."""
        return fill_genes(super().forward(torch.cat([factors, state], dim=1)), self.mean, self.rest, self.group)

    def only(self, targets: np.ndarray) -> "Unbounded":
        """Return a copy that computes these isoforms alone, before their shares are kept within bounds: what attributions explain."""
        return Unbounded(super().only(targets))


class Unbounded(torch.nn.Module):
    """Shares as the dense layers say them, which is what is predicted wherever no share of the gene is at its bound."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, factors: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Return (batch, isoforms)."""
        return Network.forward(self.model, torch.cat([factors, state], dim=1))


def initialise(model: Model, examples: IsoformExamples, train: np.ndarray) -> None:
    """Set mean shares, ridge regression, and principal components of what it leaves over."""
    initialise_network(model, examples, train)
    group = torch.from_numpy(examples.isoforms.group)
    model.group.copy_(group)
    model.rest.copy_((1 - torch.zeros_like(model.rest).index_add(0, group, model.mean)).clamp(min=0))


def fit_rule(examples: IsoformExamples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean shares of training samples, of all and of each biosample; NaN where a biosample never expressed the gene."""
    kinds = np.array(examples.biosample)
    known = np.unique(kinds[train])
    means = [nan_mean(examples.values[train[kinds[train] == kind]], axis=0) for kind in known]
    return {"mean": nan_mean(examples.values[train], axis=0), "means": np.stack(means), "biosample": np.char.encode(known, "utf-8")}


def rule(examples: IsoformExamples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, isoforms): the mean share in a sample's biosample; in one that training never saw, the mean of all."""
    place = {name.decode(): number for number, name in enumerate(fitted["biosample"])}
    found = np.array([place.get(examples.biosample[sample], -1) for sample in index])
    means = np.where(np.isnan(fitted["means"]), fitted["mean"], fitted["means"])
    return np.nan_to_num(np.where((found >= 0)[:, None], means[found], fitted["mean"]))
