"""Levels of genes and of their transcripts in each sample: measured, best possible (the oracle) and true."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.simulation.cohort import Cohort
from exprcast.simulation.genome import Genes, Genome
from exprcast.simulation.peaks import PLANTED_BP, Elements
from exprcast.simulation.rule import GAIN, pairs_within, weigh
from exprcast.simulation.transcripts import Transcript
from exprcast.tables import Matrix, write_matrix, write_table

BASE_RANGE, NOISE_RATIO = 7.0, 0.42  # log2 (sd 2); noise sd over the oracle's median sd
MEAN_FRACTION, FRACTION_PRECISION = (6.0, 1.5), 20.0  # Dirichlet: of canonical and other transcripts; of biosamples around the gene's mean


class Expression(NamedTuple):
    """Measured TPM and the oracle's, (samples, genes), what they are made of, and what the noise was."""

    measured: np.ndarray
    oracle: np.ndarray
    base: np.ndarray  # (genes,) log2
    noise_sd: float  # log2
    row_order: np.ndarray  # (genes,) of the measured table


def express(strength: np.ndarray, true: np.ndarray, called: np.ndarray, noise: float, rng: np.random.Generator) -> Expression:
    """Make TPM of promoters' strengths (genes,) and the rule's sums (samples, genes): on the truth, with noise, and on the calls, without."""
    base_rng, order_rng, noise_rng = rng.spawn(3)
    base = np.sort(base_rng.uniform(0, BASE_RANGE, len(strength)))[strength.argsort().argsort()]
    noise_sd = noise * NOISE_RATIO * GAIN * float(np.median(called.std(axis=0)))
    level = base + GAIN * true + noise_sd * noise_rng.standard_normal(true.shape)
    return Expression(to_tpm(level), to_tpm(base + GAIN * called), base, noise_sd, order_rng.permutation(true.shape[1]))


def to_tpm(level: np.ndarray) -> np.ndarray:
    """Scale 2^level (samples, genes) so that each sample sums to a million."""
    abundance = np.exp2(level)
    return 1e6 * abundance / abundance.sum(axis=1, keepdims=True)


def correlate(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return each gene's Pearson r over samples (samples, genes), NaN where one of the two is constant."""
    x, y = predicted - predicted.mean(axis=0), observed - observed.mean(axis=0)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))


def write_expression(folder: Path, genes: Genes, cohort: Cohort, expression: Expression) -> None:
    """Write expression.tsv.gz, which joins with genes.tsv only by id without version, and oracle.tsv.gz."""
    rows = [f"{genes.ids[gene]}.{genes.versions[gene] + 1}" for gene in expression.row_order]
    measured = expression.measured.T[expression.row_order]
    write_matrix(folder / "expression.tsv.gz", Matrix({}, "gene_id", rows, cohort.samples, measured))
    oracle = np.log2(expression.oracle.T + 1)
    write_matrix(folder / "oracle.tsv.gz", Matrix({}, "gene_id", genes.ids, cohort.samples, oracle))


def draw_shares(cohort: Cohort, transcripts: list[Transcript], rng: np.random.Generator) -> np.ndarray:
    """Return each transcript's share of its gene's level, (samples, transcripts); shares differ by biosample."""
    gene = np.array([transcript.gene for transcript in transcripts])
    first = np.flatnonzero(np.diff(gene, prepend=-1))
    canonical = np.array([transcript.canonical for transcript in transcripts])

    def dirichlet(shape: np.ndarray) -> np.ndarray:
        drawn = rng.standard_gamma(shape)
        return drawn / np.add.reduceat(drawn, first, axis=-1)[..., gene]

    mean = dirichlet(np.where(canonical, *MEAN_FRACTION))
    fraction = dirichlet(FRACTION_PRECISION * np.tile(mean, (len(cohort.biosamples), 1)))
    return fraction[cohort.biosample[cohort.donor]]


def write_transcript_levels(path: Path, cohort: Cohort, transcripts: list[Transcript], levels: np.ndarray) -> None:
    """Write the transcripts' true TPM."""
    ids = [transcript.id for transcript in transcripts]
    write_matrix(path, Matrix({}, "transcript_id", ids, cohort.samples, levels.T))


def write_truth(path: Path, genome: Genome, genes: Genes, elements: Elements) -> int:
    """Write what each element in a gene's window weighs; return how many genes have just one planted element."""
    gene, element = pairs_within(genes.tss, elements.summit)
    distance = (elements.summit[element] - genes.tss[gene]) * genes.strand[gene]
    planted = np.abs(distance) <= PLANTED_BP
    single = np.bincount(gene, planted, len(genes.ids)) == 1
    chrom, summit = genome.locate(elements.summit[element])
    rows = (
        (genes.ids[g], genome.names[c], s, d, w, "planted" if near else "decoy", "yes" if single[g] else "no")
        for g, c, s, d, w, near in zip(gene, chrom, summit, distance, weigh(distance), planted, strict=True)
    )
    write_table(path, ["gene", "chrom", "summit", "distance_bp", "weight", "kind", "single"], rows)
    return int(single.sum())
