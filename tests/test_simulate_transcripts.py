"""simulate_cohort.py: genome, annotation and transcripts agree to the base, and are what Ensembl's files look like."""

import csv
import gzip
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "bin" / "simulate_cohort.py"
COMPLEMENT = str.maketrans("ACGT", "TGCA")
STOPS = {"TAA", "TAG", "TGA"}


class Row(NamedTuple):
    """A row of the GTF, 0-based half-open."""

    chrom: str
    feature: str
    start: int
    end: int
    strand: str
    frame: str
    keys: dict[str, list[str]]


class Files(NamedTuple):
    """A cohort as a reader finds it."""

    folder: Path
    genome: dict[str, str]  # as written, lower-case too
    genes: dict[str, dict[str, str]]  # genes.tsv by id without version
    gene_rows: dict[str, Row]
    rows: dict[str, list[Row]]  # of each transcript, in file order
    cdna: dict[str, str]  # by header without '>'


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("cohort") / "small"
    options = ("--samples", "8", "--genes", "150", "--reads", "0", "--out", folder)
    subprocess.run([sys.executable, SCRIPT, *options], check=True, capture_output=True, timeout=60)
    with (folder / "genes.tsv").open(newline="") as file:
        genes = {row["id"].partition(".")[0]: row for row in csv.DictReader(file, delimiter="\t")}
    rows = gtf_rows(folder)
    transcripts: dict[str, list[Row]] = {}
    for row in rows:
        if row.feature != "gene":
            transcripts.setdefault(row.keys["transcript_id"][0], []).append(row)
    gene_rows = {row.keys["gene_id"][0]: row for row in rows if row.feature == "gene"}
    genome = {header.split()[0]: text for header, text in fasta(folder / "genome.fa.gz").items()}
    return Files(folder, genome, genes, gene_rows, transcripts, fasta(folder / "cdna.fa.gz"))


def lines_of(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def fasta(path: Path) -> dict[str, str]:
    records: dict[str, list[str]] = {}
    for line in lines_of(path):
        if line.startswith(">"):
            parts = records.setdefault(line[1:], [])
        else:
            parts.append(line)
    return {header: "".join(parts) for header, parts in records.items()}


def gtf_rows(folder: Path) -> list[Row]:
    rows = []
    for line in lines_of(folder / "annotation.gtf.gz")[1:]:
        chrom, _, feature, start, end, _, strand, frame, text = line.split("\t")
        keys: dict[str, list[str]] = {}
        for key, value in re.findall(r'(\w+) "([^"]*)";', text):
            keys.setdefault(key, []).append(value)
        rows.append(Row(chrom, feature, int(start) - 1, int(end), strand, frame, keys))
    return rows


def matrix_of(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return (ids without version, samples, values)."""
    header, *rows = [line.split("\t") for line in lines_of(path)]
    return [row[0].partition(".")[0] for row in rows], header[1:], np.array([row[1:] for row in rows], float)


def sense(files: Files, row: Row, start: int, end: int) -> str:
    """Return these bases of a row's chromosome as its strand reads them."""
    bases = files.genome[row.chrom][start:end].upper()
    return bases if row.strand == "+" else bases.translate(COMPLEMENT)[::-1]


def of(rows: list[Row], *features: str) -> list[Row]:
    """Return the rows of some features in the order of transcription."""
    return sorted((row for row in rows if row.feature in features), key=lambda row: row.start if row.strand == "+" else -row.start)


def joined(files: Files, rows: list[Row]) -> str:
    return "".join(sense(files, row, row.start, row.end) for row in rows)


def canonical(files: Files) -> dict[str, list[Row]]:
    """Return the rows of each gene's canonical transcript."""
    return {rows[0].keys["gene_id"][0]: rows for rows in files.rows.values() if "Ensembl_canonical" in rows[0].keys["tag"]}


def test_genome_has_the_lengths_and_the_letters_it_should(files):
    sizes = [line.split("\t") for line in (files.folder / "chrom.sizes").read_text().splitlines()]
    assert [(name, len(bases)) for name, bases in files.genome.items()] == [(name, int(size)) for name, size in sizes]
    lines = lines_of(files.folder / "genome.fa.gz")
    assert lines[0].startswith(">chr1 dna_sm:chromosome ")
    assert {len(line) for line, after in zip(lines, lines[1:], strict=False) if ">" not in line + after} == {60}
    letters = Counter("".join(files.genome.values()))
    assert set(letters) == set("ACGTacgtN")
    total = sum(letters[letter] for letter in "ACGTacgt")
    assert sum(letters[letter] for letter in "GCgc") / total == pytest.approx(0.41, abs=0.002)
    assert 0.01 < sum(letters[letter] for letter in "acgt") / total < 0.05


def test_runs_of_n_are_short_and_far_from_genes(files):
    for name, bases in files.genome.items():
        runs = [match.span() for match in re.finditer("N+", bases)]
        assert runs[0] == (0, 1000) and runs[-1] == (len(bases) - 1000, len(bases)) and 3 <= len(runs) <= 5
        tss = [int(gene["tss"]) for gene in files.genes.values() if gene["chrom"] == name]
        assert all(end - start <= 1500 and min(tss) - end > 39_000 for start, end in runs[:-1])
        assert len(bases) - max(tss) > 100_000


def test_some_repeats_lie_in_exons_and_cdna_is_upper_case(files):
    exons = [row for rows in files.rows.values() for row in of(rows, "exon")]
    assert any(re.search("[acgt]", files.genome[row.chrom][row.start : row.end]) for row in exons)
    assert set("".join(files.cdna.values())) == set("ACGT")


def test_cdna_is_the_spliced_exons_and_its_header_says_where(files):
    assert len(files.cdna) == len(files.rows)
    for header, bases in files.cdna.items():
        rows = files.rows[header.partition(".")[0]]
        assert bases == joined(files, of(rows, "exon"))
        first, keys = rows[0], {key: values[0] for key, values in rows[0].keys.items()}
        place = f"{first.chrom}:{first.start + 1}:{first.end}:{'1' if first.strand == '+' else '-1'}"
        assert header == (
            f"{keys['transcript_id']}.{keys['transcript_version']} cdna chromosome:simulated:{place} gene:{keys['gene_id']}.{keys['gene_version']} "
            f"gene_biotype:{keys['gene_biotype']} transcript_biotype:{keys['transcript_biotype']} gene_symbol:{keys['gene_name']}"
        )


def test_introns_begin_gt_and_end_ag(files):
    for rows in files.rows.values():
        exons = of(rows, "exon")
        for before, after in zip(exons, exons[1:], strict=False):
            start, end = sorted((before.start, before.end, after.start, after.end))[1:3]
            intron = sense(files, before, start, end)
            assert intron[:2] == "GT" and intron[-2:] == "AG" and len(intron) >= 100


def test_coding_parts_are_whole_codons_between_atg_and_a_stop(files):
    for rows in files.rows.values():
        if not of(rows, "CDS"):
            continue
        coding, stop = joined(files, of(rows, "CDS")), joined(files, of(rows, "stop_codon"))
        assert coding.startswith("ATG") and coding[:3] == joined(files, of(rows, "start_codon"))
        assert len(coding) % 3 == 0 and stop in STOPS
        assert coding + stop in joined(files, of(rows, "exon"))
        done = 0
        for row in of(rows, "CDS"):
            assert row.frame == str(-done % 3)
            done += row.end - row.start


def test_untranslated_regions_coding_part_and_stop_codon_make_the_exons(files):
    both = 0
    for rows in files.rows.values():
        if of(rows, "CDS"):
            five, three = (joined(files, of(rows, f"{end}_prime_utr")) for end in ("five", "three"))
            parts = five, joined(files, of(rows, "CDS")), joined(files, of(rows, "stop_codon")), three
            assert "".join(parts) == joined(files, of(rows, "exon")) and min(map(len, parts[::3])) >= 10
            both += len(of(rows, "five_prime_utr")) > 1
    assert both > 20  # transcripts whose coding part begins in their second exon


def test_genes_are_those_of_the_gene_table_and_begin_at_its_tss(files):
    assert files.gene_rows.keys() == files.genes.keys() == canonical(files).keys()
    for name, gene in files.genes.items():
        row, transcript = files.gene_rows[name], canonical(files)[name][0]
        for each in (row, transcript):
            assert (each.chrom, each.strand) == (gene["chrom"], gene["strand"])
            assert (each.start if each.strand == "+" else each.end - 1) == int(gene["tss"])
        assert f"{name}.{row.keys['gene_version'][0]}" == gene["id"] and row.keys["gene_name"] == [gene["symbol"]]
        assert row[2:4] == transcript[2:4]
    assert {row.strand for row in files.gene_rows.values()} == {"+", "-"}


def test_genes_do_not_overlap_nor_leave_their_chromosome(files):
    rows = sorted(files.gene_rows.values())
    for row, after in zip(rows, rows[1:], strict=False):
        assert row.chrom != after.chrom or row.end < after.start
    for transcript in files.rows.values():
        gene = files.gene_rows[transcript[0].keys["gene_id"][0]]
        assert all(gene.start <= row.start < row.end <= gene.end for row in transcript)
        assert gene.start > 0 and gene.end < len(files.genome[gene.chrom]) and gene.end - gene.start < 30_000


def test_transcripts_have_the_sizes_and_numbers_of_real_ones(files):
    counts = Counter(rows[0].keys["gene_id"][0] for rows in files.rows.values())
    assert set(counts.values()) == {1, 2, 3}
    exons = [len(of(rows, "exon")) for rows in files.rows.values()]
    assert set(exons) == set(range(3, 9))
    lengths = [len(bases) for bases in files.cdna.values()]
    assert 600 <= min(lengths) < 1000 and 2000 < max(lengths) <= 3000
    biotypes = Counter(row.keys["gene_biotype"][0] for row in files.gene_rows.values())
    assert set(biotypes) == {"protein_coding", "lncRNA"}
    assert 0.05 < biotypes["lncRNA"] / biotypes.total() < 0.15
    for rows in files.rows.values():
        assert (rows[0].keys["transcript_biotype"] == ["lncRNA"]) == (not of(rows, "CDS", "start_codon", "stop_codon", "five_prime_utr"))


def test_other_transcripts_start_later_end_earlier_or_skip_an_exon(files):
    kinds = Counter()
    for rows in files.rows.values():
        usual, other = ([row[2:4] for row in of(each, "exon")] for each in (canonical(files)[rows[0].keys["gene_id"][0]], rows))
        if other == usual:
            continue
        if len(other) < len(usual):
            kinds["skip"] += 1
            assert len(set(usual) - set(other)) == 1 and set(other) < set(usual) and usual[0] == other[0] and usual[-1] == other[-1]
        elif other[0] != usual[0]:
            kinds["start"] += 1
            tss = [exons[0][0] if rows[0].strand == "+" else -exons[0][1] for exons in (usual, other)]
            assert other[1:] == usual[1:] and 200 <= tss[1] - tss[0] <= 1500
        else:
            kinds["end"] += 1
            assert other[:-1] == usual[:-1] and other[-1] != usual[-1]
    assert min(kinds["skip"], kinds["start"], kinds["end"]) > 10


def test_annotation_is_written_as_ensembl_writes_it(files):
    lines = lines_of(files.folder / "annotation.gtf.gz")
    assert lines[0] == "#!genome-build simulated" and not lines[1].startswith("#")
    for rows in files.rows.values():
        exons = [row for row in rows if row.feature == "exon"]
        assert exons == of(rows, "exon")  # in the order of transcription on both strands
        assert [row.keys["exon_number"] for row in exons] == [[str(number)] for number in range(1, len(exons) + 1)]
        assert rows[0].feature == "transcript" and {row.keys["gene_version"][0] for row in rows} == set(rows[0].keys["gene_version"])
        assert {row.frame for row in rows if row.feature not in ("CDS", "start_codon", "stop_codon")} == {"."}
    features = {row.feature for rows in files.rows.values() for row in rows}
    assert features == {"transcript", "exon", "CDS", "start_codon", "stop_codon", "five_prime_utr", "three_prime_utr"}


def test_transcripts_of_a_gene_add_up_to_its_measured_level(files):
    genes, samples, tpm = matrix_of(files.folder / "expression.tsv.gz")
    transcripts, same_samples, parts = matrix_of(files.folder / "true_transcripts.tsv.gz")
    assert same_samples == samples and transcripts == list(files.rows)
    gene = np.array([genes.index(files.rows[name][0].keys["gene_id"][0]) for name in transcripts])
    total = np.zeros_like(tpm)
    np.add.at(total, gene, parts)
    np.testing.assert_allclose(total, tpm, rtol=1e-8)
    with (files.folder / "splicing.tsv").open(newline="") as file:
        spliced = {genes.index(row["gene"]) for row in csv.DictReader(file, delimiter="\t")}
    gene, parts = gene[alone := ~np.isin(gene, list(spliced))], parts[alone]  # the others: test_simulate_splicing.py
    transcripts = [name for name, of_none in zip(transcripts, alone, strict=True) if of_none]
    fraction = parts / tpm[gene]
    biosample = [sample[:4] for sample in samples]
    same = [fraction[:, column] for column in range(len(samples)) if biosample[column] == biosample[0]]
    assert len(same) == 4  # two donors
    np.testing.assert_allclose(same[1:], [same[0]] * 3, rtol=1e-7)
    others = fraction[:, biosample.index("CT02")]
    assert 0.05 < np.abs(same[0] - others)[fraction[:, 0] < 0.99].mean() < 0.3
    largest = [transcripts[of_gene[fraction[of_gene, 0].argmax()]] for of_gene in (np.flatnonzero(gene == g) for g in np.unique(gene))]
    assert 0.8 < np.mean(["Ensembl_canonical" in files.rows[name][0].keys["tag"] for name in largest]) < 1
