#!/usr/bin/env python3
"""Predict sequences, start sites or variants with trained sequence networks: FASTA, BED and genome, or VCF → a table of predictions."""

import argparse
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pysam

from exprcast.bundle import Bundle
from exprcast.cli import InputError, Progress, add_device_options, log, run, write_task
from exprcast.families.xpresso import HALFLIFE, transformed
from exprcast.genome import open_genome
from exprcast.sequence import N
from exprcast.sequence_networks import Networks, add_network_options, load_networks, mean_and_sd
from exprcast.tables import few, read_lines, read_matrix, refuse_duplicates, strip_version, write_table
from exprcast.variants import CAVEAT, Variant, Windows, distance_to_tss, read_variants, with_alternative
from exprcast.windows import Site, along, bounds, encode, fetch, read_sites

BLOCK = 256  # windows in memory at once
BASES = b"ACGTNRYSWKMBDHVacgtnryswkmbdhv"  # IUPAC's codes for DNA
TSS_IN_HEADER = re.compile(r"\stss=(\d{1,9})(?:\s|$)")
COLUMNS = ("id", "label", "predicted", "sd", "n_networks")
VARIANT_COLUMNS = (
    "variant",
    "chrom",
    "pos",
    "ref",
    "alt",
    "site",
    "distance_to_tss",
    "label",
    "reference",
    "alternative",
    "difference",
    "sd",
)


class Halflife:
    """Half-life features by gene id, scaled as the networks' family scales them before z-scores."""

    def __init__(self, path: Path, bundle: Bundle) -> None:
        table, trained = read_matrix(path), bundle.training
        if not trained.has(HALFLIFE):
            raise InputError(f"--halflife: bundle {bundle.path.name} was trained without half-life features; leave the table out")
        attributes = trained.file[HALFLIFE].attrs
        names, scale = [str(name) for name in attributes["name"]], str(attributes["scale"])
        lacking = [name for name in names if name not in table.columns]
        if lacking or table.attributes.get("scale") != scale:
            told = f"columns {few(table.columns)}, scale {table.attributes.get('scale')}"
            raise InputError(f"{path.name}: it has {told}; bundle {bundle.path.name} was trained on {few(names)}, scale {scale}")
        refuse_duplicates(table.rows, f"{path.name}: gene")
        self.path, self.values = path, transformed(table.values[:, [table.columns.index(name) for name in names]], scale)
        self.row = {strip_version(gene): number for number, gene in enumerate(table.rows)}

    def of(self, names: list[str]) -> np.ndarray:
        """Return (names, features), NaN of genes that the table lacks; that it lacks all of them is an InputError."""
        rows = [self.row.get(strip_version(name)) for name in names]
        if all(row is None for row in rows):
            raise InputError(f"{self.path.name}: no gene of it is asked for: it has {few(self.row)}; asked for are {few(names)}")
        values = np.array([self.values[row] if row is not None else np.full(self.values.shape[1], np.nan) for row in rows])
        unknown = int(np.isnan(values).any(axis=1).sum())
        log.info(f"half-life features of {len(names) - unknown:,} of {len(names):,} genes; {unknown:,} without them are NA")
        return values


def apply_sequence(options: argparse.Namespace) -> None:
    """Predict what was asked for and write one row an id (or variant and site) and label."""
    refuse_odd_options(options)
    networks = load_networks(options)
    if options.sequences:
        names, windows = read_windows(options.sequences, networks, options.tss_index)
        halflife = halflife_of(options, names)
        blocks = (np.stack(windows[start : start + BLOCK]) for start in range(0, len(windows), BLOCK))
        write_predictions(options.out, names, networks, predict_blocks(networks, blocks, names, halflife))
        return
    with closing(open_genome(options.genome)) as fasta:
        sites = read_sites(options.sites, dict(zip(fasta.references, fasta.lengths, strict=True)), options.genome.name)
        if options.variants:
            write_differences(options, networks, fasta, sites)
        else:
            names = [site.name for site in sites]
            halflife = halflife_of(options, names)
            write_predictions(options.out, names, networks, predict_blocks(networks, site_windows(fasta, sites, networks), names, halflife))


def refuse_odd_options(options: argparse.Namespace) -> None:
    """Raise InputError for options that do not go together."""
    if bool(options.sites) != bool(options.genome):
        raise InputError("--sites and --genome belong together: the start sites, and the bases around them")
    if options.variants and not options.sites:
        raise InputError("--variants needs --sites and --genome: the start sites whose predictions change")
    if options.tss_index is not None and not options.sequences:
        raise InputError("--tss-index is for --sequences; the start sites of --sites are known")
    if options.halflife and not options.bundle:
        raise InputError("--halflife needs --bundle: which features the published weights read is not known, they get zeros")


def halflife_of(options: argparse.Namespace, names: list[str]) -> np.ndarray | None:
    """Return (names, features), None for an average mRNA of each."""
    if options.halflife:
        return Halflife(options.halflife, Bundle(options.bundle)).of(names)
    log.info("no half-life features: each mRNA counts as an average one (zeros)")
    return None


def read_windows(path: Path, networks: Networks, tss_index: int | None) -> tuple[list[str], list[np.ndarray]]:
    """Return the records' names in order, and their windows as codes."""
    windows: dict[str, np.ndarray] = {}
    for header, bases in records(path):
        name = header.split()[0]
        if name in windows:
            raise InputError(f"{path.name}: record {name} occurs twice; each name may stand once")
        told = TSS_IN_HEADER.search(header)
        windows[name] = cut(
            encode(bases), networks, int(told[1]) if told and tss_index is None else tss_index, f"{path.name}: record {name}"
        )
    names = sorted(windows)
    return names, [windows[name] for name in names]


def records(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (header without `>`, bases) of each record of a FASTA."""
    header, parts, empty = "", [], True
    for number, line in read_lines(path):
        if line.startswith(">"):
            if not empty:
                yield header, b"".join(parts)
            header, parts, empty = line[1:], [], False
            if not header.split() or header[0].isspace():
                raise InputError(f"{path.name} line {number}: no name behind '>'")
            continue
        bases = line.strip().encode()
        odd = bases.translate(None, BASES)
        if odd or (empty and bases):
            what = "this is no FASTA, which begins with '>'" if empty else f"'{odd.decode()[:1]}' is no base; is this a protein?"
            raise InputError(f"{path.name} line {number}: {what}")
        parts.append(bases)
    if empty:
        raise InputError(f"{path.name}: no record in the file")
    yield header, b"".join(parts)


def cut(codes: np.ndarray, networks: Networks, tss: int | None, where: str) -> np.ndarray:
    """Return the codes of the window around base number `tss` with its margins, N where the record has no more bases."""
    window = networks.window
    if tss is None and len(codes) == window.width:
        tss = window.tss
    start = (tss or 0) - window.tss
    if tss is None or start < 0 or start + window.width > len(codes):
        told = f"{where} has {len(codes):,} bases" + (f", its start site is number {tss:,}" if tss is not None else "")
        whole = f"the networks read {window.width:,} bases, {window.tss:,} of them before the start site"
        raise InputError(f"{told}; {whole}; give such sequences" + (", or longer ones with --tss-index" if tss is None else ""))
    low, high = start - window.margin, start + window.width + window.margin
    inside = codes[max(low, 0) : high]
    return np.pad(inside, (max(-low, 0), max(high - len(codes), 0)), constant_values=N)


def site_windows(fasta: pysam.FastaFile, sites: list[Site], networks: Networks) -> Iterator[np.ndarray]:
    """Yield (block, bases with margins) codes around start sites."""
    window = networks.window
    for start in range(0, len(sites), BLOCK):
        part = [(site, bounds(site, window.upstream_bp, window.downstream_bp)) for site in sites[start : start + BLOCK]]
        yield np.stack([encode(along(fetch(fasta, site.chrom, low, high), site.strand)) for site, (low, high) in part])


def predict_blocks(networks: Networks, blocks: Iterator[np.ndarray], names: list[str], halflife: np.ndarray | None) -> np.ndarray:
    """Return (networks, names, labels); a log line says which windows hold N only, and how much of all is N."""
    progress, parts, unknown, empty, done = Progress(len(names), "windows predicted"), [], 0, [], 0
    for codes in blocks:
        parts.append(networks.predict(codes, None if halflife is None else halflife[done : done + len(codes)]))
        n = codes == N
        empty += [names[done + number] for number in np.flatnonzero(n.all(axis=1))]
        unknown, done = unknown + int(n.sum()), done + len(codes)
        progress.step(done)
    log.info(f"{len(names):,} windows; {unknown / (len(names) * codes.shape[1]):.2%} of their bases are N")
    if empty:
        log.warning(f"warning: {len(empty):,} windows are N throughout and are NA: {few(empty)}")
    return np.concatenate(parts, axis=1)


def write_predictions(out: Path, names: list[str], networks: Networks, predicted: np.ndarray) -> None:
    """Write the mean over networks and its deviation, ids in order."""
    mean, sd = mean_and_sd(predicted)
    rows = (
        (names[number], label, mean[number, column], sd[number, column], len(networks))
        for number in sorted(range(len(names)), key=names.__getitem__)
        for column, label in enumerate(networks.window.labels)
    )
    write_table(out, COLUMNS, rows, {"unit": networks.window.unit})


def write_differences(options: argparse.Namespace, networks: Networks, fasta: pysam.FastaFile, sites: list[Site]) -> None:
    """Write what each variant changes at each start site in whose window it lies."""
    window = networks.window
    windows = Windows(sites, window.tss, window.width - window.tss)
    variants, others = read_variants(options.variants, fasta, options.genome.name, windows)
    for kind, count in sorted(others.items()):
        log.info(f"alleles left out, {kind}: {count:,}")
    numbered = [(variant, windows.over(variant.chrom, variant.position, variant.end)) for variant in variants]
    touched = sorted({number for _, numbers in numbered for number in numbers})
    place = {number: row for row, number in enumerate(touched)}
    sites = [sites[number] for number in touched]
    pairs = [(variant, place[number]) for variant, numbers in numbered for number in sorted(numbers)]
    if not pairs:
        log.warning(
            f"warning: no allele of {options.variants.name} can be predicted: none lies in the window of a start site, or see above"
        )
    log.warning(f"warning: {CAVEAT}")
    names = [site.name for site in sites]
    halflife = halflife_of(options, names) if sites else None
    reference = predict_blocks(networks, site_windows(fasta, sites, networks), names, halflife) if sites else None
    rows = difference_rows(networks, fasta, sites, pairs, reference, halflife)
    write_table(options.out, VARIANT_COLUMNS, rows, {"caveat": CAVEAT, "unit": window.unit, "n_networks": str(len(networks))})


def difference_rows(
    networks: Networks, fasta: pysam.FastaFile, sites: list[Site], pairs: list[tuple[Variant, int]], reference: np.ndarray, halflife: np.ndarray | None
) -> Iterator[tuple]:  # fmt: skip
    """Yield the table's rows; `reference` are (networks, sites, labels) predictions with reference alleles."""
    window, progress = networks.window, Progress(len(pairs), "variants predicted")
    for start in range(0, len(pairs), BLOCK):
        part = pairs[start : start + BLOCK]
        rows, codes = [row for _, row in part], []
        for variant, row in part:
            low, high = bounds(sites[row], window.upstream_bp, window.downstream_bp)
            codes.append(encode(along(with_alternative(fasta, sites[row], variant, low, high), sites[row].strand)))
        alternative = networks.predict(np.stack(codes), None if halflife is None else halflife[rows])
        means = [mean_and_sd(values)[0] for values in (reference[:, rows], alternative)]
        difference, sd = mean_and_sd(alternative.astype(np.float64) - reference[:, rows])
        for i, (one, row) in enumerate(part):
            told = (
                f"{one.chrom}:{one.position + 1}:{one.reference}:{one.alternative}" if one.name == "." else one.name,
                one.chrom,
                one.position + 1,
            )
            what = (one.reference, one.alternative, sites[row].name, distance_to_tss(sites[row], one))
            for column, label in enumerate(window.labels):
                yield *told, *what, label, *(values[i, column] for values in (*means, difference, sd))
        progress.step(start + len(part))


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_network_options(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sequences", type=Path, help="FASTA, one promoter a record, read along the gene's strand")
    source.add_argument("--sites", type=Path, help="BED6: start sites as intervals of one base, with strand")
    parser.add_argument(
        "--tss-index", type=int, help="number of the start site in each record, from 0 (default: tss= in its header, else the networks')"
    )
    parser.add_argument("--genome", type=Path, help="FASTA of index_genome.py, its indexes beside it; for --sites")
    parser.add_argument(
        "--variants", type=Path, help="VCF: predict its alleles in the windows of --sites; pos of the table is counted from 1"
    )
    parser.add_argument(
        "--halflife", type=Path, help="halflife.tsv.gz: half-life features by gene, the ids of sequences or sites; for --bundle"
    )
    add_device_options(parser, "device", "threads")
    parser.add_argument("--out", type=Path, required=True, help="TSV (gzip if so named), one row an id and label")
    return parser


def main(options: argparse.Namespace) -> None:
    """Apply, then say with what."""
    apply_sequence(options)
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py", "pysam")


if __name__ == "__main__":
    run(main, parse_args())
