"""HDF5 files from outside: opened, and what lies in them looked at before it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import InputError

MOST_CHUNK_BYTES = 2**28  # of a chunk, which HDF5 unpacks whole


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file; what HDF5 cannot read, then or later, is an InputError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        cause = "it is cut short" if "truncated" in str(error) else "it is damaged"
        raise InputError(f"{path.name}: cannot be read as HDF5: {cause}; copy or download the file again") from None


def member(parent: h5py.Group, key: str, path: Path) -> h5py.Group | h5py.Dataset:
    """Return what lies under a key in the file itself: links and data in other files are refused, and chunks that fill the memory."""
    found = parent
    for part in key.split("/"):
        if not isinstance(found, h5py.Group) or part not in found:
            raise InputError(f"{path.name}: no {key} in it; the file is not complete")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise InputError(f"{path.name}: {key} is a link, which is not followed; write the data themselves into the file")
        found = found[part]
    if isinstance(found, h5py.Dataset):
        if found.external or found.is_virtual:
            raise InputError(f"{path.name}: the data of {key} lie in another file; write them into this one")
        if found.chunks and np.prod(found.chunks, dtype=float) * found.dtype.itemsize > MOST_CHUNK_BYTES:
            raise InputError(f"{path.name}: {key} is packed in chunks of more than {MOST_CHUNK_BYTES:,} bytes; repack it with smaller ones")
    return found
