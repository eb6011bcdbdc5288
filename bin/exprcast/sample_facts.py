"""What is known of the samples of a matrix: facts of the file itself or of a table beside it, and which of them say who belongs together."""

import argparse
from pathlib import Path

from exprcast.cli import InputError, log
from exprcast.matrix_file import SampleMatrix, clean_facts
from exprcast.tables import name_some, read_table

SAMPLE_COLUMNS = ("id", "donor", "biosample", "replicate_group", "batch")


def sample_rows(matrix: SampleMatrix, groups: dict[str, str], sample_table: Path | None) -> list[tuple[str, ...]]:
    """Return one row a sample in the matrix's order, with the columns SAMPLE_COLUMNS: what groups it is read off the file or the table."""
    facts = dict(matrix.sample_facts) | (table_facts(sample_table, matrix) if sample_table else {})
    lacking = [column for column in groups.values() if column not in facts]
    if lacking:
        where = f"{matrix.name}{' and ' + sample_table.name if sample_table else ''}"
        raise InputError(f"--matrix_groups: no column {', '.join(lacking)} in {where}; there is {name_some(sorted(facts)) or 'none'}")
    empty = [""] * len(matrix.samples)
    columns = [facts[groups[name]] if name in groups else empty for name in SAMPLE_COLUMNS[1:]]
    for name, values in zip(SAMPLE_COLUMNS[1:], columns, strict=True):
        if name in groups:
            known = [value for value in values if value]
            log.info(f"{name}: {len(set(known)):,} in {groups[name]}; {len(values) - len(known):,} of {len(values):,} samples have none")
    return list(zip(matrix.samples, *columns, strict=True))


def table_facts(path: Path, matrix: SampleMatrix) -> dict[str, list[str]]:
    """Return the columns of a table of samples in the matrix's order; every sample must have a row, its id in the first column."""
    rows: dict[str, dict[str, str]] = {}
    for line, row in read_table(path, ()):
        sample = next(iter(row.values()))
        if sample in rows:
            raise InputError(f"{path.name} line {line}: sample {sample} has a row already; each may have one")
        rows[sample] = row
    lacking = [sample for sample in matrix.samples if sample not in rows]
    if lacking:
        both = f"the matrix has {name_some(lacking, 3)}, the table {name_some(list(rows), 3)}"
        raise InputError(
            f"{path.name}: no row for {len(lacking):,} of {len(matrix.samples):,} samples: {both}; the first column must hold their ids"
        )
    names = list(next(iter(rows.values())))[1:]
    return {name: clean_facts(rows[sample][name] for sample in matrix.samples) for name in names}


def group_columns(text: str) -> dict[str, str]:
    """Return {column of samples.tsv: column of the file} of an option like donor=person,batch=plate."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    for name, _, column in pairs:
        if name not in SAMPLE_COLUMNS[1:] or not column:
            raise argparse.ArgumentTypeError(f"'{name}={column}': write {', '.join(SAMPLE_COLUMNS[1:])} = a column, separated by commas")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise argparse.ArgumentTypeError(f"'{text}' names a group twice")
    return {name: column for name, _, column in pairs}
