#!/usr/bin/env python3
"""Join imported matrices into one dataset: the main one, which is trained on, and external sets → dataset.h5 with a fold of their own."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.assembly import SAMPLE_COLUMNS, read_samples, refuse_undetected
from exprcast.cli import InputError, Progress, log, run, write_task
from exprcast.dataset import TEST, TRAIN, VALID, create_dataset, write_array
from exprcast.fold_table import read_fold_table, table_folds
from exprcast.folds import add_external_fold, group_samples, make_folds, promises, refuse_unknown_groups
from exprcast.tables import RAW_UNITS, read_table, write_table

GENE_COLUMNS = ("id", "symbol", "chrom", "strand", "biotype")
LISTS = {"lists/landmark": "landmarks", "lists/target": "targets"}
ROLES = {"test": TEST, "choose": VALID}
BLOCK = 1024  # samples in memory at once


class Matrix(NamedTuple):
    """What import_matrix.py left in a folder; the numbers stay in its file."""

    path: Path  # of matrix.h5
    name: str  # of the set, "" for the main matrix
    role: int  # of its samples in the fold of external sets
    unit: str
    samples: dict[str, list[str]]  # columns, sorted by id
    genes: list[str]


def assemble_matrices(options: argparse.Namespace) -> None:
    """Read all tables, check that sets fit together, and write the file, a block of samples in memory at a time."""
    main = read_imported(options.main, "", TRAIN)
    sets = [
        read_imported(Path(folder), Path(folder).name, ROLES[role])
        for role, folder in sorted(options.external, key=lambda one: Path(one[1]).name)
    ]
    genes = {column: [row[column] for _, row in read_table(options.main / "genes.tsv", GENE_COLUMNS)] for column in GENE_COLUMNS}
    lists = read_lists(options.main / "lists.tsv", main.genes)
    for one in sets:
        report_overlap(one, main, lists)
    samples = join_samples([main, *sets])
    roles = split(options, main, samples, sets)
    with create_dataset(options.out, assembly="unknown", annotation="unknown", code=options.code, sources="{}") as file:
        for column in (*SAMPLE_COLUMNS, *(("set", "unit") if sets else ())):
            write_array(file, f"samples/{column}", samples[column])
        for column, values in genes.items():
            write_array(file, f"genes/{column}", values)
        write_array(file, "chromosomes/name", sorted(set(genes["chrom"])))
        write_array(file, "chromosomes/size", np.ones(len(set(genes["chrom"]))))
        for key, member in lists.items():
            write_array(file, key, member)
        write_expression(file, [main, *sets], samples["id"], main.genes, options.min_detected)
        promised = ",".join(promises("samples", options.group_by, "", ("expression/gene",)))
        write_array(
            file, "folds/sample_role", roles, hold_out="samples", scheme=scheme(options, sets), promised=promised, seed=options.seed
        )
        write_array(file, "folds/gene_role", np.full((len(roles), len(main.genes)), TRAIN))
    write_sets(options.sets_out, [main, *sets], lists, main.genes)
    log.info(f"{len(samples['id']):,} samples, {len(main.genes):,} genes, {len(roles)} folds of {scheme(options, sets)}")


def read_imported(folder: Path, name: str, role: int) -> Matrix:
    """Read the tables beside a matrix, and its ids; an external set's groups are its own, whatever they are called elsewhere."""
    samples = read_samples(folder / "samples.tsv", any_id=True)
    for column in SAMPLE_COLUMNS[1:]:
        samples[column] = [f"{name}:{value}" if name and value else value for value in samples[column]]
    with h5py.File(folder / "matrix.h5") as file:
        return Matrix(folder / "matrix.h5", name, role, str(file["value"].attrs["unit"]), samples, list(file["genes/id"].asstr()[:]))


def read_lists(path: Path, genes: list[str]) -> dict[str, np.ndarray]:
    """Return {entry of the dataset: (genes,) 1 for a gene that is on the list}; neither list may be empty."""
    member = {row["gene"]: row["list"] for _, row in read_table(path, ("gene", "list"))}
    lists = {key: np.array([member.get(gene) == name for gene in genes], dtype=np.uint8) for key, name in LISTS.items()}
    for key, values in lists.items():
        if not values.any():
            raise InputError(f"no gene of --{LISTS[key]} is left in the matrix; left_out.tsv says why; are these the right lists?")
    return lists


def report_overlap(matrix: Matrix, main: Matrix, lists: dict[str, np.ndarray]) -> None:
    """Say how many of the main matrix's landmarks and targets an external set has; without half of the former or any of the latter it is refused."""
    here = np.isin(main.genes, matrix.genes)
    found = {name: (int(here[lists[key] == 1].sum()), int(lists[key].sum())) for key, name in LISTS.items()}
    said = " and ".join(f"{count:,} of {total:,} {name}" for name, (count, total) in found.items())
    if 2 * found["landmarks"][0] < found["landmarks"][1] or not found["targets"][0]:
        raise InputError(
            f"--external {matrix.name}: it has {said} of the main matrix; half of the landmarks and a target are needed at least"
        )
    log.info(f"{matrix.name}: {said} of the main matrix; what it lacks is NaN")


def join_samples(matrices: list[Matrix]) -> dict[str, list[str]]:
    """Return the columns of all samples, sorted by id, with set and unit; a sample of two sets is refused."""
    owner: dict[str, Matrix] = {}
    for matrix in matrices:
        twice = next((sample for sample in matrix.samples["id"] if sample in owner), None)
        if twice is not None:
            sets = " and ".join(one.name or "the main matrix" for one in (owner[twice], matrix))
            raise InputError(f"sample {twice} is in {sets}: it would be trained on and tested; give each sample once")
        owner |= dict.fromkeys(matrix.samples["id"], matrix)
    columns = {name: [value for matrix in matrices for value in matrix.samples[name]] for name in SAMPLE_COLUMNS}
    columns |= {"set": [matrix.name for matrix in owner.values()], "unit": [matrix.unit for matrix in owner.values()]}
    order = sorted(range(len(owner)), key=columns["id"].__getitem__)
    return {name: [values[i] for i in order] for name, values in columns.items()}


def split(options: argparse.Namespace, main: Matrix, samples: dict[str, list[str]], sets: list[Matrix]) -> np.ndarray:
    """Return (folds, samples) roles: folds of the main matrix, by a table or made, and one more where there are external sets."""
    ids = main.samples["id"]
    groups = ids if options.group_by == ["random"] else group_samples({by: main.samples[by] for by in options.group_by})
    if options.fold_table:
        roles = table_folds(read_fold_table(options.fold_table), ids, main.genes, "samples")[0]
    else:
        if options.group_by == ["random"]:
            log.warning("warning: a random split: test and training may share donors or series, and the scores be too good")
        roles = make_folds(groups, main.genes, "samples", options.folds, 0, options.seed)[0]
    if not sets:
        return roles
    role_of = {one.name: one.role for one in sets}
    return add_external_fold(roles, groups, np.array([role_of.get(name, TRAIN) for name in samples["set"]], dtype=np.uint8), options.seed)


def scheme(options: argparse.Namespace, sets: list[Matrix]) -> str:
    """Say how samples are split: 'samples; samples by batch; last fold: gtex (test)'."""
    by = "at random" if options.group_by == ["random"] else f"by {'+'.join(options.group_by)}"
    words = {role: word for word, role in ROLES.items()}
    last = ", ".join(f"{one.name} ({words[one.role]})" for one in sets)
    return f"samples; samples {f'by the table {options.fold_table.name}' if options.fold_table else by}{f'; last fold: {last}' if last else ''}"


def write_expression(file: h5py.File, matrices: list[Matrix], samples: list[str], genes: list[str], min_detected: float) -> None:
    """Write (samples, genes) values as measured, NaN for a gene that a set lacks; where units say what is detected, enough must be."""
    array = file.create_dataset("expression/gene", (len(samples), len(genes)), "f4", chunks=(1, len(genes)), compression="gzip")
    array.attrs["unit"] = matrices[0].unit
    place, progress, done = {sample: i for i, sample in enumerate(samples)}, Progress(len(samples), "samples written"), 0
    for matrix in matrices:
        detected = []
        for first, block in blocks_of(matrix, genes):
            for sample, row in zip(matrix.samples["id"][first:], block, strict=False):
                array[place[sample]] = row
            detected.append((block > 0).sum(axis=1))
            progress.step(done + first + len(block))
        done += len(matrix.samples["id"])
        if matrix.unit in RAW_UNITS:
            refuse_undetected(np.concatenate(detected), matrix.samples["id"], min_detected)


def blocks_of(matrix: Matrix, genes: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of its first sample, (some samples, genes) float32) of a matrix, its genes put where the dataset has them."""
    column = {gene: i for i, gene in enumerate(matrix.genes)}
    here = np.array([gene in column for gene in genes])
    found = [column[gene] for gene in genes if gene in column]
    with h5py.File(matrix.path) as file:
        for first in range(0, len(matrix.samples["id"]), BLOCK):
            values = file["value"][first : first + BLOCK]
            block = np.full((len(values), len(genes)), np.nan, np.float32)
            block[:, here] = values[:, found]
            yield first, block


def write_sets(path: Path, matrices: list[Matrix], lists: dict[str, np.ndarray], genes: list[str]) -> None:
    """Write one row a set: its role, unit, samples, and how many landmarks and targets it has."""
    words = {TRAIN: "main"} | {role: word for word, role in ROLES.items()}
    rows = []
    for one in matrices:
        here = np.isin(genes, one.genes)
        rows.append(
            (
                one.name or "main",
                words[one.role],
                one.unit,
                len(one.samples["id"]),
                *(int(here[member == 1].sum()) for member in lists.values()),
            )
        )
    write_table(path, ["set", "role", "unit", "samples", "landmarks", "targets"], rows)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--main", type=Path, required=True, help="folder of import_matrix.py: the matrix that is trained on")
    parser.add_argument(
        "--external",
        nargs=2,
        action="append",
        default=[],
        metavar=("ROLE", "FOLDER"),
        help="another, named like the set: test or choose; repeatable",
    )
    parser.add_argument("--folds", type=int, default=5, help="folds of the main matrix; 0 holds out each group once")
    parser.add_argument(
        "--group-by",
        type=lambda text: text.split(","),
        required=True,
        help="samples that share one of these stay together; random: every sample alone",
    )
    parser.add_argument("--fold-table", type=Path, help="CSV or TSV of the user's own folds of the main matrix's samples")
    parser.add_argument(
        "--min-detected",
        type=float,
        default=0.5,
        help="share of a set's median number of detected genes (TPM, CPM, RPKM) below which a sample is refused",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the folds")
    parser.add_argument("--sets-out", type=Path, required=True, help="TSV: what each set holds")
    parser.add_argument("--out", type=Path, required=True, help="the dataset")
    return parser


def main(options: argparse.Namespace) -> None:
    """Assemble, then say with what."""
    refuse_unknown_groups(options.group_by)
    assemble_matrices(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
