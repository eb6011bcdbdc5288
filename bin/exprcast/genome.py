"""An indexed genome, opened only if its index is its own."""

import gzip
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam

from exprcast.cli import InputError
from exprcast.tables import read_lines


def open_genome(path: Path) -> pysam.FastaFile:
    """Return an indexed FASTA, plain or bgzip; an index that is missing or of another file is an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as raw:
        start = raw.read(16)
    packed = start.startswith(b"\x1f\x8b")
    if packed and start[12:14] != b"BC":
        raise InputError(f"{path.name}: plain gzip, where random access needs bgzip; index_genome.py makes a bgzip copy with its indexes")
    indexes = [path.with_name(path.name + suffix) for suffix in (".fai", *([".gzi"] if packed else []))]
    for index in indexes:
        if not index.is_file():
            raise InputError(f"{path.name}: no index {index.name} beside it; index_genome.py makes one")
    try:
        stranger = first_stranger(read_fai(indexes[0]), bgzip_reader(path, indexes[1]) if packed else plain_reader(path))
    except (EOFError, OSError, zlib.error, ValueError, OverflowError):
        raise InputError(f"{path.name}: damaged, or {indexes[-1].name} is of another file; index_genome.py makes both anew") from None
    if stranger is not None:
        raise InputError(f"{path.name}: {indexes[0].name} is of another file: {stranger} lies elsewhere; index_genome.py makes both anew")
    return pysam.FastaFile(str(path))


def read_fai(path: Path) -> list[tuple[str, int, int, int, int]]:
    """Return (name, bases, offset of the first base, bases of a line, bytes of a line) of each sequence of a .fai file."""
    rows = []
    for number, line in read_lines(path):
        name, *cells = line.split("\t")
        if len(cells) != 4 or not all(cell.isdecimal() for cell in cells) or "0" in (cells[0], cells[2]):
            raise InputError(f"{path.name} line {number}: '{line[:60]}' is no row of a FASTA index; index_genome.py makes one")
        rows.append((name, *map(int, cells)))
    if not rows:
        raise InputError(f"{path.name}: the index is empty; index_genome.py makes one")
    return rows


def first_stranger(rows: list[tuple[str, int, int, int, int]], text_at: Callable[[int, int], bytes]) -> str | None:
    """Return the first sequence of an index that is not where it says: a header line before it, lines of one length, then the next."""
    end = 0
    for name, bases, offset, line_bases, line_bytes in rows:
        header = text_at(end, offset - end) if 0 < offset - end < 1 << 20 else b""
        found = re.fullmatch(rb"\s*>(\S+)[^\n]*\n", header)
        if found is None or found.group(1) != name.encode():
            return name
        if bases > line_bases and [len(part) for part in text_at(offset, line_bytes).split()] != [line_bases]:
            return name
        end = offset + (bases - 1) // line_bases * line_bytes + (bases - 1) % line_bases + 1
    return name if text_at(end - 1, 1) in (b"", b"\n", b"\r") or text_at(end, 1000).strip() else None


def plain_reader(path: Path) -> Callable[[int, int], bytes]:
    """Return a function that reads so many bytes from an offset of a file."""

    def text_at(offset: int, count: int) -> bytes:
        with path.open("rb") as raw:
            raw.seek(offset)
            return raw.read(count)

    return text_at


def bgzip_reader(path: Path, gzi: Path) -> Callable[[int, int], bytes]:
    """Return a function that reads so many bytes from an offset of a bgzip file's text; ValueError if the .gzi lists other blocks."""
    blocks = bgzip_blocks(path)
    count, *numbers = np.fromfile(gzi, "<u8").tolist()
    listed = set(zip(numbers[::2], numbers[1::2], strict=True))
    filled = {block for block, after in zip(blocks[:-1], blocks[1:], strict=True) if block[1] < after[1]}
    if len(numbers) != 2 * count or not filled - {(0, 0)} <= listed <= set(blocks):
        raise ValueError("not the blocks of this file")
    texts = [text for _, text in blocks]

    def text_at(offset: int, count: int) -> bytes:
        place, text = blocks[bisect_right(texts, offset) - 1]
        with path.open("rb") as raw:
            raw.seek(place)
            file = gzip.GzipFile(fileobj=raw)
            file.seek(offset - text)
            return file.read(count)

    return text_at


def bgzip_blocks(path: Path) -> list[tuple[int, int]]:
    """Return (offset in the file, offset in the text) of each block of a bgzip file, and of its end; ValueError if it is none."""
    blocks, place, text = [(0, 0)], 0, 0
    with path.open("rb") as raw:
        while header := raw.read(18):
            if header[:4] != b"\x1f\x8b\x08\x04" or header[12:14] != b"BC":
                raise ValueError("not a block of bgzip")
            place += int.from_bytes(header[16:], "little") + 1
            raw.seek(place - 4)
            text += int.from_bytes(raw.read(4), "little")
            blocks.append((place, text))
    if place != path.stat().st_size:
        raise ValueError("the last block is cut short")
    return blocks
