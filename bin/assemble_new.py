#!/usr/bin/env python3
"""Join tables of new samples into a dataset that a bundle can predict: its genes, start sites and chromosomes, their open bins and RNA, if any."""

import argparse
from pathlib import Path

import h5py
import numpy as np

from exprcast.assembly import SAMPLE_COLUMNS, read_gene_matrix, read_samples, write_bins
from exprcast.bundle import Bundle
from exprcast.cli import InputError, log, run, write_task
from exprcast.dataset import TEST, Dataset, create_dataset, write_array
from exprcast.tables import few

COPIED = ("genes", "tss", "chromosomes", "promoters")  # of training's dataset


def assemble_new(options: argparse.Namespace) -> None:
    """Write the dataset; every sample of the sheet is to be predicted."""
    bundle = Bundle(options.bundle)
    training, samples = bundle.training, read_samples(options.samples)
    facts = {name: str(training.file.attrs[name]) for name in ("assembly", "annotation")}
    with create_dataset(options.out, **facts, code=options.code, sources="{}") as file:
        for column in SAMPLE_COLUMNS:
            write_array(file, f"samples/{column}", samples[column])
        for group in COPIED:
            if training.has(group):
                training.file.copy(group, file)
        write_bins(file, options.bins, samples["id"])
        refuse_other_bins(file, bundle)
        measured = write_expression(file, options.expression, samples["id"], training) if options.expression else 0
        roles = {"hold_out": "samples", "scheme": "samples; all are new", "promised": "", "seed": 0}
        write_array(file, "folds/sample_role", np.full((1, len(samples["id"])), TEST), **roles)
        write_array(file, "folds/gene_role", np.zeros((1, len(training.genes)), dtype=int))
    log.info(f"{len(samples['id']):,} new samples, RNA of {measured:,} of them, {len(training.genes):,} genes of bundle {bundle.path.name}")


def refuse_other_bins(file: h5py.File, bundle: Bundle) -> None:
    """Raise InputError if the bins are not made as those that were trained on."""
    made, own = dict(file["accessibility/bin"].attrs), bundle.content
    if (made["bin_bp"], made["source"]) != (own["bin_bp"], own["bin_source"]):
        ours, theirs = f"{own['bin_bp']} bp of {own['bin_source']}", f"{made['bin_bp']} bp of {made['source']}"
        hint = "give the same kind of files (peaks, or also signal) and the same --exclude as in training"
        raise InputError(f"bundle {bundle.path.name} was trained on bins of {ours}, the new samples have bins of {theirs}; {hint}")


def write_expression(file: h5py.File, path: Path, samples: list[str], training: Dataset) -> int:
    """Write (samples, genes) values, NaN where the table has none; return how many samples it has."""
    matrix, unit = read_gene_matrix([path]), training.unit("expression/gene")
    given = matrix.attributes.get("unit", "tpm")
    if given != unit:
        raise InputError(f"{path.name} is in {given}, the bundle was trained on {unit}; give the same with --expression_unit")
    column, row = ({name: i for i, name in enumerate(names)} for names in (matrix.columns, matrix.rows))
    known, found = [sample in column for sample in samples], [row.get(gene, -1) for gene in training.genes]
    if not any(known):
        raise InputError(
            f"{path.name}: no column for any new sample ({few(samples)}); it has {few(matrix.columns)}; leave out --expression, or name them alike"
        )
    shared = sum(place >= 0 for place in found)
    if not shared:
        raise InputError(
            f"{path.name}: none of the bundle's genes ({few(training.genes)}) is in it; it has {few(matrix.rows)}; are these the same kind of id?"
        )
    log.info(f"{path.name}: {shared:,} of {len(found):,} genes of the bundle are measured")
    values = np.full((len(samples), len(found)), np.nan)
    columns = [column[sample] for sample in samples if sample in column]
    values[np.ix_(known, np.array(found) >= 0)] = matrix.values[np.ix_([place for place in found if place >= 0], columns)].T
    write_array(file, "expression/gene", values, unit=unit)
    return sum(known)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="models/‹family› of a finished run")
    parser.add_argument("--samples", type=Path, required=True, help=f"TSV: {', '.join(SAMPLE_COLUMNS)}")
    parser.add_argument("--bins", type=Path, nargs="+", required=True, help="what bin_peaks.py wrote, one file a sample")
    parser.add_argument(
        "--expression", type=Path, help="RNA of new samples, to score predictions by: genes × samples, from collect_expression.py"
    )
    parser.add_argument("--out", type=Path, required=True, help="dataset.h5 of the new samples")
    return parser


def main(options: argparse.Namespace) -> None:
    """Assemble, then say with what."""
    assemble_new(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
