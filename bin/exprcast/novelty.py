"""How far a sample's open chromatin is from that of training samples: 1 − the cosine of normalised signals over the whole genome.

Signals are put on the scale of all training samples (accessibility). The same distance is measured for each training sample to what its
own fold was trained on, so that a new sample's can be compared with it.
"""

from typing import NamedTuple

import numpy as np

from exprcast.accessibility import Scaled, cosine, genome_gram, quantile_reference
from exprcast.dataset import TEST, VALID, Dataset
from exprcast.joined import JoinedDataset


class Nearest(NamedTuple):
    """Each sample's most similar training sample."""

    sample: list[str]  # its id, "" = there is none
    distance: np.ndarray  # (samples,), NaN = there is none


def held_out_distances(dataset: Dataset) -> Nearest:
    """Return for each sample the nearest one among those that the first fold which tests it was trained (and validated) on."""
    if not dataset.has("accessibility/bin"):
        return Nearest([""] * len(dataset.samples), np.full(len(dataset.samples), np.nan))
    every = np.arange(len(dataset.samples))
    distance = distances(genome_gram(Scaled(dataset, quantile_reference(dataset, every)), every), every, every)
    tested, learnt = dataset.sample_role == TEST, dataset.sample_role <= VALID
    known = np.where(tested.any(axis=0)[:, None], learnt[tested.argmax(axis=0)], False)  # (samples, samples)
    return choose_nearest(np.where(known, distance, np.nan), dataset.samples)


def new_distances(joined: JoinedDataset) -> Nearest:
    """Return for each new sample the nearest one in training."""
    training = joined.training
    if not training.has("accessibility/bin"):
        return Nearest([""] * len(joined.rows), np.full(len(joined.rows), np.nan))
    every = np.arange(len(training.samples))
    gram = genome_gram(Scaled(joined, quantile_reference(training, every)), every)
    return choose_nearest(distances(gram, joined.asked, every), training.samples)


def distances(gram: np.ndarray, samples: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (samples, others) 1 − cosine, at least 0."""
    return np.maximum(1 - cosine(gram, samples[:, None], others), 0)


def choose_nearest(distance: np.ndarray, names: list[str]) -> Nearest:
    """Return the least distance of each row (samples, names), and whose it is; NaN = not to be compared."""
    none = np.isnan(distance).all(axis=1)
    place = np.where(np.isnan(distance), np.inf, distance).argmin(axis=1)
    least = np.where(none, np.nan, distance[np.arange(len(distance)), place])
    return Nearest(["" if lacking else names[one] for lacking, one in zip(none, place, strict=True)], least)


def lies_outside(distance: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Say of new samples (samples,) whether they are farther than any held-out training sample was from its own training part."""
    known = held_out[~np.isnan(held_out)]
    return np.where(np.isnan(distance), False, distance > known.max()) if len(known) else np.full(len(distance), False)
