"""A matrix of expression while it is read: ids and facts of both axes, numbers in blocks; what may take a whole file lies in a temporary one."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError
from exprcast.tables import MISSING, refuse_duplicates

BLOCK_BYTES = 2**27  # of float32 numbers in memory at once
MOST_IDS, LONGEST_ID = 10_000_000, 500  # of an axis of a file from outside
NO_VALUE = -666  # CMap's word for missing
NO_FACT = MISSING | {str(NO_VALUE), "None", "<NA>", "NaT"}


class Axis(NamedTuple):
    """Ids of rows or columns, and what else is known of each: name → texts, "" = not known."""

    ids: list[str]
    facts: dict[str, list[str]]


class Stored(NamedTuple):
    """A matrix as it lies in its file; by_rows gives float32 blocks (some rows, columns) in order, by_columns blocks (some columns, rows)."""

    rows: Axis
    columns: Axis
    by_rows: Callable[[], Iterator[np.ndarray]] | None
    by_columns: Callable[[], Iterator[np.ndarray]] | None = None  # one of the two may be lacking
    features: str = ""  # the axis that holds features in this format: rows, columns; "" where a format has no rule


class SampleMatrix(NamedTuple):
    """Samples × features, whatever the file looked like; `read` begins anew with each call and gives float32 blocks (some samples, features)."""

    name: str
    samples: list[str]
    features: list[str]
    sample_facts: dict[str, list[str]]
    feature_facts: dict[str, list[str]]
    read: Callable[[], Iterator[np.ndarray]]


class Spool:
    """A matrix of float32 in a temporary file: filled by rows, read by rows or by columns, gone with this object."""

    def __init__(self, folder: Path, columns: int) -> None:
        self.folder, self.n_rows, self.n_columns = folder, 0, columns
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    @classmethod
    def of(cls, blocks: Iterator[np.ndarray], folder: Path, columns: int) -> "Spool":
        """Return all blocks of rows in a temporary file."""
        spool = cls(folder, columns)
        for block in blocks:
            spool.add(block)
        return spool

    def add(self, block: np.ndarray) -> None:
        """Append (some rows, columns)."""
        try:
            self.file.write(np.ascontiguousarray(as_float32(block)))
        except OSError as error:
            raise InputError(
                f"{self.folder}: {error.strerror}; a matrix that is turned round needs as much room there as its numbers"
            ) from None
        self.n_rows += len(block)

    def values(self) -> np.ndarray:
        """Return all of it, mapped from the file."""
        self.file.flush()
        return np.memmap(self.file, np.float32, "r", shape=(self.n_rows, self.n_columns))

    def by_rows(self) -> Iterator[np.ndarray]:
        """Yield (some rows, columns) in order."""
        for start, stop in spans(self.n_rows, self.n_columns):
            yield np.array(self.values()[start:stop])

    def by_columns(self) -> Iterator[np.ndarray]:
        """Yield (some columns, rows) in order."""
        for start, stop in spans(self.n_columns, self.n_rows):
            yield np.array(self.values()[:, start:stop].T, order="C")


def spans(count: int, width: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Yield (first, last + 1) of blocks of rows that hold at most BLOCK_BYTES; where it can be, a multiple of rows that are packed together."""
    rows = max(BLOCK_BYTES // (4 * max(width, 1)) // multiple * multiple, 1)
    for start in range(0, count, rows):
        yield start, min(start + rows, count)


def as_float32(block: np.ndarray) -> np.ndarray:
    """Return numbers as float32; what is too large for it becomes infinite, which is refused later."""
    with np.errstate(over="ignore"):
        return block.astype(np.float32, copy=False)


def without_666(block: np.ndarray) -> np.ndarray:
    """Return float32 numbers with NaN in the place of CMap's -666."""
    block = as_float32(block)
    return np.where(block == NO_VALUE, np.float32(np.nan), block)


def refuse_size(name: str, rows: int, columns: int, spooled_to: Path | None = None) -> None:
    """Raise InputError for a matrix that is empty, larger than any, or (if it is turned round) than the room in a folder."""
    if not (0 < rows <= MOST_IDS and 0 < columns <= MOST_IDS):
        raise InputError(f"{name}: {rows:,} rows and {columns:,} columns; 1 to {MOST_IDS:,} of each can be read")
    if spooled_to is not None and 4 * rows * columns > (free := shutil.disk_usage(spooled_to).free):
        needed = f"{4 * rows * columns / 1e9:,.1f} GB are needed in {spooled_to}"
        raise InputError(f"{name}: {rows:,} × {columns:,} numbers have to be turned round: {needed}, {free / 1e9:,.1f} GB are free")


def clean_ids(ids: Iterable[object], what: str) -> list[str]:
    """Return ids as text; none may be empty, very long, there twice, or hold what no table could (tabs, line ends, NUL)."""
    texts = [text_of(identifier).strip(" ") for identifier in ids]
    for number, text in enumerate(texts, 1):
        if not text.isprintable() or not 0 < len(text) <= LONGEST_ID:
            raise InputError(
                f"{what} number {number:,} has the id {text[:40]!r}, which is no id: 1 to {LONGEST_ID} printable letters are one"
            )
    refuse_duplicates(texts, what)
    return texts


def clean_facts(values: Iterable[object]) -> list[str]:
    """Return facts as text without tabs and line ends, "" where one is missing."""
    texts = (" ".join("".join(c if c.isprintable() else " " for c in text_of(value)).split()) for value in values)
    return ["" if text in NO_FACT else text for text in texts]


def text_of(value: object) -> str:
    """Return a value from a file as text; floats to nine significant digits."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:.9g}" if isinstance(value, float | np.floating) else str(value)


def refuse_infinite(block: np.ndarray, matrix: SampleMatrix, first: int) -> None:
    """Raise InputError that points at the first infinite value of a block whose first sample has this number."""
    if np.isinf(block).any():
        refuse_value(
            matrix, block, np.isinf(block), first, "is infinite or too large for a float32; correct it, or write NA where it is not known"
        )


def refuse_value(matrix: SampleMatrix, block: np.ndarray, wrong: np.ndarray, first: int, why: str) -> None:
    """Raise InputError that points at the first wrong value of a block whose first sample has this number."""
    row, column = np.argwhere(wrong)[0]
    where = f"sample {matrix.samples[first + row]}, feature {matrix.features[column]}"
    raise InputError(f"{matrix.name}: {where}: {block[row, column]:g} {why}")


def checked(matrix: SampleMatrix) -> SampleMatrix:
    """Return a matrix whose blocks are looked at as they are read: no infinite value, as many samples as ids."""

    def read() -> Iterator[np.ndarray]:
        first = 0
        for block in matrix.read():
            refuse_infinite(block, matrix, first)
            first += len(block)
            yield block

    return matrix._replace(read=read)


def few_ids(ids: Sequence[str]) -> str:
    """Return the first three ids of an axis, shortened."""
    return ", ".join(identifier[:40] for identifier in ids[:3]) + (" …" if len(ids) > 3 else "")
