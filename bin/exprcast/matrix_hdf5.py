"""Matrices of expression in HDF5: GCTX, and AnnData's h5ad, dense or sparse. Files from outside: no links, no size that is not looked at first."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from anndata.io import read_elem

from exprcast.cli import InputError
from exprcast.foreign_hdf5 import member, opened
from exprcast.matrix_file import (
    LONGEST_ID,
    MOST_IDS,
    Axis,
    Stored,
    as_float32,
    clean_facts,
    clean_ids,
    few_ids,
    refuse_size,
    spans,
    without_666,
)

GCTX_MATRIX, GCTX_META = "0/DATA/0/matrix", {"columns": "0/META/COL", "rows": "0/META/ROW"}
MOST_TEXT_BYTES = 2**30  # of the ids or of a fact of an axis


def read_hdf5(path: Path, folder: Path) -> Stored:
    """Read ids and facts of a GCTX or an h5ad, by what is in it; the folder takes a temporary file if its numbers have to be turned round."""
    with opened(path) as file:
        if "0" in file:
            return read_gctx(file, path)
        if {"X", "obs", "var"} <= set(file):
            return read_h5ad(file, path, folder)
        raise InputError(f"{path.name}: HDF5, but neither GCTX (0/DATA/0/matrix) nor h5ad (X, obs, var); it holds {few_ids(sorted(file))}")


def array_of(parent: h5py.Group, key: str, path: Path, axes: int, kinds: str) -> h5py.Dataset:
    """Return an array with so many axes and of one of NumPy's kinds of type."""
    array = member(parent, key, path)
    if not isinstance(array, h5py.Dataset) or array.ndim != axes or array.dtype.kind not in kinds:
        is_ = f"{array.dtype} with {array.ndim} axes" if isinstance(array, h5py.Dataset) else "a group"
        raise InputError(f"{path.name}: {key} is {is_}, not an array with {axes} {'axis' if axes == 1 else 'axes'} of the right type")
    return array


def texts_of(parent: h5py.Group, key: str, path: Path) -> list[object]:
    """Return one text, or number, for each row or column."""
    array = array_of(parent, key, path, 1, "SOUfiub")
    if array.size > MOST_IDS or array.dtype.itemsize > 4 * LONGEST_ID or array.size * array.dtype.itemsize > MOST_TEXT_BYTES:
        raise InputError(f"{path.name}: {key} claims {array.size:,} values of {array.dtype.itemsize:,} bytes; that is no axis of a matrix")
    return array[:].tolist()


def read_gctx(file: h5py.File, path: Path) -> Stored:
    """Read a GCTX: rows are features by its convention, and its array is (columns, rows)."""
    version = np.ravel(file.attrs.get("version", b""))  # a text, bytes, or an array of one
    version = version[0].decode("ascii", "replace") if version.size and isinstance(version[0], bytes) else "".join(map(str, version[:1]))
    if version and not version.startswith("GCTX1"):
        raise InputError(f"{path.name}: its version is '{version[:20]}'; GCTX1.0 can be read")
    matrix = array_of(file, GCTX_MATRIX, path, 2, "fiu")
    refuse_size(path.name, *matrix.shape)
    axes = {name: gctx_axis(file, key, name[:-1], path) for name, key in GCTX_META.items()}
    columns, rows = len(axes["columns"].ids), len(axes["rows"].ids)
    if matrix.shape != (columns, rows):
        ids = f"its ids are those of {columns:,} columns and {rows:,} rows"
        why = "it is transposed: a GCTX holds (columns, rows)" if matrix.shape == (rows, columns) else "they do not belong together"
        raise InputError(f"{path.name}: the matrix is {matrix.shape[0]:,} × {matrix.shape[1]:,}, {ids}; {why}; write the file again")
    return Stored(axes["rows"], axes["columns"], None, partial(dense_rows, path, GCTX_MATRIX, True), features="rows")


def gctx_axis(file: h5py.File, key: str, what: str, path: Path) -> Axis:
    """Return ids and facts of one axis."""
    group = member(file, key, path)
    ids = clean_ids(texts_of(group, "id", path), f"{path.name}: {what}")
    facts = {name: clean_facts(texts_of(group, name, path)) for name in sorted(group) if name != "id"}
    wrong = next((name for name, values in facts.items() if len(values) != len(ids)), None)
    if wrong is not None:
        raise InputError(f"{path.name}: {key}/{wrong} has {len(facts[wrong]):,} values for {len(ids):,} {what}s; the file is damaged")
    return Axis(ids, facts)


def dense_rows(path: Path, key: str, cmap: bool) -> Iterator[np.ndarray]:
    """Yield float32 blocks of rows of an array; -666 is missing in CMap's files."""
    with opened(path) as file:
        array = file[key]
        for start, stop in spans(*array.shape, array.chunks[0] if array.chunks else 1):
            yield without_666(array[start:stop]) if cmap else as_float32(array[start:stop])


def read_h5ad(file: h5py.File, path: Path, folder: Path) -> Stored:
    """Read an h5ad: X is (obs, var), obs are samples."""
    rows, columns = (h5ad_axis(file, key, path) for key in ("obs", "var"))
    refuse_size(path.name, len(rows.ids), len(columns.ids))
    found = member(file, "X", path)
    if isinstance(found, h5py.Dataset):
        shape, read = array_of(file, "X", path, 2, "fiub").shape, partial(dense_rows, path, "X", False)
    else:
        shape = tuple(np.ravel(found.attrs.get("shape", ()))[:2].tolist())
        read = partial(sparse_rows, path)
    if shape != (len(rows.ids), len(columns.ids)):
        raise InputError(f"{path.name}: X is {shape}, obs has {len(rows.ids):,} rows and var {len(columns.ids):,}; the file is damaged")
    if isinstance(found, h5py.Dataset) or sparse_form(found, path) == "csr":
        return Stored(rows, columns, read, features="columns")
    refuse_size(path.name, *shape, folder)
    return Stored(rows, columns, None, read, features="columns")


def h5ad_axis(file: h5py.File, key: str, path: Path) -> Axis:
    """Return ids and facts of obs or var, each of its arrays looked at before AnnData reads it."""
    group = member(file, key, path)
    if not isinstance(group, h5py.Group):
        raise InputError(f"{path.name}: {key} is a table of an old AnnData; read and write the file with a new one")

    names: list[str] = []
    group.visititems_links(lambda name, _: names.append(name))
    for name in names:
        thing = member(group, name, path)
        if isinstance(thing, h5py.Dataset) and thing.shape != () and thing.size:
            texts_of(group, name, path)
    try:
        table = read_elem(group)
        ids, facts = table.index.tolist(), {str(name): column.tolist() for name, column in table.items()}
    except Exception as error:  # AnnData raises whatever its parts raise
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"{path.name}: {key} is no table that AnnData can read ({reason}); write the file again") from None
    return Axis(clean_ids(ids, f"{path.name}: {key} row"), {name: clean_facts(values) for name, values in facts.items()})


def sparse_form(group: h5py.Group, path: Path) -> str:
    """Return csr or csc, after comparing the three arrays of a sparse matrix with one another and with its shape."""
    form = str(group.attrs.get("encoding-type", ""))[:3]
    if form not in ("csr", "csc"):
        raise InputError(f"{path.name}: X is neither an array nor a csr or csc matrix; write the file again with AnnData")
    indptr, indices, data = (
        array_of(group, name, path, 1, kinds) for name, kinds in (("indptr", "iu"), ("indices", "iu"), ("data", "fiub"))
    )
    lines = int(group.attrs["shape"][0 if form == "csr" else 1])
    fits = len(indptr) == lines + 1 and indices.shape == data.shape
    ends = indptr[:].astype(np.int64) if fits else np.zeros(1, np.int64)
    if not (fits and ends[0] == 0 and ends[-1] == len(data) and (np.diff(ends) >= 0).all()):
        raise InputError(f"{path.name}: indptr, indices and data of X do not fit each other or its shape; the file is damaged")
    return form


def sparse_rows(path: Path) -> Iterator[np.ndarray]:
    """Yield float32 blocks (some rows, columns) of a csr matrix, (some columns, rows) of a csc."""
    with opened(path) as file:
        form, shape = sparse_form(file["X"], path), file["X"].attrs["shape"]
        lines, width = map(int, shape if form == "csr" else shape[::-1])
        ends = file["X/indptr"][:].astype(np.int64)
        for start, stop in spans(lines, width):
            first, last = ends[start], ends[stop]
            if last - first > (stop - start) * width:
                raise InputError(f"{path.name}: X has more values than cells; the file is damaged")
            place = file["X/indices"][first:last].astype(np.int64)
            beyond = place[(place < 0) | (place >= width)]
            if len(beyond):
                raise InputError(f"{path.name}: an index of X is {beyond[0]}, beyond {width:,}; the file is damaged")
            line = np.repeat(np.arange(stop - start), np.diff(ends[start : stop + 1]))
            dense = np.zeros((stop - start) * width, np.float32)
            np.add.at(dense, line * width + place, as_float32(file["X/data"][first:last]))
            yield dense.reshape(stop - start, width)
