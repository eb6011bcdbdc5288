#!/usr/bin/env python3
"""Compare every file of some bundles with its digest before anything of them is used, and write the genome that they were trained on."""

import argparse
from pathlib import Path

from exprcast.bundle import ENSEMBLE, WEIGHTS, Bundle
from exprcast.cli import InputError, log, run, whole_file, write_task

ALIKE = ("assembly", "bin_bp", "bin_source", "gene_list", "folds")  # what bundles of one run share


def check_bundle(options: argparse.Namespace) -> None:
    """Check all, then write the chromosomes of the first one's dataset."""
    bundles = [Bundle(path) for path in options.bundles]
    for bundle in bundles:
        bundle.check_all()
        refuse_stranger(bundle, bundles[0])
    sizes = bundles[0].training.chrom_sizes
    with whole_file(options.out) as temporary:
        temporary.write_text("".join(f"{name}\t{size}\n" for name, size in sizes.items()), encoding="utf-8")
    log.info(f"{len(bundles)} bundles are whole: {', '.join(bundle.path.name for bundle in bundles)}")


def refuse_stranger(bundle: Bundle, first: Bundle) -> None:
    """Raise InputError if a bundle was made by another run than the first one, as far as their facts tell."""
    differing = [key for key in ALIKE if bundle.content[key] != first.content[key]]
    if differing:
        ours, theirs = (str(one.content[differing[0]])[:60] for one in (first, bundle))
        both = f"{first.path.name} and {bundle.path.name}"
        raise InputError(f"bundles {both} are not of one run: {differing[0]} is {ours} and {theirs}; apply them one after the other")
    if bundle.family == ENSEMBLE and WEIGHTS not in bundle:
        raise InputError(f"bundle {bundle.path.name}: it has no {WEIGHTS}; copy the whole folder again")


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundles", type=Path, nargs="+", required=True, help="models/‹family› of a finished run, one or more")
    parser.add_argument("--out", type=Path, required=True, help="chromosome<TAB>bp of the genome that was trained on")
    return parser


def main(options: argparse.Namespace) -> None:
    """Check, then say with what."""
    check_bundle(options)
    write_task(options.task_out, "h5py")


if __name__ == "__main__":
    run(main, parse_args())
