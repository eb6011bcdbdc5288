"""The genome's bases and the transcripts cut from them, as FASTA. Bases are numbers, A C G T N = 0…4, while they are made."""

import gzip
from pathlib import Path

import numpy as np

from exprcast.simulation.genome import MARGIN_BP, Genes, Genome
from exprcast.simulation.promoters import plant_motif
from exprcast.simulation.rule import MOTIF_RANGE
from exprcast.simulation.transcripts import Transcript, ensembl_place

LETTERS = np.frombuffer(b"ACGTN", np.uint8)
A, C, G, T, N = range(5)
BASE_OF_BYTE = np.repeat(np.array([A, C, G, T], np.uint8), (76, 52, 53, 75))  # of 256 random bytes; GC is 0.41
REPEAT_EVERY_BP, REPEAT_BP = 10_000, (50, 400)  # lower-case, anywhere; their bases are as random as all others
END_GAP_BP, GAPS, GAP_BP, FAR_BP = 1_000, 3, (50, 500), 40_000  # runs of N: both ends of a chromosome, and some well before its first TSS
DONOR, ACCEPTOR, START_CODON = [G, T], [A, G], [A, T, G]
STOP_CODONS = ([T, A, A], [T, A, G], [T, G, A])
LINE_BP = 60


def write_sequences(
    folder: Path, genome: Genome, genes: Genes, motifs: list[np.ndarray], transcripts: list[Transcript], seed: np.random.SeedSequence
) -> list[np.ndarray]:
    """Write genome.fa.gz, with a motif at these places before each gene, and cdna.fa.gz; return each spliced transcript's bases on its own strand."""
    chrom, tss = genome.locate(genes.tss)
    spliced: list[np.ndarray] = []
    with (folder / "genome.fa.gz").open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        for number, child in enumerate(seed.spawn(len(genome.names))):
            rng = np.random.default_rng(child)
            name, length = genome.names[number], int(genome.starts[number + 1] - genome.starts[number])
            bases = draw_bases(length, rng)
            for gene in np.flatnonzero(chrom == number):
                along = tss[gene] + genes.strand[gene] * np.arange(*MOTIF_RANGE)
                sense = on_strand(bases[along], genes.strand[gene])
                plant_motif(sense, motifs[gene])
                bases[along] = on_strand(sense, genes.strand[gene])
            here = [transcript for transcript in transcripts if chrom[transcript.gene] == number]
            places = [(tss[transcript.gene], genes.strand[transcript.gene]) for transcript in here]
            for (at, strand), transcript in zip(places, here, strict=True):
                mark(bases, at, strand, transcript)
            spliced += [on_strand(bases[at + strand * of.bases()], strand) for (at, strand), of in zip(places, here, strict=True)]
            file.write(fasta(f"{name} dna_sm:chromosome chromosome:simulated:{name}:1:{length}:1 REF", mask_repeats(LETTERS[bases], rng)))
    headers = (cdna_header(genome, genes, transcript) for transcript in transcripts)
    cdna = b"".join(fasta(header, LETTERS[bases]) for header, bases in zip(headers, spliced, strict=True))
    (folder / "cdna.fa.gz").write_bytes(gzip.compress(cdna, compresslevel=6, mtime=0))
    return spliced


def draw_bases(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a chromosome of random bases with runs of N, (length,) uint8."""
    bases = BASE_OF_BYTE[np.frombuffer(rng.bytes(length), np.uint8)]
    bases[:END_GAP_BP] = bases[-END_GAP_BP:] = N
    for start in rng.integers(END_GAP_BP, MARGIN_BP - FAR_BP, GAPS):
        bases[start : start + rng.integers(*GAP_BP, endpoint=True)] = N
    return bases


def mark(bases: np.ndarray, tss: int, strand: int, transcript: Transcript) -> None:
    """Write the ends of a transcript's introns and its start and stop codons into its chromosome."""
    sites = [(end + np.arange(2), DONOR) for end in transcript.exons[:-1, 1]]
    sites += [(start + np.arange(-2, 0), ACCEPTOR) for start in transcript.exons[1:, 0]]
    if transcript.coding:
        start, end = transcript.coding
        along = transcript.bases()
        sites += [(along[start : start + 3], START_CODON), (along[end : end + 3], STOP_CODONS[transcript.gene % 3])]
    for downstream, letters in sites:
        bases[tss + strand * downstream] = on_strand(np.array(letters, np.uint8), strand)


def on_strand(bases: np.ndarray, strand: int) -> np.ndarray:
    """Return bases A C G T, or their complements on the minus strand."""
    return bases if strand > 0 else T - bases


def mask_repeats(letters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make some stretches lower-case in place, runs of N apart; return the letters."""
    starts = rng.integers(0, len(letters), len(letters) // REPEAT_EVERY_BP)
    for start, width in zip(starts, rng.integers(*REPEAT_BP, len(starts), endpoint=True), strict=True):
        repeat = letters[start : start + width]
        repeat[repeat != LETTERS[N]] |= 0x20
    return letters


def cdna_header(genome: Genome, genes: Genes, transcript: Transcript) -> str:
    """Return a transcript's FASTA header as Ensembl writes it."""
    gene, strand = transcript.gene, int(genes.strand[transcript.gene])
    chrom, start, end = ensembl_place(genome, genes, gene, transcript.exons[0, 0], transcript.exons[-1, 1])
    return (
        f"{transcript.id}.{transcript.version} cdna chromosome:simulated:{chrom}:{start}:{end}:{strand} "
        f"gene:{genes.ids[gene]}.{genes.versions[gene]} gene_biotype:{transcript.biotype} "
        f"transcript_biotype:{transcript.biotype} gene_symbol:{genes.symbol(gene)}"
    )


def fasta(header: str, letters: np.ndarray) -> bytes:
    """Return a sequence as FASTA."""
    whole = len(letters) // LINE_BP * LINE_BP
    lines = np.full((whole // LINE_BP, LINE_BP + 1), ord("\n"), np.uint8)
    lines[:, :LINE_BP] = letters[:whole].reshape(-1, LINE_BP)
    rest = letters[whole:].tobytes() + b"\n" if whole < len(letters) else b""
    return f">{header}\n".encode() + lines.tobytes() + rest
