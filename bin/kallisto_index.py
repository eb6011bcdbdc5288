#!/usr/bin/env python3
"""Make a kallisto index: transcripts (FASTA, Ensembl or GENCODE headers) → index, its targets with their genes, and a strand probe."""

import argparse
import re
from collections.abc import Container, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log, run, whole_file, write_task
from exprcast.kallisto import TARGET_COLUMNS, file_facts, finish_kallisto, kallisto_version, start_kallisto
from exprcast.strand import make_probe
from exprcast.tables import read_lines, read_table, strip_version, write_table

GENE = re.compile(r"\bgene:(\S+)")  # Ensembl; GENCODE: ENST…|ENSG…|…
LONGEST_BP = 5_000_000  # no transcript is as long, every chromosome is
LETTERS = b"ACGTUNRYSWKMBDHVacgtunryswkmbdhv"  # IUPAC's
KMER = 31  # kallisto's
ENOUGH_KNOWN = 0.5  # share of the transcripts that a GTF of nearly the same release has


class Target(NamedTuple):
    """One sequence of the FASTA."""

    name: str  # up to the first blank, as kallisto names it
    transcript: str  # without version
    gene: str  # without version, empty if the header names none
    sequence: bytes


def index_transcripts(transcripts: list[Path], annotation: Path | None, targets_out: Path, probe_out: Path, out: Path) -> None:
    """Write the index, one row a target, and the probe that tells reads' strands."""
    version = kallisto_version()
    targets: list[Target] = []
    lengths: list[int] = []
    probe = make_probe(note(read_targets_of(transcripts), targets, lengths))
    if max(lengths) < KMER:
        raise InputError(
            f"{names(transcripts)}: the longest transcript has {max(lengths)} bases, kallisto needs {KMER}; is this the right file?"
        )
    genes = genes_of(targets, annotation, transcripts)
    with whole_file(out) as index, TemporaryDirectory(dir=out.parent, prefix=".kallisto.") as folder:
        said = Path(folder) / "log"
        files = [str(path.resolve()) for path in transcripts]
        finish_kallisto(start_kallisto(["index", "--index", str(index.resolve()), *files], Path(folder), said), said, names(transcripts))
        facts = {"kallisto": version} | file_facts(index)
        rows = ((target.name, target.transcript, gene or "NA") for target, gene in zip(targets, genes, strict=True))
        write_table(targets_out, TARGET_COLUMNS, rows, facts)
    with whole_file(probe_out) as temporary, temporary.open("wb") as file:
        np.save(file, probe)
    log.info(
        f"index of {len(targets):,} targets by kallisto {version}, {int(facts['bytes']) / 1e6:,.0f} MB; {len(probe):,} k-mers tell strands"
    )


def note(found: Iterator[Target], targets: list[Target], lengths: list[int]) -> Iterator[bytes]:
    """Yield each target's sequence; keep its length, and the rest of it in `targets`."""
    for target in found:
        lengths.append(len(target.sequence))
        targets.append(target._replace(sequence=b""))
        yield target.sequence


def read_targets_of(paths: list[Path]) -> Iterator[Target]:
    """Yield all sequences; what kallisto would take silently, or refuse in words that name no file, is an InputError."""
    seen: dict[str, str] = {}
    for path in paths:
        header, where, parts = None, "", []
        for number, line in read_lines(path):
            if line.startswith(">"):
                if header is not None:
                    yield finished(header, parts, where)
                header, where, parts = line[1:], f"{path.name} line {number}", []
                refuse_twice(header, where, seen)
            elif header is None and line.strip():
                raise InputError(f"{path.name} line {number}: FASTA begins with '>'; give transcripts as FASTA, gzip or not")
            else:
                parts.append(line.strip())
        if header is None:
            raise InputError(f"{path.name}: no sequence in the file")
        yield finished(header, parts, where)


def refuse_twice(header: str, where: str, seen: dict[str, str]) -> None:
    """Raise InputError for a transcript that stood before, whatever its version."""
    if not header.strip() or header[0].isspace():
        raise InputError(f"{where}: a sequence without a name; the transcript's id stands right behind '>'")
    name = header.split(maxsplit=1)[0]
    transcript = strip_version(name.split("|")[0])
    if transcript in seen:
        raise InputError(f"{where}: transcript {transcript} stands already at {seen[transcript]}; give each transcript once")
    seen[transcript] = where


def finished(header: str, parts: list[str], where: str) -> Target:
    """Return a target from its header and lines."""
    sequence = "".join(parts).encode()
    name = header.split(maxsplit=1)[0]
    if not sequence:
        raise InputError(f"{where}: {name[:60]} has no bases; was the file cut short?")
    strange = sequence.translate(None, LETTERS)
    if strange:
        raise InputError(f"{where}: {name[:60]} holds '{chr(strange[0])}', which is no base; give transcripts as cDNA, not as proteins")
    if len(sequence) > LONGEST_BP:
        raise InputError(
            f"{where}: {name[:60]} has {len(sequence):,} bp: this looks like a genome; --transcripts takes cDNA, a genome needs too much memory"
        )
    fields = name.split("|")
    gene = GENE.search(header)
    found = gene[1] if gene else fields[1] if len(fields) > 1 else ""
    return Target(name, strip_version(fields[0]), strip_version(found), sequence)


def genes_of(targets: list[Target], annotation: Path | None, transcripts: list[Path]) -> list[str]:
    """Return each target's gene: its header's, else the annotation's, else none; refuse an annotation of something else."""
    known = {row["transcript"]: row["gene"] for _, row in read_table(annotation, ("transcript", "gene"))} if annotation else {}
    known_genes = set(known.values())
    for number, target in enumerate(targets):
        targets[number] = target._replace(transcript=under(target.transcript, known), gene=under(target.gene, known_genes))
    genes = [target.gene or known.get(target.transcript, "") for target in targets]
    if not any(genes):
        both = f"the annotation has {next(iter(known))} …" if known else "there is no annotation"
        raise InputError(
            f"{names(transcripts)}: no transcript has a gene: the FASTA has {targets[0].name[:60]} …, {both}; give cDNA and the GTF of one release"
        )
    if known:
        compare(targets, known, transcripts)
    by_header, without = sum(bool(target.gene) for target in targets), [t.name for t, gene in zip(targets, genes, strict=True) if not gene]
    log.info(
        f"{len(targets):,} targets: the gene of {by_header:,} stands in the FASTA, of {len(targets) - by_header - len(without):,} in the GTF, {len(without):,} have none"
    )
    if without:
        log.info(f"without a gene, so in no gene's sum: {', '.join(without[:5])}{' …' if len(without) > 5 else ''}")
    return genes


def under(identifier: str, known: Container[str]) -> str:
    """Return an id as the annotation has it: without a version where that is known (only ids of Ensembl's form lose it anyhow)."""
    bare = identifier.rpartition(".")[0]
    return bare if identifier not in known and bare in known else identifier


def compare(targets: list[Target], known: dict[str, str], transcripts: list[Path]) -> None:
    """Say how many transcripts of genes the annotation has; raise InputError if it has none."""
    of_genes = [target.transcript for target in targets if target.gene or target.transcript in known]
    found = sum(transcript in known for transcript in of_genes)
    if not found:
        example = f"the FASTA has {of_genes[0]} …, the GTF {next(iter(known))} …"
        raise InputError(
            f"{names(transcripts)}: the GTF has none of the FASTA's {len(of_genes):,} transcripts: {example}; are these of one species and release?"
        )
    log.info(f"the GTF has {found:,} of the FASTA's {len(of_genes):,} transcripts of genes")
    if found < ENOUGH_KNOWN * len(of_genes):
        log.warning(
            f"warning: {names(transcripts)} and the GTF share {found / len(of_genes):.0%} of the transcripts: they are of different releases"
        )


def names(paths: list[Path]) -> str:
    """Return the files' names."""
    return ", ".join(path.name for path in paths)


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transcripts", type=Path, nargs="+", required=True, help="FASTA of transcripts (cDNA, ncRNA), gzip or not")
    parser.add_argument(
        "--annotation", type=Path, help="transcripts.tsv of make_gene_table.py: genes of transcripts whose header names none"
    )
    parser.add_argument("--targets-out", type=Path, required=True, help="TSV: target, transcript, gene; facts about the index above it")
    parser.add_argument("--probe-out", type=Path, required=True, help="k-mers that tell reads' strands (.npy)")
    parser.add_argument("--out", type=Path, required=True, help="the index")
    return parser


def main(options: argparse.Namespace) -> None:
    """Make the index, then say with what."""
    index_transcripts(options.transcripts, options.annotation, options.targets_out, options.probe_out, options.out)
    write_task(options.task_out, "numpy", kallisto=kallisto_version())


if __name__ == "__main__":
    run(main, parse_args())
