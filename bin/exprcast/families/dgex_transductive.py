"""Landmark genes → all other genes, both as z-scores within the sample's own series: how D-GEX (Chen et al. 2016) was scored.

A series' own means and standard deviations take away what differs between platforms and laboratories, with the help of all its samples: so a
single new sample cannot be predicted, and a prediction says how a gene differs from the series' mean, not how high it is. Training samples are
put on the same scale, each series by itself. A series that training has samples of has their means and standard deviations, so that nothing is
learned from what is held out. In training samples half of what differs between series is left, because a part of it is biology: the mean of
the z-scores within the series and among all training samples (ridge on the panel: .726, within series .730). The network is that of dgex.
"""

from dataclasses import dataclass

import numpy as np
import torch

from exprcast.cli import InputError, log
from exprcast.dataset import UNITS as UNITS
from exprcast.dataset import Dataset
from exprcast.family import Allocate
from exprcast.folds import Rows
from exprcast.landmark_network import Model as Model
from exprcast.landmark_network import NetworkSettings
from exprcast.landmark_network import initialise as initialise
from exprcast.landmarks import INPUTS as INPUTS
from exprcast.landmarks import (
    LEAST_SERIES,
    LandmarkExamples,
    Reader,
    blocks,
    listed,
    mean_of_nearest,
    nearest_landmarks,
    series_of,
)
from exprcast.landmarks import TARGET as TARGET

EXAMPLES = "samples"
REFERENCES = True  # of a series that training has samples of
METHODS = (
    "A network with hidden layers of {hidden} units ({activation}) reads the landmark genes of a sample as z-scores within its series and predicts all "
    "target genes at once, as z-scores within the series, too. Its settings: beside_ridge {beside_ridge} (it predicts what ridge regression leaves over), "
    "components {components} (principal components of that; 0: each target by itself), dropout {dropout_input} of landmarks and {dropout} of units."
)


@dataclass
class Config(NetworkSettings):
    """Hyper-parameters; nothing is mapped by rank."""

    quantile: str = "none"
    between: float = 0.5  # share of training samples' z-scores that is among all of them; the rest is within the series

    def __post_init__(self) -> None:
        """Raise InputError for what cannot be."""
        super().__post_init__()
        if not 0 <= self.between <= 1:
            raise InputError(f"between {self.between}: from 0 to 1")
        if self.quantile != "none":
            raise InputError(f"quantile {self.quantile}: dgex_transductive maps nothing by rank, each series has its own scale; dgex does")


PRESETS = {"default": {}, "quick": {"epochs": 4, "hidden": [32]}, "elastic_net": {"elastic_net": True}}


def prepare(dataset: Dataset, rows: Rows, config: Config) -> dict:
    """Learn nothing of values but keep which samples are in training; say which are of too small a series."""
    number = series_of(dataset)[rows.samples]
    alone = int((np.bincount(number)[number] < LEAST_SERIES).sum())
    if alone == len(number):
        raise InputError(
            f"dgex_transductive: no series (samples of one batch) has {LEAST_SERIES} of the {alone:,} training samples, which z-scores within it need; "
            "give larger batches, or none: then all samples are one series"
        )
    if alone:
        log.warning(
            f"warning: {alone:,} training samples are of series with fewer than {LEAST_SERIES} of them: without z-scores they teach nothing"
        )
    return {
        "learnt": torch.from_numpy(rows.samples),
        "components": torch.tensor(min(config.components, max(len(rows.samples) - 1, 1))),
    }


def extract(dataset: Dataset, config: Config, state: dict, allocate: Allocate) -> None:
    """Fill z-scores of landmarks, 0 where not known, and of targets, series by series; a gene with fewer than three values has none."""
    number, learnt = series_of(dataset), state["learnt"].numpy()
    for name, genes in zip(("landmarks", "targets"), listed(dataset), strict=True):
        reader, filled = Reader(dataset, genes, config.quantile), allocate(name, (len(number), len(genes)), "f4")
        centre, spread, _ = reader.learn_scale(learnt)
        for series in range(number.max() + 1):
            members = np.flatnonzero(number == series)
            known = np.intersect1d(members, learnt)
            mean, sd, count = reader.learn_scale(known if len(known) else members)
            mean[count < LEAST_SERIES] = np.nan
            for part in blocks(members):
                values = reader.read(part)
                z, among_all = (values - mean) / sd, (values - centre) / spread
                z = np.where(np.isin(part, learnt)[:, None], (1 - config.between) * z + config.between * among_all, z)
                filled[part] = np.nan_to_num(z) if name == "landmarks" else z


def examples(dataset: Dataset, config: Config, state: dict, extracted: dict[str, np.ndarray]) -> LandmarkExamples:
    """Return all samples of a dataset."""
    return LandmarkExamples(dataset, extracted, "zscore", np.ones(len(listed(dataset)[1])), int(state["components"]), config.elastic_net)


def fit_rule(examples: LandmarkExamples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Find each target's landmarks."""
    return nearest_landmarks(examples, train)


def rule(examples: LandmarkExamples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, targets) what they tell."""
    return mean_of_nearest(examples, fitted, index)
