"""Combined predictions as a table: one row a test cell."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import log
from exprcast.dataset import TEST
from exprcast.scoring import row_blocks
from exprcast.tables import write_table

MOST_ROWS = 2_000_000


def write_cells(path: Path, file: h5py.File, most_rows: int = MOST_ROWS) -> None:
    """Write the table unless it would have more rows than that."""
    cells = int(sum((file["role"][i] == TEST).sum() for i in range(len(file["folds"]))))
    log.info(f"{len(file['folds'])} folds, {len(file['seeds'])} seeds, {cells:,} test cells")
    if cells > most_rows:
        log.info(f"no table of more than {most_rows:,} rows is written; {Path(file.filename).name} holds all")
    else:
        write_table(path, ["row", "column", "fold", "observed", "model", *file["baselines"]], test_cells(file))


def test_cells(file: h5py.File) -> Iterator[list[object]]:
    """Yield one row a test cell: ids, fold, observed, the mean prediction over seeds, and each baseline's."""
    row_ids, columns = (file[name].asstr()[:] for name in ("rows", "columns"))
    for i, fold in enumerate(file["folds"][:]):
        for rows in row_blocks(file):
            observed, model = file["observed"][rows], file["predicted"][i, :, rows].mean(axis=0)
            others = [file[f"baselines/{name}"][i, rows] for name in file["baselines"]]
            for row, column in zip(*np.nonzero(file["role"][i, rows] == TEST), strict=True):
                values = (matrix[row, column] for matrix in (observed, model, *others))
                yield [row_ids[rows.start + row], columns[column], fold, *values]
