#!/usr/bin/env python3
"""Collect expression tables (genes × samples) into one: matrices of TPM, counts, CPM or RPKM → expression.tsv.gz."""

import argparse
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log, run, write_task
from exprcast.tables import (
    MISSING,
    Matrix,
    check_file_id,
    few,
    parse_numbers,
    read_lines,
    read_matrix,
    read_table,
    refuse_duplicates,
    strip_version,
    write_matrix,
    write_table,
)

UNITS = ("tpm", "counts", "cpm", "rpkm")
PER_MILLION, TOLERANCE = 1e6, 0.02  # what TPM and CPM of all genes add up to
LOG_MAX, LOG_GENES = 30, 1000  # so many genes, none above this: logarithms
MIN_DETECTED, MIN_DETECTED_SHARE = 40, 0.05  # detected genes (the smaller) above which a sample's profile is compared
MIN_WITHIN, MIN_ACROSS, MIN_COMMON = 0.5, 0.3, 30  # correlations of profiles; common genes needed to judge them
STATS = ("sample", "total", "detected", "detected_share", "unit")


class Table(NamedTuple):
    """One input: its values (counts already as CPM) and what each column summed to in the input's own unit."""

    name: str
    matrix: Matrix
    totals: np.ndarray  # (columns,)


def collect_expression(
    paths: list[Path],
    unit: str,
    column_genes: Path | None,
    add_up: bool,
    admit: bool,
    samples: Path | None,
    some: bool,
    stats_out: Path,
    out: Path,
) -> None:
    """Write the values of all samples (or of those in the sample table) joined by gene id, counts as CPM, and one row of statistics a sample.

    Tables that seem misaligned are refused, or, with `admit`, joined all the same; both outputs then say so in their attribute `misaligned`.
    """
    if column_genes is not None and not any(map(lacks_ids, paths)):
        raise InputError(f"--expression_columns {column_genes.name}: every table has ids of its own; leave the option out")
    tables = [read_expression(path, unit, column_genes, add_up) for path in paths]
    refuse_shared_samples(tables)
    misaligned = find_misaligned(tables)
    if misaligned and not admit:
        raise InputError(f"{misaligned[0]}; find out which genes they are, or admit it with --admit_misaligned true")
    for line in misaligned:
        log.warning(f"warning: {line}; admitted: scores across these tables mean nothing")
    admitted = {"misaligned": "; ".join(misaligned)} if misaligned else {}
    if samples is not None:
        tables = keep_samples(tables, [row["id"] for _, row in read_table(samples, ["id"])], some)
    joined = join([table.matrix for table in tables], {"unit": "cpm" if unit == "counts" else unit} | admitted)
    measured = np.isfinite(joined.values).all(axis=1).sum()
    log.info(f"{len(joined.columns):,} samples, {len(joined.rows):,} genes; {measured:,} are measured in every sample")
    write_table(stats_out, STATS, [(*row, unit) for table in tables for row in sample_stats(table)], admitted)
    write_matrix(out, joined)


def keep_samples(tables: list[Table], wanted: list[str], some: bool) -> list[Table]:
    """Return the tables with the columns of the wanted samples only; each of them must be there, or at least one."""
    given = [column for table in tables for column in table.matrix.columns]
    lacking = sorted(set(wanted) - set(given))
    if len(lacking) > (len(wanted) - 1 if some else 0):
        raise InputError(
            f"no column for {len(lacking)} of {len(wanted)} samples: {few(lacking)}; the expression tables have {few(sorted(given))}; use the same names"
        )
    if len(given) > len(wanted) - len(lacking):
        log.info(
            f"{len(given) - len(wanted) + len(lacking)} columns belong to no sample of the sheet and are left out: {few(sorted(set(given) - set(wanted)))}"
        )
    kept = []
    for table in tables:
        places = [i for i, column in enumerate(table.matrix.columns) if column in set(wanted)]
        matrix = table.matrix._replace(columns=[table.matrix.columns[i] for i in places], values=table.matrix.values[:, places])
        kept += [table._replace(matrix=matrix, totals=table.totals[places])] if places else []
    return kept


def read_expression(path: Path, unit: str, column_genes: Path | None, add_up: bool) -> Table:
    """Read and check one table; counts become CPM, gene ids lose their versions."""
    if lacks_ids(path):
        if column_genes is None:
            needed = "give the gene table of exactly its columns with --expression_columns"
            raise InputError(f"{path.name} has no gene and sample ids (its first lines are all numbers); {needed}")
        matrix = read_without_ids(path, column_genes)
    else:
        matrix = read_matrix(path)
        check_header(matrix, path, unit)
    check_values(matrix, path, unit)
    totals = np.nansum(matrix.values, axis=0)
    if unit == "counts":
        matrix = matrix._replace(values=to_cpm(matrix, totals, path))
    return Table(path.name, unique_genes(matrix, path, add_up), totals)


def lacks_ids(path: Path) -> bool:
    """Say whether the first two lines hold numbers only: no sample ids above the columns, no gene ids beside them."""
    lines = (line for _, line in read_lines(path) if line.strip() and not line.startswith("#"))
    cells = [cell.strip() for line in islice(lines, 2) for cell in split_cells(line)]
    return any(map(is_number, cells)) and all(is_number(cell) or cell in MISSING for cell in cells)


def split_cells(line: str) -> list[str]:
    """Return the cells of a line without ids."""
    return line.split("\t" if "\t" in line else ",")


def is_number(cell: str) -> bool:
    """Say whether a cell is a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_without_ids(path: Path, column_genes: Path) -> Matrix:
    """Read numbers whose rows are samples; genes are the rows of the gene table, samples are named by file and row."""
    genes = [next(iter(row.values())) for _, row in read_table(column_genes, ())]
    refuse_duplicates(map(strip_version, genes), f"{column_genes.name}: gene")
    values = []
    for number, line in read_lines(path):
        cells = split_cells(line)
        if not line.strip():
            continue
        if len(cells) != len(genes):
            both = f"{len(cells)} columns, {column_genes.name} has {len(genes)} genes"
            raise InputError(f"{path.name} line {number}: {both}; give the gene table of exactly its columns")
        values.append(parse_numbers(cells, path, number, genes))
    stem = path.name.partition(".")[0]
    samples = [f"{stem}_{number}" for number in range(1, len(values) + 1)]
    log.info(f"{path.name}: {len(samples):,} rows are samples, {len(genes):,} columns the genes of {column_genes.name}")
    return Matrix({}, "id", genes, samples, np.array(values).T)


def check_header(matrix: Matrix, path: Path, unit: str) -> None:
    """Refuse a table without header, without samples, or with another unit than the one stated."""
    if not matrix.columns:
        raise InputError(f"{path.name}: no sample columns; is the table tab- or comma-separated?")
    if strip_version(matrix.corner).startswith("ENS") and all(map(is_number, matrix.columns)):
        raise InputError(f"{path.name}: the first line is a gene already; put a header with sample ids above it")
    for column in matrix.columns:
        check_file_id(column, f"{path.name}: sample")
    stated = matrix.attributes.get("unit", unit)
    if stated != unit:
        raise InputError(f"{path.name} says #unit={stated}, --expression_unit says {unit}; name the table's own unit")


def check_values(matrix: Matrix, path: Path, unit: str) -> None:
    """Refuse values that cannot be what the unit says; warn of columns that are a part of all genes."""
    values = matrix.values
    wrong = (values < 0) | np.isinf(values)
    if wrong.any():
        refuse_cell(matrix, path, wrong, "is negative or infinite; linear values, not logarithms, are needed")
    empty = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(empty):
        raise InputError(f"{path.name}: column {matrix.columns[empty[0]]} holds no value at all; leave the sample out")
    broken = (values != np.floor(values)) & ~np.isnan(values)
    if unit != "counts":
        check_scale(matrix, path, unit, whole=not broken.any())
    elif broken.any():
        refuse_cell(matrix, path, broken, "is no whole number, so no count; is --expression_unit tpm, cpm or rpkm right?")


def refuse_cell(matrix: Matrix, path: Path, wrong: np.ndarray, why: str) -> None:
    """Raise InputError that points at the first wrong cell."""
    row, column = np.argwhere(wrong)[0]
    where = f"gene {matrix.rows[row]}, column {matrix.columns[column]}"
    raise InputError(f"{path.name}: {where}: {matrix.values[row, column]:g} {why}")


def check_scale(matrix: Matrix, path: Path, unit: str, whole: bool) -> None:
    """Refuse counts and logarithms given as linear, normalised values, by their sums."""
    sums = np.nansum(matrix.values, axis=0)
    far = np.abs(sums - PER_MILLION) > TOLERANCE * PER_MILLION
    odd = far & (sums > 0) & (whole | (unit != "rpkm") & (sums > PER_MILLION))
    if odd.any():
        column = int(np.argmax(odd))
        why = f"column {matrix.columns[column]} sums to {sums[column]:,.0f}{', all values are whole' * whole}"
        raise InputError(f"{path.name}: these look like counts, not {unit.upper()}: {why}; say --expression_unit counts")
    largest = np.nanmax(matrix.values)
    if len(matrix.rows) >= LOG_GENES and 0 < largest <= LOG_MAX:
        why = f"the largest value is {largest:.3g}; give linear {unit.upper()}"
        raise InputError(f"{path.name}: these look like logarithms: {why}")
    part = np.flatnonzero(far & (sums < PER_MILLION))
    if unit != "rpkm" and len(part):
        first = f"column {matrix.columns[part[0]]} sums to {sums[part[0]]:,.0f}, not 1,000,000"
        log.info(f"{path.name}: warning: a subset of the genes: {first} ({len(part)} of {len(sums)} columns)")


def unique_genes(matrix: Matrix, path: Path, add_up: bool) -> Matrix:
    """Return a matrix with one row a gene, ids without versions; rows of one gene are added up on request."""
    rows = [strip_version(row) for row in matrix.rows]
    if "" in rows:
        raise InputError(f"{path.name}: a row has no gene id in its first column")
    number: dict[str, int] = {}
    index = np.array([number.setdefault(row, len(number)) for row in rows])
    repeats = len(rows) - len(number)
    if not repeats:
        return matrix._replace(rows=rows)
    if not add_up:
        second = int(np.argmax(index < np.arange(len(rows))))  # the first row that is not a new gene's
        lines = f"lines {matrix.lines[rows.index(rows[second])]} and {matrix.lines[second]}"
        advice = f"{repeats} rows repeat an earlier id; give each gene once, or add them up with --duplicate_genes sum"
        raise InputError(f"{path.name}: gene {rows[second]} is on {lines}; {advice}")
    added = f"{repeats:,} repeat an earlier gene and were added to it"
    log.info(f"{path.name}: kept {len(number):,} of {len(rows):,} rows, {added}")
    values = np.zeros((len(number), len(matrix.columns)))
    np.add.at(values, index, matrix.values)
    return matrix._replace(rows=list(number), values=values, lines=())


def to_cpm(matrix: Matrix, totals: np.ndarray, path: Path) -> np.ndarray:
    """Return counts per million of all counts in a column."""
    if not totals.all():
        sample = matrix.columns[int(np.argmin(totals))]
        raise InputError(f"{path.name}: column {sample} has no count at all; leave the sample out")
    return matrix.values / totals * PER_MILLION


def refuse_shared_samples(tables: list[Table]) -> None:
    """Raise InputError for a sample id that stands in two tables."""
    owner: dict[str, str] = {}
    for table in tables:
        for sample in table.matrix.columns:
            if sample in owner:
                raise InputError(f"sample {sample} is in {owner[sample]} and in {table.name}; give each sample once")
        owner |= dict.fromkeys(table.matrix.columns, table.name)


def sample_stats(table: Table) -> Iterator[tuple[object, ...]]:
    """Yield each sample's id, total, number of detected genes and their share of the measured ones."""
    detected = (table.matrix.values > 0).sum(axis=0)
    share = detected / np.isfinite(table.matrix.values).sum(axis=0)
    yield from zip(table.matrix.columns, table.totals, detected, share, strict=True)


def find_misaligned(tables: list[Table]) -> list[str]:
    """Return a line for each two tables whose samples agree inside each but not across: the ids of one are wrong.

    Tables without a common gene are an InputError.
    """
    found, profiles = [], [profile(table.matrix) for table in tables]
    for (one, (mean, within)), (other, (other_mean, other_within)) in combinations(zip(tables, profiles, strict=True), 2):
        genes, other_genes = one.matrix.rows, other.matrix.rows
        common = sorted(set(genes) & set(other_genes))
        if not common:
            both = f"{one.name} has {genes[0]} …, {other.name} has {other_genes[0]} …"
            raise InputError(f"no gene id is in both tables: {both}; are these the same kind of id?")
        if len(common) < MIN_COMMON or min(within, other_within) <= MIN_WITHIN:
            continue
        across = correlation(select(mean, genes, common), select(other_mean, other_genes, common))
        if across < MIN_ACROSS:
            inside = f"samples correlate by {within:.2f} and {other_within:.2f} inside the tables"
            means = f"the tables' means by {across:.2f} over {len(common):,} genes"
            wrong = "the columns are not the same genes in the same order"
            found.append(f"{one.name} and {other.name}: {wrong}: {inside}, {means}")
    return found


def profile(matrix: Matrix) -> tuple[np.ndarray, float]:
    """Return (genes,) the mean log2 profile of the samples with enough detected genes, and their median correlation.

    The correlation is that of pairs of samples, 0 where no pair has one.
    """
    enough = (matrix.values > 0).sum(axis=0) > min(MIN_DETECTED, MIN_DETECTED_SHARE * len(matrix.rows))
    logs = np.log2(matrix.values[:, enough] + 1)
    measured = logs[np.isfinite(logs).all(axis=1)]
    if min(measured.shape) < 2:
        return np.zeros(len(matrix.rows)), 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = np.corrcoef(measured.T)[np.triu_indices(measured.shape[1], 1)]
    pairs = pairs[np.isfinite(pairs)]
    return logs.mean(axis=1), float(np.median(pairs)) if len(pairs) else 0.0


def select(values: np.ndarray, ids: list[str], wanted: list[str]) -> np.ndarray:
    """Return the values of the wanted ids."""
    index = {identifier: i for i, identifier in enumerate(ids)}
    return values[[index[identifier] for identifier in wanted]]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Pearson's correlation over the pairs without NaN, 0 where a side does not vary."""
    both = np.isfinite(one) & np.isfinite(other)
    one, other = one[both], other[both]
    return float(np.corrcoef(one, other)[0, 1]) if len(one) > 1 and one.std() > 0 and other.std() > 0 else 0.0


def join(matrices: list[Matrix], attributes: dict[str, str]) -> Matrix:
    """Return all columns side by side, rows in order of appearance; a gene that a table lacks is NaN there."""
    rows = list(dict.fromkeys(row for matrix in matrices for row in matrix.rows))
    index = {row: i for i, row in enumerate(rows)}
    columns = [column for matrix in matrices for column in matrix.columns]
    values = np.full((len(rows), len(columns)), np.nan)
    first = 0
    for matrix in matrices:
        values[[index[row] for row in matrix.rows], first : first + len(matrix.columns)] = matrix.values
        first += len(matrix.columns)
    return Matrix(attributes, "id", rows, columns, values)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, nargs="+", required=True, help="TSV or CSV: genes × samples with ids")
    parser.add_argument("--unit", choices=UNITS, required=True, help="what the tables hold; counts are stored as CPM")
    parser.add_argument("--column-genes", type=Path, help="gene table, one row a column of the tables that have no ids")
    parser.add_argument("--duplicate-genes", choices=("error", "sum"), default="error", help="rows of the same gene")
    parser.add_argument(
        "--admit-misaligned", action="store_true", help="join tables although their columns seem to be other genes; the outputs say so"
    )
    parser.add_argument("--some", action="store_true", help="samples may have no column, but one must")
    parser.add_argument("--samples", type=Path, help="TSV with the column id: the samples that are needed; columns of others are left out")
    parser.add_argument("--stats-out", type=Path, required=True, help=f"TSV: {', '.join(STATS)}")
    parser.add_argument("--out", type=Path, required=True, help="the joined table; gzip if the name ends in .gz")
    return parser


def main(options: argparse.Namespace) -> None:
    """Collect, then say with what."""
    rules = (options.unit, options.column_genes, options.duplicate_genes == "sum", options.admit_misaligned)
    collect_expression(options.table, *rules, options.samples, options.some, options.stats_out, options.out)
    write_task(options.task_out, "numpy")


if __name__ == "__main__":
    run(main, parse_args())
