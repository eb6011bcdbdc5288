#!/usr/bin/env python3
"""Write predictions for new samples as other programs read them: applied/<family>.h5 → AnnData, Parquet and a table of text."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from anndata import AnnData

from exprcast.applied import Applied, Block
from exprcast.cell_table import MOST_ROWS
from exprcast.cli import log, run, whole_file, write_task
from exprcast.tables import write_table

IDS = ("sample", "gene", "symbol")
INTERVAL = ("low", "high")
DENSE = {"encoding-type": "array", "encoding-version": "0.2.0"}  # AnnData's words for a plain matrix
PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "track_times": False}


def export_applied(options: argparse.Namespace) -> None:
    """Write all three, one block of samples at a time; columns and layers of measured RNA only where some is known."""
    applied = Applied(options.applied)
    values = ("predicted", *INTERVAL, *(("observed",) if applied.measured else ()))
    if options.table_out:
        write_text(options.table_out, applied, values, options.table_rows)
    with whole_file(options.parquet_out) as temporary:
        write_parquet(temporary, applied, values)
    with whole_file(options.out) as temporary:
        write_h5ad(temporary, applied, values)
    log.info(f"{applied.family}: {len(applied.samples):,} samples × {len(applied.genes):,} genes, {', '.join(values)}")


def write_text(path: Path, applied: Applied, values: tuple[str, ...], most_rows: int) -> None:
    """Write the TSV unless it would have more rows than that."""
    rows = len(applied.samples) * len(applied.genes)
    if rows > most_rows:
        log.info(f"{path.name} is not written: it would have {rows:,} rows, more than {most_rows:,}; the other files hold all")
    else:
        write_table(path, [*IDS, *values], (row for block in applied.blocks() for row in text_rows(applied, block, values)))


def text_rows(applied: Applied, block: Block, values: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    """Yield one row a gene of each sample of a block."""
    for k, sample in enumerate(applied.samples[block.rows]):
        numbers = (getattr(block, name)[k].tolist() for name in values)
        yield from zip([sample] * len(applied.genes), applied.genes, applied.symbol, *numbers, strict=True)


def write_parquet(path: Path, applied: Applied, values: tuple[str, ...]) -> None:
    """Write one row a sample and gene, a group of rows for each block; NaN is null."""
    facts = {"family": applied.family, "unit": applied.unit, "confidence": str(applied.confidence)}
    words, number = pa.dictionary(pa.int32(), pa.string()), pa.float32()
    schema = pa.schema([*((name, words) for name in IDS), *((name, number) for name in values)], metadata=facts)
    genes, symbols = (pa.array(names, pa.string()).dictionary_encode() for names in (applied.genes, applied.symbol))
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=list(IDS)) as out:
        for block in applied.blocks():
            samples = pa.array(applied.samples[block.rows], pa.string()).dictionary_encode()
            sample, gene = (pa.array(place.ravel()) for place in np.indices(block.predicted.shape))
            columns = [samples.take(sample), genes.take(gene), symbols.take(gene)]
            columns += [pa.array(getattr(block, name).ravel(), number, from_pandas=True) for name in values]
            out.write_batch(pa.record_batch(columns, schema=schema))


def write_h5ad(path: Path, applied: Applied, values: tuple[str, ...]) -> None:
    """Write tables by AnnData itself, then X (what is predicted) and the other layers block by block."""
    obs = {"nearest": applied.nearest, "distance": applied.distance, "outside": applied.outside}
    var = {"symbol": applied.symbol, "chrom": applied.chrom, "strand": applied.strand}
    uns = {name: getattr(applied, name) for name in ("family", "unit", "confidence", "bundle")}
    tables = AnnData(obs=pd.DataFrame(obs, index=applied.samples), var=pd.DataFrame(var, index=applied.genes), uns=uns)
    tables.write_h5ad(path, convert_strings_to_categoricals=False)
    with h5py.File(path, "r+") as file:
        matrices = {name: create_matrix(file, "X" if name == "predicted" else f"layers/{name}", applied) for name in values}
        for block in applied.blocks():
            for name, matrix in matrices.items():
                matrix[block.rows] = getattr(block, name)


def create_matrix(file: h5py.File, key: str, applied: Applied) -> h5py.Dataset:
    """Make (samples, genes) as AnnData stores it, in chunks of whole samples."""
    shape, chunk = (len(applied.samples), len(applied.genes)), applied.file["role"].chunks
    matrix = file.create_dataset(key, shape=shape, dtype="f4", chunks=chunk[1:] if chunk else (1, shape[1]), **PACKED)
    matrix.attrs.update(DENSE)
    return matrix


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--applied", type=Path, required=True, help="predictions of one family for new samples, applied/<family>.h5")
    parser.add_argument("--table-rows", type=int, default=MOST_ROWS, help="no TSV with more rows than this")
    parser.add_argument("--table-out", type=Path, help="TSV, one row a sample and gene")
    parser.add_argument("--parquet-out", type=Path, required=True, help="the same as Parquet, whatever its size")
    parser.add_argument(
        "--out", type=Path, required=True, help="AnnData (.h5ad): X is what is predicted, layers are intervals and measured values"
    )
    return parser


def main(options: argparse.Namespace) -> None:
    """Export, then say with what."""
    export_applied(options)
    write_task(options.task_out, "numpy", "h5py", "pandas", "pyarrow", "anndata")


if __name__ == "__main__":
    run(main, parse_args())
