"""halflife_features.py: eight features by hand on both strands, the right transcript, and the published table explained to the base."""

import csv
import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pysam
import pytest

from exprcast.cli import InputError
from exprcast.gtf import read_gtf
from exprcast.halflife import FEATURES, coding_models, is_histone, representatives
from exprcast.tables import read_matrix
from halflife_features import halflife_features
from index_genome import index_genome

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
LENGTHS, CONTENTS = slice(0, 4), slice(4, 7)

# On the plus strand of chr1: exons 11-30, 41-60 and 71-100; 5' UTR 11-24, ORF 25-30, 41-60, 71-74 with its stop 72-74, 3' UTR 75-100.
EXONS, CDS, STOP = [(11, 30), (41, 60), (71, 100)], [(25, 30), (41, 60), (71, 71)], [(72, 74)]
BASES = (
    "N" * 10 + "G" * 7 + "a" * 7 + "ATGGCC" + "N" * 10 + "C" * 5 + "T" * 15 + "N" * 10 + "ATAA" + "NGGCATATATATATATATATATATAT" + "N" * 20
)


def row(feature: str, start: int, end: int, strand: str, transcript: str = "t", gene: str = "g", chrom: str = "chr1") -> str:
    """Return a GTF row, 1-based and closed."""
    keys = f'gene_id "{gene}"; transcript_id "{transcript}";'
    return f"{chrom}\tx\t{feature}\t{start}\t{end}\t.\t{strand}\t.\t{keys}\n"


def rows(feature: str, parts: list[tuple[int, int]], strand: str = "+", transcript: str = "t", gene: str = "g") -> str:
    """Return the rows of a transcript's parts; on the minus strand of a 120-bp chromosome they are turned round."""
    turned = parts if strand == "+" else [(121 - end, 121 - start) for start, end in parts]
    return "".join(row(feature, *part, strand, transcript, gene) for part in turned)


def write_inputs(folder: Path, gtf: str, bases: str = BASES, genes: str = "g\tG\tchr1\t+\n") -> tuple[Path, Path, Path]:
    (folder / "a.gtf").write_text(gtf)
    (folder / "genes.tsv").write_text("id\tsymbol\tchrom\tstrand\n" + genes)
    with pysam.BGZFile(str(folder / "genome.fa.gz"), "wb") as file:
        file.write(f">chr1\n{bases}\n".encode())
    pysam.faidx(str(folder / "genome.fa.gz"))
    return folder / "a.gtf", folder / "genome.fa.gz", folder / "genes.tsv"


def features(folder: Path, *inputs: str) -> dict[str, list[float]]:
    """Return {gene: its eight features}."""
    halflife_features(*write_inputs(folder, *inputs), folder / "out.tsv.gz")
    table = read_matrix(folder / "out.tsv.gz")
    assert table.attributes == {"scale": "measured"} and tuple(table.columns) == FEATURES
    return dict(zip(table.rows, table.values.tolist(), strict=True))


def complement(bases: str) -> str:
    return bases.translate(str.maketrans("ACGTacgt", "TGCAtgca"))[::-1]


WHOLE = rows("exon", EXONS) + rows("CDS", CDS) + rows("stop_codon", STOP)
BY_HAND = [14, 30, 20, 26, 0.5, 0.3, 0.12, 100]  # 9 of 30 known ORF bases are G or C, 3 of 25 of the 3' UTR: one is N


def test_features_are_those_counted_by_hand_on_both_strands(tmp_path):
    assert features(tmp_path, WHOLE)["g"] == BY_HAND
    turned = rows("exon", EXONS, "-") + rows("CDS", CDS, "-") + rows("stop_codon", STOP, "-")
    assert features(tmp_path, turned, complement(BASES), "g\tG\tchr1\t-\n")["g"] == BY_HAND


def test_a_stop_codon_inside_the_cds_or_beside_it_means_the_same(tmp_path):
    inside = rows("exon", EXONS) + rows("CDS", [*CDS[:2], (71, 74)])
    assert features(tmp_path, inside)["g"] == features(tmp_path, inside + rows("stop_codon", STOP))["g"] == BY_HAND
    split = rows("exon", EXONS) + rows("CDS", CDS[:1] + [(41, 59)]) + rows("stop_codon", [(60, 60), (71, 72)])
    assert features(tmp_path, split)["g"][1:3] == [28, 20] and features(tmp_path, split)["g"][7] == round(3000 / 28, 2)


def test_rows_in_any_order_give_the_same_bytes(tmp_path):
    written = set()
    other = rows("exon", EXONS, transcript="u") + rows("CDS", CDS, transcript="u")
    lines = (WHOLE + other).splitlines(keepends=True)
    for text in (lines, lines[::-1], sorted(lines), lines[5:] + lines[:5]):
        features(tmp_path, "".join(text))
        written.add((tmp_path / "out.tsv.gz").read_bytes())
    assert len(written) == 1


def chosen(folder: Path, *models: str, strand: str = "+") -> str:
    """Return the id of the representative transcript of gene g."""
    (folder / "a.gtf").write_text("".join(models))
    annotation = read_gtf(folder / "a.gtf", {"chr1": 200}, "unknown", with_coding=True)
    found = coding_models(annotation)
    return annotation.transcripts[
        found.transcript[representatives(annotation, found, {"g": ("chr1", strand)}, {"chr1": 200})["g"]]
    ].transcript


def model(name: str, utr5: int, orf: int, utr3: int, strand: str = "+") -> str:
    """Return a transcript of one exon from base 20."""
    cds = (20 + utr5, 19 + utr5 + orf) if strand == "+" else (20 + utr3, 19 + utr3 + orf)
    return row("exon", 20, 19 + utr5 + orf + utr3, strand, name) + row("CDS", *cds, strand, name)


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("models", "best"),
    [
        ([("a", 5, 30, 5), ("b", 1, 33, 0)], "b"),  # the longest coding part
        ([("a", 5, 30, 5), ("b", 0, 60, 9)], "a"),  # but with a 5' UTR
        ([("a", 0, 30, 5), ("b", 0, 60, 0)], "b"),  # if any has one
        ([("a", 5, 30, 50), ("b", 6, 30, 0)], "b"),  # then the longest 5' UTR
        ([("a", 5, 30, 3), ("b", 5, 30, 4)], "b"),  # then the longest 3' UTR
        ([("b", 5, 30, 3), ("a", 5, 30, 3)], "a"),  # then the first id
    ],
)
def test_the_representative_transcript(tmp_path, models, best, strand):
    assert chosen(tmp_path, *(model(*each, strand) for each in models), strand=strand) == best


def test_transcripts_on_another_strand_or_chromosome_than_the_gene_do_not_stand_for_it(tmp_path):
    other = model("b", 5, 90, 5, "-") + model("c", 5, 90, 5).replace("chr1", "chr2")
    assert chosen(tmp_path, model("a", 5, 30, 5), other) == "a"


def test_a_gene_without_coding_part_keeps_its_row_and_has_no_number(tmp_path):
    text = WHOLE + rows("exon", [(10, 90)], transcript="u", gene="h")
    found = features(tmp_path, text, BASES, "h\tH\tchr1\t+\ng\tG\t1\t+\nk\tK\tchr1\t-\n")
    assert list(found) == ["h", "g", "k"] and found["g"] == BY_HAND
    assert np.isnan(found["h"]).all() and np.isnan(found["k"]).all()


def test_gc_is_of_known_bases_and_0_where_there_is_no_utr(tmp_path):
    only_orf = row("exon", 25, 30, "+") + row("CDS", 25, 30, "+")
    assert features(tmp_path, only_orf)["g"][4:] == [0, 0.667, 0, 166.67]
    hidden = features(tmp_path, WHOLE, "N" * 70 + BASES[70:])["g"]
    assert np.isnan(hidden[4]) and hidden[5:7] == [0.0, 0.12] and hidden[LENGTHS] == BY_HAND[LENGTHS]


def test_a_cds_without_exon_rows_is_a_transcript_of_its_own(tmp_path):
    assert features(tmp_path, rows("CDS", CDS[:2]))["g"][LENGTHS] == [0, 26, 10, 0]


def test_histones_are_kept_and_named(tmp_path):
    names = ["HIST1H1A", "Hist1h2ab", "H1-4", "H2AC6", "H2BC21", "H3C1", "H4C16", "H1f0", "H2bc3"]
    assert all(map(is_histone, names)) and not any(map(is_histone, ["HDAC1", "H2-Aa", "HIPK1", "H19", "H6PD"]))
    inputs = write_inputs(tmp_path, WHOLE, BASES, "g\tH2BC21\tchr1\t+\n")
    options = [each for pair in zip(("--gtf", "--genome", "--genes"), inputs, strict=True) for each in pair]
    result = subprocess.run(
        [sys.executable, ROOT / "bin/halflife_features.py", *options, "--out", tmp_path / "out.tsv.gz"], capture_output=True, text=True
    )
    assert result.returncode == 0 and read_matrix(tmp_path / "out.tsv.gz").values[0].tolist() == BY_HAND
    assert "1 are histones, whose mRNAs mostly lack a poly-A tail; they are kept: H2BC21" in result.stderr


FAULTS = [
    (rows("exon", EXONS), "g\tG\tchr1\t+\n", "a.gtf: no CDS or stop_codon rows, so no gene has a coding part; give the whole GTF"),
    (
        WHOLE.replace("chr1", "II"),
        "g\tG\tchr1\t+\n",
        "a.gtf: no coding transcript is on a known chromosome: coding transcripts are on II; genome.fa.gz has chr1",
    ),
    (WHOLE + row("CDS", 110, 121, "+", "u"), "g\tG\tchr1\t+\n", "a.gtf line 8: end 121 is beyond chr1, which has 120 bp"),
    (WHOLE, "h\tH\tchr1\t+\n", "a.gtf: no gene of genes.tsv has a coding part in it: a.gtf has g; genes.tsv has h; do both come"),
    (WHOLE, "g\tG\tIII\t+\n", "genes.tsv line 2: gene g is on III; genome.fa.gz has chr1"),
]


@pytest.mark.parametrize(("gtf", "genes", "message"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_one_line_and_leaves_nothing(tmp_path, gtf, genes, message):
    inputs = write_inputs(tmp_path, gtf, BASES, genes)
    with pytest.raises(InputError, match=re.escape(message)):
        halflife_features(*inputs, tmp_path / "out.tsv.gz")
    assert not list(tmp_path.glob("*out*"))


# The published table against a GTF that is about as old: chr21, bases known up to 19,999,999.


class Published:
    """Genes of chr21 that the published table lists: our models and features, their rows."""

    def __init__(self, folder: Path) -> None:
        gtf, mini = DATA / "genome/derived_ensembl_GRCh38_chr21.gtf.gz", DATA / "genome/derived_hg38_mini_masked.fa.gz"
        table = DATA / "sequence/halflife_features_18377genes.tsv.gz"
        if not (gtf.exists() and mini.exists() and table.exists()):
            pytest.skip(f"the GTF, the genome or the table is not in {DATA}")
        known = re.search(r">chr21\b[^\n]*\n([^>]*)", gzip.decompress(mini.read_bytes()).decode())[1].replace("\n", "")
        (folder / "chr21.fa").write_text(f">chr21\n{known:N<46709983}\n")
        index_genome(folder / "chr21.fa", folder / "chrom.sizes", folder / "genome.fa.gz")
        sizes = {"chr21": 46_709_983}
        annotation = read_gtf(gtf, sizes, "hg38", with_coding=True)
        lines = "".join(f"{gene.gene}\t{gene.symbol}\tchr21\t{gene.strand}\n" for gene in annotation.genes.values())
        (folder / "genes.tsv").write_text("id\tsymbol\tchrom\tstrand\n" + lines)
        halflife_features(gtf, folder / "genome.fa.gz", folder / "genes.tsv", folder / "out.tsv.gz")
        ours = read_matrix(folder / "out.tsv.gz")
        with gzip.open(table, "rt") as file:
            theirs = {row["gene_id"]: row for row in csv.DictReader(file, delimiter="\t")}
        self.genes = [gene for gene in ours.rows if gene in theirs]
        self.listed = sum(row["chrom"] == "chr21" for row in theirs.values())
        self.coding = int(np.isfinite(ours.values[:, 1]).sum())
        self.ours = ours.values[[ours.rows.index(gene) for gene in self.genes]]
        columns = [f"{name}_log10zscore" if name.endswith("LEN") else name for name in FEATURES]
        self.theirs = np.array([[float(theirs[gene][column]) for column in columns] for gene in self.genes])
        self.segments = self.count_segments(annotation, sizes)

    def count_segments(self, annotation, sizes: dict[str, int]) -> np.ndarray:
        """Return how many segments the 5' UTR, the ORF and the 3' UTR of each gene have, (genes, 3)."""
        models = coding_models(annotation)
        places = {gene: ("chr21", row.strand) for gene, row in annotation.genes.items()}
        rows_of = representatives(annotation, models, places, sizes)
        counts = []
        for gene in self.genes:
            exons, (start, end) = models.exons[rows_of[gene]], models.orf[rows_of[gene]]
            before, behind = int((exons[:, 0] < start).sum()), int((exons[:, 1] > end).sum())
            orf = int(models.orf_exons[rows_of[gene]])
            counts.append((before, orf, behind) if places[gene][1] == "+" else (behind, orf, before))
        return np.array(counts)

    def lengths(self, column: int, expected: np.ndarray) -> np.ndarray:
        """Return published lengths in bp, (genes,): the z-score's mean and SD by a fit that leaves aside what does not fit."""
        z, x = self.theirs[:, column], np.log10(expected + 0.1)
        fits = expected > 5_000 if column == 2 else np.ones(len(z), bool)
        for _ in range(30):
            slope, mean = np.polyfit(z[fits], x[fits], 1)
            error = np.abs(x - (slope * z + mean))
            fits = error <= max(np.median(error) * 1.5, 1e-9)
        return 10 ** (slope * z + mean) - 0.1


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Published:
    return Published(tmp_path_factory.mktemp("published"))


def test_the_published_lengths_are_ours_less_a_base_a_segment_and_the_stop_codon(published):
    assert published.listed == len(published.genes) == 211 and published.coding == 234
    utr5, orf, intron, utr3 = published.ours[:, LENGTHS].T
    segments, all_segments = published.segments.T, published.segments.sum(axis=1)
    expected = {0: utr5 - segments[0], 1: orf - segments[1] - 3, 2: intron + all_segments - 1 + 3, 3: utr3 - segments[2]}
    equal = {column: np.abs(published.lengths(column, bp) - bp) < 0.05 for column, bp in expected.items()}
    assert equal[0].all()
    assert equal[1].sum() == equal[2].sum() == 209 and equal[3].sum() == 210
    assert np.array_equal(equal[1], equal[2])
    for column, more in ((1, 3), (2, -3), (3, 1)):  # two transcripts end before their stop codon; one's end has moved by a base
        apart = ~equal[column]
        assert published.lengths(column, expected[column])[apart] - expected[column][apart] == pytest.approx(more, abs=0.05)


def test_the_published_exon_densities_follow_from_the_published_lengths(published):
    orf, exons = published.ours[:, 1], published.segments[:, 1]
    complete = np.abs(1000 * exons / (orf - exons - 3) - published.theirs[:, 7]) < 0.0051
    without_stop = np.abs(1000 * exons / (orf - exons) - published.theirs[:, 7]) < 0.0051
    assert complete.sum() >= 209 and (complete | without_stop).all()
    assert np.median(published.theirs[:, 7] / published.ours[:, 7]) == pytest.approx(1.009, abs=0.001)


def test_the_published_gc_is_ours_to_the_last_digit(published):
    known = np.isfinite(published.ours[:, CONTENTS]).all(axis=1)  # others lie, wholly or in part, where the genome is masked
    has_all = known & (published.ours[:, LENGTHS] > 0)[:, [0, 1, 3]].all(axis=1)
    assert known.sum() == 6 and has_all.sum() >= 5
    assert published.ours[known, CONTENTS] == pytest.approx(published.theirs[known, CONTENTS], abs=1e-9)
