#!/usr/bin/env python3
"""Tile a locus with sequence networks: what a start site at every so many bases would be predicted to have, on both strands → two bigWigs."""

import argparse
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pyBigWig

from exprcast.cli import InputError, Progress, add_device_options, log, run, whole_folder, write_task
from exprcast.genome import open_genome
from exprcast.sequence_networks import Networks, add_network_options, load_networks
from exprcast.tables import chrom_aliases, few
from exprcast.windows import Site, along, bounds, encode, fetch

LOCUS = re.compile(r"(\S+):([\d,]{1,13})-([\d,]{1,13})")
FILES = {"+": "plus.bw", "-": "minus.bw"}
BLOCK = 256  # windows in memory at once


def track_locus(options: argparse.Namespace) -> None:
    """Write a folder with plus.bw and minus.bw; half-life features are those of an average mRNA."""
    if options.step < 1:
        raise InputError(f"--step {options.step}: from 1 bp up")
    networks = load_networks(options)
    label = choose_label(networks, options.label)
    with closing(open_genome(options.genome)) as fasta:
        sizes = dict(zip(fasta.references, fasta.lengths, strict=True))
        chrom, start, end = parse_locus(options.locus, sizes, options.genome.name)
        starts = np.arange(start, end - options.step + 1, options.step)
        if not len(starts):
            raise InputError(f"--locus {options.locus}: {end - start:,} bp are less than one step of {options.step:,} bp")
        reach = max(networks.window.upstream_bp, networks.window.downstream_bp)
        origin = start - reach
        bases = fetch(fasta, chrom, origin, end + reach)
    values = {strand: tile(networks, label, bases, chrom, strand, starts + options.step // 2 - origin) for strand in FILES}
    if all(np.isnan(one).all() for one in values.values()):
        raise InputError(
            f"--locus {options.locus}: no base around it is known (all are N); is {options.genome.name} masked, or a piece of a genome?"
        )
    with whole_folder(options.out) as folder:
        for strand, name in FILES.items():
            write_track(folder / name, sizes, chrom, starts, options.step, values[strand])
    empty = int(np.isnan(values["+"]).sum())
    log.info(f"{options.locus}: {len(starts):,} steps of {options.step:,} bp, {empty:,} of them without a known base and without a value")


def tile(networks: Networks, label: int, bases: bytes, chrom: str, strand: str, places: np.ndarray) -> np.ndarray:
    """Return (places,) mean predictions of start sites at these places in `bases`; NaN where a window is N throughout."""
    window, values, progress = networks.window, np.empty(len(places)), Progress(len(places), f"{chrom} {strand}: windows predicted")
    for first in range(0, len(places), BLOCK):
        part = [Site("", chrom, strand, place) for place in places[first : first + BLOCK].tolist()]
        edges = [bounds(site, window.upstream_bp, window.downstream_bp) for site in part]
        codes = np.stack([encode(along(bases[low:high], strand)) for low, high in edges])
        values[first : first + len(part)] = networks.predict(codes)[:, :, label].mean(axis=0)
        progress.step(first + len(part))
    return values


def choose_label(networks: Networks, wanted: str | None) -> int:
    """Return the number of the label that is drawn: the only one, or the one that was asked for."""
    labels = networks.window.labels
    if wanted is None and len(labels) == 1:
        return 0
    if wanted not in labels:
        raise InputError(f"--label {wanted or ''}: choose one of {', '.join(labels)}")
    return labels.index(wanted)


def parse_locus(text: str, sizes: dict[str, int], genome: str) -> tuple[str, int, int]:
    """Return (the genome's name of the chromosome, 0-based start, end) of chrom:first-last, both counted from 1 as in genome browsers."""
    match, aliases = LOCUS.fullmatch(text), chrom_aliases(sizes)
    if match is None:
        raise InputError(f"--locus '{text[:60]}': write it as chr21:15500001-15600000")
    if match[1] not in aliases:
        raise InputError(f"--locus {text}: chromosome {match[1]} is not in {genome}, which has {few(sizes)}")
    chrom, first, last = aliases[match[1]], *(int(match[number].replace(",", "") or 0) for number in (2, 3))
    if not 1 <= first <= last <= sizes[chrom]:
        raise InputError(f"--locus {text}: {chrom} has the bases 1 to {sizes[chrom]:,} in {genome}, and the first stands before the last")
    return chrom, first - 1, last


def write_track(path: Path, sizes: dict[str, int], chrom: str, starts: np.ndarray, step: int, values: np.ndarray) -> None:
    """Write one value a step as bigWig; steps without one are left out."""
    known = ~np.isnan(values)
    places = starts[known]
    with pyBigWig.open(str(path), "w") as track:
        track.addHeader(list(sizes.items()))
        if len(places):
            track.addEntries([chrom] * len(places), places.tolist(), ends=(places + step).tolist(), values=values[known].tolist())


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_network_options(parser)
    parser.add_argument("--genome", type=Path, required=True, help="FASTA of index_genome.py, its indexes beside it")
    parser.add_argument("--locus", required=True, help="chrom:first-last, counted from 1; a last step that is not whole is left out")
    parser.add_argument(
        "--step", type=int, default=100, help="bp from one start site to the next, and of an interval (default: %(default)s)"
    )
    parser.add_argument("--label", help="which label is drawn, where the networks predict several")
    add_device_options(parser, "device", "threads")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make: plus.bw and minus.bw, start sites on either strand")
    return parser


def main(options: argparse.Namespace) -> None:
    """Tile, then say with what."""
    track_locus(options)
    write_task(options.task_out, "torch", "lightning-fabric", "numpy", "h5py", "pysam", "pyBigWig")


if __name__ == "__main__":
    run(main, parse_args())
