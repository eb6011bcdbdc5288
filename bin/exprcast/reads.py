"""One sample's FASTQ files, unpacked once for kallisto and for our own look: are they whole, do they belong together, come in pairs?"""

import gzip
import re
import zlib
from io import RawIOBase
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from isal import igzip, isal_zlib

from exprcast.cli import InputError

NOTED_EVERY = 1_024  # of so many records one is compared between mates
BLOCK_BYTES = 1 << 20
MATE_MARK = re.compile(rb"[/._:][12]$")


class Reads(NamedTuple):
    """The files of one sample in the order of its lanes; `second` is empty for single ends."""

    sample: str
    first: list[Path]
    second: list[Path]


class Contents(NamedTuple):
    """What one FASTQ file holds."""

    records: int
    crc: int  # of the text, unpacked
    noted: list[tuple[bytes, bytes]]  # name and bases of every NOTED_EVERY-th record and of the last


def unit_of(reads: Reads) -> str:
    """Return what is counted: pairs or reads."""
    return "pairs" if reads.second else "reads"


def refuse_wrong_files(reads: Reads, mean: float | None, sd: float | None) -> None:
    """Raise InputError for what can be said before a file is read."""
    sample, first, second = reads
    for path in first + second:
        if not path.is_file():
            raise InputError(f"sample {sample}: {path}: no such file")
    if second and len(first) != len(second):
        raise InputError(f"sample {sample}: {len(first)} files of first mates and {len(second)} of second; give both of each lane")
    resolved = [path.resolve() for path in first + second]
    twice = next((path for path in resolved if resolved.count(path) > 1), None)
    if twice:
        raise InputError(f"sample {sample}: {twice.name} is given twice; each lane and mate is a file of its own")
    if not second and not (mean and sd):
        raise InputError(
            f"sample {sample}: single-end reads ({first[0].name}) need fragment_mean and fragment_sd in bp; ask who made the library (often 200 and 30)"
        )


def first_sequences(path: Path, count: int, sample: str) -> list[bytes]:
    """Return the bases of a file's first reads."""
    try:
        with open_reads(path) as file:
            return [line.strip() for line in islice(file, 1, 4 * count, 4)]
    except (EOFError, gzip.BadGzipFile, isal_zlib.error):
        raise damaged(path, sample) from None


def damaged(path: Path, sample: str) -> InputError:
    """Return the error of a file that cannot be read to its end."""
    return InputError(f"sample {sample}: {path.name}: the gzip data are cut short or damaged; copy or download the file again")


def pass_on(path: Path, sample: str, out: RawIOBase) -> Contents:
    """Write a FASTQ file, unpacked, to `out` until that is no longer read, and return what the file holds to its end.

    A damaged gzip or a record that is none is an InputError.
    """
    lines, crc, noted, rest, listening = 0, 0, [], b"", True
    try:
        with out, open_reads(path) as file:
            while block := file.read(BLOCK_BYTES):
                listening = listening and written(block, out)
                crc = zlib.crc32(block, crc)
                rest += block
                whole = rest.rfind(b"\n") + 1
                lines += note_records(rest[:whole], lines, noted, path, sample)
                rest = rest[whole:]
    except (EOFError, gzip.BadGzipFile, isal_zlib.error):
        raise damaged(path, sample) from None
    if rest:  # the last line without its end
        lines += note_records(rest + b"\n", lines, noted, path, sample)
    if not lines:
        raise InputError(f"sample {sample}: {path.name} is empty; it holds no reads")
    if lines % 4:
        raise InputError(f"sample {sample}: {path.name} has {lines:,} lines, which is no multiple of 4; was the file cut short?")
    return Contents(lines // 4, crc, noted)


def written(block: bytes, out: RawIOBase) -> bool:
    """Write a block and say whether anybody still reads: kallisto stops where the shorter of two mates ends."""
    left = memoryview(block)
    try:
        while left:
            left = left[out.write(left) :]
    except BrokenPipeError:
        return False
    return True


def open_reads(path: Path) -> BinaryIO:
    """Open a file of bytes, gzip or not."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
    return igzip.open(path) if zipped else path.open("rb")


def note_records(text: bytes, before: int, noted: list[tuple[bytes, bytes]], path: Path, sample: str) -> int:
    """Check the whole lines of a block, note some records, and return how many lines there are; `before` lines stood earlier."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    letters = np.frombuffer(text, np.uint8)[starts] if len(ends) else np.empty(0, np.uint8)
    for offset, mark in ((0, b"@"), (2, b"+")):
        first = (offset - before) % 4
        wrong = np.flatnonzero(letters[first::4] != ord(mark))
        if len(wrong):
            line = before + first + 4 * int(wrong[0]) + 1
            raise InputError(
                f"sample {sample}: {path.name} line {line:,} should begin with '{mark.decode()}': this is no FASTQ file, or it is damaged there"
            )
    names = np.arange((-before) % 4, len(ends) - 1, 4)
    for line in names[(before + names) // 4 % NOTED_EVERY == 0]:
        noted.append((text[starts[line] + 1 : ends[line]], text[starts[line + 1] : ends[line + 1]]))
    return len(ends)


def compare_contents(reads: Reads, contents: list[Contents]) -> int:
    """Return the number of reads or pairs; raise InputError unless mates belong together and no file repeats another."""
    files = reads.first + reads.second
    for number, (path, content) in enumerate(zip(files, contents, strict=True)):
        same = next((other for other, earlier in zip(files[:number], contents, strict=False) if earlier[:2] == content[:2]), None)
        if same is not None:
            raise InputError(
                f"sample {reads.sample}: {path.name} holds the same reads as {same.name}; each lane and mate is a file of its own"
            )
    first, second = contents[: len(reads.first)], contents[len(reads.first) :]
    for path_1, path_2, one, two in zip(reads.first, reads.second, first, second, strict=bool(reads.second)):
        both = f"sample {reads.sample}: {path_1.name} and {path_2.name}"
        if one.records != two.records:
            raise InputError(
                f"{both}: {one.records:,} reads and {two.records:,}; mates come in pairs: was one file cut short, or is it another library's?"
            )
        for (name_1, _), (name_2, _) in zip(one.noted, two.noted, strict=True):
            if mate_name(name_1) != mate_name(name_2):
                shown = f"{name_1[:50].decode(errors='replace')} beside {name_2[:50].decode(errors='replace')}"
                raise InputError(f"{both} hold other reads ({shown}): mates must be of one library and in one order")
        if all(bases_1 == bases_2 for (_, bases_1), (_, bases_2) in zip(one.noted, two.noted, strict=True)):
            raise InputError(f"{both} hold the same bases: the first mates are given twice")
    return sum(content.records for content in first)


def mate_name(name: bytes) -> bytes:
    """Return a read's name without what tells the mates apart."""
    return MATE_MARK.sub(b"", name.split(maxsplit=1)[0] if name.strip() else b"")
