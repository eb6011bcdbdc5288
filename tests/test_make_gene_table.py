"""make_gene_table.py: one row a gene, its first base where the strand says, and nothing doubtful passes."""

import gzip
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

from exprcast.tables import read_table
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


def run_script(folder: Path, text: str | bytes, name: str = "genes.txt") -> CompletedProcess:
    genes, sizes = write_inputs(folder, text, name)
    outputs = ["--tss-out", folder / "tss.tsv", "--out", folder / "genes.tsv"]
    command = [sys.executable, ROOT / "bin" / "make_gene_table.py", "--genes", genes, "--chrom-sizes", sizes, *outputs]
    return run(list(map(str, command)), capture_output=True, text=True, timeout=120)


def made(folder: Path, text: str | bytes, sizes: str = SIZES) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the rows of genes.tsv and of tss.tsv (without its source)."""
    inputs = write_inputs(folder, text, "genes.txt", sizes)
    make_gene_table(*inputs, folder / "tss.tsv", folder / "genes.tsv")
    return rows_of(folder / "genes.tsv"), [row[:2] for row in rows_of(folder / "tss.tsv")]


def rows_of(path: Path) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for _, row in read_table(path, [])]


def refused(folder: Path, text: str | bytes, name: str = "genes.txt") -> str:
    """Return the line of an error; the log may stand above it, and nothing is left behind."""
    result = run_script(folder, text, name)
    assert result.returncode == 1, result.stderr
    *log, line = result.stderr.splitlines()
    assert line.startswith("make_gene_table.py: error: ")
    assert all(each.startswith("make_gene_table.py: ") and "error" not in each for each in log)
    assert {path.name for path in folder.iterdir()} == {name, "chrom.sizes"}
    return line


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


GTF = 'chr1\thavana\tgene\t11869\t14409\t.\t+\t.\tgene_id "ENSG00000290825.1";\n'
FAULTS = {
    GTF: "genes.txt line 1: GTF and GFF are not read yet; give a TSV whose header names id, chrom, strand and tss, or",
    "": "genes.txt: the file is empty; give a TSV",
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
    "chr1\t5\t9\tg\t0\n": "genes.txt line 1: 5 columns, no strand in column 6; give a TSV",
    "chr1\t5\t9\tn\t0\t+\tg\nchr1\t5\t9\tn\t0\t+\n": ("genes.txt line 2: 6 columns, other lines have the gene id in column 7"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.items(), ids=range(len(FAULTS)))
def test_a_fault_is_one_line_that_says_where(tmp_path, text, message):
    assert message in refused(tmp_path, text)


def test_a_gtf_is_refused_by_name_too(tmp_path):
    line = refused(tmp_path, gzip.compress(b"#!x\n"), "a.gtf.gz")
    assert "a.gtf.gz: GTF and GFF are not read yet; give a TSV" in line


def test_a_truncated_gzip_is_refused(tmp_path):
    packed = gzip.compress("".join(bed(n, n + 7, "+") for n in range(900)).encode())
    assert "genes.txt: gzip data end or break after line" in refused(tmp_path, packed[:-20])


def test_real_refgene(tmp_path):
    genes, tss = tmp_path / "genes.tsv", tmp_path / "tss.tsv"
    make_gene_table(needs(DATA / "atac" / "blood_hg19" / "refGene_hg19_TSS.bed.gz"), HG19, tss, genes)
    place = {row[0]: row[2:] for row in rows_of(genes)}
    position = {gene: int(site) for gene, site, _ in reversed(rows_of(tss))}  # the first row of a gene wins
    assert len(place) == len(position) == 23_635
    assert (place["OR4F5"], position["OR4F5"]) == (("chr1", "+"), 69_090)
    assert (place["WASH7P"], position["WASH7P"]) == (("chr1", "-"), 29_370 - 1)


def test_real_gencode_bodies(tmp_path):
    bodies = needs(DATA / "atac" / "entex_hg38" / "gencode.v24.protein.coding.gene.body.bed.gz")
    sizes = needs(DATA / "genome" / "GRCh38_EBV.chrom.sizes")
    make_gene_table(bodies, sizes, tmp_path / "tss.tsv", tmp_path / "genes.tsv")
    genes = rows_of(tmp_path / "genes.tsv")
    assert len(genes) == 19_831
    assert genes[0] == ("ENSG00000186092", "ENSG00000186092", "chr1", "+")
    assert rows_of(tmp_path / "tss.tsv")[0][:2] == ("ENSG00000186092", "69090")
