"""One sample's FASTQ files, unpacked once for kallisto and for our own look: are they whole, do they belong together, come in pairs?"""

import gzip
import re
import zlib
from io import RawIOBase
from itertools import islice
from pathlib import Path
from threading import Event
from typing import BinaryIO, NamedTuple

import numpy as np
from isal import igzip, isal_zlib

from exprcast.cli import InputError

NOTED_EVERY = 1_024  # of so many records one is compared between mates
BLOCK_BYTES = 1 << 20
LONGEST_FRAGMENT = 2_000  # bp, of a sequencing library
MATE_MARK = re.compile(rb"[/._:][12]$")


class Reads(NamedTuple):
    """The files of one sample in the order of its lanes; `second` is empty for single ends."""

    sample: str
    first: list[Path]
    second: list[Path]


Record = tuple[bytes, bytes]  # name without @, and bases


class Contents(NamedTuple):
    """What one FASTQ file holds."""

    records: int
    crc: int  # of the text, unpacked
    noted: list[Record]  # every NOTED_EVERY-th record, and the last


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
    if second and (mean or sd):
        raise InputError(f"sample {sample}: fragment lengths are for single ends; kallisto measures those of pairs ({first[0].name})")
    if not all(0 < bp <= LONGEST_FRAGMENT for bp in (mean, sd) if bp is not None):
        raise InputError(f"sample {sample}: fragment mean {mean} and sd {sd}; both are bp above 0 and up to {LONGEST_FRAGMENT:,}")
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
    except OSError as error:
        raise unreadable(path, sample, error) from None


def unreadable(path: Path, sample: str, error: OSError) -> InputError:
    """Return the error of a file that the system does not give."""
    return InputError(f"sample {sample}: {path.name} cannot be read: {error.strerror}; ask its owner, or copy it")


def damaged(path: Path, sample: str) -> InputError:
    """Return the error of a file that cannot be read to its end."""
    return InputError(f"sample {sample}: {path.name}: the gzip data are cut short or damaged; copy or download the file again")


def pass_on(path: Path, sample: str, out: RawIOBase, stop: Event) -> Contents:
    """Write a FASTQ file, unpacked, to `out` until that is no longer read, and return what the file holds to its end, or until `stop`.

    A damaged gzip or a record that is none is an InputError.
    """
    records, crc, noted, last, rest, listening = 0, 0, [], None, b"", True
    try:
        with out, open_reads(path) as file:
            while (block := file.read(BLOCK_BYTES)) and not stop.is_set():
                listening = listening and written(block, out)
                crc = zlib.crc32(block, crc)
                text = rest + block
                ends = record_ends(text)
                whole = int(ends[-1]) + 1 if len(ends) else 0
                records, last = note_records(text, ends, records, noted, f"sample {sample}: {path.name}") if whole else (records, last)
                rest = text[whole:]
    except (EOFError, gzip.BadGzipFile, isal_zlib.error):
        raise damaged(path, sample) from None
    except OSError as error:
        raise unreadable(path, sample, error) from None
    if stop.is_set():  # the other mate has the fault; what was read of this one breaks off anywhere
        return Contents(records, crc, noted)
    if rest.strip():
        ends = record_ends(rest + b"\n")  # the last line may lack its end
        if not len(ends) or rest[int(ends[-1]) :].strip():
            raise InputError(f"sample {sample}: {path.name} ends within a record, after {records:,} whole ones; was the file cut short?")
        records, last = note_records(rest + b"\n", ends, records, noted, f"sample {sample}: {path.name}")
    if last is None:
        raise InputError(f"sample {sample}: {path.name} is empty; it holds no reads")
    return Contents(records, crc, [*noted, last])


def record_ends(text: bytes) -> np.ndarray:
    """Return where the lines of whole records end, four for each record."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    return ends[: len(ends) // 4 * 4]


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


def note_records(text: bytes, ends: np.ndarray, before: int, noted: list[Record], what: str) -> tuple[int, Record]:
    """Check whole records, note some, and return the number of records so far and the last one; `before` stood earlier."""
    starts = np.append(0, ends[:-1] + 1)
    letters, lengths = np.frombuffer(text, np.uint8)[starts], ends - starts
    for line, mark in ((0, b"@"), (2, b"+")):
        wrong = np.flatnonzero(letters[line::4] != ord(mark))
        if len(wrong):
            place = f"line {4 * (before + int(wrong[0])) + line + 1:,}"
            raise InputError(f"{what} {place} should begin with '{mark.decode()}': this is no FASTQ file, or it is damaged there")
    wrong = np.flatnonzero(lengths[1::4] != lengths[3::4])
    if len(wrong):
        bases, qualities = (int(lengths[4 * wrong[0] + line]) for line in (1, 3))
        place = f"line {4 * (before + int(wrong[0])) + 4:,}"
        raise InputError(f"{what} {place}: {qualities} qualities for {bases} bases; the file is damaged there")
    count = len(ends) // 4

    def record(number: int) -> Record:
        name, bases = (text[starts[4 * number + line] : ends[4 * number + line]] for line in (0, 1))
        return name[1:], bases

    noted += [record(number) for number in range(-before % NOTED_EVERY, count, NOTED_EVERY)]
    return before + count, record(count - 1)


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
