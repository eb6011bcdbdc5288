#!/usr/bin/env python3
"""Simulate a cohort with known truth: sizes, noise and a seed → genome, annotation, reads, peaks, expression and truth.

The rule, one for all genes and samples. With d the distance from gene g's TSS to the strongest summit of open element p
and a its accessibility in sample s, on the scale of a peak's signalValue,

    log2 level(g, s) = base(g) + GAIN · Σ exp(-|d| / DECAY_BP) · a / (a + HALF_SIGNAL) + noise(g, s)

summed over every p within ±WINDOW_BP. base(g) is uniform over BASE_RANGE, because with a long upper tail a few genes would
make up most of a sample and move every other gene's TPM. Which gene has which base level follows from its sequence; the
base levels of genes are in the order of their

    strength(g) = COPY_GAIN · copies(g) + EXON_GAIN · log10(e / USUAL_DENSITY) + UTR3_GAIN · log10(u / USUAL_UTR3_BP) + other(g)

copies(g), 0 to MOST_COPIES, counts MOTIF on the gene's strand within MOTIF_RANGE of its TSS, where it is nowhere by chance;
what lies elsewhere counts for nothing. e is the number of coding exons a kb of coding part, u the length of the 3' UTR, both
of the gene's transcript with the longest coding part, stop codon included; genes without one lack both terms. other(g) is
uniform over OTHER_RANGE and nothing explains it. noise(g, s) is normal with one sd for all genes: `--noise` times
NOISE_RATIO times the median over genes of the oracle's sd over samples. TPM = 2^level, scaled to a million a sample.

Elements lie within PLANTED_BP of one TSS (planted: half of the genes have just one, the others two to four) or at least
DECOY_BP from every TSS (decoys). A neighbour's planted elements are decoys too, as strong and as variable as one's own,
yet weigh next to nothing (exp(-40/9) = 0.01). Accessibility is log-normal: the element's own level, then biosample
(strong), donor (moderate) and replicate (weak) effects; in some biosamples an element is closed. Calling multiplies it
by the sample's depth and by log-normal noise, loses what falls below THRESHOLD, adds minor summits to wide peaks (other
rows of the same interval, always weaker) and adds noise peaks, weak and anywhere. Batches have names but no effect.

The oracle is the same rule on the called peaks, lost and noise peaks included, each interval counted once with its
strongest summit, without noise(g, s): log2(TPM + 1), where the oracle's own 2^level are scaled to a million a sample;
nothing but base(g) is taken from the measured side. No model that sees the peaks can beat it by much.

Each gene has one to three transcripts: the canonical one, which begins at the gene's TSS, and others that begin further
downstream, end earlier or skip an exon. A gene's measured TPM is shared among them; the shares are the gene's own, a
little different in each biosample. Read pairs are drawn from the transcripts in proportion to TPM times effective length,
so quantifying them gives expression.tsv.gz again, but for the noise of counting. Libraries are reverse-stranded (dUTP).

Six genes are splicing factors. Each shifts the share of one transcript in each of some other genes, in sample s by

    logit share(s) += effect · (log2(TPM(factor, s) + 1) - its mean over samples) / its sd over samples

and the gene's other transcripts keep their ratios; totals of genes stay as they are. Factors are expressed genes whose levels
differ least between biosamples, so that much of their variance is among donors and samples of one biosample; a gene has one
factor at most, a factor none. Decoys are genes chosen like factors, listed beside them, and act on nothing.

Files of --out:
  chrom.sizes, genes.tsv (tss 0-based)
  genome.fa.gz            repeats in lower-case, a few runs of N far from genes
  annotation.gtf.gz       Ensembl's style; a CDS begins with ATG and ends before a stop codon, but may hold others in frame
  cdna.fa.gz              all transcripts, lncRNA too, with Ensembl's headers
  samples.csv             a row a sample, two where it was sequenced on two lanes
  peaks/<sample>.narrowPeak.gz
  reads/<sample>[_L1|_L2]_R1.fastq.gz, …_R2.fastq.gz    unless --reads is 0
  expression.tsv.gz       TPM; the same gene ids with another version, rows in another order
  true_transcripts.tsv.gz what the reads are drawn from: TPM; the transcripts of a gene add up to its value in expression.tsv.gz
  factors.tsv             the list of splicing factors that a user would bring: factors and decoys
  landmarks.tsv, targets.tsv    a random quarter of the genes, and all others: the lists that a user would bring
  splicing.tsv            a row a transcript that a factor acts on; effect, logit a sd; share, its mean over samples without the factor
  promoters.tsv           copies, where each begins (bp from the TSS, below 0 is upstream), half-life terms, other and base, log2
  truth.tsv               a row a gene and element of its window; distance_bp below 0 is upstream on the gene's strand
  oracle.tsv.gz           log2(TPM + 1)
Ids in the last eight have no version.
"""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from exprcast.cli import log, run, whole_folder, write_task
from exprcast.simulation.cohort import name_samples, write_samplesheet
from exprcast.simulation.expression import correlate, draw_shares, express, write_expression, write_transcript_levels, write_truth
from exprcast.simulation.genome import place_genes, write_genome
from exprcast.simulation.landmarks import choose_landmarks, write_landmarks
from exprcast.simulation.peaks import World, open_elements, place_elements, write_peaks
from exprcast.simulation.promoters import draw_promoters, write_promoter_truth
from exprcast.simulation.reads import write_reads
from exprcast.simulation.sequence import write_sequences
from exprcast.simulation.sizes import Sizes, check_sizes
from exprcast.simulation.splicing import plant_splicing, shift_shares, write_factors, write_splicing_truth
from exprcast.simulation.transcripts import model_genes, write_annotation

PARTS = (  # one seed each; append new ones
    *("genes", "elements", "accessibility", "calls", "expression"),
    *("transcripts", "sequence", "fractions", "reads", "promoters"),
    *("splicing", "landmarks"),
)


def simulate_cohort(out: Path, sizes: Sizes, noise: float, seed: int, cpus: int) -> None:
    """Write a cohort of these sizes as the folder `out`."""
    check_sizes(sizes, noise, seed, cpus)
    seeds = dict(zip(PARTS, np.random.SeedSequence(seed).spawn(len(PARTS)), strict=True))
    rng = {part: np.random.default_rng(child) for part, child in seeds.items()}
    genome, genes = place_genes(sizes, rng["genes"])
    elements = place_elements(genome, genes, rng["elements"])
    cohort = name_samples(sizes)
    world = World(genome, genes, elements, cohort, open_elements(cohort, len(elements.summit), rng["accessibility"]))
    transcripts = model_genes(genes, rng["transcripts"])
    promoters = draw_promoters(genes, transcripts, rng["promoters"])
    with whole_folder(out) as folder:
        true, called = write_peaks(folder / "peaks", world, sizes.noise_peaks, seeds["calls"])
        expression = express(promoters.strength, true, called, noise, rng["expression"])
        shares = draw_shares(cohort, transcripts, rng["fractions"])
        splicing = plant_splicing(expression.oracle, transcripts, shares, rng["splicing"])
        gene = np.array([transcript.gene for transcript in transcripts])
        levels = expression.measured[:, gene] * shift_shares(shares, expression.measured, gene, splicing)
        write_genome(folder, genome, genes)
        write_annotation(folder / "annotation.gtf.gz", genome, genes, transcripts)
        sequences = write_sequences(folder, genome, genes, promoters.starts, transcripts, seeds["sequence"])
        write_samplesheet(folder / "samples.csv", cohort, with_reads=sizes.reads > 0)
        write_expression(folder, genes, cohort, expression)
        write_transcript_levels(folder / "true_transcripts.tsv.gz", cohort, transcripts, levels)
        write_promoter_truth(folder / "promoters.tsv", genes, promoters, expression.base)
        write_factors(folder / "factors.tsv", genes, splicing)
        write_landmarks(folder, genes, choose_landmarks(len(genes.ids), rng["landmarks"]))
        write_splicing_truth(folder / "splicing.tsv", genes, transcripts, shares, splicing)
        singles = write_truth(folder / "truth.tsv", genome, genes, elements)
        if sizes.reads:
            write_reads(folder / "reads", cohort, levels, sequences, sizes.reads, seeds["reads"], cpus)
    log.info(
        f"{out}: {len(cohort.samples):,} samples of {len(cohort.donors):,} donors and {len(cohort.biosamples):,} biosamples, "
        f"{len(elements.summit):,} elements, {len(genes.ids):,} genes ({singles:,} with one planted element), "
        f"{len(transcripts):,} transcripts ({len(splicing.effect):,} under splicing factors), {sizes.reads:,} read pairs a sample"
    )
    r_sample = correlate(np.log2(expression.oracle + 1), np.log2(expression.measured + 1))
    log.info(f"noise sd {expression.noise_sd:.2f} log2; the oracle's median r_sample is {np.nanmedian(r_sample):.3f}")


def parse_args() -> ArgumentParser:
    """Return the command line's parser."""
    parser = ArgumentParser(description=__doc__.split("\n")[0], formatter_class=ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--samples", type=int, default=40, help="samples, replicates included")
    add("--genes", type=int, default=600, help="genes, 60 to 100 kb apart")
    add("--chromosomes", type=int, default=4, help="chromosomes that share the genes evenly")
    add("--replicates", type=int, default=2, help="samples of each donor; the last donor may have fewer")
    add("--donors-per-biosample", type=int, default=2, help="donors of a biosample, fewer if under 3 biosamples")
    add("--noise-peaks", type=float, default=0.5, help="noise peaks a sample, times the elements")
    add("--reads", type=int, default=200_000, help="read pairs of each sample; 0 writes no reads")
    add("--noise", type=float, default=1.0, help="0 is none; at 1 the oracle's median r_sample is about 0.89")
    add("--seed", type=int, default=1, help="same seed and options: same bytes")
    add("--cpus", type=int, default=1, help="samples whose reads are written at once; the bytes are the same")
    add("--out", type=Path, required=True, help="folder to make")
    return parser


def main(options: Namespace) -> None:
    """Simulate, then say with what."""
    sizes = Sizes(*(getattr(options, name) for name in Sizes._fields))
    simulate_cohort(options.out, sizes, options.noise, options.seed, options.cpus)
    write_task(options.task_out, "numpy")


if __name__ == "__main__":
    run(main, parse_args())
