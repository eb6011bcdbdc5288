"""Matrices of predictions on disk, for blocks of rows."""

import h5py

CHUNK_ROWS, CHUNK_CELLS = 64, 2**18  # at most; about a megabyte
PACKED = {"compression": "gzip", "compression_opts": 1}  # level 4 is a third slower to write and to read, and no smaller


def create_matrices(out: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
    """Make an array (…, rows, columns) whose chunks are blocks of whole rows of one matrix, so that blocks of rows can be read alone."""
    *outer, rows, columns = shape
    block = max(1, min(CHUNK_ROWS, rows, CHUNK_CELLS // columns))
    return out.create_dataset(name, shape=shape, dtype=dtype, chunks=(*[1] * len(outer), block, columns), **PACKED)
