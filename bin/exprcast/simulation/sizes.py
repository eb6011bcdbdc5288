"""How much to simulate."""

import math
from typing import NamedTuple

from exprcast.cli import InputError


class Sizes(NamedTuple):
    """How much to simulate."""

    samples: int
    genes: int
    chromosomes: int
    replicates: int
    donors_per_biosample: int
    noise_peaks: float  # a sample, for each element
    reads: int  # pairs a sample


def check_sizes(sizes: Sizes, noise: float, seed: int, cpus: int) -> None:
    """Raise InputError for sizes that make no cohort."""
    for name in ("samples", "genes", "chromosomes", "replicates", "donors_per_biosample"):
        if getattr(sizes, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(sizes, name)}: give 1 or more")
    for option, value in (("--noise", noise), ("--noise-peaks", sizes.noise_peaks), ("--seed", seed)):
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{option} {value}: give 0 or more")
    if cpus < 1:
        raise InputError(f"--cpus {cpus}: give 1 or more")
    if sizes.reads < 0 or sizes.reads == 1:
        raise InputError(f"--reads {sizes.reads}: give 0 for no reads, or at least 2 pairs, as two lanes share them")
    if sizes.genes < sizes.chromosomes:
        raise InputError(f"--genes {sizes.genes} is less than --chromosomes {sizes.chromosomes}: each needs a gene")
    if sizes.samples <= 2 * sizes.replicates:
        raise InputError(
            f"--samples {sizes.samples} with --replicates {sizes.replicates} makes fewer than 3 biosamples: "
            f"give at least {2 * sizes.replicates + 1} samples, or fewer replicates"
        )
