"""Matrices of expression as text: GCT 1.2 and 1.3, TSV and CSV, gzip or not. Lines go into a temporary file of float32 as they are read."""

import csv
from collections.abc import Iterator
from pathlib import Path

from exprcast.cli import InputError
from exprcast.matrix_file import Axis, Spool, Stored, clean_facts, clean_ids, refuse_size, without_666
from exprcast.tables import MISSING, parse_numbers, read_lines, refuse_duplicates

Lines = Iterator[tuple[int, str]]
GCT = {"#1.2": 2, "#1.3": 4}  # numbers in the line of counts
ASIDE = ("#", "!")  # a line above the header that is none; GEO's series matrix has the second kind below, too
PLACES = {"chr", "chrom", "chromosome", "coord", "start", "end", "position", "strand", "length"}  # numbers, but no sample's or gene's
NAMED = PLACES | {"gene_id", "gene_name", "gene_symbol", "geneid", "transcript_id", "symbol"}  # no values, even where the first is NA


def read_text(path: Path, folder: Path) -> Stored:
    """Read a GCT or a table, by its first line; the folder takes the temporary file."""
    lines = read_lines(path)
    first = next(lines, (0, ""))[1].rstrip()
    if first.lstrip().startswith("<"):
        raise InputError(f"{path.name} line 1: this is a web page or XML, not a matrix: '{first.strip()[:40]}'; download the file itself")
    return read_gct(path, lines, GCT[first], folder) if first in GCT else read_table_of_numbers(path, folder)


def read_gct(path: Path, lines: Lines, numbers: int, folder: Path) -> Stored:
    """Read a GCT after its first line: what it says that it holds must be there, no less and no more."""
    counts = gct_counts(path, next(lines, (2, "")), numbers)
    n_rows, n_columns, n_row_facts, n_column_facts = counts
    refuse_size(path.name, n_rows, n_columns)
    width = 1 + n_row_facts + n_columns
    header = split_line(path, next(lines, (3, "")), width)
    column_facts = {}
    for _ in range(n_column_facts):
        cells = split_line(path, next(lines, (0, "")), width)
        column_facts[cells[0]] = clean_facts(cells[1 + n_row_facts :])
    columns = Axis(clean_ids(header[1 + n_row_facts :], f"{path.name} line 3: column"), column_facts)
    spool, ids, facts = Spool(folder, n_columns), [], [[] for _ in range(n_row_facts)]
    for number, line in lines:
        if not line.strip():
            continue
        cells = split_line(path, (number, line), width)
        ids.append(cells[0])
        for kept, cell in zip(facts, cells[1:], strict=False):
            kept.append(cell)
        spool.add(without_666(parse_numbers(cells[1 + n_row_facts :], path, number, columns.ids))[None])
    if len(ids) != n_rows:
        raise InputError(f"{path.name}: line 2 says {n_rows:,} rows, there are {len(ids):,}; was the file cut, or edited by hand?")
    row_facts = {name: clean_facts(values) for name, values in zip(header[1:], facts, strict=False)}
    return Stored(Axis(clean_ids(ids, f"{path.name}: row"), row_facts), columns, spool.by_rows, spool.by_columns, "rows")


def gct_counts(path: Path, line: tuple[int, str], numbers: int) -> tuple[int, int, int, int]:
    """Return how many rows, columns, facts of rows and facts of columns the second line of a GCT says that there are."""
    cells = line[1].split()
    if len(cells) != numbers or not all(cell.isdecimal() and len(cell) < 12 for cell in cells):
        raise InputError(f"{path.name} line 2: '{line[1][:60]}' are not the {numbers} counts that this version of GCT has there")
    rows, columns, *facts = map(int, cells)
    return rows, columns, *(facts or (1, 0))  # 1.2 has a description of each row


def split_line(path: Path, line: tuple[int, str], width: int) -> list[str]:
    """Return the cells of a line of a GCT, as many as its counts say."""
    cells = line[1].split("\t") if line[1] else []
    if not cells:
        raise InputError(f"{path.name}: the file ends before the lines that its counts (line 2) speak of; copy or download it again")
    if len(cells) != width:
        raise InputError(
            f"{path.name} line {line[0]}: {len(cells):,} cells where the counts in line 2 make {width:,}; is one of them wrong?"
        )
    return cells


def read_table_of_numbers(path: Path, folder: Path) -> Stored:
    """Read a TSV or CSV with ids in the header and in the first column; columns of text or places between ids and numbers are facts of the rows."""
    rows, columns, names = [], [], []
    header, spool, facts = None, None, {}
    for number, line in read_lines(path):
        if not line.strip() or (line.startswith(ASIDE) and header is None) or line.startswith("!"):
            continue
        if header is None:
            delimiter = "\t" if "\t" in line or "," not in line else ","
            header = [cell.strip() for cell in split_cells(path, number, line, delimiter)]
            continue
        cells = split_cells(path, number, line, delimiter)
        if spool is None:
            header = ["id", *header] if len(header) == len(cells) - 1 else header  # as R writes it
            names = leading_facts(header, cells)
            refuse_duplicates(names, f"{path.name}: column")
            columns = clean_ids(header[1 + len(names) :], f"{path.name}: column")
            if not columns or len(header) != len(cells):
                found = f"{len(header):,} cells in the header and {len(cells):,} in line {number}"
                raise InputError(f"{path.name}: {found}, no table of numbers; tabs or commas must stand between ids and numbers")
            spool, facts = Spool(folder, len(columns)), {name: [] for name in names}
        if len(cells) != len(header):
            raise InputError(f"{path.name} line {number}: {len(cells):,} cells where the header has {len(header):,}; was the file cut?")
        rows.append(cells[0])
        for kept, cell in zip(facts.values(), cells[1:], strict=False):
            kept.append(cell)
        spool.add(parse_numbers(cells[1 + len(names) :], path, number, columns)[None])
    if spool is None:
        raise InputError(f"{path.name}: no rows; a header with ids and rows that begin with one are needed")
    row_axis = Axis(clean_ids(rows, f"{path.name}: row"), {name: clean_facts(values) for name, values in facts.items()})
    return Stored(row_axis, Axis(columns, {}), spool.by_rows, spool.by_columns)


def split_cells(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, quoted or not."""
    try:
        return next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)
    except csv.Error:
        raise InputError(f"{path.name} line {number}: a quotation mark without its other half") from None


def leading_facts(header: list[str], cells: list[str]) -> list[str]:
    """Return the names of the columns after the ids that hold texts or places, up to the first that holds numbers."""
    named = list(zip(header, cells, strict=False))[1:]
    place = next((place for place, (name, cell) in enumerate(named) if is_number(cell) and name.lower() not in NAMED), len(named))
    return header[1 : 1 + place]


def is_number(cell: str) -> bool:
    """Say whether a cell is a number, or says that one is missing."""
    try:
        return cell.strip() in MISSING or float(cell) is not None
    except ValueError:
        return False
