"""Which strand reads come from, told by k-mers of the transcripts: no alignment, and milliseconds for a sample.

A probe is one k-mer in SAMPLED of the transcripts' sense strands, chosen by a hash that a k-mer and its reverse complement share,
less those that occur on both strands. A read that holds a probe's k-mer lies forward, one that holds its reverse complement lies
reverse; nothing is said of the others. Of a dUTP library nearly all first mates are reverse, of an unstranded one half.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

K = 24  # twice in a thousand million random bases, so that hits are real; `join_kmers` makes 16 + 8
SAMPLED = 64
MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: spreads the top bits (Knuth's multiplicative hash)
BLOCK_BASES = 1 << 22
SEPARATOR = b"\n"

CODES = np.full(256, 4, np.uint8)
CODES[np.frombuffer(b"ACGTacgt", np.uint8)] = [0, 1, 2, 3] * 2


class Kmers(NamedTuple):
    """The sampled k-mers of a text of bases: where each begins, what it is, and its reverse complement; two bits a base."""

    start: np.ndarray  # (k-mers,) int64
    forward: np.ndarray  # (k-mers,) uint64
    reverse: np.ndarray  # (k-mers,) uint64


def make_probe(transcripts: Iterable[bytes]) -> np.ndarray:
    """Return the probe of transcripts given as bases of the sense strand, (k-mers,) uint64 ascending."""
    forward, reverse = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for block in joined_blocks(transcripts):
        kmers = sample_kmers(block)
        forward.append(np.unique(kmers.forward))
        reverse.append(np.unique(kmers.reverse))
    return np.setdiff1d(np.concatenate(forward), np.concatenate(reverse))


def joined_blocks(sequences: Iterable[bytes]) -> Iterator[bytes]:
    """Yield sequences joined to texts of about BLOCK_BASES, none of them cut."""
    block: list[bytes] = []
    bases = 0
    for sequence in sequences:
        block.append(sequence)
        bases += len(sequence)
        if bases >= BLOCK_BASES:
            yield SEPARATOR.join(block)
            block, bases = [], 0
    yield SEPARATOR.join(block)


def sample_kmers(text: bytes) -> Kmers:
    """Return the sampled k-mers of a text; none spans anything but A, C, G and T."""
    codes = CODES[np.frombuffer(text, np.uint8)]
    if len(codes) < K:
        empty = np.empty(0, np.uint64)
        return Kmers(np.empty(0, np.int64), empty, empty)
    unknown = np.cumsum(np.append(0, codes > 3))
    known = unknown[K:] == unknown[:-K]
    bases = (codes & 3).astype(np.uint64)
    forward, reverse = join_kmers(bases)
    sampled = (np.minimum(forward, reverse) * MIXER) >> np.uint64(64 - SAMPLED.bit_length() + 1) == 0
    start = np.flatnonzero(known & sampled)
    return Kmers(start, forward[start], reverse[start])


def join_kmers(bases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all k-mers of (bases,) codes 0 to 3 and their reverse complements, (bases - K + 1,) each."""
    words = bases, np.uint64(3) - bases
    for width in (1, 2, 4):
        words = doubled(*words, width)
    (forward, reverse), (forward_8, reverse_8) = doubled(*words, 8), words
    count = len(bases) - K + 1
    return forward[:count] << np.uint64(16) | forward_8[16:], reverse_8[16:] << np.uint64(32) | reverse[:count]


def doubled(forward: np.ndarray, reverse: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return words of twice the width from those that begin at each base."""
    bits = np.uint64(2 * width)
    return forward[:-width] << bits | forward[width:], reverse[width:] << bits | reverse[:-width]


def count_strands(reads: list[bytes], probe: np.ndarray) -> tuple[int, int]:
    """Return how many reads lie (forward, reverse) on the transcripts; the others hold no probe, or both kinds alike."""
    kmers = sample_kmers(SEPARATOR.join(reads))
    ends = np.cumsum([len(read) + len(SEPARATOR) for read in reads])
    read = np.searchsorted(ends, kmers.start, side="right")
    votes = np.bincount(read, among(kmers.forward, probe), len(reads)) - np.bincount(read, among(kmers.reverse, probe), len(reads))
    return int((votes > 0).sum()), int((votes < 0).sum())


def among(kmers: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Say of each k-mer whether it is in the probe, (k-mers,) bool."""
    place = np.minimum(np.searchsorted(probe, kmers), len(probe) - 1)
    return probe[place] == kmers if len(probe) else np.zeros(len(kmers), bool)
