"""Tables with one row a gene, as they are published: half-life features, labels, chromosomes; ids without versions, missing values NaN."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from exprcast.cli import InputError, log
from exprcast.halflife import FEATURES
from exprcast.tables import RAW_UNITS, Matrix, parse_numbers, read_lines, read_table, refuse_duplicates, strip_version

GENE_COLUMNS = ("gene_id", "ENSID", "id", "gene")  # the first one present holds the gene
LENGTHS = 4  # of these features are lengths in bp, the first ones
MEASURED, TRANSFORMED = "measured", "transformed"
OFFSET = 0.1  # log10(x + 0.1), as Xpresso's labels and features
LOG_BOUND, MOST_LOG = np.log10(OFFSET), 30.0  # no logarithm of a length is above, no length below
MOST_LOG_DENSITY = 2.0  # exons per kb: no median of logarithms is above
LABEL_UNITS = ("log10_rpkm", "log10_tpm", "log10_cpm", "zscore", *RAW_UNITS)
PLACE_COLUMNS = {"chrom", "chr", "start", "end", "strand", "tss"}  # numbers among them are no labels


def gene_column(header: Iterable[str], path: Path) -> str:
    """Return the name of the column that holds gene ids."""
    header = list(header)
    found = next((column for column in GENE_COLUMNS if column in header), None)
    if found is None:
        raise InputError(f"{path.name}: no column {', '.join(GENE_COLUMNS[:-1])} or {GENE_COLUMNS[-1]}; the header has {', '.join(header)}")
    return found


def halflife_columns(header: Iterable[str]) -> list[str]:
    """Return the columns that hold the eight features, in the order of FEATURES (UTR5LEN_log10zscore is UTR5LEN, too); [] if one is lacking."""
    header = list(header)
    found = [next((column for column in header if column == name or column.startswith(f"{name}_")), None) for name in FEATURES]
    return [] if None in found else found


def scale_of(values: np.ndarray) -> str:
    """Say whether (genes, 8) features are as measured (bp, fractions, exons per kb), or their lengths logarithms or z-scores."""
    lengths = values[:, :LENGTHS]
    below, small = (lengths < LOG_BOUND).any(), not (values >= MOST_LOG).any()
    return TRANSFORMED if below or small else MEASURED


def halflife_matrix(genes: Sequence[str], values: np.ndarray, where: str) -> Matrix:
    """Return (genes, 8) features as a table with its scale, sorted by gene."""
    refuse_duplicates(genes, f"{where}: gene")
    scale, order = scale_of(values), np.argsort(genes)
    if scale == TRANSFORMED and np.nanmedian(values[:, -1]) > MOST_LOG_DENSITY:  # the published table transforms lengths only
        values = np.column_stack([values[:, :-1], np.log10(values[:, -1] + OFFSET)])
    log.info(f"{where}: half-life features of {len(genes):,} genes, {scale}")
    return Matrix({"scale": scale}, "gene", [genes[i] for i in order], list(FEATURES), values[order])


def read_halflife(path: Path) -> Matrix:
    """Read a table with a gene id and the eight features; other columns are ignored."""
    genes, values, columns = [], [], []
    for line, row in read_table(path, ()):
        if not columns:
            gene, columns = gene_column(row, path), halflife_columns(row)
            if not columns:
                raise InputError(f"{path.name}: not all of {', '.join(FEATURES)} are columns; the header has {', '.join(row)}")
        genes.append(strip_version(row[gene]))
        values.append(parse_numbers([row[column] for column in columns], path, line, columns))
    if not genes:
        raise InputError(f"{path.name}: a header but no genes")
    return halflife_matrix(genes, np.array(values), path.name)


def read_labels(paths: Sequence[Path], chosen: Sequence[str], unit: str) -> Matrix:
    """Read one or several tables of labels: a gene id and columns of numbers, all of them or the chosen ones; a gene that a table lacks is NaN.

    Columns that have one name in several tables get the table's name in front.
    """
    tables = {path: read_label_columns(path, chosen) for path in sorted(paths, key=lambda path: path.name)}
    names = [name for _, columns in tables.values() for name in columns]
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise InputError(f"--label_columns {', '.join(unknown)}: no such column in {', '.join(path.name for path in tables)}")
    genes = sorted({gene for ids, _ in tables.values() for gene in ids})
    place = {gene: i for i, gene in enumerate(genes)}
    values, labels = np.full((len(genes), len(names)), np.nan), []
    for path, (ids, columns) in tables.items():
        for name, column in columns.items():
            values[[place[gene] for gene in ids], len(labels)] = column
            labels.append(f"{path.name.split('.')[0]}.{name}" if names.count(name) > 1 else name)
    refuse_duplicates(labels, "--labels: label")
    log.info(f"labels of {len(genes):,} genes: {', '.join(labels)}")
    return label_matrix(genes, labels, values, unit)


def read_label_columns(path: Path, chosen: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the genes of one table, and its columns of numbers by name."""
    lines, rows = [], []
    for line, row in read_table(path, ()):
        lines.append(line)
        rows.append(row)
    if not rows:
        raise InputError(f"{path.name}: a header but no genes")
    gene = gene_column(rows[0], path)
    genes = [strip_version(row[gene]) for row in rows]
    refuse_duplicates(genes, f"{path.name}: gene")
    others = [name for name in rows[0] if name != gene and (name in chosen or not (chosen or name.lower() in PLACE_COLUMNS))]
    columns = {}
    for name in others:
        try:
            numbers = [parse_numbers([row[name]], path, line, [name])[0] for line, row in zip(lines, rows, strict=True)]
        except InputError:
            if chosen:
                raise
            continue  # names, descriptions
        if not np.isnan(numbers).all():
            columns[name] = np.array(numbers)
    if not columns:
        raise InputError(f"{path.name}: no column of numbers{' among --label_columns ' + ', '.join(chosen) if chosen else ''}")
    return genes, columns


def label_matrix(genes: list[str], labels: list[str], values: np.ndarray, unit: str) -> Matrix:
    """Return (genes, labels) values as a table with its unit; tpm, rpkm and cpm become log10(x + 0.1)."""
    if np.isinf(values).any():
        raise InputError(f"labels: gene {genes[int(np.isinf(values).any(axis=1).argmax())]} has an infinite value")
    if unit in RAW_UNITS:
        if (values < 0).any():
            raise InputError(
                f"--label_unit {unit}: gene {genes[int((values < 0).any(axis=1).argmax())]} has a value below 0; are these logarithms?"
            )
        values, unit = np.log10(values + OFFSET), f"log10_{unit}"
    return Matrix({"unit": unit}, "gene", genes, labels, values)


def read_chroms(paths: Sequence[Path]) -> dict[str, str]:
    """Return {gene: chromosome} of those tables (CSV or TSV) that have a column chrom."""
    found: dict[str, str] = {}
    for path in paths:
        lines = (line for _, line in read_lines(path) if line.strip())
        first = next(lines, "")
        delimiter = "\t" if "\t" in first else ","
        header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        if "chrom" in header:
            gene = header.index(gene_column(header, path))
            for cells in csv.reader(lines, delimiter=delimiter):
                if len(cells) == len(header) and cells[header.index("chrom")]:
                    found.setdefault(strip_version(cells[gene]), cells[header.index("chrom")])
    return found
