"""The samples, named after their biosample, donor and replicate; the samplesheet."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.simulation.sizes import Sizes

LANES_EVERY = 5  # the fifth sample of each five is sequenced on two lanes


class Cohort(NamedTuple):
    """Samples in the samplesheet's order; replicates nest in donors, donors in biosamples."""

    samples: list[str]
    donor: np.ndarray  # (samples,) index into donors
    replicate: np.ndarray  # (samples,) from 1 in each donor
    donors: list[str]
    biosample: np.ndarray  # (donors,) index into biosamples
    biosamples: list[str]

    def lanes(self, number: int) -> list[str]:
        """Return what a sample's FASTQ files are named after: the sample, or its two lanes."""
        name = self.samples[number]
        return [f"{name}_L1", f"{name}_L2"] if number % LANES_EVERY == LANES_EVERY - 1 else [name]


def name_samples(sizes: Sizes) -> Cohort:
    """Name samples CT03_D2_R1; too few for 3 biosamples of that many donors make 3 of fewer."""
    donor, replicate = np.divmod(np.arange(sizes.samples), sizes.replicates)
    donor_count = int(donor[-1]) + 1
    biosample_count = max(3, -(-donor_count // sizes.donors_per_biosample))
    biosample = np.arange(donor_count) * biosample_count // donor_count
    digits = max(2, len(str(biosample_count)))
    biosamples = [f"CT{number:0{digits}d}" for number in range(1, biosample_count + 1)]
    first = np.searchsorted(biosample, biosample)  # the first donor of the same biosample
    donors = [f"{biosamples[group]}_D{number - first[number] + 1}" for number, group in enumerate(biosample)]
    samples = [f"{donors[of]}_R{number + 1}" for of, number in zip(donor, replicate, strict=True)]
    return Cohort(samples, donor, replicate + 1, donors, biosample, biosamples)


def write_samplesheet(path: Path, cohort: Cohort, with_reads: bool) -> None:
    """Write samples.csv, a row a lane; replicates of a donor share a replicate group, batches cut across donors."""
    columns = ["sample", "donor", "biosample", "replicate_group", "batch"]
    lines = [",".join(columns + ["reads_1", "reads_2", "strandedness"] * with_reads + ["peaks"])]
    for number, (sample, donor, replicate) in enumerate(zip(cohort.samples, cohort.donor, cohort.replicate, strict=True)):
        name, biosample = cohort.donors[donor], cohort.biosamples[cohort.biosample[donor]]
        start = f"{sample},{name},{biosample},{name},batch{(donor + replicate) % 2 + 1}"
        reads = [f",reads/{lane}_R1.fastq.gz,reads/{lane}_R2.fastq.gz,reverse" for lane in cohort.lanes(number)] if with_reads else [""]
        lines += [f"{start}{lane},peaks/{sample}.narrowPeak.gz" for lane in reads]
    path.write_text("\n".join(lines) + "\n")
