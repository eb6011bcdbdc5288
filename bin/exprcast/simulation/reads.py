"""Paired reads of each sample's transcripts, as a strand-specific (dUTP) library gives them, in FASTQ."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from exprcast.cli import Progress
from exprcast.simulation.cohort import Cohort

READ_BP = 50
FRAGMENT_BP, FRAGMENT_SD_BP, LONGEST_BP = 200, 30, 500  # none of a million million fragments is longer
ERROR_RATE, UNSURE_RATE = 0.005, 0.02  # of bases: wrong, and right but of middling quality
LETTERS = np.frombuffer(b"ACGT", np.uint8)
WRONG, UNSURE, SURE = b",:F"  # qualities 11, 25 and 37
NAME_DIGITS = 10 ** np.arange(8, -1, -1)


def write_reads(
    folder: Path, cohort: Cohort, levels: np.ndarray, sequences: list[np.ndarray], pairs: int, seed: np.random.SeedSequence, cpus: int
) -> None:
    """Write this many pairs of each sample; `levels` are TPM (samples, transcripts). Each sample has its own seed."""
    folder.mkdir()
    lengths = np.array([len(bases) for bases in sequences])
    library = np.concatenate(sequences)  # one behind the other
    children = seed.spawn(len(cohort.samples))

    def write_sample(number: int) -> None:
        rng = np.random.default_rng(children[number])
        left, right = draw_fragments(levels[number], lengths, pairs, rng)
        lanes = cohort.lanes(number)
        windows = sliding_window_view(library, READ_BP)
        mates = (3 - windows[right - READ_BP][:, ::-1], windows[left])  # the first mate is antisense
        for mate, bases in enumerate(mates, 1):
            read, quality = sequence_bases(bases, rng)
            for lane, rows in zip(lanes, np.array_split(np.arange(pairs), len(lanes)), strict=True):
                text = fastq(cohort.samples[number], rows + 1, mate, LETTERS[read[rows]], quality[rows])
                (folder / f"{lane}_R{mate}.fastq.gz").write_bytes(gzip.compress(text, compresslevel=1, mtime=0))

    progress = Progress(len(cohort.samples), "samples' reads")
    with ThreadPoolExecutor(cpus) as pool:
        for number, _ in enumerate(pool.map(write_sample, range(len(cohort.samples))), 1):
            progress.step(number)


def draw_fragments(tpm: np.ndarray, lengths: np.ndarray, pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return where fragments start and end in the transcripts laid end to end, (pairs,) each.

    A transcript gives fragments in proportion to its TPM times its effective length: the number of places where a
    fragment of average length begins.
    """
    weight = tpm * effective_lengths(lengths)
    transcript = rng.permutation(np.repeat(np.arange(len(lengths)), rng.multinomial(pairs, weight / weight.sum())))
    fragment = np.rint(rng.normal(FRAGMENT_BP, FRAGMENT_SD_BP, pairs)).astype(np.int64)
    fragment = np.clip(fragment, READ_BP, lengths[transcript])
    start = (np.cumsum(lengths) - lengths)[transcript] + rng.integers(lengths[transcript] - fragment + 1)
    return start, start + fragment


def effective_lengths(lengths: np.ndarray) -> np.ndarray:
    """Return length + 1 - the mean length of a transcript's fragments; 0 where not even a read fits."""
    normal = NormalDist(FRAGMENT_BP, FRAGMENT_SD_BP)
    chance = np.diff([normal.cdf(size + 0.5) for size in range(-1, LONGEST_BP + 1)])  # of fragments of 0, 1, 2 … bp
    sizes = np.maximum(np.arange(LONGEST_BP + 1), READ_BP)
    mean = np.minimum(sizes, np.arange(LONGEST_BP + 1)[:, None]) @ chance  # by the transcript's length, up to the longest fragment
    return np.where(lengths < READ_BP, 0.0, lengths + 1 - mean[np.minimum(lengths, LONGEST_BP)])


def sequence_bases(bases: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (bases as read, their qualities): a few are substituted, and have the lowest quality."""
    drawn = rng.random(bases.shape, np.float32)
    wrong = drawn < ERROR_RATE
    read, quality = bases.copy(), np.full(bases.shape, SURE, np.uint8)
    read[wrong] = (bases[wrong] + rng.integers(1, 4, np.count_nonzero(wrong), np.uint8)) % 4
    quality[drawn < ERROR_RATE + UNSURE_RATE] = UNSURE
    quality[wrong] = WRONG
    return read, quality


def fastq(sample: str, numbers: np.ndarray, mate: int, letters: np.ndarray, quality: np.ndarray) -> bytes:
    """Return reads as FASTQ, named by sample, number and mate; all records are equally long."""
    digits = (numbers[:, None] // NAME_DIGITS % 10 + ord("0")).astype(np.uint8)
    parts = [f"@{sample}:".encode(), digits, f" {mate}:N:0\n".encode(), letters, b"\n+\n", quality, b"\n"]
    columns = [np.tile(np.frombuffer(part, np.uint8), (len(numbers), 1)) if isinstance(part, bytes) else part for part in parts]
    return np.hstack(columns).tobytes()
