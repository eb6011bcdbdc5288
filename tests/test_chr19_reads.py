"""Real reads: four ENCODE libraries of chromosome 19 give kallisto's published estimates, with both versions of kallisto."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exprcast.kallisto import read_abundance
from exprcast.tables import read_table

ROOT = Path(__file__).parents[1]
READS = ROOT.parent / "shared/data/reads"
CDNA = READS / "encode_chr19/Homo_sapiens.GRCh38.cdna.all.chr19_ERCC_phix.fa.gz"
LIBRARIES = {
    "ENCSR142YZV_rep1": ("ENCSR142YZV_chr19only_10000_reads_R?.fastq.gz", ["--strandedness", "unstranded"], 8894, 1823, 804),
    "ENCSR653DFZ_rep1": ("ENCSR653DFZ_rep1_chr19_10000reads_R?.fastq.gz", ["--strandedness", "reverse"], 9365, 1651, 799),
    "ENCSR510QZW_rep1": ("rep1_ENCSR510QZW_*", ["--fragment-mean", "200", "--fragment-sd", "30"], 9075, 1569, 711),
    "ENCSR510QZW_rep2": ("rep2_ENCSR510QZW_*", ["--fragment-mean", "200", "--fragment-sd", "30"], 9128, 1525, 716),
}
WHEEL = '. envs/setup.sh; exec 9> "$cache/lock"; flock 9; kallisto_from_wheel >&2; echo "$kb_wheel/kb_python/bins/linux/kallisto"'


def path_with(version: str) -> str:
    """Return a PATH on which the kallisto of that version comes first."""
    if version == "on the PATH":
        return os.environ["PATH"]
    folder = subprocess.run(["bash", "-c", WHEEL], cwd=ROOT, capture_output=True, text=True, check=True, timeout=600).stdout.strip()
    return f"{folder}:{os.environ['PATH']}"


def script(name: str, *options: object, path: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "bin" / name, *map(str, options)]
    return subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize("version", ["on the PATH", "of the wheel"])
def test_four_libraries_give_the_published_estimates(version, tmp_path):
    if not CDNA.is_file():
        pytest.skip(f"the reads are not at {READS}")
    path = path_with(version)
    made = ["--index", tmp_path / "t.idx", "--targets", tmp_path / "targets.tsv", "--probe", tmp_path / "probe.npy"]
    done = script("kallisto_index.py", "--transcripts", CDNA, "--targets-out", made[3], "--probe-out", made[5], "--out", made[1], path=path)
    assert done.returncode == 0, done.stderr
    for sample, (pattern, options, mapped, transcripts, genes) in LIBRARIES.items():
        mates = sorted((READS / "encode_chr19").glob(pattern))
        reads = [word for mate, file in enumerate(mates, 1) for word in (f"--reads-{mate}", file)]
        outs = ["--stats-out", tmp_path / f"{sample}.tsv", "--out", tmp_path / sample]
        done = script("kallisto_quant.py", "--sample", sample, *reads, *options, *made, *outs, path=path)
        assert done.returncode == 0, done.stderr
        ours = read_abundance(tmp_path / sample / "abundance.tsv", sample)
        published = read_abundance(READS / "kallisto_outputs/encode_chr19_kallisto0.52.0" / sample / "abundance.tsv", sample)
        assert ours.names == published.names
        np.testing.assert_allclose(ours.tpm, published.tpm, rtol=1e-6)
        row = next(row for _, row in read_table(tmp_path / f"{sample}.tsv", ("sample",)))
        assert [row[column] for column in ("mapped", "transcripts", "genes")] == [str(mapped), str(transcripts), str(genes)]
        assert ("reverse" in row["remark"]) == (sample == "ENCSR142YZV_rep1"), "its strand is ignored, as in the published run"
    reads = sorted((READS / "encode_chr19").glob(LIBRARIES["ENCSR653DFZ_rep1"][0]))
    words = [
        "--sample",
        "X",
        "--reads-1",
        reads[0],
        "--reads-2",
        reads[1],
        "--strandedness",
        "forward",
        *made,
        "--stats-out",
        tmp_path / "x.tsv",
        "--out",
        tmp_path / "x",
    ]
    done = script("kallisto_quant.py", *words, path=path)
    assert done.returncode == 1 and "strandedness forward is given, but 0% of" in done.stderr and "write reverse" in done.stderr
