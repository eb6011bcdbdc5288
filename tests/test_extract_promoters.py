"""extract_promoters.py: the TSS is one index of every sequence, on both strands, and no index of another genome passes."""

import gzip
import re
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

import pysam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exprcast.tables import read_table
from extract_promoters import extract_promoters
from index_genome import index_genome
from make_gene_table import make_gene_table

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
GENOME = ">chr1\nAACCGGTTAC\nGTN\n>chr2\nacgtRYKMSWBDHV\n"
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def reverse_complement(bases: str) -> str:
    return bases[::-1].translate(COMPLEMENT)


def write_genome(folder: Path, text: str = GENOME, name: str = "genome.fa.gz") -> Path:
    """Write a bgzip FASTA with its indexes."""
    with pysam.BGZFile(str(folder / name), "wb") as file:
        file.write(text.encode())
    pysam.faidx(str(folder / name))
    return folder / name


def write_tables(folder: Path, sites: list[tuple[str, str, str, int]]) -> tuple[Path, Path]:
    """Write genes.tsv and tss.tsv of rows (gene, chromosome, strand, position); a gene's later rows are further sites."""
    genes = {gene: (chrom, strand) for gene, chrom, strand, _ in reversed(sites)}
    ids = list(dict.fromkeys(gene for gene, *_ in sites))
    rows = "".join(f"{gene}\t{gene}\t{genes[gene][0]}\t{genes[gene][1]}\tNA\n" for gene in ids)
    (folder / "genes.tsv").write_text("id\tsymbol\tchrom\tstrand\tbiotype\n" + rows)
    (folder / "tss.tsv").write_text("gene\tposition\tsource\n" + "".join(f"{site[0]}\t{site[3]}\tx\n" for site in sites))
    return folder / "genes.tsv", folder / "tss.tsv"


def read_promoters(path: Path) -> dict[str, tuple[str, str]]:
    """Return {gene: (window, bases)}."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    headers = [line.removeprefix(">").split(" ") for line in lines[::2]]
    return {gene: (where, bases) for (gene, where, _tss), bases in zip(headers, lines[1::2], strict=True)}


def extracted(folder: Path, sites: list[tuple[str, str, str, int]], up: int, down: int, genome: str = GENOME) -> dict[str, tuple[str, str]]:
    extract_promoters(write_genome(folder, genome), *write_tables(folder, sites), up, down, folder / "promoters.fa.gz")
    return read_promoters(folder / "promoters.fa.gz")


def run_script(folder: Path, genome: Path, *options: object) -> CompletedProcess:
    tables = ["--genes", folder / "genes.tsv", "--tss", folder / "tss.tsv", "--out", folder / "promoters.fa.gz"]
    sizes = ["--upstream-bp", 3, "--downstream-bp", 2]
    command = [sys.executable, ROOT / "bin" / "extract_promoters.py", "--genome", genome, *sizes, *tables, *options]
    return run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def refused(folder: Path, genome: Path, *options: object) -> str:
    """Return the one line of an error; nothing is written."""
    if not (folder / "genes.tsv").exists():
        write_tables(folder, [("g", "chr1", "+", 4)])
    result = run_script(folder, genome, *options)
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("extract_promoters.py: error: ") and not (folder / "promoters.fa.gz").exists()
    return line


def test_the_start_site_is_one_index_on_both_strands(tmp_path):
    # chr1 is AACCGGTTACGTN; base 5 is G, on the minus strand C
    found = extracted(tmp_path, [("plus", "chr1", "+", 5), ("minus", "chr1", "-", 5)], 3, 2)
    assert found == {"plus": ("chr1:2-7(+)", "CCGGT"), "minus": ("chr1:4-9(-)", "TAACC")}
    assert found["plus"][1][3] == "G" and found["minus"][1][3] == "C"


def test_beyond_a_chromosome_s_end_stands_n_and_the_window_is_the_true_one(tmp_path):
    sites = [("a", "chr1", "+", 0), ("b", "chr1", "-", 0), ("c", "chr1", "+", 11), ("d", "chr1", "-", 11)]
    assert extracted(tmp_path, sites, 3, 4) == {
        "a": ("chr1:-3-4(+)", "NNNAACC"),
        "b": ("chr1:-3-4(-)", "GGTTNNN"),
        "c": ("chr1:8-15(+)", "ACGTNNN"),
        "d": ("chr1:8-15(-)", "NNNACGT"),
    }


def test_bases_are_upper_case_and_codes_for_several_bases_are_n(tmp_path):
    found = extracted(tmp_path, [("a", "chr2", "+", 0), ("b", "chr2", "-", 13)], 0, 14)
    assert (found["a"][1], found["b"][1]) == ("ACGTNNNNNNNNNN", "NNNNNNNNNNACGT")


def test_a_gene_s_first_site_counts_and_genes_keep_their_order(tmp_path):
    found = extracted(tmp_path, [("z", "chr1", "+", 4), ("a", "2", "+", 1), ("z", "chr1", "+", 9)], 0, 2)
    assert list(found.items()) == [("z", ("chr1:4-6(+)", "GG")), ("a", ("chr2:1-3(+)", "CG"))]  # 2 is the genome's chr2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bases=st.text("ACGTN", min_size=1, max_size=40), up=st.integers(0, 12), down=st.integers(1, 12), data=st.data())
def test_a_mirrored_gene_on_the_mirrored_genome_has_the_same_promoter(tmp_path, bases, up, down, data):
    tss = data.draw(st.integers(0, len(bases) - 1))
    (_, plus) = extracted(tmp_path, [("g", "c", "+", tss)], up, down, f">c\n{bases}\n")["g"]
    mirrored = f">c\n{reverse_complement(bases)}\n"
    (_, minus) = extracted(tmp_path, [("g", "c", "-", len(bases) - 1 - tss)], up, down, mirrored)["g"]
    assert plus == minus and len(plus) == up + down and plus[up] == bases[tss]


def test_the_same_bytes_each_time_and_from_a_plain_fasta(tmp_path):
    sites = [("a", "chr1", "+", 5), ("b", "chr2", "-", 5)]
    extracted(tmp_path, sites, 3, 2)
    expected = (tmp_path / "promoters.fa.gz").read_bytes()
    assert expected[4:8] == bytes(4)  # no date
    (tmp_path / "plain.fa").write_text(GENOME)
    pysam.faidx(str(tmp_path / "plain.fa"))
    extract_promoters(tmp_path / "plain.fa", *write_tables(tmp_path, sites), 3, 2, tmp_path / "promoters.fa.gz")
    assert (tmp_path / "promoters.fa.gz").read_bytes() == expected


def test_the_log_says_how_much_is_unknown(tmp_path):
    genome = write_genome(tmp_path, ">a\nACGTNNNNNNNNNN\n")
    write_tables(tmp_path, [("x", "a", "+", 3), ("y", "a", "+", 9)])
    log = run_script(tmp_path, genome).stderr
    assert "2 promoters of 5 bp; 60.00% of their bases are N" in log and "warning" not in log
    write_tables(tmp_path, [("x", "a", "+", 3), ("y", "a", "+", 9), ("z", "a", "+", 10)])
    log = run_script(tmp_path, genome).stderr
    assert "warning: 2 of 3 promoters are N throughout; is genome.fa.gz masked, or cut out of a genome?" in log


def test_a_missing_index_is_named(tmp_path):
    for name in ("genome.fa.gz.gzi", "genome.fa.gz.fai"):
        genome = write_genome(tmp_path)
        (tmp_path / name).unlink()
        assert f"genome.fa.gz: no index {name} beside it; index_genome.py makes one" in refused(tmp_path, genome)
        assert not (tmp_path / name).exists()
    assert "absent.fa: no such file" in refused(tmp_path, tmp_path / "absent.fa")


def test_plain_gzip_is_refused(tmp_path):
    genome = write_genome(tmp_path)
    genome.write_bytes(gzip.compress(GENOME.encode()))
    assert "genome.fa.gz: plain gzip, where random access needs bgzip; index_genome.py makes a bgzip copy" in refused(tmp_path, genome)


OTHER_GENOMES = {
    "other names": ">chr1\nAACCGGTTAC\nGTN\n>chr3\nacgtRYKMSWBDHV\n",
    "other lengths": ">chr1\nAACCGGTTAC\nG\n>chr2\nacgtRYKMSWBDHV\n",
    "a longer end": ">chr1\nAACCGGTTAC\nGTN\n>chr2\nacgtRYKMSWBDHVA\n",
    "a shorter end": ">chr1\nAACCGGTTAC\nGTN\n>chr2\nacgtRYKMSWBDH\n",
    "other offsets": ">chr1 x\nAACCGGTTAC\nGTN\n>chr2\nacgtRYKMSWBDHV\n",
    "other lines": ">chr1\nAACCGG\nTTACGTN\n>chr2\nacgtRYKMSWBDHV\n",
    "one more sequence": GENOME + ">chr3\nA\n",
    "one less sequence": ">chr1\nAACCGGTTAC\nGTN\n",
}


@pytest.mark.parametrize("text", OTHER_GENOMES.values(), ids=OTHER_GENOMES)
def test_an_index_of_another_genome_is_refused(tmp_path, text):
    genome = write_genome(tmp_path)
    with pysam.BGZFile(str(genome), "wb") as file:
        file.write(text.encode())
    assert "genome.fa.gz: genome.fa.gz.fai is of another file: chr" in refused(tmp_path, genome)
    (tmp_path / "plain.fa").write_text(text)
    shutil.copy(tmp_path / "genome.fa.gz.fai", tmp_path / "plain.fa.fai")
    assert "plain.fa: plain.fa.fai is of another file: chr" in refused(tmp_path, tmp_path / "plain.fa")


def test_a_block_index_of_another_file_is_refused(tmp_path):
    text = "".join(f">c{n}\n" + "\n".join(["ACGTTGCATT" * 6] * 700) + "\n" for n in range(8))  # several blocks of 64 kB
    genome, gzi = write_genome(tmp_path, text), tmp_path / "genome.fa.gz.gzi"
    sound = gzi.read_bytes()
    write_tables(tmp_path, [("g", "c7", "+", 40_000)])
    moved = int.from_bytes(sound[8:16], "little") + 7
    for bad in (sound[:8] + moved.to_bytes(8, "little") + sound[16:], sound[:-16], sound[:-3], b"", bytes(8)):
        gzi.write_bytes(bad)
        line = refused(tmp_path, genome)
        assert "index_genome.py makes both anew" in line and "genome.fa.gz" in line
    gzi.write_bytes(sound)
    assert run_script(tmp_path, genome).returncode == 0


def test_bgzip_files_put_together_are_one_genome(tmp_path):
    first = write_genome(tmp_path, ">a\nACGT\n").read_bytes()
    genome = write_genome(tmp_path, ">b\nTTGA\n")
    genome.write_bytes(first + genome.read_bytes())
    pysam.faidx(str(genome))
    write_tables(tmp_path, [("g", "b", "+", 3)])
    assert run_script(tmp_path, genome).returncode == 0
    assert read_promoters(tmp_path / "promoters.fa.gz") == {"g": ("b:0-5(+)", "TTGAN")}


def test_a_damaged_genome_or_index_is_refused(tmp_path):
    genome = write_genome(tmp_path)
    (tmp_path / "genome.fa.gz.fai").write_text("chr1\t13\t6\n")
    assert "genome.fa.gz.fai line 1: 'chr1 13 6' is no row of a FASTA index" in refused(tmp_path, genome)
    (tmp_path / "genome.fa.gz.fai").write_text("")
    assert "genome.fa.gz.fai: the index is empty" in refused(tmp_path, genome)
    genome = write_genome(tmp_path)
    genome.write_bytes(genome.read_bytes()[:40])
    assert "genome.fa.gz: damaged, or genome.fa.gz.gzi is of another file" in refused(tmp_path, genome)


HEADER = "id\tchrom\tstrand\n"
TABLE_FAULTS = [
    (HEADER + "g\tchr1\t+\nh\tchr9\t+\n", "g\t4\n", "genes.tsv line 3: gene h is on chr9; genome.fa.gz has chr1, chr2"),
    (HEADER + "g\tchr1\t.\n", "g\t4\n", "genes.tsv line 2: strand '.' of gene g is neither + nor -"),
    (HEADER + "g\tchr1\t+\n", "h\t4\n", "genes.tsv line 2: gene g has no start site in tss.tsv; do both tables come from one run?"),
    (HEADER + "g\tchr1\t+\ng\tchr1\t+\n", "g\t4\n", "genes.tsv: gene 'g' occurs twice"),
    (HEADER, "g\t4\n", "genes.tsv: a header but no genes"),
    (HEADER + "g\tchr1\t+\n", "g\t13\n", "tss.tsv line 2: '13' of gene g is no position on chr1, which has 13 bp in genome.fa.gz; is"),
    (HEADER + "g\tchr1\t+\n", "g\t-1\n", "tss.tsv line 2: '-1' of gene g is no position on chr1"),
    (HEADER + "g\tchr1\t+\n", "g\tfive\n", "tss.tsv line 2: 'five' of gene g is no position on chr1"),
    ("id\tstrand\ng\t+\n", "g\t4\n", "genes.tsv line 1: no column chrom; the header has id, strand"),
]


@pytest.mark.parametrize(("genes", "tss", "message"), TABLE_FAULTS, ids=range(len(TABLE_FAULTS)))
def test_a_fault_in_a_table_is_one_line_that_says_where(tmp_path, genes, tss, message):
    (tmp_path / "genes.tsv").write_text(genes)
    (tmp_path / "tss.tsv").write_text("gene\tposition\n" + tss)
    assert message in refused(tmp_path, write_genome(tmp_path))


@pytest.mark.parametrize("options", [("--upstream-bp=-1",), ("--downstream-bp=0",)])
def test_a_promoter_holds_its_start_site(tmp_path, options):
    assert f"{options[0].replace('=', ' ').replace('-bp', '_bp')}" in refused(tmp_path, write_genome(tmp_path), *options)


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    """The piece of hg38 that is there: chr1, chr21 and chr22, N where unknown."""
    fasta = needs(DATA / "genome" / "derived_hg38_mini_masked.fa.gz")
    folder = tmp_path_factory.mktemp("mini")
    index_genome(fasta, folder / "chrom.sizes", folder / "genome.fa.gz")
    return folder / "genome.fa.gz"


def on_mini(rows: list[dict[str, str]], mini: Path) -> list[dict[str, str]]:
    with pysam.FastaFile(str(mini)) as genome:
        sizes = dict(zip(genome.references, genome.lengths, strict=True))
    return [row for row in rows if int(row["end"]) <= sizes.get(row["chrom"], 0)]


def test_real_promoters_of_2048_bp(tmp_path, mini):
    rows = on_mini([row for _, row in read_table(needs(DATA / "sequence" / "promoters_2048bp_hg38.tsv.gz"), [])], mini)
    sites = [(row["gene_id"], row["chrom"], row["strand"], int(row["start"]) + (1024 if row["strand"] == "+" else 1023)) for row in rows]
    extract_promoters(mini, *write_tables(tmp_path, sites), 1024, 1024, tmp_path / "promoters.fa.gz")
    found = read_promoters(tmp_path / "promoters.fa.gz")
    expected = {row["gene_id"]: row["sequence"] for row in rows if "N" not in found[row["gene_id"]][1]}
    assert len(expected) == 12
    off = [gene for gene, bases in expected.items() if found[gene][1] != bases]
    assert off == ["ENSG00000185666"]  # the table's window lies 60 bp beside its coordinates
    (gene, chrom, strand, tss) = next(site for site in sites if site[0] == off[0])
    moved = [(f"{gene}{shift}", chrom, strand, tss + shift) for shift in (-60, 60)]
    extract_promoters(mini, *write_tables(tmp_path, moved), 1024, 1024, tmp_path / "promoters.fa.gz")
    assert expected[gene] in [bases for _, bases in read_promoters(tmp_path / "promoters.fa.gz").values()]


def test_real_windows_of_the_published_model(tmp_path, mini):
    rows = [row for _, row in read_table(needs(DATA / "sequence" / "xpresso_golden.tsv.gz"), [])]
    sites = [(row["gene"], row["chrom"], row["strand"], int(row["start"]) + (7000 if row["strand"] == "+" else 3499)) for row in rows]
    extract_promoters(mini, *write_tables(tmp_path, sites), 7000, 3500, tmp_path / "promoters.fa.gz")
    found = read_promoters(tmp_path / "promoters.fa.gz")
    assert len(rows) == 9 and [found[row["gene"]][1] for row in rows] == [row["sequence_10500"] for row in rows]
    assert [found[row["gene"]][0] for row in rows] == [f"{row['chrom']}:{row['start']}-{row['end']}({row['strand']})" for row in rows]


def test_real_protein_coding_promoters_that_are_known(tmp_path, mini):
    bodies = needs(DATA / "genome" / "gencode.v24.protein.coding.gene.body.bed.gz")
    lines = [line.split("\t") for line in gzip.decompress(bodies.read_bytes()).decode().splitlines()]
    names = ("chrom", "start", "end", "gene", "score", "strand", "id")
    inside = on_mini([dict(zip(names, line, strict=True)) for line in lines], mini)
    (tmp_path / "genes.bed").write_text("".join("\t".join(row.values()) + "\n" for row in inside))
    tables = (tmp_path / "tss.tsv", tmp_path / "transcripts.tsv", tmp_path / "genes.tsv")
    make_gene_table(tmp_path / "genes.bed", mini.with_name("chrom.sizes"), mini, "hg38", *tables)
    extract_promoters(mini, tmp_path / "genes.tsv", tmp_path / "tss.tsv", 1000, 1000, tmp_path / "promoters.fa.gz")
    known = [where.partition(":")[0] for where, bases in read_promoters(tmp_path / "promoters.fa.gz").values() if "N" not in bases]
    assert {chrom: known.count(chrom) for chrom in set(known)} == {"chr22": 17, "chr1": 10, "chr21": 7}


def test_real_coding_sequences_begin_with_atg(mini):
    gtf = needs(DATA / "genome" / "derived_ensembl_GRCh38_chr21.gtf.gz")
    parts: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for line in gzip.decompress(gtf.read_bytes()).decode().splitlines():
        cells = line.split("\t")
        if len(cells) == 9 and cells[2] == "CDS":
            transcript = re.search('transcript_id "([^"]+)', cells[8])[1]
            parts.setdefault((transcript, cells[6]), []).append((int(cells[3]) - 1, int(cells[4])))
    sequences = []
    with pysam.FastaFile(str(mini)) as genome:
        for (_, strand), intervals in parts.items():
            bases = "".join(genome.fetch("chr21", start, end) for start, end in sorted(intervals))
            if len(bases) == sum(end - start for start, end in intervals) and "N" not in bases:
                sequences.append(bases if strand == "+" else reverse_complement(bases))
    assert len(sequences) == 28 and sum(bases.startswith("ATG") for bases in sequences) == 26
