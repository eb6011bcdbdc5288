#!/usr/bin/env python3
"""Quantify one sample's RNA-seq reads with kallisto: FASTQ files of one or more lanes → a folder with abundance.tsv, run_info.json and kallisto's log."""

import argparse
import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from io import RawIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import sleep
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log, run, whole_folder, write_task
from exprcast.kallisto import (
    Abundance,
    Targets,
    file_facts,
    finish_kallisto,
    kallisto_version,
    read_abundance,
    read_targets,
    start_kallisto,
)
from exprcast.reads import Contents, Reads, compare_contents, first_sequences, pass_on, refuse_wrong_files, unit_of
from exprcast.strand import count_strands
from exprcast.tables import check_file_id, write_table

STRANDEDNESS = ("auto", "unstranded", "forward", "reverse")
STRAND_OPTIONS = {"unstranded": [], "forward": ["--fr-stranded"], "reverse": ["--rf-stranded"]}
PROBED_READS, MIN_INFORMATIVE = 5_000, 100  # first reads of the first mates that are looked at; those that tell a strand
POLL_S = 0.005  # between looks whether kallisto has opened a pipe
ONE_SIDED, EVEN = 0.8, 0.6  # share of informative reads on one strand: from there stranded; up to there no doubt that it is not
STATS = ("sample", "layout", "lanes", "reads", "mapped", "mapped_share", "unique_share", "strandedness", "forward_share")
STATS += ("fragment_mean", "fragment_sd", "transcripts", "genes", "remark")


class Pipe(NamedTuple):
    """The way of one file into kallisto."""

    path: Path
    fifo: Path
    name: str  # under which kallisto reads it


class Library(NamedTuple):
    """How the reads were made, as given or found; means and sds in bp."""

    strandedness: str
    forward_share: float  # of the reads that tell a strand; NaN if too few do
    fragment_mean: float | None
    fragment_sd: float | None
    remark: str


def quantify(options: argparse.Namespace) -> None:
    """Check the reads on their way into kallisto, check what it wrote, and write it with one row about the sample."""
    reads = Reads(check_file_id(options.sample, "--sample"), options.reads_1, options.reads_2)
    refuse_wrong_files(reads, options.fragment_mean, options.fragment_sd)
    targets = read_targets(options.targets)
    refuse_wrong_index(options.index, targets)
    library = judge_strand(reads, options.strandedness, np.load(options.probe, allow_pickle=False))
    library = library._replace(fragment_mean=options.fragment_mean, fragment_sd=options.fragment_sd)
    with whole_folder(options.out) as folder:
        said = folder / "kallisto_quant.log"
        arguments = ["quant", "--index", str(options.index.resolve()), "--output-dir", str(folder.resolve())]
        arguments += [*settings(library, bool(reads.second), options.bootstraps, options.cpus)]
        with TemporaryDirectory(prefix="exprcast.") as pipes:
            lanes = lay_pipes(reads, folder / "reads", Path(pipes))
            process = start_kallisto([*arguments, *(pipe.name for mates in lanes for pipe in mates)], folder, said)
            records = feed(reads, lanes, process)
        finish_quant(process, said, reads)
        info = read_info(folder, reads, records)
        library = library._replace(fragment_mean=library.fragment_mean or estimated_fragment(said, reads))
        abundance = read_abundance(folder / "abundance.tsv", reads.sample)
        if abundance.names != targets.names:
            raise InputError(
                f"sample {reads.sample}: kallisto names its targets otherwise than {options.targets.name}; make the index again"
            )
        refuse_too_few(info, abundance, reads, library, options.min_mapped)
        if options.bootstraps:
            join_bootstraps(folder, options.bootstraps, reads)
        shutil.rmtree(folder / "reads")
        shutil.rmtree(folder / "tmp", ignore_errors=True)  # of kallisto 0.50 and newer
    write_table(options.stats_out, STATS, [stats_row(reads, library, info, abundance, targets)])
    log.info(
        f"{reads.sample}: {info['n_pseudoaligned']:,} of {info['n_processed']:,} {unit_of(reads)} mapped "
        f"({info['n_pseudoaligned'] / info['n_processed']:.1%}), {library.strandedness}" + (f"; {library.remark}" if library.remark else "")
    )


def refuse_wrong_index(index: Path, targets: Targets) -> None:
    """Raise InputError for an index of another kallisto, or one that is no longer what was made."""
    version, made_by = kallisto_version(), targets.facts["kallisto"]
    if version != made_by:
        raise InputError(f"{index.name} was made by kallisto {made_by}, this is {version}, which may not read it; make the index again")
    if not index.is_file():
        raise InputError(f"{index}: no such file")
    facts = file_facts(index)
    if facts["bytes"] != targets.facts["bytes"]:
        both = f"is {int(facts['bytes']):,} bytes, it was made with {int(targets.facts['bytes']):,}"
        raise InputError(f"{index.name} {both}; make the index again")
    if facts["crc32"] != targets.facts["crc32"]:
        raise InputError(f"{index.name} is damaged: it is no longer the file that was made; make the index again")


def judge_strand(reads: Reads, declared: str, probe: np.ndarray) -> Library:
    """Return the strandedness to quantify with; a declared one that the reads contradict is an InputError."""
    head = [sequence for path in reads.first for sequence in first_sequences(path, PROBED_READS // len(reads.first), reads.sample)]
    forward, reverse = count_strands(head, probe)
    informative = forward + reverse
    if informative < MIN_INFORMATIVE:
        remark = f"strand not judged: only {informative} of the first {len(head):,} reads tell one" if declared == "auto" else ""
        return Library("unstranded" if declared == "auto" else declared, float("nan"), None, None, remark)
    share = forward / informative
    seen = "forward" if share >= ONE_SIDED else "reverse" if share <= 1 - ONE_SIDED else "unstranded"
    told = f"{share:.0%} of {informative:,} reads that tell a strand lie forward"
    log.info(f"{reads.sample}: {told}: {seen}")
    lopsided = abs(share - 0.5) > EVEN - 0.5 and seen == "unstranded"
    if declared in ("auto", seen):
        return Library(seen, share, None, None, f"neither stranded nor unstranded: {told}" if lopsided else "")
    if declared == "unstranded":
        return Library(declared, share, None, None, f"given as unstranded, but {told}: {seen}")
    if lopsided and (share > 0.5) == (declared == "forward"):
        return Library(declared, share, None, None, f"given as {declared}, but {told}")
    swapped = ", or reads_1 and reads_2 are swapped" if reads.second and seen != "unstranded" else ""
    files = ", ".join(path.name for path in reads.first)
    raise InputError(f"sample {reads.sample}: strandedness {declared} is given, but {told} ({files}): write {seen}{swapped}")


def settings(library: Library, paired: bool, bootstraps: int, cpus: int) -> Iterator[str]:
    """Yield kallisto's options. Bootstraps are written as text by one thread: with more, builds without HDF5 write none."""
    yield from STRAND_OPTIONS[library.strandedness]
    if not paired:
        yield from ("--single", "-l", f"{library.fragment_mean:g}", "-s", f"{library.fragment_sd:g}")
    yield from ("-t", str(1 if bootstraps else cpus))
    if bootstraps:
        yield from ("-b", str(bootstraps), "--plaintext")


def lay_pipes(reads: Reads, folder: Path, fifos: Path) -> list[list[Pipe]]:
    """Return a pipe for each file: lanes, and the mates of each, which is kallisto's order.

    kallisto reads them under the sample's name: its log, and MultiQC after it, know a sample by the name of its first file.
    """
    lanes = []
    for lane, mates in enumerate(zip(*filter(None, (reads.first, reads.second)), strict=True), 1):
        lanes.append([])
        for mate, path in enumerate(mates, 1):
            fifo, link = fifos / f"{lane}_{mate}", folder / f"lane{lane}_{mate}" / f"{reads.sample}.fastq"
            os.mkfifo(fifo)
            link.parent.mkdir(parents=True)
            link.symlink_to(fifo)
            lanes[-1].append(Pipe(path, fifo, str(link.relative_to(folder.parent))))
    return lanes


def feed(reads: Reads, lanes: list[list[Pipe]], process: subprocess.Popen) -> int:
    """Give kallisto all files to their ends, looking at what goes by, and return the number of reads or pairs; stop it on a fault."""
    stop = Event()

    def feed_mate(pipes: Sequence[Pipe]) -> list[Contents]:
        try:
            return [pass_on(pipe.path, reads.sample, open_inlet(pipe.fifo, process), stop) for pipe in pipes if not stop.is_set()]
        except BaseException:
            give_up()  # at once: kallisto would wait for this mate, and the other mate for kallisto
            raise

    def give_up() -> None:
        stop.set()
        process.kill()

    mates = list(zip(*lanes, strict=True))
    with ThreadPoolExecutor(len(mates)) as pool:
        try:
            fed = [pool.submit(feed_mate, pipes) for pipes in mates]
            wait(fed, return_when=FIRST_EXCEPTION)
            fault = next((error for future in fed if future.done() and (error := future.exception())), None)
            if fault:
                raise fault
            return compare_contents(reads, [content for future in fed for content in future.result()])
        except BaseException:
            give_up()
            process.wait()
            raise


def open_inlet(fifo: Path, process: subprocess.Popen) -> RawIOBase:
    """Return a named pipe, open for writing once kallisto reads it; if kallisto has ended before, what is written goes nowhere."""
    while process.poll() is None:
        try:
            inlet = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            sleep(POLL_S)
        else:
            os.set_blocking(inlet, True)
            return os.fdopen(inlet, "wb", buffering=0)
    return open(os.devnull, "wb", buffering=0)


def finish_quant(process: subprocess.Popen, said: Path, reads: Reads) -> None:
    """Wait for kallisto; if it failed because no read mapped, say so."""
    try:
        finish_kallisto(process, said, f"sample {reads.sample}")
    except InputError:
        if "zero reads pseudoaligned" in said.read_text(errors="replace"):
            raise none_mapped(reads) from None
        raise


def none_mapped(reads: Reads) -> InputError:
    """Return the error of a sample that has nothing in common with the transcripts."""
    files = ", ".join(path.name for path in reads.first)
    return InputError(f"sample {reads.sample}: no read of {files} maps to the transcripts; are they RNA-seq reads of this species?")


def read_info(folder: Path, reads: Reads, records: int) -> dict[str, int]:
    """Return run_info.json without the time and the command, so that the same reads give the same file; kallisto must have read all reads."""
    path = folder / "run_info.json"
    info = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("start_time", "call")}
    path.write_text(json.dumps(info, indent=4) + "\n")
    if info["n_processed"] != records:
        raise InputError(
            f"sample {reads.sample}: kallisto read {info['n_processed']:,} of {records:,} {unit_of(reads)}; are the files complete?"
        )
    return info


def estimated_fragment(said: Path, reads: Reads) -> float:
    """Return the mean fragment length that kallisto estimated from pairs; 0 means that both mates are the same read."""
    found = re.search(r"estimated average fragment length: ([\d.]+)", said.read_text(errors="replace"))
    mean = float(found[1]) if found else 0.0
    if mean <= 0:
        files = f"{reads.first[0].name} and {reads.second[0].name}"
        raise InputError(
            f"sample {reads.sample}: kallisto finds no fragment length between {files}: are they the two mates of one library?"
        )
    return mean


def refuse_too_few(info: dict[str, int], abundance: Abundance, reads: Reads, library: Library, min_mapped: float) -> None:
    """Raise InputError where kallisto is content with reads that say nothing."""
    mapped, processed = info["n_pseudoaligned"], info["n_processed"]
    files = ", ".join(path.name for path in reads.first)
    if not mapped or not abundance.counts.any():
        raise none_mapped(reads)
    if not info["n_unique"]:
        raise InputError(
            f"sample {reads.sample}: of {mapped:,} mapped {unit_of(reads)} none is of one transcript only ({files}): low-complexity reads, such as adapters or poly-A?"
        )
    if mapped < min_mapped * processed:
        declared = f"quantified as {library.strandedness}"
        raise InputError(
            f"sample {reads.sample}: {mapped / processed:.1%} of {processed:,} {unit_of(reads)} of {files} map ({declared}), less than --min_mapped {min_mapped:g}: "
            "another species, genomic DNA or ribosomal RNA? Leave the sample out or lower --min_mapped"
        )


def join_bootstraps(folder: Path, count: int, reads: Reads) -> None:
    """Join kallisto's files of bootstrap estimates into bootstraps.tsv.gz: targets × bootstraps, estimated counts."""
    paths = [folder / f"bs_abundance_{number}.tsv" for number in range(count)]
    if not all(path.is_file() for path in paths):
        raise InputError(
            f"sample {reads.sample}: {count} bootstraps were asked for, kallisto wrote {sum(path.is_file() for path in paths)}; use another build of kallisto"
        )
    columns = [[line.split("\t")[3] for line in path.read_text().splitlines()[1:]] for path in paths]
    names = [line.split("\t")[0] for line in paths[0].read_text().splitlines()[1:]]
    write_table(
        folder / "bootstraps.tsv.gz", ["target_id", *(f"bootstrap_{n}" for n in range(1, count + 1))], zip(names, *columns, strict=True)
    )
    for path in paths:
        path.unlink()


def stats_row(reads: Reads, library: Library, info: dict[str, int], abundance: Abundance, targets: Targets) -> tuple[object, ...]:
    """Return what the report says of the sample."""
    detected = [gene for gene, tpm in zip(targets.genes, abundance.tpm, strict=True) if tpm > 0]
    processed, mapped = info["n_processed"], info["n_pseudoaligned"]
    return (
        reads.sample,
        "paired" if reads.second else "single",
        len(reads.first),
        processed,
        mapped,
        mapped / processed,
        info["n_unique"] / processed,
        library.strandedness,
        library.forward_share,
        library.fragment_mean,
        library.fragment_sd,
        len(detected),
        len(set(detected) - {""}),
        library.remark,
    )


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", required=True, help="the sample's id: letters, digits, '.', '_' and '-'")
    parser.add_argument(
        "--reads-1", type=Path, nargs="+", required=True, help="FASTQ, gzip or not: single ends or first mates, one file a lane"
    )
    parser.add_argument("--reads-2", type=Path, nargs="*", default=[], help="second mates, in the order of the first")
    parser.add_argument(
        "--strandedness", choices=STRANDEDNESS, default="auto", help="of the first mates; auto finds out (default: %(default)s)"
    )
    parser.add_argument("--fragment-mean", type=float, help="mean length of fragments in bp; needed for single ends")
    parser.add_argument("--fragment-sd", type=float, help="its standard deviation in bp; needed for single ends")
    parser.add_argument("--index", type=Path, required=True, help="of kallisto_index.py")
    parser.add_argument("--targets", type=Path, required=True, help="TSV of kallisto_index.py")
    parser.add_argument("--probe", type=Path, required=True, help="k-mers of kallisto_index.py (.npy)")
    parser.add_argument("--bootstraps", type=int, default=0, help="bootstrap estimates to make (default: %(default)s)")
    parser.add_argument("--min-mapped", type=float, default=0.1, help="least share of reads that map (default: %(default)s)")
    parser.add_argument("--cpus", type=int, default=1, help="threads of kallisto (default: %(default)s)")
    parser.add_argument("--stats-out", type=Path, required=True, help="one-row TSV about the reads")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    return parser


def main(options: argparse.Namespace) -> None:
    """Quantify, then say with what."""
    quantify(options)
    write_task(options.task_out, "numpy", kallisto=kallisto_version())


if __name__ == "__main__":
    run(main, parse_args())
