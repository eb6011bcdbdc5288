"""What an earlier --apply predicted, as the landmarks of another bundle: values in the unit that was measured, and how uncertain each one is.

The uncertainty goes through the networks by draws: landmarks are moved by what their intervals allow, each by itself, and what the predictions
of targets vary by is added to their own interval (in squares).
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple
from zlib import crc32

import h5py
import numpy as np

from exprcast.applied import Applied, Block
from exprcast.cli import InputError, log
from exprcast.dataset import open_hdf5
from exprcast.matrix_file import SampleMatrix

DRAWS = 24  # of the landmarks of each sample
LOG2_OF_ONE_MORE = re.compile(r"log2\((\w+) \+ 1\)")


class Chained(NamedTuple):
    """Predicted samples × genes, as their values and as how far these may be off."""

    values: SampleMatrix  # in `unit`
    sd: SampleMatrix  # standard deviations of log2(value + 1); 0 where there is no interval
    unit: str
    widths: float  # half-widths of intervals of this confidence are so many standard deviations


def is_predicted(path: Path) -> bool:
    """Say whether a file holds predictions."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with open_hdf5(path, "predictions") as file:
        return file.attrs.get("format") == "exprcast-predictions"


def open_chained(path: Path) -> Chained:
    """Return what was predicted, in the unit whose logarithm the predictions are."""
    applied = Applied(path)
    unit = LOG2_OF_ONE_MORE.fullmatch(applied.unit)
    if not unit:
        raise InputError(f"{path.name} holds {applied.unit}; landmarks can be predictions of log2(unit + 1)")
    widths = NormalDist().inv_cdf((1 + applied.confidence) / 2)
    if any(np.isnan(block.low).any() for block in applied.blocks()):
        log.warning(f"warning: {path.name}: some predictions have no interval: they count as certain")

    def of(value_of: Callable[[Block], np.ndarray]) -> SampleMatrix:
        def read() -> Iterator[np.ndarray]:
            yield from (value_of(block).astype(np.float32) for block in applied.blocks())

        return SampleMatrix(path.name, applied.samples, applied.genes, {}, {}, read)

    values = of(lambda block: np.maximum(np.exp2(block.predicted) - 1, 0))
    sd = of(lambda block: np.nan_to_num((block.high - block.low) / 2 / widths))
    return Chained(values, sd, unit[1], widths)


def drawn(values: np.ndarray, sd: np.ndarray, samples: list[str]) -> Iterator[np.ndarray]:
    """Yield draws of (samples, landmarks) values; a sample's depend on its id, and not on who stands beside it."""
    noise = np.stack([np.random.default_rng(crc32(name.encode())).normal(size=(DRAWS, values.shape[1])) for name in samples], axis=1)
    for one in noise:
        yield np.maximum(np.exp2(np.log2(values + 1) + one * sd) - 1, 0).astype(np.float32)


def variance(predictions: Iterator[np.ndarray]) -> np.ndarray:
    """Return (samples, targets) the variance over draws."""
    count, mean, squares = 0, 0.0, 0.0
    for one in predictions:
        count += 1
        change = one - mean
        mean = mean + change / count
        squares = squares + change * (one - mean)
    return squares / (count - 1)
