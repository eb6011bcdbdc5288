"""Running kallisto (Bray et al. 2016, 0.46 or newer) so that each of its failures ends in one line, and reading what it writes."""

import ctypes
import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from exprcast.cli import InputError
from exprcast.tables import read_lines, read_table

ABUNDANCE_COLUMNS = ("target_id", "length", "eff_length", "est_counts", "tpm")
TARGET_COLUMNS = ("target", "transcript", "gene")
BLOCK_BYTES = 1 << 22
PR_SET_PDEATHSIG = 1  # of Linux
PER_MILLION, TOLERANCE = 1e6, 0.01  # what the TPM of all targets add up to


class Targets(NamedTuple):
    """What an index was made of, in its order; `facts` are about the index: kallisto (version), bytes, crc32."""

    facts: dict[str, str]
    names: list[str]  # kallisto's target_id
    transcripts: list[str]  # without version
    genes: list[str]  # without version; empty for what is no transcript of a gene (spike-ins)


class Abundance(NamedTuple):
    """One sample's estimates, (targets,) each, in the order of an abundance.tsv."""

    names: list[str]
    counts: np.ndarray  # estimated reads or pairs
    tpm: np.ndarray


@cache
def kallisto_version() -> str:
    """Return the version of the kallisto on PATH."""
    try:
        said = subprocess.run(["kallisto", "version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        raise InputError("kallisto is not on the PATH; install it (apt-get install kallisto, or bioconda) or use the image") from None
    found = re.search(r"version (\d[\w.]*)", said)
    if not found:
        raise InputError("the kallisto on the PATH does not say its version; install it again (apt-get install kallisto, or bioconda)")
    return found[1]


def start_kallisto(arguments: list[str], folder: Path, log: Path) -> subprocess.Popen:
    """Start kallisto in a folder (newer ones write ./tmp there); what it says goes to the file `log`."""
    quiet = {"cwd": folder, "stdin": subprocess.DEVNULL, "preexec_fn": die_with_parent}
    with log.open("wb") as file:
        return subprocess.Popen(["kallisto", *arguments], stdout=file, stderr=file, **quiet)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies: kallisto would wait for ever for reads that nobody gives it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def finish_kallisto(process: subprocess.Popen, log: Path, what: str) -> None:
    """Wait for kallisto and repeat what it said; a failure is an InputError with its error, a kill an exit that Nextflow retries."""
    status = process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    sys.stderr.write(said)
    if status < 0:
        sys.exit(128 - status)
    if status:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        error = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it said nothing")
        raise InputError(f"{what}: kallisto ended with exit status {status}: {error}")


def file_facts(path: Path) -> dict[str, str]:
    """Return the size and the CRC-32 of a file (which isal takes at several GB a second: an index is checked for each sample)."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            crc = isal_zlib.crc32(block, crc)
    return {"bytes": str(path.stat().st_size), "crc32": f"{crc:08x}"}


def read_targets(path: Path) -> Targets:
    """Return what kallisto_index.py wrote beside an index."""
    facts = {}
    for _, line in read_lines(path):
        if not line.startswith("#"):
            break
        key, _, value = line[1:].partition("=")
        facts[key] = value
    if not {"kallisto", "bytes", "crc32"} <= facts.keys():
        raise InputError(f"{path.name}: not a table of targets made by kallisto_index.py")
    rows = [[row[column] for column in TARGET_COLUMNS] for _, row in read_table(path, TARGET_COLUMNS)]
    names, transcripts, genes = (list(column) for column in zip(*rows, strict=True))
    return Targets(facts, names, transcripts, ["" if gene == "NA" else gene for gene in genes])


def read_abundance(path: Path, sample: str) -> Abundance:
    """Return one sample's estimates; raise InputError unless all are numbers and the TPM add up to a million."""
    header, *lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [""]
    if tuple(header.split("\t")) != ABUNDANCE_COLUMNS or not lines:
        raise InputError(f"sample {sample}: {path} is no abundance.tsv of kallisto, or it is empty; quantify the sample again")
    try:
        counts, tpm = np.loadtxt(lines, delimiter="\t", usecols=(3, 4), unpack=True, ndmin=2, comments=None)
    except ValueError as error:
        raise InputError(f"sample {sample}: {path.name} is damaged ({error}); quantify the sample again") from None
    abundance = Abundance([line.partition("\t")[0] for line in lines], counts, tpm)
    if not (np.isfinite(abundance.tpm).all() and np.isfinite(abundance.counts).all()):
        raise InputError(f"sample {sample}: {path.name} holds NaN, as kallisto writes when no read maps; check the reads and the index")
    total = abundance.tpm.sum()
    if abs(total / PER_MILLION - 1) > TOLERANCE:
        raise InputError(f"sample {sample}: the TPM of {path.name} add up to {total:,.0f}, not 1,000,000; quantify the sample again")
    return abundance
