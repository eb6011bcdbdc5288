"""Transcripts of the genes: their exons and coding parts, and the annotation (GTF) that describes them."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.simulation.genome import Genes, Genome

# A gene spans 25 kb at most, less than half of the least distance between two TSSs, so no two overlap.
EXONS = (3, 8)
FIRST_BP, INNER_CODONS, LAST_BP = (200, 400), (33, 83), (350, 1_100)  # whole codons: an inner exon can be left out
FIRST_INTRON_BP, INTRON_BP, LAST_INTRON_BP = (2_000, 3_500), (200, 3_000), (1_200, 3_500)
OTHER_START_BP, OTHER_FIRST_BP, OTHER_LAST_BP = (200, 1_500), (160, 300), (350, 700)
APART_BP = 100  # at least, between exons
ALTERNATIVES = (0.35, 0.4, 0.25)  # shares of genes with none, one and two transcripts besides the canonical one
CODING_SHARE = 0.9
LEAST_CODING_BP, LEAST_UTR_BP, STOP_BP = 30, 10, 3


class Transcript(NamedTuple):
    """A transcript, on its own strand: `exons` count bases downstream of its gene's TSS, which is 0."""

    id: str  # without version
    version: int
    gene: int
    canonical: bool
    exons: np.ndarray  # (exons, 2) int64, start and end of each, half-open, in the order of transcription
    coding: tuple[int, int] | None  # from the start codon to before the stop codon, in bases of the spliced transcript

    @property
    def length(self) -> int:
        """Return the spliced length."""
        return int(np.diff(self.exons).sum())

    @property
    def biotype(self) -> str:
        """Return Ensembl's word for what it is, the same for all transcripts of a gene."""
        return "protein_coding" if self.coding else "lncRNA"

    def bases(self) -> np.ndarray:
        """Return how far downstream of the TSS each base of the spliced transcript lies, (length,)."""
        return np.concatenate([np.arange(start, end) for start, end in self.exons])

    def pieces(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return (exon from 0, start, end) of the parts of exons that make this range of the spliced transcript."""
        ends = np.cumsum(np.diff(self.exons))
        starts = ends - np.diff(self.exons)[:, 0]
        cut = np.column_stack([np.clip(start, starts, ends), np.clip(end, starts, ends)]) - starts[:, None] + self.exons[:, :1]
        return [(number, int(first), int(last)) for number, (first, last) in enumerate(cut) if last > first]


def model_genes(genes: Genes, rng: np.random.Generator) -> list[Transcript]:
    """Return one to three transcripts of each gene, in gene order, the canonical one first."""
    transcripts: list[Transcript] = []
    for gene in range(len(genes.ids)):
        for number, (exons, coding) in enumerate(model_gene(rng)):
            name = f"ENST{len(transcripts) + 1:011d}"
            transcripts.append(Transcript(name, int(rng.integers(1, 20)), gene, number == 0, exons, coding))
    return transcripts


def model_gene(rng: np.random.Generator) -> list[tuple[np.ndarray, tuple[int, int] | None]]:
    """Return (exons, coding part) of each transcript of one gene."""
    exons = draw_exons(rng)
    kinds = [other_start, other_end, skipped_exon][: 3 if len(exons) > 3 else 2]
    wanted = rng.choice(len(ALTERNATIVES), p=ALTERNATIVES)
    chosen = [kinds[kind] for kind in rng.permutation(len(kinds))[:wanted]]
    models = [exons, *(kind(exons, rng) for kind in chosen)]
    starts_in, phase, shares = int(rng.integers(2)), int(rng.integers(3)), rng.random(2)
    is_coding = rng.random() < CODING_SHARE
    return [(model, coding_part(model, starts_in, phase, shares) if is_coding else None) for model in models]


def draw_exons(rng: np.random.Generator) -> np.ndarray:
    """Return the exons of a canonical transcript, (exons, 2)."""
    inner = int(rng.integers(*EXONS, endpoint=True)) - 2
    widths = [draw(FIRST_BP, rng), *(3 * rng.integers(*INNER_CODONS, inner, endpoint=True)), draw(LAST_BP, rng)]
    introns = [draw(FIRST_INTRON_BP, rng), *rng.integers(*INTRON_BP, inner - 1, endpoint=True), draw(LAST_INTRON_BP, rng)]
    ends = np.cumsum(widths) + np.cumsum([0, *introns])
    return np.column_stack([ends - widths, ends])


def draw(limits: tuple[int, int], rng: np.random.Generator) -> int:
    """Return a length within these limits, both included."""
    return int(rng.integers(*limits, endpoint=True))


def other_start(exons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the exons with another first one, downstream of the TSS in the first intron."""
    least, most = OTHER_START_BP
    start = draw((max(least, exons[0, 1] + APART_BP), most), rng)
    return np.concatenate([[[start, start + draw(OTHER_FIRST_BP, rng)]], exons[1:]])


def other_end(exons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the exons with another last one, in the last intron."""
    width = draw(OTHER_LAST_BP, rng)
    start = draw((exons[-2, 1] + APART_BP, exons[-1, 0] - APART_BP - width), rng)
    return np.concatenate([exons[:-1], [[start, start + width]]])


def skipped_exon(exons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the exons without one of the inner ones after the second, where a coding part may begin."""
    return np.delete(exons, rng.integers(2, len(exons) - 1), axis=0)


def coding_part(exons: np.ndarray, starts_in: int, phase: int, shares: np.ndarray) -> tuple[int, int]:
    """Return the coding part: from an exon to the last one, whole codons; `shares` of both are coding.

    Phase, modulo 3, is the number of coding bases before each intron, one for all transcripts of a gene. So exons that
    transcripts share are read in one frame, and have the same start and stop codons.
    """
    widths = np.diff(exons)[:, 0]
    room = np.array([widths[starts_in] - 2, widths[-1] - STOP_BP]) - LEAST_CODING_BP - LEAST_UTR_BP
    first, last = LEAST_CODING_BP + 3 * (shares * room // 3).astype(np.int64) + [phase, -phase]
    return int(widths[: starts_in + 1].sum() - first), int(widths[:-1].sum() + last)


def write_annotation(path: Path, genome: Genome, genes: Genes, transcripts: list[Transcript]) -> None:
    """Write the genes and their transcripts as GTF in Ensembl's style."""
    lines = ["#!genome-build simulated"]
    for transcript in transcripts:
        strand = "+" if genes.strand[transcript.gene] > 0 else "-"
        for feature, start, end, frame, keys in gtf_rows(genes, transcript):
            chrom, first, last = ensembl_place(genome, genes, transcript.gene, start, end)
            lines.append(f"{chrom}\tsimulated\t{feature}\t{first}\t{last}\t.\t{strand}\t{frame}\t{keys}")
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), compresslevel=6, mtime=0))


def ensembl_place(genome: Genome, genes: Genes, gene: int, start: int, end: int) -> tuple[str, int, int]:
    """Return (chromosome, first base, last base), counted from 1, of a half-open range downstream of a gene's TSS."""
    chrom, tss = genome.locate(genes.tss[gene])
    first, last = sorted(int(tss + genes.strand[gene] * offset) + 1 for offset in (start, end - 1))
    return genome.names[chrom], first, last


def gtf_rows(genes: Genes, transcript: Transcript) -> Iterator[tuple[str, int, int, str, str]]:
    """Yield (feature, start, end, frame, attributes) of a transcript's rows; a canonical transcript's gene, as long, comes first."""
    start, end = int(transcript.exons[0, 0]), int(transcript.exons[-1, 1])
    symbol = genes.symbol(transcript.gene)
    gene_keys = f'gene_id "{genes.ids[transcript.gene]}"; gene_version "{genes.versions[transcript.gene]}"; '
    keys = f'{gene_keys}transcript_id "{transcript.id}"; transcript_version "{transcript.version}"; '
    name = f'gene_name "{symbol}"; gene_source "simulated"; gene_biotype "{transcript.biotype}";'
    more = f'{name} transcript_source "simulated"; transcript_biotype "{transcript.biotype}"; tag "basic";'
    more += ' tag "Ensembl_canonical";' if transcript.canonical else ""
    if transcript.canonical:
        yield "gene", start, end, ".", gene_keys + name
    yield "transcript", start, end, ".", keys + more
    parts = coding_rows(transcript)
    for exon, (first, last) in enumerate(transcript.exons.tolist()):
        numbered = f'{keys}exon_number "{exon + 1}"; {more}'
        yield "exon", first, last, ".", numbered
        yield from ((feature, first, last, frame, numbered) for of, feature, first, last, frame in parts if of == exon and frame != ".")
    yield from ((feature, first, last, frame, keys + more) for _, feature, first, last, frame in parts if frame == ".")


def coding_rows(transcript: Transcript) -> list[tuple[int, str, int, int, str]]:
    """Return (exon from 0, feature, start, end, frame) of coding parts, codons and, without a frame, untranslated regions."""
    if transcript.coding is None:
        return []
    start, end = transcript.coding
    rows, done = [], 0
    for exon, first, last in transcript.pieces(start, end):
        rows.append((exon, "CDS", first, last, str(-done % 3)))
        done += last - first
    marks = [
        ("start_codon", start, start + 3, "0"),
        ("stop_codon", end, end + STOP_BP, "0"),
        ("five_prime_utr", 0, start, "."),
        ("three_prime_utr", end + STOP_BP, transcript.length, "."),
    ]
    return rows + [(exon, feature, *part, frame) for feature, *limits, frame in marks for exon, *part in transcript.pieces(*limits)]
