#!/usr/bin/env python3
"""Lay what each base adds to its gene's prediction along the genome: attributions of one family, dataset.h5 → a bigWig."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pyBigWig

from exprcast.cli import InputError, Progress, log, run, whole_file, write_task
from exprcast.dataset import Dataset, open_hdf5
from exprcast.sequence import N

Rows = dict[str, list[tuple[h5py.File, int]]]  # gene → its row in each file that explains it


class Site(NamedTuple):
    """A gene's default start site."""

    gene: str
    strand: str
    position: int  # 0-based


def track_shares(options: argparse.Namespace) -> None:
    """Write shares along the genome, the mean over the networks that held a gene out; no file where no gene's place is known."""
    dataset = Dataset(options.dataset)
    with ExitStack() as stack:
        files = [stack.enter_context(open_shares(path)) for path in sorted(options.attributions, key=lambda path: path.name)]
        rows, flank_bp = explained_rows(files, dataset), one_window(files)
        sites = placed_genes(dataset, rows)
        placed = sum(map(len, sites.values()))
        log.info(f"{placed:,} of {len(rows):,} explained genes have a place on the genome" + ("" if placed else ": no track is written"))
        if placed:
            write_track(options.out, dataset.chrom_sizes, sites, rows, flank_bp)


def open_shares(path: Path) -> h5py.File:
    """Open a file of attributions that lie along bases."""
    file = open_hdf5(path, "attributions")
    if "sequence" not in file or "shares/window" not in file:
        raise InputError(f"{path.name}: no shares of bases in it; give what attribute.py wrote of a family that reads sequence")
    return file


def one_window(files: Sequence[h5py.File]) -> int:
    """Return which base of the explained windows is the start site, from 0."""
    windows = {(file.attrs["family"], int(file.attrs["bins"]), int(file.attrs["flank_bp"])) for file in files}
    if len(windows) > 1:
        raise InputError(f"attributions of several families or windows ({len(windows)}); give those of one family of one run")
    return windows.pop()[2]


def explained_rows(files: Sequence[h5py.File], dataset: Dataset) -> Rows:
    """Return where each explained gene's shares stand, one place a network."""
    known, rows = set(dataset.genes), {}
    for file in files:
        for row, gene in enumerate(file["column"].asstr()[:]):
            if gene not in known:
                raise InputError(
                    f"{Path(file.filename).name} explains gene {gene}, which {dataset.path.name} lacks; give the dataset of this run"
                )
            rows.setdefault(gene, []).append((file, row))
    return rows


def placed_genes(dataset: Dataset, rows: Rows) -> dict[str, list[Site]]:
    """Return {chromosome: its explained genes that have a strand and a start site}, in the dataset's order."""
    position: dict[int, int] = {}
    pairs = zip(dataset.array("tss/gene").tolist(), dataset.array("tss/position").tolist(), strict=True) if dataset.has("tss/gene") else ()
    for gene, place in pairs:
        position.setdefault(gene, place)  # the default stands first
    sites: dict[str, list[Site]] = {}
    for number, (gene, chrom, strand) in enumerate(
        zip(dataset.genes, dataset.text("genes/chrom"), dataset.text("genes/strand"), strict=True)
    ):
        if gene in rows and number in position and strand in ("+", "-"):
            sites.setdefault(chrom, []).append(Site(gene, strand, position[number]))
    return sites


def write_track(path: Path, sizes: dict[str, int], sites: dict[str, list[Site]], rows: Rows, flank_bp: int) -> None:
    """Write a bigWig, chromosome by chromosome."""
    progress = Progress(len(sites), "chromosomes with shares")
    with whole_file(path) as temporary, pyBigWig.open(str(temporary), "w") as track:
        track.addHeader(list(sizes.items()))
        for done, chrom in enumerate((chrom for chrom in sizes if chrom in sites), start=1):
            for start, values in runs(*shares_along(sites[chrom], rows, flank_bp, sizes[chrom])):
                track.addEntries(chrom, start, values=values.tolist(), span=1, step=1)
            progress.step(done)


def shares_along(sites: Sequence[Site], rows: Rows, flank_bp: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (bases,) positions on a chromosome, ascending, and shares; where windows overlap the larger absolute share stands, then the first gene's.

    Unknown bases (N, also beyond the chromosome's ends) have no share.
    """
    positions, shares = [], []
    for site in sites:
        found = rows[site.gene]
        codes = found[0][0]["sequence"][found[0][1]]
        share = np.mean([file["shares/window"][row] for file, row in found], axis=0)
        distance = np.arange(len(share)) - flank_bp  # along the gene
        position = site.position + (distance if site.strand == "+" else -distance)
        known = (codes != N) & (position >= 0) & (position < size)
        positions.append(position[known])
        shares.append(share[known])
    position, share = np.concatenate(positions), np.concatenate(shares)
    order = np.lexsort((-np.abs(share), position))
    position, first = np.unique(position[order], return_index=True)
    return position, share[order][first]


def runs(position: np.ndarray, share: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield where each unbroken stretch of bases starts, and its shares."""
    breaks = np.flatnonzero(np.diff(position) > 1) + 1
    for stretch in np.split(np.arange(len(position)), breaks) if len(position) else ():
        yield int(position[stretch[0]]), share[stretch]


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--attributions", type=Path, nargs="+", required=True, help="what attribute.py wrote: all folds and seeds of one family"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.h5: start sites, strands and chromosome sizes")
    parser.add_argument("--out", type=Path, required=True, help="bigWig: what each base adds to the prediction of its gene")
    return parser


def main(options: argparse.Namespace) -> None:
    """Lay out, then say with what."""
    track_shares(options)
    write_task(options.task_out, "numpy", "h5py", "pyBigWig")


if __name__ == "__main__":
    run(main, parse_args())
