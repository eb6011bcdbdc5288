"""make_gene_table.py: one row a gene, its first base where the strand says, and nothing doubtful passes."""

import gzip
import itertools
import re
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

import pysam
import pytest

from exprcast.cli import InputError
from exprcast.gtf import spread
from exprcast.tables import read_table
from index_genome import index_genome
from make_gene_table import make_gene_table

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
HG19 = ROOT / "tests" / "blood" / "hg19.chrom.sizes"
SIZES = "chr1\t1000\nchr2\t500\nchrX\t800\n"
HEADER = "id\tsymbol\tchrom\tstrand\ttss\n"


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def write_inputs(folder: Path, text: str | bytes, name: str, sizes: str = SIZES) -> tuple[Path, Path]:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    (folder / "chrom.sizes").write_text(sizes)
    return folder / name, folder / "chrom.sizes"


def run_script(folder: Path, text: str | bytes, name: str = "genes.txt", *options: object) -> CompletedProcess:
    genes, sizes = write_inputs(folder, text, name)
    outputs = ["--tss-out", folder / "tss.tsv", "--transcripts-out", folder / "transcripts.tsv", "--out", folder / "genes.tsv"]
    command = [sys.executable, ROOT / "bin" / "make_gene_table.py", "--genes", genes, "--chrom-sizes", sizes, *outputs, *options]
    return run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def outputs(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "tss.tsv", folder / "transcripts.tsv", folder / "genes.tsv"


def made(folder: Path, text: str | bytes, sizes: str = SIZES) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the rows of genes.tsv (without biotype, which is NA) and of tss.tsv (without source); there are no transcripts."""
    make_gene_table(*write_inputs(folder, text, "genes.txt", sizes), None, "unknown", *outputs(folder))
    assert rows_of(folder / "transcripts.tsv") == []
    genes = rows_of(folder / "genes.tsv")
    assert {row[4] for row in genes} == {"NA"}
    return [row[:4] for row in genes], [row[:2] for row in rows_of(folder / "tss.tsv")]


def rows_of(path: Path) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for _, row in read_table(path, [])]


def refused(folder: Path, text: str | bytes, name: str = "genes.txt", assembly: str = "unknown") -> str:
    """Return the message of an InputError; nothing is left behind."""
    inputs = write_inputs(folder, text, name)
    with pytest.raises(InputError) as error:
        make_gene_table(*inputs, None, assembly, *outputs(folder))
    assert {path.name for path in folder.iterdir()} == {name, "chrom.sizes"}
    return str(error.value)


def bed(start: int, end: int, strand: str) -> str:
    return f"chr1\t{start}\t{end}\tT\tG\t{strand}\n"


def test_the_first_base_of_a_bed_interval_lies_where_the_strand_says(tmp_path):
    assert made(tmp_path, bed(100, 200, "+"))[1] == [("G", "100")]
    assert made(tmp_path, bed(100, 200, "-"))[1] == [("G", "199")]  # the interval's last base
    assert made(tmp_path, bed(100, 101, "+"))[1] == made(tmp_path, bed(100, 101, "-"))[1] == [("G", "100")]


def test_an_empty_interval_is_the_boundary_upstream_of_the_first_base(tmp_path):
    assert made(tmp_path, bed(100, 100, "+"))[1] == [("G", "100")]
    assert made(tmp_path, bed(100, 100, "-"))[1] == [("G", "99")]


@pytest.mark.parametrize(
    ("row", "gene"),
    [
        ("chr1\t5\t9\tNM_1\tTP53\t+", "TP53"),  # refGene style: no score
        ("chr1\t5\t9\tNM_1\tTP53\t+\tENSG00000141510.18", "TP53"),
        ("chr1\t5\t9\tname\t0\t+\tENSG00000141510.18", "ENSG00000141510"),
        ("chr1\t5\t9\tname\t.\t+\tENSG00000141510.18", "ENSG00000141510"),
        ("chr1\t5\t9\tENST00000269305.9\t900\t+", "ENST00000269305"),
        ("chr1\t5\t9\tTP53\t900\t+\t5\t9\t0\t1\t4\t0", "TP53"),  # BED12: column 7 is thickStart
        ("chr1 5 9 NM_1 TP53 +", "TP53"),
    ],
)
def test_where_the_gene_id_of_a_bed_is(tmp_path, row, gene):
    assert made(tmp_path, row + "\n") == ([(gene, gene, "chr1", "+")], [(gene, "5")])


def test_one_gene_with_a_number_for_a_name_does_not_change_the_column(tmp_path):
    genes, _ = made(tmp_path, "chr1\t5\t9\tNM_1\tTP53\t+\nchr1\t50\t90\tNM_2\t7\t+\n")
    assert [row[0] for row in genes] == ["TP53", "7"]


def test_a_tsv_gives_ids_symbols_and_positions(tmp_path):
    text = "symbol\tchrom\tgene_id\ttss\tstrand\tmore\nB\tchr2\tENSG00000000002.3\t7\t-\tx\nA\tchr1\tg1\t9\t+\ty\n"
    genes = [("g1", "A", "chr1", "+"), ("ENSG00000000002", "B", "chr2", "-")]
    assert made(tmp_path, text) == (genes, [("g1", "9"), ("ENSG00000000002", "7")])


def test_a_gene_without_symbol_is_shown_by_its_id(tmp_path):
    assert made(tmp_path, "gene\tchrom\tstrand\ttss\ng1\tchr1\t+\t9\n")[0] == [("g1", "g1", "chr1", "+")]


def test_of_several_symbols_the_first_at_the_default_site_is_taken(tmp_path):
    rows = "g1\tA\tchr1\t+\t9\ng1\tB\tchr1\t+\t5\ng1\tC\tchr1\t+\t5\n"
    assert made(tmp_path, HEADER + rows) == ([("g1", "B", "chr1", "+")], [("g1", "5"), ("g1", "9")])


def test_genes_stand_in_the_order_of_chromosomes_then_default_sites_then_ids(tmp_path):
    text = HEADER + "d\t\tchrX\t+\t1\nc\t\tchr2\t+\t9\nb\t\tchr1\t+\t300\nz\t\tchr1\t+\t20\na\t\tchr1\t+\t300\n"
    assert [row[0] for row in made(tmp_path, text)[0]] == ["z", "a", "b", "c", "d"]
    turned = made(tmp_path, text, sizes="chrX\t800\nchr2\t500\nchr1\t1000\n")[0]
    assert [row[0] for row in turned] == ["d", "c", "z", "a", "b"]


def test_the_default_site_is_the_one_most_transcripts_share_else_the_first_in_the_file(tmp_path):
    sites = [("a", 50), ("b", 70), ("a", 10), ("a", 90), ("a", 10), ("b", 60)]
    text = "".join(f"chr1\t{start}\t{start + 5}\tT{n}\t{gene}\t+\n" for n, (gene, start) in enumerate(sites))
    _, tss = made(tmp_path, text)
    assert tss == [("a", "10"), ("a", "50"), ("a", "90"), ("b", "70"), ("b", "60")]
    assert rows_of(tmp_path / "tss.tsv")[0][2] == "genes.txt"


def test_a_gene_in_two_places_is_where_most_of_its_rows_are_else_on_the_first_chromosome(tmp_path):
    rows = [("a", "chr1", "+"), ("a", "chr2", "-"), ("a", "chr2", "-"), ("b", "chrX", "+"), ("b", "chr2", "+")]
    rows += [("c", "chr1", "-"), ("c", "chr1", "+")]
    places = ((chrom, 20 * n, 20 * n + 5, f"T{n}", gene, strand) for n, (gene, chrom, strand) in enumerate(rows))
    text = "".join("\t".join(map(str, place)) + "\n" for place in places)
    genes, tss = made(tmp_path, text)
    assert genes == [("c", "c", "chr1", "-"), ("a", "a", "chr2", "-"), ("b", "b", "chr2", "+")]
    assert tss == [("c", "104"), ("a", "24"), ("a", "44"), ("b", "80")]
    assert "kept 4 of 7 rows: 3 genes lie on several chromosomes or both strands" in run_script(tmp_path, text).stderr


def test_rows_on_scaffolds_are_dropped_and_logged_and_names_may_be_ensembl_s(tmp_path):
    text = HEADER + "a\t\t1\t+\t5\nb\t\tX\t-\t5\na\t\tscaffold_1\t+\t77777\nc\t\tMT\t+\t5\n"
    assert made(tmp_path, text)[0] == [("a", "a", "chr1", "+"), ("b", "b", "chrX", "-")]
    log = run_script(tmp_path, text).stderr
    assert "kept 2 of 4 rows; 2 are on sequences the genome lacks (scaffold_1, MT)" in log


def test_the_copy_of_a_gene_on_y_is_another_gene_than_its_twin_on_x(tmp_path):
    text = HEADER + "ENSG00000182378.15\t\tchrX\t+\t5\nENSG00000182378.15_PAR_Y\t\tchr2\t+\t5\n"
    assert [row[0] for row in made(tmp_path, text)[0]] == ["ENSG00000182378_PAR_Y", "ENSG00000182378"]


def test_gzip_comments_and_windows_line_ends_change_nothing(tmp_path):
    plain = made(tmp_path, bed(5, 9, "+") + bed(6, 9, "+"))
    assert made(tmp_path, gzip.compress((bed(5, 9, "+") + bed(6, 9, "+")).encode())) == plain
    text = "#chrom\tx\ntrack name=x\n" + bed(5, 9, "+") + "\n" + bed(6, 9, "+")
    assert made(tmp_path, text.replace("\n", "\r\n")) == plain


FAULTS = {
    "": "genes.txt: the file is empty; give a GTF, a TSV whose header names id, chrom, strand and tss, or a BED of 6 or more columns",
    HEADER: "genes.txt: a header but no rows",
    "id\tchrom\tstrand\na\tchr1\t+\n": "genes.txt line 1: no column tss; the header has id, chrom, strand",
    "name\tchrom\tstrand\ttss\na\tchr1\t+\t5\n": "genes.txt: no column id, gene_id or gene in the header",
    HEADER + "a\t\tchr1\t+\t5.5\n": "genes.txt line 2: '5.5' is no position (a whole number, bases counted from 0)",
    HEADER + "a\t\tchr1\t.\t5\n": "genes.txt line 2: strand '.' is neither + nor -; a start site needs one",
    HEADER + "\t\tchr1\t+\t5\n": "genes.txt line 2: no gene id",
    HEADER + "a\t\tchr1\t+\n": "genes.txt line 2: 4 cells where the header has 5",
    HEADER + "a\t\tchr1\t+\t999\nb\t\tchr1\t+\t1000\n": (
        "genes.txt line 3: position 1000 is outside chr1, which has 1000 bp; is this another assembly?"
    ),
    HEADER + "a\t\tchr1\t+\t5\nb\t\tchr1\t+\t5\na\t\tchr2\t+\t5\n": (
        "genes.txt: gene a is on chr1 (line 2) and chr2 (line 4); give each its own id"
    ),
    HEADER + "a\t\tII\t+\t5\n": "no gene is on a known chromosome: genes are on II; the genome has chr1, chr2, chrX",
    bed(0, 0, "-"): "genes.txt line 1: position -1 is outside chr1, which has 1000 bp",
    bed(900, 100, "-"): "genes.txt line 1: end 100 is before start 900; is this a BED file?",
    "chr1\t5\t9\tg\t0\n": "genes.txt line 1: 5 columns, no strand in column 6; give a GTF, a TSV",
    "chr1\t5\t9\tn\t0\t+\tg\nchr1\t5\t9\tn\t0\t+\n": ("genes.txt line 2: 6 columns, other lines have the gene id in column 7"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=range(len(FAULTS)))
def test_a_fault_is_one_line_that_says_where(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_a_truncated_gzip_is_refused(tmp_path):
    packed = gzip.compress("".join(bed(n, n + 7, "+") for n in range(900)).encode())
    assert "genes.txt: gzip data end or break after line" in refused(tmp_path, packed[:-20])


def test_real_refgene(tmp_path):
    tss, _, genes = outputs(tmp_path)
    make_gene_table(needs(DATA / "atac" / "blood_hg19" / "refGene_hg19_TSS.bed.gz"), HG19, None, "hg19", *outputs(tmp_path))
    place = {row[0]: row[2:4] for row in rows_of(genes)}
    position = {gene: int(site) for gene, site, _ in reversed(rows_of(tss))}  # the first row of a gene wins
    assert len(place) == len(position) == 23_635
    assert (place["OR4F5"], position["OR4F5"]) == (("chr1", "+"), 69_090)
    assert (place["WASH7P"], position["WASH7P"]) == (("chr1", "-"), 29_370 - 1)


def test_real_gencode_bodies(tmp_path):
    bodies = needs(DATA / "atac" / "entex_hg38" / "gencode.v24.protein.coding.gene.body.bed.gz")
    sizes = needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes")
    make_gene_table(bodies, sizes, None, "hg38", *outputs(tmp_path))
    genes = rows_of(tmp_path / "genes.tsv")
    assert len(genes) == 19_831
    assert genes[0] == ("ENSG00000186092", "ENSG00000186092", "chr1", "+", "NA")
    assert rows_of(tmp_path / "tss.tsv")[0][:2] == ("ENSG00000186092", "69090")


def gtf(kind: str, place: str, attributes: str) -> str:
    """Return a GTF row; `place` is chromosome:start-end strand, 1-based and closed, as it stands in the file."""
    chrom, start, end, strand = re.fullmatch(r"(.+):(-?\w+)-(\w*) (\S)", place).groups()
    return "\t".join([chrom, "havana", kind, start, end, ".", strand, ".", attributes]) + "\n"


def tagged(place: str, gene: str, transcript: str, *tags: str) -> str:
    """Return a transcript's row with tags."""
    return gtf("transcript", place, f'gene_id "{gene}"; transcript_id "{transcript}"; ' + "".join(f'tag "{tag}"; ' for tag in tags))


def read(folder: Path, text: str | bytes, genome: Path | None = None, assembly: str = "unknown") -> tuple[list, list, list]:
    """Return the rows of genes.tsv, of tss.tsv (without source) and of transcripts.tsv."""
    make_gene_table(*write_inputs(folder, text, "genes.gtf"), genome, assembly, *outputs(folder))
    tss, transcripts, genes = map(rows_of, outputs(folder))
    return genes, [row[:2] for row in tss], transcripts


ENSEMBL = (
    "#!genome-build GRCh38.p14\n"
    + gtf("gene", "1:101-200 +", 'gene_id "ENSG00000000001"; gene_version "5"; gene_name "A"; gene_biotype "protein_coding";')
    + gtf(
        "transcript",
        "1:101-200 +",
        'gene_id "ENSG00000000001"; gene_version "5"; transcript_id "ENST00000000001"; transcript_version "2"; gene_name "A"; '
        'gene_biotype "protein_coding"; transcript_biotype "retained_intron";',
    )
    + gtf("exon", "1:101-120 +", 'gene_id "ENSG00000000001"; transcript_id "ENST00000000001"; exon_number "1";')
    + gtf("exon", "1:151-200 +", 'gene_id "ENSG00000000001"; transcript_id "ENST00000000001"; exon_number "2";')
)
GENCODE = (
    "##description: evidence-based annotation of the human genome (GRCh38), version 47 (Ensembl 113)\n"
    + gtf("gene", "chr1:101-200 +", 'gene_id "ENSG00000000001.5"; gene_type "protein_coding"; gene_name "A"; level 2;')
    + gtf(
        "transcript",
        "chr1:101-200 +",
        'gene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; gene_type "protein_coding"; gene_name "A"; '
        'transcript_type "retained_intron"; level 2;',
    )
    + gtf("exon", "chr1:101-120 +", 'gene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 1; level 2;')
    + gtf("CDS", "chr1:111-120 +", 'gene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 1; level 2;')
    + gtf("exon", "chr1:151-200 +", 'gene_id "ENSG00000000001.5"; transcript_id "ENST00000000001.2"; exon_number 2; level 2;')
)
ONE_GENE = (
    [("ENSG00000000001", "A", "chr1", "+", "protein_coding")],
    [("ENSG00000000001", "100")],
    [("ENST00000000001", "ENSG00000000001", "A", "retained_intron", "chr1", "+", "100", "70")],
)


@pytest.mark.parametrize("text", [ENSEMBL, GENCODE, ENSEMBL.replace("\n", "\r\n"), gzip.compress(GENCODE.encode())])
def test_both_dialects_of_gtf_say_the_same(tmp_path, text):
    assert read(tmp_path, text) == ONE_GENE


def test_rows_in_any_order_say_the_same(tmp_path):
    header, *rows = GENCODE.splitlines(keepends=True)
    for turned in (rows[::-1], rows[2:] + rows[:2], sorted(rows)):
        assert read(tmp_path, header + "".join(turned)) == ONE_GENE


def test_a_transcript_on_the_minus_strand_starts_at_its_end(tmp_path):
    text = tagged("chr1:101-200 -", "g", "t") + tagged("chr1:50-200 -", "g", "u") + tagged("chr1:50-150 -", "g", "v")
    _, tss, transcripts = read(tmp_path, text)
    assert tss == [("g", "199"), ("g", "149")]
    assert [(row[0], row[6], row[7]) for row in transcripts] == [("t", "199", "NA"), ("u", "199", "NA"), ("v", "149", "NA")]  # no exons


def test_values_may_hold_semicolons_and_keys_and_stand_unquoted(tmp_path):
    tricky = 'gene_id "g;1"; note "gene_name wrong; transcript_id wrong"; transcript_id 7; gene_name "a; b"; level 2; tag "x";tag "basic"'
    genes, _, transcripts = read(tmp_path, gtf("transcript", "chr1:1-9 +", tricky) + gtf("exon", "chr1:1-9 +", tricky))
    assert genes == [("g;1", "a; b", "chr1", "+", "NA")] and transcripts == [("7", "g;1", "a; b", "NA", "chr1", "+", "0", "9")]


def test_an_id_that_begins_like_the_one_before_is_another_transcript(tmp_path):
    rows = [("gene_id g; transcript_id 1", 10), ("gene_id g; transcript_id 12", 20)]
    text = "".join(gtf("exon", f"chr1:{start}-{start + 4} +", attributes) for attributes, start in rows)
    assert [(row[0], row[7]) for row in read(tmp_path, text)[2]] == [("1", "5"), ("12", "5")]


RANKED = ["MANE_Select", "Ensembl_canonical", *(f"appris_principal_{n}" for n in range(1, 6)), "basic CCDS", "basic", ""]


@pytest.mark.parametrize("better", range(len(RANKED) - 1))
def test_the_default_site_is_that_of_the_best_tag(tmp_path, better):
    worse = [tagged(f"chr1:{start}-90 +", "g", f"t{start}", *RANKED[better + 1].split(), "exp_conf") for start in (10, 11, 12)]
    best = tagged("chr1:20-90 +", "g", "best", "alternative_5_UTR", *RANKED[better].split())
    most = tagged("chr1:10-80 +", "g", "most", *RANKED[better + 1].split())
    assert read(tmp_path, "".join(worse) + most + best)[1] == [("g", "19"), ("g", "9"), ("g", "10"), ("g", "11")]


def test_newer_and_older_names_of_tags_count(tmp_path):
    for tags in (["gencode_basic"], ["appris_principal"], ["gencode_basic", "CCDS"]):
        assert read(tmp_path, tagged("chr1:9-90 +", "g", "a", "CCDS") + tagged("chr1:20-90 +", "g", "b", *tags))[1][0] == ("g", "19")


def test_of_equal_tags_the_site_that_most_transcripts_share_counts_else_the_first_in_the_file(tmp_path):
    rows = [tagged(f"chr1:{start}-90 +", "g", f"t{n}", "basic") for n, start in enumerate((30, 10, 20, 20))]
    assert read(tmp_path, "".join(rows))[1] == [("g", "19"), ("g", "29"), ("g", "9")]
    assert read(tmp_path, "".join(rows[:3]))[1][0] == ("g", "29")


def test_genes_are_built_from_what_rows_there_are(tmp_path):
    text = gtf("gene", "chr1:11-20 -", 'gene_id "only_gene"; gene_name "G";')
    text += gtf("exon", "chr1:201-210 -", 'gene_id "of_exons"; transcript_id "x"; gene_type "tRNAscan";')
    text += gtf("exon", "chr1:101-110 -", 'gene_id "of_exons"; transcript_id "x";')
    text += gtf("exon", "chr1:101-110 -", 'gene_id "of_exons"; transcript_id "x";')  # once more: it counts once
    text += gtf("CDS", "chr1:301-310 -", 'gene_id "only_cds"; transcript_id "y";')
    text += gtf("exon", "chr1:301-310 -", 'gene_id "no_transcript";') + gtf("gene", "chr1:1-9 +", 'ID "x";')
    genes, tss, transcripts = read(tmp_path, text)
    assert genes == [("only_gene", "G", "chr1", "-", "NA"), ("of_exons", "of_exons", "chr1", "-", "tRNAscan")]
    assert tss == [("only_gene", "19"), ("of_exons", "209")]
    assert transcripts == [("x", "of_exons", "of_exons", "NA", "chr1", "-", "209", "20")]
    assert "2 rows without ids were ignored" in run_script(tmp_path, text).stderr


def test_a_gene_that_the_genome_lacks_is_dropped_but_its_transcripts_stay(tmp_path):
    text = tagged("ERCC-1:1-99 +", "spike", "s") + tagged("chrX:9-90 +", "b", "z") + tagged("chrX:9-90 +", "b", "y")
    text += tagged("chr1:9-90 +", "a", "x") + tagged("KI27.1:1-50 +", "scaffold", "k")
    genes, tss, transcripts = read(tmp_path, text)
    assert [row[0] for row in genes] == [row[0] for row in tss] == ["a", "b"]
    assert [row[0] for row in transcripts] == ["x", "y", "z", "s", "k"] and transcripts[3][4:7] == ("ERCC-1", "+", "0")
    log = run_script(tmp_path, text).stderr
    assert "kept 3 of 5 transcripts; 2 are on sequences the genome lacks (ERCC-1, KI27.1)" in log
    assert "2 genes with 2 start sites; 0 have several; 2 genes on sequences the genome lacks were dropped" in log


@pytest.mark.parametrize("transcript_on_y", ["ENST00000000009.1_PAR_Y", "ENST00000000009.1"])
def test_the_twins_on_x_and_y_are_two_genes_with_two_transcripts(tmp_path, transcript_on_y):
    text = tagged("chrX:9-90 +", "ENSG00000000009.2", "ENST00000000009.1")
    text += tagged("chr2:9-90 +", "ENSG00000000009.2_PAR_Y", transcript_on_y)
    genes, _, transcripts = read(tmp_path, text)
    assert [row[0] for row in genes] == ["ENSG00000000009_PAR_Y", "ENSG00000000009"]
    assert [row[0] for row in transcripts] == ["ENST00000000009_PAR_Y", "ENST00000000009"]


PLACED = tagged("chr1:11-20 +", "g", "t")
GTF_FAULTS = {
    PLACED + tagged("chr2:11-20 +", "g", "t"): (
        "a.gtf: transcript t is in gene g, chr1 + (line 1) and in gene g, chr2 + (line 2); a transcript has one gene and one place"
    ),
    PLACED + tagged("chr1:11-20 +", "h", "t"): "a.gtf: transcript t is in gene g, chr1 + (line 1) and in gene h, chr1 + (line 2)",
    PLACED + tagged("chr1:11-30 +", "g", "t"): "a.gtf: transcript t is at 11-20 (line 1) and 11-30 (line 2) of chr1; a transcript has one",
    PLACED + gtf("exon", "chr1:11-20 -", 'gene_id "g"; transcript_id "t";'): "gene g, chr1 + (line 1) and in gene g, chr1 - (line 2)",
    PLACED
    + gtf("exon", "chr1:11-20 +", 'gene_id "g"; transcript_id "t";')
    + gtf("exon", "chr2:11-20 +", 'gene_id "g"; transcript_id "t";'): (
        "a.gtf: transcript t is in gene g, chr1 + (line 1) and in gene g, chr2 + (line 3)"
    ),
    gtf("exon", "chr1:1-5 +", 'transcript_id "t"; gene_id "g";') + gtf("exon", "chr1:7-9 +", 'transcript_id "t"; gene_id "h";'): (
        "a.gtf: transcript t is in gene g, chr1 + (line 1) and in gene h, chr1 + (line 2)"
    ),
    PLACED + gtf("exon", "chr1:991-1001 +", "x"): "a.gtf line 2: end 1001 is beyond chr1, which has 1000 bp; is this another assembly?",
    PLACED + gtf("gene", "1:991-1001 +", "x"): "a.gtf line 2: end 1001 is beyond 1, which has 1000 bp; is this another assembly?",
    PLACED + gtf("gene", "chr1:20-19 +", "x"): "a.gtf line 2: start 20 and end 19; a GTF counts bases from 1, and the end is not before",
    PLACED + gtf("gene", "chr1:0-19 +", "x"): "a.gtf line 2: start 0 and end 19; a GTF counts bases from 1",
    PLACED + gtf("gene", "chr1:x-19 +", "x"): "a.gtf line 2: 'x' to '19' is no interval; columns 4 and 5 of a GTF are whole numbers",
    PLACED + gtf("gene", f"chr1:1-{'9' * 5000} +", "x"): "a.gtf line 2: '1' to '99999999999999999999' is no interval",
    PLACED + gtf("gene", "chr1:1-9 .", "x"): "a.gtf line 2: strand '.' is neither + nor -; a start site needs one",
    PLACED + PLACED[:20] + "\n": "a.gtf line 2: 3 columns, a GTF has 9 between tabs; was the file cut short?",
    PLACED.replace("\t", " "): "a.gtf line 1: 1 columns, a GTF has 9 between tabs",
    PLACED.replace("gene_id", "gene"): "a.gtf: no gene, transcript or exon with a gene_id; is this a GTF?",
    tagged("II:11-20 +", "g", "t"): "a.gtf: no gene is on a known chromosome: genes are on II; the genome has chr1, chr2, chrX",
    "##gff-version 3\nchr1\tx\tgene\t1\t9\t.\t+\t.\tID=gene:ENSG1;Name=A\n": (
        "a.gtf line 2: GFF3 is not read; give the GTF, which Ensembl and GENCODE have beside it"
    ),
}


@pytest.mark.parametrize(("text", "message"), GTF_FAULTS.items(), ids=range(len(GTF_FAULTS)))
def test_a_fault_of_a_gtf_is_one_line_that_says_where(tmp_path, text, message):
    assert message in refused(tmp_path, text, "a.gtf")


def test_an_error_is_one_line_and_exit_1(tmp_path):
    result = run_script(tmp_path, PLACED + gtf("gene", "chr1:20-19 +", "x"))
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("make_gene_table.py: error: genes.txt line 2: start 20 and end 19")


def test_gff3_is_refused_by_name_too(tmp_path):
    assert "a.gff3.gz line 1: GFF3 is not read" in refused(tmp_path, gzip.compress(PLACED.encode()), "a.gff3.gz")


LIFTED = "##description: evidence-based annotation of the human genome (GRCh38), version 49 (Ensembl 115), mapped to GRCh37 with gencode-backmap\n"


@pytest.mark.parametrize(
    ("header", "assembly", "found"),
    [
        ("#!genome-build GRCh37.p13\n", "hg38", "GRCh37"),
        ("#!genome-build GRCh38.p14\n", "GRCh37", "GRCh38"),
        ("#!genome-build GRCm39\n", "mm10", "GRCm39"),
        (GENCODE.splitlines(keepends=True)[0], "mm39", "GRCh38"),
        (LIFTED, "hg38", "GRCh37"),
    ],
)
def test_a_header_of_another_assembly_is_refused(tmp_path, header, assembly, found):
    line = refused(tmp_path, header + PLACED, "a.gtf", assembly)
    assert f"a.gtf line 1: the GTF is of {found}, --assembly is {assembly}; give both of one assembly" in line


@pytest.mark.parametrize(
    ("header", "assembly"),
    [
        ("#!genome-build GRCh37.p13\n", "hg19"),
        ("#!genome-build GRCm38.p6\n", "mm10"),
        (LIFTED, "GRCh37.p13"),
        ("#!genome-build GRCh37.p13\n", "unknown"),
        ("#!genome-build GRCz11\n", "hg38"),
        ("# made for hg19 and others\n", "hg38"),
        ("", "hg38"),
    ],
)
def test_what_agrees_or_is_not_known_is_not_judged(tmp_path, header, assembly):
    assert len(read(tmp_path, header + PLACED, assembly=assembly)[0]) == 1


CHR21_TO_GRCH37 = 1_372_320  # a base of chr21:13.6-18.6 Mb in GRCh38 has this much more in GRCh37, give or take a few


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    """The piece of hg38 that is there: chr1, chr21 and chr22, N where unknown."""
    fasta = needs(DATA / "genome" / "derived_hg38_mini_masked.fa.gz")
    folder = tmp_path_factory.mktemp("mini")
    index_genome(fasta, folder / "chrom.sizes", folder / "genome.fa.gz")
    return folder / "genome.fa.gz"


def moved(text: str, bases: int) -> str:
    """Return a GTF with its positions moved."""
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return "".join("\t".join([*row[:3], str(int(row[3]) + bases), str(int(row[4]) + bases), *row[5:]]) + "\n" for row in rows)


def test_introns_say_whether_a_gtf_fits_the_genome(tmp_path, mini):
    text = gzip.decompress(needs(DATA / "genome" / "derived_ensembl_GRCh38_chr21.gtf.gz").read_bytes()).decode()
    sizes = "chr21\t60000000\n"
    result = intron_run(tmp_path, text, sizes, mini)
    assert result.returncode == 0 and "a.gtf: 214 of 217 introns judged have GT…AG in genome.fa.gz (98.6%)" in result.stderr
    other = intron_run(tmp_path, moved(text, CHR21_TO_GRCH37), sizes, mini)
    log, line = other.stderr.splitlines()[-2:]
    assert other.returncode == 1 and re.search(r"a.gtf: \d+ of \d+ introns judged have GT…AG", log)
    found = re.search(
        r"error: a.gtf: only (\d+) of (\d+) introns judged have GT…AG in genome.fa.gz .*; this GTF belongs to another assembly", line
    )
    assert int(found[2]) >= 50 and int(found[1]) / int(found[2]) < 0.1
    swapped = intron_run(tmp_path, text.replace("\t+\t", "\t?\t").replace("\t-\t", "\t+\t").replace("\t?\t", "\t-\t"), sizes, mini)
    assert swapped.returncode == 1 and "only 0 of 217 introns" in swapped.stderr.splitlines()[-1]


def intron_run(folder: Path, text: str, sizes: str, genome: Path) -> CompletedProcess:
    """Run on a GTF with a genome of its own."""
    (folder / "a.gtf").write_text(text)
    (folder / "chrom.sizes").write_text(sizes)
    inputs = ["--genes", folder / "a.gtf", "--chrom-sizes", folder / "chrom.sizes", "--genome", genome]
    names = ("--tss-out", "--transcripts-out", "--out")
    options = [each for pair in zip(names, outputs(folder), strict=True) for each in pair]
    command = [sys.executable, ROOT / "bin" / "make_gene_table.py", *inputs, *options]
    return run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def two_exons(number: int) -> str:
    """Return a transcript with an intron of 20 bases at 100 * number, counted from 0."""
    attributes = f'gene_id "g{number}"; transcript_id "t{number}";'
    start = 100 * number
    return "".join(gtf("exon", f"chr1:{left}-{right} +", attributes) for left, right in ((start - 9, start), (start + 21, start + 30)))


def test_too_few_introns_say_nothing(tmp_path):
    with pysam.BGZFile(str(tmp_path / "genome.fa.gz"), "wb") as file:
        file.write(b">chr1\n" + b"A" * 6000 + b"\n")
    pysam.faidx(str(tmp_path / "genome.fa.gz"))
    result = intron_run(tmp_path, "".join(map(two_exons, range(1, 50))), "chr1\t6000\n", tmp_path / "genome.fa.gz")
    assert result.returncode == 0 and "a.gtf: 0 of 49 introns judged have GT…AG in genome.fa.gz (0.0%)" in result.stderr
    result = intron_run(tmp_path, "".join(map(two_exons, range(1, 51))), "chr1\t6000\n", tmp_path / "genome.fa.gz")
    assert result.returncode == 1 and "only 0 of 50 introns judged" in result.stderr
    (tmp_path / "genome.fa.gz.fai").unlink()
    result = intron_run(tmp_path, two_exons(1), "chr1\t6000\n", tmp_path / "genome.fa.gz")
    assert result.returncode == 1 and "genome.fa.gz: no index genome.fa.gz.fai beside it" in result.stderr.splitlines()[-1]


def test_introns_to_judge_are_spread_over_the_whole_list():
    items = [("chr1", "+", number, number + 50) for number in range(45_000)]
    chosen = list(spread(items))
    assert len(chosen) == len(set(chosen)) == 20_000
    first = [item[2] for item in chosen[:2_000]]
    assert first == sorted(first) and first[0] == 0 and 44_900 < first[-1] and max(b - a for a, b in itertools.pairwise(first)) < 25
    assert sorted(spread(items[:7])) == items[:7]
    assert list(spread([])) == []


def test_real_ensembl_gtf(tmp_path):
    annotation = needs(DATA / "genome" / "derived_ensembl_GRCh38_chr21.gtf.gz")
    make_gene_table(annotation, needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes"), None, "hg38", *outputs(tmp_path))
    tss, transcripts, genes = map(rows_of, outputs(tmp_path))
    assert len(genes) == 835 and len(transcripts) == 2_414 and {row[2] for row in genes} == {"chr21"}
    assert genes[0] == ("ENSG00000279493", "CH507-9B2.2", "chr21", "+", "protein_coding")
    assert tss[0] == ("ENSG00000279493", "5011798", "derived_ensembl_GRCh38_chr21.gtf.gz")
    assert {row[1] for row in transcripts} == {row[0] for row in genes} == {row[0] for row in tss}


def test_real_encode_gtf_with_trnas_and_spike_ins(tmp_path):
    annotation = needs(DATA / "reads" / "encode_chr19" / "gencodeV24pri-tRNAs-ERCC-phiX_onlychr19_and_spikeins.gtf.gz")
    make_gene_table(annotation, needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes"), None, "hg38", *outputs(tmp_path))
    tss, transcripts, genes = map(rows_of, outputs(tmp_path))
    trnas = [row for row in genes if row[4] == "tRNAscan"]
    chr19 = [row for row in genes if row[2] == "chr19" and row[4] != "tRNAscan"]
    assert (len(chr19), len(trnas), len([row for row in trnas if row[2] != "chr19"])) == (3_010, 649, 635)
    assert len(genes) == 3_010 + 649
    spikes = [row for row in transcripts if row[1].startswith("gSpikein_")]
    assert len(spikes) == 97 and transcripts[-97:] == spikes
    assert ("tSpikein_ERCC-00002", "gSpikein_ERCC-00002", "gSpikein_ERCC-00002", "NA", "ERCC-00002", "+", "0", "1061") in spikes
    assert len(transcripts) == 12_747 + 649 + 97
    apoe = [int(position) for gene, position, _ in tss if gene == "ENSG00000130203"]
    assert apoe == [44_905_753, 44_905_790, 44_905_795, 44_905_811, 44_906_359]  # appris_principal_1 first
    assert {row[7] for row in transcripts if row[0] == "ENST00000252486"} == {spliced_bp(annotation, "ENST00000252486.8")}


def spliced_bp(annotation: Path, transcript: str) -> str:
    """Return the sum of a transcript's exons, read in the plainest way."""
    rows = [line.split("\t") for line in gzip.decompress(annotation.read_bytes()).decode().splitlines() if f'"{transcript}"' in line]
    return str(sum(int(row[4]) - int(row[3]) + 1 for row in rows if row[2] == "exon"))


def test_the_same_bytes_each_time(tmp_path):
    annotation, sizes = needs(DATA / "genome" / "derived_ensembl_GRCh38_chr21.gtf.gz"), DATA / "genome" / "GRCh38_EBV.chrom.sizes"
    written = []
    for _ in range(2):
        make_gene_table(annotation, sizes, None, "hg38", *outputs(tmp_path))
        written.append([path.read_bytes() for path in outputs(tmp_path)])
    assert written[0] == written[1]


TWO_GENES = HEADER + "ENSG00000000001.2\tA\tchr1\t+\t100\nENSG00000000001.2\tA\tchr1\t+\t140\nENSG00000000002.1\tB\tchr1\t-\t300\n"


def with_cage(folder: Path, peaks: str, text: str = TWO_GENES) -> tuple[list[str], list[tuple[str, ...]], str]:
    """Return the genes in their order, the rows of tss.tsv and the log."""
    (folder / "cage.bed").write_text(peaks)
    result = run_script(folder, text, "genes.txt", "--cage", folder / "cage.bed")
    if result.returncode:
        assert len(result.stderr.splitlines()) == 1 or result.stderr.splitlines()[-1].startswith("make_gene_table.py: error: ")
        assert not (folder / "tss.tsv").exists()
        return [], [], result.stderr.splitlines()[-1]
    return [row[0] for row in rows_of(folder / "genes.tsv")], rows_of(folder / "tss.tsv"), result.stderr


def peak(name: str, site: int, strand: str, score: object = 9, chrom: str = "chr1") -> str:
    """Return a peak as FANTOM5 writes it, 30 bp around its representative base."""
    return f"{chrom}\t{site - 10}\t{site + 20}\t{name}\t{score}\t{strand}\t{site}\t{site + 1}\t255,0,0\n"


GTF_OF_A = [("ENSG00000000001", "100", "genes.txt"), ("ENSG00000000001", "140", "genes.txt")]
GTF_OF_B = [("ENSG00000000002", "300", "genes.txt")]


def test_a_cage_peak_is_the_default_site_and_the_others_follow(tmp_path):
    genes, tss, log = with_cage(tmp_path, peak("p1@A", 320, "+") + peak("p2@B", 250, "-") + peak("p@chr1:1..9,-", 60, "-"))
    assert tss == [*GTF_OF_B, ("ENSG00000000001", "320", "cage"), *GTF_OF_A]
    assert genes == ["ENSG00000000002", "ENSG00000000001"]  # by default site
    assert "cage.bed: 1 of 2 genes have a CAGE start site; 0 peaks name none of them, 0 lie on another" in log


def test_a_peak_at_a_known_site_moves_it_to_the_front(tmp_path):
    _, tss, _ = with_cage(tmp_path, peak("p1@A", 140, "+"))
    assert tss == [("ENSG00000000001", "140", "cage"), GTF_OF_A[0], *GTF_OF_B]


def test_both_strands_have_the_same_base_and_a_plain_bed_names_genes_by_id_or_symbol(tmp_path):
    plain = "chr1\t110\t111\tENSG00000000001.7\t.\t+\n1\t290\t291\tB\t.\t-\n"
    for peaks in (plain, peak("p1@A", 110, "+") + peak("p1@B", 290, "-"), peak("p1@A,p1@B", 110, "+") + peak("p3@A,p1@B", 290, "-")):
        _, tss, _ = with_cage(tmp_path, peaks)
        assert [row for row in tss if row[2] == "cage"] == [("ENSG00000000001", "110", "cage"), ("ENSG00000000002", "290", "cage")]


def test_of_several_peaks_the_highest_score_counts_in_any_order(tmp_path):
    lines = [peak("p1@A", 150, "+", 3), peak("p1@A", 90, "+", 12), peak("p1@A", 80, "+", 12.0), peak("p1@A", 70, "+", ".")]
    for peaks in (lines, lines[::-1]):
        assert with_cage(tmp_path, "".join(peaks))[1][0] == ("ENSG00000000001", "80", "cage")


def test_peaks_elsewhere_are_counted_and_of_two_genes_with_one_symbol_the_nearer_one_is_meant(tmp_path):
    text = TWO_GENES + "g3\tA\tchr1\t+\t900\ng4\tC\tchr2\t+\t50\n"
    peaks = peak("p1@A", 800, "+") + peak("p1@B", 290, "+") + peak("p1@C", 40, "+", 9, "chrX") + peak("p1@D", 40, "+")
    _, tss, log = with_cage(tmp_path, peaks, text)
    assert [row for row in tss if row[2] == "cage"] == [("g3", "800", "cage")]
    assert "cage.bed: 1 of 4 genes have a CAGE start site; 1 peaks name none of them, 2 lie on another chromosome or strand" in log


CAGE_FAULTS = {
    "": "cage.bed: no peak in the file; give FANTOM5's peaks, or a BED of one base a gene with its id or symbol in column 4",
    "chr1\t1\t2\tA\t0\n": "cage.bed line 1: 5 columns, no strand in column 6",
    peak("p1@Z", 40, "+"): "cage.bed: no peak belongs to a gene: peaks name Z (chr1 +); the genes are A (chr1 +), B (chr1 -)",
    peak("p1@A", 40, "-"): "cage.bed: no peak belongs to a gene: peaks name A (chr1 -); the genes are A (chr1 +), B (chr1 -)",
    peak("p2@A", 40, "+"): "cage.bed: no peak is named p1@gene, which is FANTOM5's name for a gene's strongest promoter",
    peak("p1@A", 1000, "+"): "cage.bed line 1: position 1000 is outside chr1, which has 1000 bp; is this another assembly?",
    peak("p1@A", 40, "."): "cage.bed line 1: strand '.' is neither + nor -",
    "chr1\t10\t40\tA\t0\t+\n": "cage.bed line 1: start to end, 10 to 40, is 30 bp; a start site is one base, counted from 0",
    "chr1\t10\t40\tA\t0\t+\t10\t40\n": "cage.bed line 1: thickStart to thickEnd, 10 to 40, is 30 bp",
}


@pytest.mark.parametrize(("peaks", "message"), CAGE_FAULTS.items(), ids=range(len(CAGE_FAULTS)))
def test_a_fault_of_cage_peaks_is_one_line(tmp_path, peaks, message):
    assert f"error: {message}" in with_cage(tmp_path, peaks)[2]


def test_published_cage_sites_lie_near_start_sites_of_the_gtf(tmp_path):
    """Xpresso's windows are 20,000 bp around CAGE's start site, their base 9,999, and around the GTF's where there was no peak."""
    annotation = needs(DATA / "genome" / "derived_ensembl_GRCh38_chr21.gtf.gz")
    with gzip.open(needs(DATA / "genome" / "Xpresso_hg38_promoters_cage_corrected.bed.gz"), "rt") as file:
        windows = [line.split("\t") for line in file if line.startswith("chr21\t")]
    centres = [(cells[3], int(cells[1]) + 9_999, cells[5].strip()) for cells in windows]
    text = "".join(f"chr21\t{site}\t{site + 1}\t{gene}\t0\t{strand}\n" for gene, site, strand in centres)
    (tmp_path / "cage.bed").write_text(text)
    sizes = needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes")
    make_gene_table(annotation, sizes, None, "hg38", *outputs(tmp_path), tmp_path / "cage.bed")
    sites: dict[str, list[tuple[int, str]]] = {}
    for gene, position, source in rows_of(tmp_path / "tss.tsv"):
        sites.setdefault(gene, []).append((int(position), source))
    apart = []
    for gene, site, _ in centres:
        (first, source), *others = sites[gene]
        assert (first, source) == (site, "cage")
        apart.append(min((abs(position - site) for position, _ in others), default=0))
    assert len(apart) == 211 and sum(bp <= 500 for bp in apart) == 206
    assert sorted(apart)[105] == 9  # bp, the median
