"""Splicing factors and the level of each isoform's own gene → log2(unit + 1) of isoforms: the published DeepSF networks.

The presets are the networks: `default` and `two_hidden` (layers of 183 and 82 units), `linear`, and `ensemble`, which reads an autoencoder's code of
all genes, too. Layers, batch norm, optimizers, rates and batches are theirs; levels of factors and genes are z-scores by training samples, no
logarithms. The level of the own gene is the sum of what is to be predicted, so a network scores without any splicing factor: what is left
beside a line on that level (the rule) and beside the controls is what counts. `deepsf` predicts shares instead.

Departures: scales and autoencoder are learned from training samples only; samples are held out by groups; rectifiers and sigmoids are modules; the
encoder keeps its sigmoids, reads what its scale made, and is in evaluation mode, as networks are wherever they predict; a small last batch is
learned from, and one of a single sample joins the one before. Validation ends training (the authors took 3,000 epochs for two hidden layers, 10
for the ensemble, 40,000 for the autoencoder, and kept the last). The code is of all genes, theirs of those that code for proteins.
W starts at 0, b and w_g as the line on the own gene's z-score: theirs is drawn with variance 1, which a rate of 1e-4 takes ten thousands of steps to
undo, and few samples make few steps; and no isoform starts where the rectifier is off for every sample.
"""

from dataclasses import dataclass

import numpy as np
import torch

from exprcast.autoencoder import learn_code, read_code
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.isoforms import LISTED, Isoforms, Line, fit_line
from exprcast.isoforms import TARGET as TARGET
from exprcast.means import nan_mean
from exprcast.published_isoforms import CODE, NETWORKS
from exprcast.published_isoforms import Model as Model
from exprcast.splicing import SplicingExamples, factors_and_matched
from exprcast.tables import RAW_UNITS
from exprcast.training import Settings

EXAMPLES = "samples"
LEVELS = "expression/gene"
INPUTS = (LEVELS, "transcripts/gene", "lists/splicing_factor", LISTED)
UNITS = ("tpm", "cpm", "rpkm")
CONTROLS = ("permuted", "matched")
METHODS = (
    "The published DeepSF network ({network}) reads the splicing factors of a sample and the level of each isoform's own gene as z-scores by training samples "
    "(ensemble: and the code of all genes that an autoencoder learned from training samples in {autoencoder_epochs} epochs), and predicts the level of each "
    "isoform as a logarithm. The level of the gene is the sum of what is predicted: what a score means shows only beside the rule, a line on that level. "
    "The authors trained the network with two hidden layers for 3,000 epochs; here validation may end training before."
)
SAMPLES_AT_ONCE = 256


@dataclass
class Config(Settings):
    """Hyper-parameters: those published, but that validation ends training."""

    network: str = "two_hidden"  # or linear, ensemble
    autoencoder_epochs: int = 200  # of the ensemble's; published: 40,000
    epochs: int = 3_000
    patience: int = 100
    batch_size: int = 128
    schedule: str = "constant"
    learning_rate: float = 1e-4
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be."""
        super().__post_init__()
        if self.network not in NETWORKS:
            raise InputError(f"network '{self.network[:60]}': there are {', '.join(NETWORKS)}")
        if self.autoencoder_epochs < 1:
            raise InputError(f"autoencoder_epochs {self.autoencoder_epochs}: 1 at least is needed")
        if self.batch_size == 1:
            raise InputError("batch_size 1: 2 at least are needed, because layers normalise by their batch; 0 takes all samples")


PRESETS = {
    "default": {},
    "two_hidden": {"network": "two_hidden"},
    "linear": {"network": "linear"},
    "ensemble": {"network": "ensemble"},
}


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn from training samples: scales of factors, of genes in their place and of the isoforms' genes; for the ensemble an autoencoder."""
    if dataset.unit(LEVELS) not in RAW_UNITS:
        raise InputError(
            f"deepsf_paper reads levels of genes in {', '.join(RAW_UNITS)}; {dataset.path.name} has them in {dataset.unit(LEVELS)}"
        )
    isoforms, state = Isoforms(dataset), {}
    for name, genes in factors_and_matched(dataset, rows.samples).items():
        measured = np.concatenate([dataset.rows(LEVELS, part)[:, genes] for part in parts(rows.samples)])
        state |= {f"{name}_genes": torch.from_numpy(genes), **learn_scale(name, measured)}
    state |= learn_scale("gene", np.concatenate([isoforms.values(part)[1] for part in parts(rows.samples)]))
    return state | (learn_code(dataset, rows.samples, config.autoencoder_epochs) if config.network == "ensemble" else {})


def parts(samples: np.ndarray) -> list[np.ndarray]:
    """Cut sample numbers into blocks of 256, because all their transcripts are read."""
    return np.split(samples, range(SAMPLES_AT_ONCE, len(samples), SAMPLES_AT_ONCE))


def learn_scale(name: str, values: np.ndarray) -> dict[str, torch.Tensor]:
    """Return mean and standard deviation of (samples, genes) values; 0 and 1 where nothing is known, 1 where a gene does not vary."""
    mean = np.nan_to_num(nan_mean(values, axis=0))
    sd = np.sqrt(np.nan_to_num(nan_mean((values - mean) ** 2, axis=0)))
    return {f"{name}_mean": torch.from_numpy(mean), f"{name}_sd": torch.from_numpy(np.where(sd > 0, sd, 1.0))}


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill z-scores of factors and of genes in their place, 0 where not measured; levels of the isoforms' genes, codes, and levels of isoforms."""
    every, isoforms = np.arange(len(dataset.samples)), Isoforms(dataset)
    names = {"factor": "factors", "matched": "matched"}
    scores = {name: allocate(key, (len(every), len(state[f"{name}_genes"])), "f4") for name, key in names.items()}
    genes, levels = (allocate(name, (len(every), len(ids)), "f4") for name, ids in (("genes", isoforms.genes), ("levels", isoforms.ids)))
    codes = allocate("codes", (len(every), CODE if config.network == "ensemble" else 0), "f4")
    for part in parts(every):
        measured = dataset.rows(LEVELS, part)
        for name, filled in scores.items():
            values = measured[:, state[f"{name}_genes"].numpy()]
            filled[part] = np.nan_to_num((values - state[f"{name}_mean"].numpy()) / state[f"{name}_sd"].numpy())
        own, genes[part] = isoforms.values(part)
        levels[part] = np.log2(own + 1) if dataset.judged else np.nan
        if codes.shape[1]:
            codes[part] = read_code(dataset, part, state)


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> "LevelExamples":
    """Return all samples of a dataset."""
    return LevelExamples(dataset, state, extracted)


class LevelExamples(SplicingExamples):
    """All samples: z-scores of splicing factors and of isoforms' genes, and codes of all genes → levels of isoforms."""

    input_names, neighbours = ["factors", "genes", "codes"], 10

    def __init__(self, dataset: Dataset, state: dict, extracted: dict[str, np.ndarray]) -> None:
        super().__init__(dataset, state, extracted)
        self.unit = f"log2({dataset.unit(TARGET)} + 1)"
        self.genes, self.codes, self.values = (extracted[name] for name in ("genes", "codes", "levels"))
        self.gene_mean, self.gene_sd = (state[f"gene_{name}"].numpy() for name in ("mean", "sd"))
        self.sizes = {"factors": self.factors.shape[1], "code": self.codes.shape[1], "isoforms": len(self.columns)}

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, factors) and (index, genes) z-scores, 0 (the training mean) where not measured, and (index, 512 or 0) codes."""
        genes = np.nan_to_num(self.gene_scores(index)).astype(np.float32)
        return torch.from_numpy(self.factors[index]), torch.from_numpy(genes), torch.from_numpy(self.codes[index])

    def gene_scores(self, index: np.ndarray) -> np.ndarray:
        """Return (index, genes) z-scores of the isoforms' genes; NaN where not measured."""
        return (self.genes[index] - self.gene_mean) / self.gene_sd

    def of_gene(self, index: np.ndarray) -> np.ndarray:
        """Return (index, isoforms) log2(unit + 1) of the gene of each; NaN where not measured."""
        return np.log2(self.genes[index].astype(np.float64) + 1)[:, self.isoforms.group]

    def halved(self, levels: np.ndarray) -> np.ndarray:
        """Return half of these levels."""
        return levels / 2

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, isoforms) log2(unit + 1); NaN where not measured."""
        return torch.from_numpy(self.values[index])

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, factors + genes + codes)."""
        return np.hstack(self.inputs(index))


def initialise(model: Model, examples: LevelExamples, train: np.ndarray) -> None:
    """Set which gene each isoform is of; b and w_g start as the line on its z-score, W at 0."""
    line = fit_line(examples.values[train], examples.gene_scores(train)[:, examples.isoforms.group])
    with torch.no_grad():
        model.gene.copy_(torch.from_numpy(examples.isoforms.group))
        model.out.bias.copy_(torch.from_numpy(np.nan_to_num(line.offset)))
        model.of_gene.copy_(torch.from_numpy(np.nan_to_num(line.slope)))
        model.out.weight.zero_()


def fit_rule(examples: LevelExamples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Return each isoform's line on its gene's level, and its mean."""
    return fit_line(examples.values[train], examples.of_gene(train))._asdict() | {"mean": nan_mean(examples.values[train], axis=0)}


def rule(examples: LevelExamples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, isoforms): what the gene's level tells; the mean where that is not known."""
    told = Line(fitted["slope"], fitted["offset"]).level(examples.of_gene(index))
    return np.nan_to_num(np.where(np.isnan(told), fitted["mean"], told))
