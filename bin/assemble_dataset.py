#!/usr/bin/env python3
"""Join tables by id into one dataset: samples, genes, expression, open bins → dataset.h5 with folds as role matrices."""

import argparse
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from exprcast.assembly import (
    SAMPLE_COLUMNS,
    no_samples,
    read_gene_matrix,
    read_samples,
    refuse_undetected,
    write_bins,
    write_list,
    write_transcripts,
)
from exprcast.cli import InputError, log, run, write_task
from exprcast.dataset import ENTRIES, HOLD_OUT, create_dataset, write_array
from exprcast.fold_table import read_fold_table, table_folds
from exprcast.folds import (
    GENE_GROUPS,
    GROUP_COLUMNS,
    group_genes,
    group_samples,
    make_folds,
    promises,
    refuse_unknown_groups,
)
from exprcast.promoter_tables import OFFSET
from exprcast.tables import RAW_UNITS, Matrix, few, read_chrom_sizes, read_lines, read_table, refuse_duplicates, write_table
from exprcast.windows import encode

GENE_COLUMNS = ("id", "symbol", "chrom", "strand", "biotype")
Table = Matrix | dict[str, str] | list[Path]  # numbers by gene, a text a gene, or files that are read as they are written


def assemble_dataset(options: argparse.Namespace) -> None:
    """Read every table, keep the genes that have a value, and write the file."""
    sizes = read_chrom_sizes(options.chrom_sizes)
    samples = read_samples(options.samples) if options.samples else no_samples()
    genes = read_genes(options.genes, sizes)
    tables = with_median_label(read_tables(options.table))
    if not samples["id"] and (options.hold_out != "genes" or "labels/value" not in tables):
        lacking = (
            "labels: give --labels, or a table of promoters that has them"
            if options.hold_out == "genes"
            else "samples to hold out: give --hold_out genes"
        )
        raise InputError(f"a dataset of genes alone has no {lacking}")
    kept = genes_with_values(genes, tables, options.lost_ids_out)
    roles = split(options, samples, kept, tables.get("genes/paralog_group"))
    with create_dataset(
        options.out, assembly=options.assembly, annotation=options.annotation, code=options.code, sources=options.sources
    ) as file:
        for column in SAMPLE_COLUMNS:
            write_array(file, f"samples/{column}", samples[column])
        for column in GENE_COLUMNS:
            write_array(file, f"genes/{column}", kept[column])
        write_array(file, "chromosomes/name", list(sizes))
        write_array(file, "chromosomes/size", np.array(list(sizes.values())))
        write_tss(file, options.tss, kept["id"])
        for key, source in sorted(tables.items(), key=lambda item: list(ENTRIES).index(item[0])):  # genes before their transcripts
            WRITERS[ENTRIES[key].table](file, key, source, samples["id"], kept["id"], options)
        facts = {"hold_out": options.hold_out, "scheme": scheme(options), "seed": options.seed}
        promised = ",".join(promises(options.hold_out, options.group_by, options.gene_groups, tables))
        write_array(file, "folds/sample_role", roles[0], promised=promised, **facts)
        write_array(file, "folds/gene_role", roles[1])
    log.info(f"{len(samples['id']):,} samples, {len(kept['id']):,} genes, {len(roles[0])} folds of {scheme(options)}")


def split(
    options: argparse.Namespace, samples: dict[str, list[str]], genes: dict[str, list[str]], paralogs: dict[str, str] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return sample_role (folds, samples) and gene_role (folds, genes): of the user's table of folds, or made."""
    families = None if paralogs is None else [paralogs.get(gene, "") for gene in genes["id"]]
    gene_groups = group_genes(options.gene_groups, genes["id"], genes["chrom"], families) if options.hold_out != "samples" else genes["id"]
    if options.fold_table:
        return table_folds(read_fold_table(options.fold_table), samples["id"], genes["id"], options.hold_out)
    if "at random" in scheme(options):
        log.warning("warning: a random split: test and training may share donors, replicates or paralogs, and the scores be too good")
    sample_groups = samples["id"] if options.group_by == ["random"] else group_samples({by: samples[by] for by in options.group_by})
    apart = families if options.gene_groups == "chromosome+paralogs" else None
    return make_folds(sample_groups, gene_groups, options.hold_out, options.folds, options.gene_folds, options.seed, apart)


def scheme(options: argparse.Namespace) -> str:
    """Say how each held-out axis is split: 'samples; samples by donor', 'genes; genes at random'."""
    if options.fold_table:
        return f"{options.hold_out}; {options.hold_out} by the table {options.fold_table.name}"
    ways = {"samples": "+".join(options.group_by), "genes": options.gene_groups}
    held_out = [axis for axis in ways if options.hold_out in (axis, "both")]
    return "; ".join([options.hold_out, *(f"{axis} {'at random' if ways[axis] == 'random' else f'by {ways[axis]}'}" for axis in held_out)])


def read_genes(path: Path, sizes: dict[str, int]) -> dict[str, list[str]]:
    """Return the columns of the gene table, in its order (by position)."""
    rows = [row for _, row in read_table(path, GENE_COLUMNS)]
    refuse_duplicates((row["id"] for row in rows), f"{path.name}: gene")
    unknown = sorted({row["chrom"] for row in rows} - set(sizes))
    if unknown:
        raise InputError(f"{path.name}: genes on {', '.join(unknown[:5])}, the genome has {', '.join(list(sizes)[:5])} …")
    return {column: [row[column] for row in rows] for column in GENE_COLUMNS}


def read_tables(items: list[list[str]]) -> dict[str, Table]:
    """Return {key of LAYOUT: what its files hold}; matrices and groups are read, other files stay paths until they are written."""
    tables: dict[str, Table] = {}
    for key, *names in items:
        if key not in ENTRIES or ENTRIES[key].table not in WRITERS:
            raise InputError(f"--table {key}: no such table; known: {', '.join(k for k, e in ENTRIES.items() if e.table in WRITERS)}")
        tables[key] = READERS.get(ENTRIES[key].table, read_gene_matrix)([Path(name) for name in names])
    return tables


def read_groups(paths: list[Path]) -> dict[str, str]:
    """Return {gene: group} of the genes that have one."""
    return {row["gene"]: row["group"] for _, row in read_table(paths[0], ("gene", "group"))}


def with_median_label(tables: dict[str, Table]) -> dict[str, Table]:
    """Return the tables with a label for each gene: where none was given, the median over samples of log10(expression + 0.1)."""
    expression = tables.get("expression/gene")
    unit = expression.attributes.get("unit", "tpm") if expression else ""
    if "labels/value" in tables or unit not in RAW_UNITS:
        return tables
    known = ~np.isnan(expression.values).all(axis=1)
    median = np.full((len(expression.rows), 1), np.nan)
    median[known, 0] = np.nanmedian(np.log10(expression.values[known] + OFFSET), axis=1)
    return tables | {"labels/value": Matrix({"unit": f"log10_{unit}"}, "gene", expression.rows, ["median"], median)}


def genes_with_values(genes: dict[str, list[str]], tables: dict[str, Table], lost_out: Path | None) -> dict[str, list[str]]:
    """Keep the genes that the expression table has a row for, or where there is none, those with a label; the others are listed, never filled with zero.

    Other tables decide nothing: what they lack is NaN.
    """
    what, known = deciding(tables)
    keep = [not what or gene in known for gene in genes["id"]]
    lost = [gene for gene, kept in zip(genes["id"], keep, strict=True) if not kept]
    orphans = sorted(known - set(genes["id"]))
    if lost_out is not None:
        rows = [(gene, f"no value in the {what}") for gene in lost] + [(gene, "not in the gene table") for gene in orphans]
        write_table(lost_out, ["id", "reason"], rows)
    if what:
        used = f"the {what} has {len(known):,} ids, {sum(keep) / max(len(known), 1):.0%} of them used"
        log.info(f"kept {sum(keep):,} of {len(keep):,} genes of the gene table; {used}")
    if sum(keep) < 3:
        both = f"it has {genes['id'][0]} …, the {what} {next(iter(sorted(known)), 'nothing')} …; are these the same kind of id?"
        raise InputError(f"{sum(keep)} of {len(keep)} genes of the gene table have a value: {both}")
    kept = {column: [value for value, keeps in zip(values, keep, strict=True) if keeps] for column, values in genes.items()}
    tell_of_others(tables, kept["id"])
    return kept


def deciding(tables: dict[str, Table]) -> tuple[str, set[str]]:
    """Return the table that decides which genes there are, and the genes that it has: expression, else labels, else none."""
    if "expression/gene" in tables:
        return "expression table", set(tables["expression/gene"].rows)
    if "labels/value" not in tables:
        return "", set()
    labels = tables["labels/value"]
    return "table of labels", {gene for gene, known in zip(labels.rows, ~np.isnan(labels.values).all(axis=1), strict=True) if known}


def tell_of_others(tables: dict[str, Table], genes: list[str]) -> None:
    """Log how many of the genes each table of features and of labels has."""
    for key in ("promoters/halflife", "labels/value"):
        if key in tables:
            rows = set(tables[key].rows)
            found = sum(gene in rows for gene in genes)
            if not found:
                raise InputError(
                    f"{key}: none of the {len(genes):,} genes ({few(genes)}) is in the table, which has {few(tables[key].rows)}; are these the same kind of id?"
                )
            log.info(f"{key}: {found:,} of {len(genes):,} genes have values; {len(rows) - found:,} other ids are left out")


def values_of(matrix: Matrix, genes: list[str]) -> np.ndarray:
    """Return (genes, columns) values of a table, NaN for a gene that it lacks."""
    row = {gene: i for i, gene in enumerate(matrix.rows)}
    found = np.array([row.get(gene, -1) for gene in genes])
    return np.where((found >= 0)[:, None], matrix.values[found], np.nan)


def write_tss(file: h5py.File, path: Path, genes: list[str]) -> None:
    """Write the TSS rows of the kept genes, by gene, the default TSS of each first; nothing where no gene's place is known."""
    index = {gene: i for i, gene in enumerate(genes)}
    rows = [
        (index[row["gene"]], int(row["position"]), row["source"])
        for _, row in read_table(path, ("gene", "position", "source"))
        if row["gene"] in index
    ]
    rows.sort(key=lambda row: row[0])
    lacking = len(genes) - len({row[0] for row in rows})
    if not rows:
        log.info(f"{path.name}: no start site is known")
        return
    if lacking:
        raise InputError(f"{path.name}: {lacking} genes have no TSS")
    for column, values in zip(("gene", "position", "source"), zip(*rows, strict=True), strict=True):
        write_array(file, f"tss/{column}", list(values))


def write_expression(file: h5py.File, key: str, matrix: Matrix, samples: list[str], genes: list[str], options: argparse.Namespace) -> None:
    """Write (samples, genes) values in the unit the table names; every sample must have a column, and enough genes detected."""
    lacking = [sample for sample in samples if sample not in set(matrix.columns)]
    if lacking:
        raise InputError(
            f"expression: no column for sample {', '.join(lacking[:5])}; the table has {', '.join(matrix.columns[:5])} … ({len(matrix.columns)} columns)"
        )
    ignored = len(matrix.columns) - len(samples)
    if ignored:
        log.info(f"expression: {ignored} columns belong to no sample of the sheet and are left out")
    detected = np.array([(matrix.values[:, matrix.columns.index(sample)] > 0).sum() for sample in samples])
    refuse_undetected(detected, samples, options.min_detected)
    row, column = ({name: i for i, name in enumerate(names)} for names in (matrix.rows, matrix.columns))
    values = matrix.values[np.ix_([row[gene] for gene in genes], [column[sample] for sample in samples])].T
    admitted = {name: matrix.attributes[name] for name in ("misaligned",) if name in matrix.attributes}
    write_array(file, key, values, unit=matrix.attributes.get("unit", "tpm"), **admitted)


def write_features(file: h5py.File, key: str, matrix: Matrix, samples: list[str], genes: list[str], options: argparse.Namespace) -> None:
    """Write (genes, features) values with the features' names and scale."""
    write_array(file, key, values_of(matrix, genes), name=matrix.columns, scale=matrix.attributes["scale"])


def write_sequences(
    file: h5py.File, key: str, paths: list[Path], samples: list[str], genes: list[str], options: argparse.Namespace
) -> None:
    """Write (genes, bases) codes of a FASTA with a sequence a gene, row by row, and where the start site is: `tss=` in the headers."""
    row = {gene: i for i, gene in enumerate(genes)}
    missing, array, upstream_bp = set(genes), None, 0
    lines = (line for _, line in read_lines(paths[0]))
    for header, sequence in zip(lines, lines, strict=True):
        gene = header[1:].split(maxsplit=1)[0]
        if array is None:
            upstream_bp = int(header.rpartition(" tss=")[2])
            array = file.create_dataset(key, (len(genes), len(sequence)), "u1", chunks=(1, len(sequence)), compression="gzip")
        if gene in row:
            array[row[gene]] = encode(sequence.encode())
            missing.discard(gene)
    if missing:
        raise InputError(f"{paths[0].name}: no promoter of {len(missing)} genes ({', '.join(sorted(missing)[:3])} …)")
    array.attrs.update(upstream_bp=upstream_bp, downstream_bp=array.shape[1] - upstream_bp)


def write_labels(file: h5py.File, key: str, matrix: Matrix, samples: list[str], genes: list[str], options: argparse.Namespace) -> None:
    """Write (labels, genes) values, one column of the table a label."""
    write_array(file, key, values_of(matrix, genes).T, unit=matrix.attributes["unit"])
    write_array(file, "labels/name", matrix.columns)


def write_groups(
    file: h5py.File, key: str, groups: dict[str, str], samples: list[str], genes: list[str], options: argparse.Namespace
) -> None:
    """Write each gene's group, "" where it has none."""
    write_array(file, key, [groups.get(gene, "") for gene in genes])


def write_pairs(file: h5py.File, key: str, paths: list[Path], samples: list[str], genes: list[str], options: argparse.Namespace) -> None:
    """Write the pairs of kept genes with similar promoters, the gene that stands first in the dataset before the other."""
    index = {gene: i for i, gene in enumerate(genes)}
    pairs = sorted(
        (*sorted((index[row["gene"]], index[row["other"]])), float(row["containment"]))
        for _, row in read_table(paths[0], ("gene", "other", "containment"))
        if row["gene"] in index and row["other"] in index
    )
    for column, name in enumerate(("gene", "other", "containment")):
        write_array(file, f"similarity/{name}", np.array([pair[column] for pair in pairs]))


WRITTEN_AS_READ = ("bins", "sequences", "pairs", "transcripts", "list")
READERS: dict[str | None, Callable[[list[Path]], Table]] = dict.fromkeys(WRITTEN_AS_READ, sorted) | {"groups": read_groups}
WRITERS: dict[str | None, Callable[..., None]] = {
    "expression": write_expression,
    "bins": lambda file, key, paths, samples, genes, options: write_bins(file, paths, samples),
    "features": write_features,
    "sequences": write_sequences,
    "labels": write_labels,
    "groups": write_groups,
    "pairs": write_pairs,
    "transcripts": lambda file, key, paths, samples, genes, options: write_transcripts(file, paths[0], samples),
    "list": lambda file, key, paths, samples, genes, options: write_list(file, key, paths[0]),
}


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, help=f"TSV: {', '.join(SAMPLE_COLUMNS)}; without it the dataset has genes and labels only")
    parser.add_argument("--chrom-sizes", type=Path, required=True, help="chromosome<TAB>bp")
    parser.add_argument("--genes", type=Path, required=True, help=f"TSV: {', '.join(GENE_COLUMNS)}")
    parser.add_argument("--tss", type=Path, required=True, help="TSV: gene, position (0-based), source")
    parser.add_argument(
        "--table",
        nargs="+",
        action="append",
        default=[],
        metavar=("KEY", "FILE"),
        help="an entry of LAYOUT and the file(s) that hold it; repeatable",
    )
    parser.add_argument("--hold-out", choices=HOLD_OUT, default="samples", help="what test examples have that training never saw")
    parser.add_argument("--folds", type=int, default=5, help="folds of the held-out axis; 0 holds out each group once")
    parser.add_argument("--gene-folds", type=int, default=3, help="folds of the genes when both are held out")
    parser.add_argument(
        "--group-by",
        type=lambda text: text.split(","),
        default=[column for column in GROUP_COLUMNS if column != "batch"],
        help="samples that share one of these stay together; random: every sample alone",
    )
    parser.add_argument(
        "--gene-groups", choices=GENE_GROUPS, default="chromosome", help="genes that stay together; random: every gene alone"
    )
    parser.add_argument(
        "--fold-table", type=Path, help="CSV or TSV of the user's own folds: ids, then fold_1, fold_2 … with train, valid, test"
    )
    parser.add_argument(
        "--min-detected",
        type=float,
        default=0.5,
        help="share of the cohort's median number of detected genes below which a sample is refused",
    )
    parser.add_argument("--assembly", default="unknown", help="name of the genome assembly")
    parser.add_argument("--annotation", default="unknown", help="name of the annotation")
    parser.add_argument("--sources", default="{}", help="JSON: accession or name and checksum of every input")
    parser.add_argument("--seed", type=int, default=1, help="seed of the folds")
    parser.add_argument("--lost-ids-out", type=Path, help="TSV of the ids that did not join")
    parser.add_argument("--out", type=Path, required=True, help="the dataset")
    return parser


def main(options: argparse.Namespace) -> None:
    """Assemble, then say with what."""
    refuse_unknown_groups(options.group_by)
    assemble_dataset(options)
    write_task(options.task_out, "numpy", "h5py")


if __name__ == "__main__":
    run(main, parse_args())
