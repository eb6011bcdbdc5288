#!/usr/bin/env python3
"""Index a genome: FASTA (plain, gzip or bgzip) → a bgzip copy with its .fai and .gzi, and chrom.sizes."""

import argparse
import gzip
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import monotonic
from typing import BinaryIO

import numpy as np
import pysam

from exprcast.cli import InputError, Progress, log, run, whole_file, write_task

BLOCK_BYTES = 4 << 20
HEADER_BYTES = 1 << 20  # a longer header line is none
LINE_BASES = 60
BLANKS = b" \t\r\n"
LETTERS = b"ACGTNRYSWKMBDHVacgtnryswkmbdhv"  # IUPAC codes for DNA
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")  # the empty block that ends a bgzip file
TRANSCRIPTS, TRANSCRIPT_BP = 20_000, 10_000  # more sequences of a smaller median length are no genome


def index_genome(fasta: Path, chrom_sizes_out: Path, out: Path) -> None:
    """Write a checked bgzip copy of a FASTA, its two indexes, and the lengths of its sequences in file order."""
    start = monotonic()
    fai, gzi = (out.with_name(out.name + suffix) for suffix in (".fai", ".gzi"))
    with whole_file(out) as copy, whole_file(fai) as copy_fai, whole_file(gzi) as copy_gzi:
        if is_bgzip(fasta):
            lengths = measure(stretches(fasta))
            shutil.copyfile(fasta, copy)
        else:
            lengths = repack(stretches(fasta), copy)
        refuse_transcripts(lengths, fasta)
        build_index(copy, copy_fai, copy_gzi, fasta)
    with whole_file(chrom_sizes_out) as sizes:
        sizes.write_text("".join(f"{name}\t{length}\n" for name, length in lengths.items()))
    seconds, megabases = monotonic() - start, sum(lengths.values()) / 1e6
    log.info(f"{fasta.name}: {len(lengths):,} sequences, {megabases:,.1f} Mb in {seconds:.0f} s ({megabases / seconds:.0f} MB/s)")


def is_bgzip(path: Path) -> bool:
    """Say whether a FASTA is packed in bgzip's blocks; one without their end mark is cut short."""
    if not path.is_file():
        raise InputError(f"{path}: {'a directory' if path.is_dir() else 'no such file'}; --fasta is one FASTA file")
    with path.open("rb") as raw:
        start = raw.read(16)
        if not start.startswith(b"\x1f\x8b\x08\x04") or start[12:14] != b"BC":
            return False
        raw.seek(-min(len(BGZIP_END), path.stat().st_size), 2)
        if raw.read() != BGZIP_END:
            raise InputError(
                f"{path.name}: bgzip without its end mark, so cut short or with something behind; copy or download the file again"
            )
    return True


def stretches(path: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (name, header line, no bases) at the start of each sequence, then (name, no header, bases) for its stretches."""
    lines: dict[str, int] = {}  # name: line of its header
    number, name, bases = 1, "", 1
    for is_header, text in pieces(path):
        if is_header:
            refuse_baseless(path, name, bases, lines)
            name, bases = first_word(text, f"{path.name} line {number}"), 0
            if name in lines:
                raise InputError(
                    f"{path.name} line {number}: sequence {name} stands on line {lines[name]} already; each name may stand once"
                )
            lines[name] = number
            yield name, text, b""
        else:
            letters = text.translate(None, BLANKS)
            if letters.translate(None, LETTERS):
                raise strange_letter(path, name, number, text)
            bases += len(letters)
            yield name, b"", letters
        number += text.count(b"\n")
    refuse_baseless(path, name, bases, lines)


def pieces(path: Path) -> Iterator[tuple[bool, bytes]]:
    """Yield (is it a header?, text) of a FASTA in order: a header line whole, sequence lines in stretches of any length."""
    text, at_line_start = b"", True
    for block in blocks(path):
        text += block
        position = 0
        while position < len(text):
            if at_line_start and text.startswith(b">", position):
                end = text.find(b"\n", position) + 1
                if not end:
                    break  # the next block has the rest of the line
                yield True, text[position:end]
            else:
                end = text.find(b"\n>", position) + 1 or len(text)
                yield False, text[position:end]
                at_line_start = text.endswith(b"\n", position, end)
            position = end
        text = text[position:]
        if len(text) > HEADER_BYTES:
            raise InputError(f"{path.name}: a header line of more than {HEADER_BYTES:,} bytes; is this a FASTA?")
    if text:
        yield True, text


def blocks(path: Path) -> Iterator[bytes]:
    """Yield a FASTA's text in blocks, unpacked; a file of another kind or a damaged one is an InputError."""
    progress = Progress(path.stat().st_size, f"{path.name}: bytes read")
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw
        first = True
        while block := read_block(file, path):
            if first and not block.startswith(b">"):
                raise InputError(f"{path.name}: not a FASTA: it begins with {block[:1]!r}, a FASTA begins with '>'")
            first = False
            yield block
            progress.step(raw.tell())
    if first:
        raise InputError(f"{path.name}: the file is empty")


def read_block(file: BinaryIO, path: Path) -> bytes:
    """Return the next block of text, empty at the end."""
    try:
        return file.read(BLOCK_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(
            f"{path.name}: the gzip data are cut short, damaged or followed by something else; copy or download the file again"
        ) from None


def first_word(header: bytes, where: str) -> str:
    """Return a sequence's name: the first word of its header line."""
    words = header[1:].split(maxsplit=1)
    if not words or header[1:2].isspace():
        raise InputError(f"{where}: no name behind '>'")
    try:
        return words[0].decode("ascii")
    except UnicodeDecodeError:
        raise InputError(f"{where}: the name has letters other than ASCII") from None


def refuse_baseless(path: Path, name: str, bases: int, lines: dict[str, int]) -> None:
    """Raise InputError for a sequence that ends before its first base."""
    if not bases:
        raise InputError(f"{path.name} line {lines[name]}: sequence {name} has no bases; was the file cut short?")


def strange_letter(path: Path, name: str, line: int, text: bytes) -> InputError:
    """Return the error for the first letter that is no base."""
    letter = text.translate(None, BLANKS + LETTERS)[:1]
    line += text.count(b"\n", 0, text.index(letter))
    kinds = "A C G T N and IUPAC's codes for DNA are; is this a protein or another file?"
    return InputError(f"{path.name} line {line}: {letter.decode('latin-1')!r} in sequence {name} is no base: {kinds}")


def measure(sequences: Iterator[tuple[str, bytes, bytes]]) -> dict[str, int]:
    """Return each sequence's length in bp, in file order."""
    lengths: dict[str, int] = {}
    for name, _, bases in sequences:
        lengths[name] = lengths.get(name, 0) + len(bases)
    return lengths


def repack(sequences: Iterator[tuple[str, bytes, bytes]], out: Path) -> dict[str, int]:
    """Write sequences as bgzip in lines of one length, as an index needs them; return their lengths."""
    lengths: dict[str, int] = {}
    rest = b""  # bases of a line that is not full yet
    with pysam.BGZFile(str(out), "wb1") as file:  # level 1: ten times faster than bgzip's default, an eighth larger
        for name, header, bases in sequences:
            if header:
                file.write((rest + b"\n" if rest else b"") + header.rstrip() + b"\n")
                rest = b""
            lengths[name] = lengths.get(name, 0) + len(bases)
            bases = rest + bases
            full = len(bases) // LINE_BASES * LINE_BASES
            file.write(wrap(bases[:full]))
            rest = bases[full:]
        file.write(rest + b"\n" if rest else b"")
    return lengths


def wrap(bases: bytes) -> bytes:
    """Return whole lines with their ends."""
    lines = np.frombuffer(bases, np.uint8).reshape(-1, LINE_BASES)
    return np.pad(lines, ((0, 0), (0, 1)), constant_values=ord("\n")).tobytes()


def refuse_transcripts(lengths: dict[str, int], path: Path) -> None:
    """Raise InputError if the sequences are as many and as short as transcripts."""
    middle = median(lengths.values())
    if len(lengths) > TRANSCRIPTS and middle < TRANSCRIPT_BP:
        found = f"{len(lengths):,} sequences of {middle:,.0f} bp in the median"
        raise InputError(f"{path.name}: {found} look like transcripts, not like a genome; give the FASTA of the primary assembly")


def build_index(copy: Path, fai: Path, gzi: Path, fasta: Path) -> None:
    """Write both indexes of a bgzip FASTA."""
    verbosity = pysam.set_verbosity(0)
    try:
        pysam.faidx("--fai-idx", str(fai), "--gzi-idx", str(gzi), str(copy))
    except pysam.SamtoolsError:
        why = "mostly because the lines of a sequence differ in length; unpack it (bgzip -d), and its lines are wrapped anew"
        raise InputError(f"{fasta.name}: samtools faidx cannot index this file, {why}") from None
    finally:
        pysam.set_verbosity(verbosity)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fasta", type=Path, required=True, help="the genome: FASTA, plain, gzip or bgzip")
    parser.add_argument("--chrom-sizes-out", type=Path, required=True, help="chromosome<TAB>bp, in file order")
    parser.add_argument("--out", type=Path, required=True, help="the bgzip copy; its indexes get .fai and .gzi behind this name")
    return parser


def main(options: argparse.Namespace) -> None:
    """Index, then say with what."""
    index_genome(options.fasta, options.chrom_sizes_out, options.out)
    write_task(options.task_out, "numpy", "pysam")


if __name__ == "__main__":
    run(main, parse_args())
