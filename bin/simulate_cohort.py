#!/usr/bin/env python3
"""Simulate a cohort with known truth: sizes, noise and a seed → peaks, expression, samplesheet, gene table and truth.

The rule, one for all genes and samples. With d the distance from gene g's TSS to the strongest summit of open element p
and a its accessibility in sample s, on the scale of a peak's signalValue,

    log2 level(g, s) = base(g) + GAIN · Σ exp(-|d| / DECAY_BP) · a / (a + HALF_SIGNAL) + noise(g, s)

summed over every p within ±WINDOW_BP. base(g) is uniform over BASE_RANGE: with a long upper tail a few genes would make
up most of a sample and move every other gene's TPM. noise(g, s) is normal with one sd for all genes: `--noise` times
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

Files of --out: chrom.sizes, genes.tsv (tss 0-based), samples.csv, peaks/<sample>.narrowPeak.gz, expression.tsv.gz (TPM;
the same gene ids with another version, rows in another order), truth.tsv (one row a gene and element of its window;
distance_bp below 0 is upstream on the gene's strand), oracle.tsv.gz. Gene ids in the last two have no version.
"""

import gzip
import math
import shutil
import tempfile
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, Progress, log, run, umask, write_versions
from exprcast.tables import Matrix, write_matrix, write_table

WINDOW_BP, DECAY_BP, HALF_SIGNAL, GAIN = 100_000, 9_000, 20.0, 3.0  # the rule
BASE_RANGE, NOISE_RATIO = 7.0, 0.42  # log2 (sd 2); noise sd over the oracle's median sd
GENE_GAP_BP, MARGIN_BP = (60_000, 100_000), 120_000  # between TSSs; beyond the outer ones (wider than a window)
PLANTED_BP, DECOY_BP = 15_000, 40_000
PROMOTER_SHARE, PROMOTER_SD_BP = 0.4, 300
MAX_HALF_BP, CELL_BP = 750, 2_000  # a peak's reach either side of its summit; room that a peak is given
MEDIAN_SIGNAL, ELEMENT_SD = 20.0, 1.0  # sds of accessibility are of natural logs
BIOSAMPLE_SD, DONOR_SD, REPLICATE_SD = 1.2, 0.4, 0.15
CLOSED_SHARE, CLOSED_FOLD = 0.9, 30  # up to this share of biosamples have an element this many times less open
DEPTH_SD, CALL_SD, THRESHOLD = 0.1, 0.2, 2.0
PARTS = ("genes", "elements", "accessibility", "calls", "expression")  # one seed each; append new ones


class Sizes(NamedTuple):
    """How much to simulate."""

    samples: int
    genes: int
    chromosomes: int
    replicates: int
    donors_per_biosample: int
    noise_peaks: float  # a sample, for each element


class Genome(NamedTuple):
    """Chromosomes laid end to end: a position below is a base counted from the start of chr1."""

    names: list[str]
    starts: np.ndarray  # (chromosomes + 1,) int64, the last is the genome's length

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (chromosome number, position on that chromosome)."""
        chrom = np.searchsorted(self.starts, positions, side="right") - 1
        return chrom, positions - self.starts[chrom]


class Genes(NamedTuple):
    """Genes in genome order."""

    ids: list[str]  # without version
    versions: np.ndarray  # (genes,) int64
    tss: np.ndarray  # (genes,) int64, genome-wide
    strand: np.ndarray  # (genes,) 1 or -1


class Elements(NamedTuple):
    """Open elements in genome order, planted ones and decoys."""

    summit: np.ndarray  # (elements,) int64, genome-wide
    reach: np.ndarray  # (elements, 2) bp from the summit to the left and right end of its peak
    minor: np.ndarray  # (elements, 2) signal of a minor summit left and right over the main one's; 0 = none


class Cohort(NamedTuple):
    """Samples in the samplesheet's order; replicates nest in donors, donors in biosamples."""

    samples: list[str]
    donor: np.ndarray  # (samples,) index into donors
    replicate: np.ndarray  # (samples,) from 1 in each donor
    donors: list[str]
    biosample: np.ndarray  # (donors,) index into biosamples
    biosamples: list[str]


class World(NamedTuple):
    """What is true before anything is measured; accessibility lacks the replicate's own part."""

    genome: Genome
    genes: Genes
    elements: Elements
    cohort: Cohort
    log_open: np.ndarray  # (donors, elements) natural log of accessibility


class Calls(NamedTuple):
    """The narrowPeak rows of one sample, in genome order: one a summit."""

    start: np.ndarray  # (rows,) int64, genome-wide
    end: np.ndarray
    summit: np.ndarray
    signal: np.ndarray  # (rows,) float64
    main: np.ndarray  # (rows,) bool, the strongest summit of its peak


class Expression(NamedTuple):
    """Measured TPM and the oracle's, (samples, genes), and what the noise was."""

    measured: np.ndarray
    oracle: np.ndarray
    noise_sd: float  # log2
    row_order: np.ndarray  # (genes,) of the measured table


def simulate_cohort(out: Path, sizes: Sizes, noise: float, seed: int) -> None:
    """Write a cohort of these sizes as the folder `out`."""
    check_sizes(sizes, noise, seed)
    seeds = dict(zip(PARTS, np.random.SeedSequence(seed).spawn(len(PARTS)), strict=True))
    genome, genes = place_genes(sizes, np.random.default_rng(seeds["genes"]))
    elements = place_elements(genome, genes, np.random.default_rng(seeds["elements"]))
    cohort = name_samples(sizes)
    log_open = open_elements(cohort, len(elements.summit), np.random.default_rng(seeds["accessibility"]))
    world = World(genome, genes, elements, cohort, log_open)
    with whole_folder(out) as folder:
        true, called = write_peaks(folder / "peaks", world, sizes.noise_peaks, seeds["calls"])
        expression = express(true, called, noise, np.random.default_rng(seeds["expression"]))
        write_genome(folder, genome, genes)
        write_samplesheet(folder / "samples.csv", cohort)
        write_expression(folder, genes, cohort, expression)
        singles = write_truth(folder / "truth.tsv", genome, genes, elements)
    log.info(
        f"{out}: {len(cohort.samples):,} samples of {len(cohort.donors):,} donors and "
        f"{len(cohort.biosamples):,} biosamples, "
        f"{len(elements.summit):,} elements, {len(genes.ids):,} genes ({singles:,} with one planted element)"
    )
    r_sample = correlate(np.log2(expression.oracle + 1), np.log2(expression.measured + 1))
    log.info(f"noise sd {expression.noise_sd:.2f} log2; the oracle's median r_sample is {np.nanmedian(r_sample):.3f}")


def check_sizes(sizes: Sizes, noise: float, seed: int) -> None:
    """Raise InputError for sizes that make no cohort."""
    for name in ("samples", "genes", "chromosomes", "replicates", "donors_per_biosample"):
        if getattr(sizes, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} {getattr(sizes, name)}: give 1 or more")
    for option, value in (("--noise", noise), ("--noise-peaks", sizes.noise_peaks), ("--seed", seed)):
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{option} {value}: give 0 or more")
    if sizes.genes < sizes.chromosomes:
        raise InputError(f"--genes {sizes.genes} is less than --chromosomes {sizes.chromosomes}: each needs a gene")
    if sizes.samples <= 2 * sizes.replicates:
        raise InputError(
            f"--samples {sizes.samples} with --replicates {sizes.replicates} makes fewer than 3 biosamples: "
            f"give at least {2 * sizes.replicates + 1} samples, or fewer replicates"
        )


def place_genes(sizes: Sizes, rng: np.random.Generator) -> tuple[Genome, Genes]:
    """Spread the genes evenly over chromosomes that are as long as they need."""
    starts, tss = [0], []
    for genes in np.array_split(np.arange(sizes.genes), sizes.chromosomes):
        gaps = rng.integers(*GENE_GAP_BP, len(genes) - 1, endpoint=True)
        tss.append(starts[-1] + MARGIN_BP + rng.integers(CELL_BP) + np.concatenate([[0], np.cumsum(gaps)]))
        starts.append(-(-int(tss[-1][-1] + MARGIN_BP) // CELL_BP) * CELL_BP)
    genome = Genome([f"chr{number}" for number in range(1, sizes.chromosomes + 1)], np.array(starts))
    ids = [f"ENSG{number:011d}" for number in range(1, sizes.genes + 1)]
    versions = rng.integers(1, 20, sizes.genes)
    return genome, Genes(ids, versions, np.concatenate(tss).astype(np.int64), rng.choice([1, -1], sizes.genes))


def place_elements(genome: Genome, genes: Genes, rng: np.random.Generator) -> Elements:
    """Plant one to four elements near each TSS and put decoys where every TSS is far."""
    counts = np.where(rng.permutation(len(genes.tss)) % 2 == 0, 1, rng.integers(2, 4, len(genes.tss), endpoint=True))
    planted = [tss + spaced(near_tss, count, rng) for tss, count in zip(genes.tss, counts, strict=True)]
    decoys = []
    borders = np.sort(np.concatenate([genes.tss, genome.starts]))
    for low, high in zip(borders[:-1] + DECOY_BP, borders[1:] - DECOY_BP, strict=True):
        if high - low > CELL_BP:
            count = rng.integers(1, 2 + min((high - low) // (4 * CELL_BP), 3))
            decoys.append(spaced(rng.integers, low, high, count))
    summit = np.sort(np.concatenate(planted + decoys))
    reach = rng.integers(100, MAX_HALF_BP, (len(summit), 2))
    has_minor = (reach > MAX_HALF_BP / 3) & (rng.random(reach.shape) < 0.25)
    return Elements(summit, reach, np.where(has_minor, rng.uniform(0.3, 0.8, reach.shape), 0.0))


def near_tss(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw distances of planted elements: at the promoter, or anywhere up to PLANTED_BP away on either side."""
    promoter = np.rint(rng.normal(0, PROMOTER_SD_BP, count)).astype(np.int64)
    distal = rng.integers(-PLANTED_BP, PLANTED_BP, count, endpoint=True)
    return np.where(rng.random(count) < PROMOTER_SHARE, promoter, distal)


def spaced(draw: Callable[..., np.ndarray], *arguments: object) -> np.ndarray:
    """Draw positions until no two peaks at them could touch."""
    while True:
        positions = np.sort(draw(*arguments))
        if (np.diff(positions) >= CELL_BP).all():
            return positions


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


def open_elements(cohort: Cohort, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the natural log of each element's accessibility in each donor, (donors, elements)."""
    own = math.log(MEDIAN_SIGNAL) + ELEMENT_SD * rng.standard_normal(count)
    closed_share = rng.uniform(0, CLOSED_SHARE, count)  # from housekeeping to cell-type specific
    biosample_rng, closed_rng, donor_rng = rng.spawn(3)
    biosample = own + BIOSAMPLE_SD * biosample_rng.standard_normal((len(cohort.biosamples), count))
    biosample -= math.log(CLOSED_FOLD) * (closed_rng.random(biosample.shape) < closed_share)
    return biosample[cohort.biosample] + DONOR_SD * donor_rng.standard_normal((len(cohort.donors), count))


def write_peaks(folder: Path, world: World, noise_peaks: float, seed: np.random.SeedSequence) -> tuple[np.ndarray, np.ndarray]:
    """Call and write each sample's peaks; return the rule's sums (samples, genes) on the truth and on the calls."""
    folder.mkdir()
    genome, genes, elements, cohort, log_open = world
    free = free_cells(genome, elements)
    noise_count = min(round(noise_peaks * len(elements.summit)), len(free))
    true, called = np.empty((2, len(cohort.samples), len(genes.ids)))
    progress = Progress(len(cohort.samples), "samples")
    for number, (sample, child) in enumerate(zip(cohort.samples, seed.spawn(len(cohort.samples)), strict=True)):
        rng = np.random.default_rng(child)
        signal = np.exp(log_open[cohort.donor[number]] + REPLICATE_SD * rng.standard_normal(len(elements.summit)))
        calls = call_peaks(elements, signal, rng.choice(free, noise_count, replace=False), rng)
        true[number] = openness(genes.tss, elements.summit, signal)
        called[number] = openness(genes.tss, calls.summit[calls.main], calls.signal[calls.main])
        write_narrowpeak(folder / f"{sample}.narrowPeak.gz", genome, calls, sample)
        progress.step(number + 1)
    return true, called


def free_cells(genome: Genome, elements: Elements) -> np.ndarray:
    """Return the numbers of the cells of CELL_BP that no element's peak can touch."""
    free = np.ones(genome.starts[-1] // CELL_BP, bool)
    for side in (-MAX_HALF_BP - 100, MAX_HALF_BP + 100):  # 100: more than a summit moves between samples
        free[(elements.summit + side) // CELL_BP] = False
    return np.flatnonzero(free)


def call_peaks(elements: Elements, accessibility: np.ndarray, noise_cells: np.ndarray, rng: np.random.Generator) -> Calls:
    """Return one sample's peaks: of elements with this accessibility (elements,), and noise in each of the cells."""
    count = len(accessibility)
    signal = accessibility * np.exp(DEPTH_SD * rng.standard_normal() + CALL_SD * rng.standard_normal(count))
    summit = elements.summit + np.clip(np.rint(rng.normal(0, 20, count)), -80, 80).astype(np.int64)
    reach = np.clip(np.rint(elements.reach * rng.uniform(0.9, 1.1, (count, 2))), 100, MAX_HALF_BP).astype(np.int64)
    start, end = summit - reach[:, 0], summit + reach[:, 1]
    left, right = summit - reach[:, 0] * 3 // 5, summit + reach[:, 1] * 3 // 5
    weaker = signal[:, None] * elements.minor
    parts = (
        Calls(start, end, summit, signal, np.ones(count, bool)),
        Calls(start, end, left, weaker[:, 0], np.zeros(count, bool)),
        Calls(start, end, right, weaker[:, 1], np.zeros(count, bool)),
        call_noise(noise_cells, rng),
    )
    calls = Calls(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    calls = calls._replace(signal=np.round(calls.signal, 4))  # as written, so that the oracle sees the files' values
    order = np.lexsort((calls.summit, calls.start))
    order = order[calls.signal[order] >= THRESHOLD]
    return Calls(*(column[order] for column in calls))


def call_noise(cells: np.ndarray, rng: np.random.Generator) -> Calls:
    """Return a weak, narrow peak in each of these cells."""
    count = len(cells)
    summit = cells * CELL_BP + rng.integers(300, CELL_BP - 300, count)
    reach = rng.integers(100, 300, (count, 2))
    signal = THRESHOLD * (1 + rng.exponential(0.5, count))
    return Calls(summit - reach[:, 0], summit + reach[:, 1], summit, signal, np.ones(count, bool))


def openness(tss: np.ndarray, summit: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return the rule's sum for each gene; summits must be sorted."""
    gene, peak = pairs_within(tss, summit)
    weight = np.exp(-np.abs(summit[peak] - tss[gene]) / DECAY_BP)
    return np.bincount(gene, weight * (signal / (signal + HALF_SIGNAL))[peak], len(tss))


def pairs_within(tss: np.ndarray, summit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (gene, summit) of all pairs within WINDOW_BP; MARGIN_BP is wider, so no window leaves its chromosome."""
    first = np.searchsorted(summit, tss - WINDOW_BP, side="left")
    count = np.searchsorted(summit, tss + WINDOW_BP, side="right") - first
    gene = np.repeat(np.arange(len(tss)), count)
    return gene, np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)


def express(true: np.ndarray, called: np.ndarray, noise: float, rng: np.random.Generator) -> Expression:
    """Make TPM of the rule's sums (samples, genes): on the truth, with noise, and on the calls, without."""
    base_rng, order_rng, noise_rng = rng.spawn(3)
    base = base_rng.uniform(0, BASE_RANGE, true.shape[1])
    noise_sd = noise * NOISE_RATIO * GAIN * float(np.median(called.std(axis=0)))
    level = base + GAIN * true + noise_sd * noise_rng.standard_normal(true.shape)
    return Expression(to_tpm(level), to_tpm(base + GAIN * called), noise_sd, order_rng.permutation(true.shape[1]))


def to_tpm(level: np.ndarray) -> np.ndarray:
    """Scale 2^level (samples, genes) so that each sample sums to a million."""
    abundance = np.exp2(level)
    return 1e6 * abundance / abundance.sum(axis=1, keepdims=True)


def correlate(predicted: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return each gene's Pearson r over samples (samples, genes), NaN where one of the two is constant."""
    x, y = predicted - predicted.mean(axis=0), observed - observed.mean(axis=0)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(axis=0) / np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))


def write_narrowpeak(path: Path, genome: Genome, calls: Calls, sample: str) -> None:
    """Write one sample's rows with MACS's names: peak_7, or peak_8a and peak_8b for two summits of one peak."""
    chrom, start = genome.locate(calls.start)
    new = np.diff(calls.start, prepend=-1) > 0
    number = np.cumsum(new)
    several = np.bincount(number)[number] > 1
    letter = np.arange(len(number)) - np.flatnonzero(new)[number - 1]
    p_value = 3 * calls.signal  # -log10, as rises with the signal
    width, offset = calls.end - calls.start, calls.summit - calls.start
    columns = (chrom, start, width, number, several, letter, calls.signal, p_value, offset)
    lines = [
        f"{genome.names[c]}\t{s}\t{s + w}\t{sample}_peak_{n}{'abc'[i] if many else ''}\t{min(1000, int(10 * (p - 1)))}"
        f"\t.\t{signal:.4f}\t{p:.4f}\t{p - 1:.4f}\t{summit}\n"
        for c, s, w, n, many, i, signal, p, summit in zip(*(column.tolist() for column in columns), strict=True)
    ]
    path.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=6, mtime=0))


def write_genome(folder: Path, genome: Genome, genes: Genes) -> None:
    """Write chrom.sizes and genes.tsv."""
    lengths = zip(genome.names, np.diff(genome.starts), strict=True)
    (folder / "chrom.sizes").write_text("".join(f"{name}\t{length}\n" for name, length in lengths))
    chrom, tss = genome.locate(genes.tss)
    ids = [f"{identifier}.{version}" for identifier, version in zip(genes.ids, genes.versions, strict=True)]
    symbols = [f"SIM{number}" for number in range(1, len(ids) + 1)]
    strand = np.where(genes.strand > 0, "+", "-")
    rows = zip(ids, symbols, np.array(genome.names)[chrom], strand, tss, strict=True)
    write_table(folder / "genes.tsv", ["id", "symbol", "chrom", "strand", "tss"], rows)


def write_samplesheet(path: Path, cohort: Cohort) -> None:
    """Write samples.csv; replicates of a donor share a replicate group, batches cut across donors."""
    lines = ["sample,donor,biosample,replicate_group,batch,peaks"]
    for sample, donor, replicate in zip(cohort.samples, cohort.donor, cohort.replicate, strict=True):
        name, biosample = cohort.donors[donor], cohort.biosamples[cohort.biosample[donor]]
        batch = f"batch{(donor + replicate) % 2 + 1}"
        lines.append(f"{sample},{name},{biosample},{name},{batch},peaks/{sample}.narrowPeak.gz")
    path.write_text("\n".join(lines) + "\n")


def write_expression(folder: Path, genes: Genes, cohort: Cohort, expression: Expression) -> None:
    """Write expression.tsv.gz, which joins with genes.tsv only by id without version, and oracle.tsv.gz."""
    rows = [f"{genes.ids[gene]}.{genes.versions[gene] + 1}" for gene in expression.row_order]
    measured = expression.measured.T[expression.row_order]
    write_matrix(folder / "expression.tsv.gz", Matrix({}, "gene_id", rows, cohort.samples, measured))
    oracle = np.log2(expression.oracle.T + 1)
    write_matrix(folder / "oracle.tsv.gz", Matrix({}, "gene_id", genes.ids, cohort.samples, oracle))


def write_truth(path: Path, genome: Genome, genes: Genes, elements: Elements) -> int:
    """Write what each element in a gene's window weighs; return how many genes have just one planted element."""
    gene, element = pairs_within(genes.tss, elements.summit)
    distance = (elements.summit[element] - genes.tss[gene]) * genes.strand[gene]
    weight = np.exp(-np.abs(distance) / DECAY_BP)
    planted = np.abs(distance) <= PLANTED_BP
    single = np.bincount(gene, planted, len(genes.ids)) == 1
    chrom, summit = genome.locate(elements.summit[element])
    rows = (
        (genes.ids[g], genome.names[c], s, d, w, "planted" if near else "decoy", "yes" if single[g] else "no")
        for g, c, s, d, w, near in zip(gene, chrom, summit, distance, weight, planted, strict=True)
    )
    write_table(path, ["gene", "chrom", "summit", "distance_bp", "weight", "kind", "single"], rows)
    return int(single.sum())


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, renamed to it when the block ends well and removed when it does not."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"--out {path} exists already; remove it or name another folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror}; name a folder that can be made") from None
    try:
        yield temporary
        temporary.chmod(0o777 & ~umask())
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_parser() -> ArgumentParser:
    """Describe the command line."""
    parser = ArgumentParser(description=__doc__.split("\n")[0], formatter_class=ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--samples", type=int, default=40, help="samples, replicates included")
    add("--genes", type=int, default=600, help="genes, 60 to 100 kb apart")
    add("--chromosomes", type=int, default=4, help="chromosomes that share the genes evenly")
    add("--replicates", type=int, default=2, help="samples of each donor; the last donor may have fewer")
    add("--donors-per-biosample", type=int, default=2, help="donors of a biosample, fewer if under 3 biosamples")
    add("--noise-peaks", type=float, default=0.5, help="noise peaks a sample, times the elements")
    add("--noise", type=float, default=1.0, help="0 is none; at 1 the oracle's median r_sample is about 0.89")
    add("--seed", type=int, default=1, help="same seed and options: same bytes")
    add("--out", type=Path, required=True, help="folder to make")
    return parser


def main(options: Namespace) -> None:
    sizes = Sizes(*(getattr(options, name) for name in Sizes._fields))
    simulate_cohort(options.out, sizes, options.noise, options.seed)
    write_versions(options.versions, "numpy")


if __name__ == "__main__":
    run(main, make_parser())
