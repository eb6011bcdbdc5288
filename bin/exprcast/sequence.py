"""Bases as codes A C G T N = 0…4: one-hot, words counted, and a first convolution that reads words instead of bases.

N is no base: its one-hot column is zero, and no word that holds one is counted.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BASES, N = "ACGT", 4
ONE_HOT = np.eye(5, 4, dtype=np.float32)  # N: no base
LONGEST_WORD = 6  # 5⁶ words: a table of them fits into a core's cache


def one_hot(codes: torch.Tensor) -> torch.Tensor:
    """Return (…, bases, 4) float32 of (…, bases) codes."""
    return functional.embedding(codes.int(), torch.from_numpy(ONE_HOT).to(codes.device))


def reverse_complement(codes: torch.Tensor) -> torch.Tensor:
    """Return the other strand of (…, bases) codes, or of (…, bases, 4) numbers a base."""
    return codes.flip(-1, -2) if codes.is_floating_point() else torch.where(codes < N, 3 - codes, codes).flip(-1)


def words(codes: np.ndarray, length: int) -> np.ndarray:
    """Return (…, bases − length + 1) numbers of the words in (…, bases) codes, first base first; 4 ** length where a word holds N."""
    count = codes.shape[-1] - length + 1
    number, unknown = np.zeros((*codes.shape[:-1], count), np.int32), np.zeros((*codes.shape[:-1], count), bool)
    for place in range(length):
        part = codes[..., place : place + count]
        number = number * len(BASES) + part
        unknown |= part == N
    return np.where(unknown, len(BASES) ** length, number)


def count_words(codes: np.ndarray, length: int) -> np.ndarray:
    """Return (sequences, 4 ** length) float32: how often each word stands in (sequences, bases) codes."""
    kinds = len(BASES) ** length + 1
    numbers = words(codes, length) + kinds * np.arange(len(codes))[:, None]
    return np.bincount(numbers.ravel(), minlength=kinds * len(codes)).reshape(len(codes), kinds)[:, :-1].astype(np.float32)


class WordShares(NamedTuple):
    """What words add to predictions, the strongest evidence first."""

    word: list[str]
    share: np.ndarray  # mean sum of a word's shares, over all its places
    count: np.ndarray  # places
    evidence: np.ndarray  # share in standard deviations of the mean of so many places drawn from all


def word_shares(codes: np.ndarray, shares: np.ndarray, length: int = 8, most: int = 20, least: int = 10) -> WordShares:
    """Return the words of `length` bases that raise and that lower predictions most; (sequences, bases) codes and shares of bases.

    A word counts where it stands `least` times at least.
    """
    numbers = words(codes, length)
    sums = np.lib.stride_tricks.sliding_window_view(shares, length, axis=1).sum(axis=2, dtype=np.float64)
    known = numbers < len(BASES) ** length
    count = np.bincount(numbers[known], minlength=len(BASES) ** length)
    total = np.bincount(numbers[known], weights=sums[known], minlength=len(BASES) ** length)
    spread, often = sums[known].std() or 1.0, np.flatnonzero(count >= least)
    mean = total[often] / count[often]
    evidence = (mean - sums[known].mean()) * np.sqrt(count[often]) / spread if len(often) else mean
    order = np.argsort(-evidence, kind="stable")
    chosen = np.unique(np.concatenate([order[:most], order[-most:]]), return_index=True)[0]
    chosen = chosen[np.argsort(-evidence[chosen], kind="stable")]
    spelled = ["".join(BASES[often[place] // 4**power % 4] for power in range(length - 1, -1, -1)) for place in chosen]
    return WordShares(spelled, mean[chosen], count[often][chosen], evidence[chosen])


class WordConvolution(nn.Conv1d):
    """Convolution of one-hot bases ('same' padding), rectified, largest of each pool: (batch, bases) codes → (batch, filters, pools) float32.

    Training spends most of its time here on a CPU. A filter as wide as a word gives each word one number, so the strongest place in a pool
    is the word that ranks highest: ranks are looked up instead of multiplied, and only these words move the filter. On a GPU, for wider
    filters, and for inputs that are no codes (attributions), it is the plain convolution; both are equal to rounding.
    """

    def __init__(self, filters: int, width: int, pool: int) -> None:
        super().__init__(len(BASES), filters, width)
        self.pool, self.left = pool, (width - 1) // 2  # bases before the first one that a filter sees
        self.rectifier, self.strongest = nn.ReLU(), nn.MaxPool1d(pool)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        """Read (batch, bases) codes, or (batch, bases, 4) numbers."""
        if sequence.is_floating_point() or sequence.device.type != "cpu" or self.kernel_size[0] > LONGEST_WORD:
            numbers = sequence if sequence.is_floating_point() else one_hot(sequence)
            padded = functional.pad(numbers.transpose(1, 2), (self.left, self.kernel_size[0] - 1 - self.left))
            return self.strongest(self.rectifier(super().forward(padded)))
        values, best = self.strongest_words(sequence)
        return self.rectifier(values.gather(0, best.flatten(0, 1)).unflatten(0, best.shape[:2]).transpose(1, 2))

    def strongest_words(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each occurring word's (words, filters) output, and (batch, pools, filters) which word is the strongest in a pool."""
        width, pools = self.kernel_size[0], codes.shape[1] // self.pool
        padded = functional.pad(codes, (self.left, width - 1 - self.left), value=N).numpy().astype(np.int32)
        number = np.zeros((len(padded), pools * self.pool), np.int32)
        for place in range(width):
            number = number * 5 + padded[:, place : place + number.shape[1]]
        occurring = np.bincount(number.ravel(), minlength=5**width) > 0
        place = np.cumsum(occurring, dtype=np.int32) - 1  # of each word among those that occur
        letters = np.flatnonzero(occurring)[:, None] // 5 ** np.arange(width - 1, -1, -1) % 5
        table = torch.from_numpy(ONE_HOT[letters]).transpose(1, 2).flatten(1)  # (words, 4 × width), as the filter's weights lie
        values = functional.linear(table, self.weight.flatten(1), self.bias)
        with torch.no_grad():
            order = values.argsort(dim=0, stable=True)
            kind = torch.int16 if len(order) < 2**15 else torch.int32
            rank = torch.empty_like(order, dtype=kind).scatter_(0, order, torch.arange(len(order), dtype=kind)[:, None].expand_as(order))
            best = torch.stack([rank[row].unflatten(0, (pools, self.pool)).amax(dim=1) for row in torch.from_numpy(place[number])])
            return values, order.gather(0, best.flatten(0, 1).long()).unflatten(0, best.shape[:2])
