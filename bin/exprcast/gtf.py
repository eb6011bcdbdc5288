"""A GTF of Ensembl or GENCODE: its genes, transcripts, exons and coding parts, and whether it belongs to an assembly and a genome."""

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log
from exprcast.genome import open_genome
from exprcast.tables import chrom_aliases, read_lines, strip_version

NO_IDS = "\n"  # no line begins so
GENE_FEATURES, CODING_FEATURES = ("gene", "transcript", "exon"), ("CDS", "stop_codon")
ATTRIBUTE = re.compile(r'([^\s";]+)\s+(?:"([^"]*)"|([^\s";]+))')  # key "value", or key number
HEADER = re.compile(r"#+\s*(!genome-build|!genome-version|description)\b")
ASSEMBLY = re.compile(r"\b(GRCh37|GRCh38|GRCm38|GRCm39|hg19|hg38|mm10|mm39)(?:\.p\d+)?\b")
ASSEMBLIES = {"hg19": "GRCh37", "hg38": "GRCh38", "mm10": "GRCm38", "mm39": "GRCm39"}  # UCSC's name: the consortium's

# Which transcript stands for its gene: the lower the better.
TAG_RANKS = {"MANE_Select": 0, "Ensembl_canonical": 1, "appris_principal": 2} | {f"appris_principal_{n}": n + 1 for n in range(1, 6)}
BASIC_TAGS = {"basic", "gencode_basic"}
BASIC_CCDS_RANK, BASIC_RANK, LAST_RANK = 7, 8, 9

INTRON_BP = 20  # a shorter gap between exons is no intron
INTRONS_JUDGED, INTRONS_NEEDED, SPLICED_SHARE = 2_000, 50, 0.5
PASSES = 10  # over the introns, until enough with known bases are found


class Feature(NamedTuple):
    """A gene, a transcript or a part of one, 0-based half-open; what a part's row says of its transcript stands for it."""

    kind: str
    gene: str
    transcript: str
    symbol: str
    gene_biotype: str
    biotype: str
    chrom: str
    strand: str
    start: int
    end: int
    rank: int
    line: int


class Annotation(NamedTuple):
    """What a GTF holds: genes that have a row of their own, transcripts, and their parts as rows (transcript's number, start, end)."""

    genes: dict[str, Feature]
    transcripts: list[Feature]
    exons: np.ndarray  # (exons, 3) int64, distinct, by transcript and start
    coding: np.ndarray  # (rows, 3) the same of CDS and stop codons, if these were asked for


NO_ANNOTATION = Annotation({}, [], np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64))


def read_gtf(path: Path, sizes: dict[str, int], assembly: str, with_coding: bool = False) -> Annotation:
    """Read the genes, transcripts and parts of a GTF; what has no gene row, or no transcript row, is built from the rows it has."""
    genes: dict[str, Feature] = {}
    transcripts: list[Feature] = []
    numbers: dict[str, int] = {}  # transcript: its place in the list
    parts = {"exon": array("q"), "coding": array("q")}
    of_feature = {"exon": parts["exon"]} | ({feature: parts["coding"] for feature in CODING_FEATURES} if with_coding else {})
    limits = {alias: sizes[name] for alias, name in chrom_aliases(sizes).items()}
    current, ids, place, nameless = 0, NO_IDS, ("", ""), 0  # of the last part: transcript, attributes up to the ids, chromosome and strand
    for line, cells in gtf_rows(path, assembly, {*GENE_FEATURES, *of_feature}):
        start, end = interval(cells, path, line, limits)
        if cells[2] in of_feature and cells[8].startswith(ids) and (cells[0], cells[6]) == place:
            of_feature[cells[2]].extend((current, start, end))
            continue
        feature = read_feature(cells, start, end, line)
        if not feature.gene or (feature.kind != "gene" and not feature.transcript):
            nameless += 1
        elif feature.kind == "gene":
            genes.setdefault(feature.gene, feature)
        else:
            number = numbers.setdefault(feature.transcript, len(transcripts))
            known = transcripts[number] if number < len(transcripts) else feature
            transcripts[number : number + 1] = [one_transcript(known, feature, path)]
            if feature.kind in of_feature:
                current, ids, place = number, up_to_ids(cells[8]), (cells[0], cells[6])
                of_feature[feature.kind].extend((current, start, end))
    if not genes and not transcripts:
        raise InputError(f"{path.name}: no gene, transcript or exon with a gene_id; is this a GTF?")
    log.info(
        f"{path.name}: {len(transcripts):,} transcripts, {len(parts['exon']) // 3:,} exons; {nameless:,} rows without ids were ignored"
    )
    exons, coding = (distinct_rows(rows) for rows in parts.values())
    return Annotation(genes, with_extents(transcripts, np.concatenate([exons, coding])), exons, coding)


def gtf_rows(path: Path, assembly: str, features: set[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, nine cells) of each row of these features; headers are held against the assembly."""
    for number, line in read_lines(path):
        if line.startswith("#"):
            refuse_other_assembly(line, assembly, f"{path.name} line {number}")
            continue
        cells = line.split("\t", 8)
        if len(cells) == 9:
            if cells[2] in features:
                yield number, cells
        elif line.strip() and not line.startswith(("track", "browser")):
            raise InputError(f"{path.name} line {number}: {len(cells)} columns, a GTF has 9 between tabs; was the file cut short?")


def refuse_other_assembly(header: str, assembly: str, where: str) -> None:
    """Raise InputError if a header line names another assembly than the user; names that we don't know are not judged."""
    expected, found = ASSEMBLY.fullmatch(assembly), ASSEMBLY.findall(header)
    if expected is None or not found or not HEADER.match(header):
        return
    name = found[-1]  # "(GRCh38) …, mapped to GRCh37" is of GRCh37
    if ASSEMBLIES.get(name, name) != ASSEMBLIES.get(expected[1], expected[1]):
        raise InputError(f"{where}: the GTF is of {name}, --assembly is {assembly}; give both of one assembly")


def interval(cells: list[str], path: Path, line: int, limits: dict[str, int]) -> tuple[int, int]:
    """Return start and end of a row, 0-based half-open; they lie on its chromosome, and the row has a strand."""
    if not (is_count(cells[3]) and is_count(cells[4])):
        wrong = f"'{cells[3][:20]}' to '{cells[4][:20]}' is no interval; columns 4 and 5 of a GTF are whole numbers"
        raise InputError(f"{path.name} line {line}: {wrong}")
    chrom, start, end, strand = cells[0], int(cells[3]) - 1, int(cells[4]), cells[6]
    if not 0 <= start < end:
        wrong = f"start {start + 1} and end {end}; a GTF counts bases from 1, and the end is not before the start"
        raise InputError(f"{path.name} line {line}: {wrong}")
    if end > limits.get(chrom, end):
        wrong = f"end {end} is beyond {chrom}, which has {limits[chrom]} bp; is this another assembly?"
        raise InputError(f"{path.name} line {line}: {wrong}")
    if strand not in ("+", "-"):
        raise InputError(f"{path.name} line {line}: strand '{strand[:20]}' is neither + nor -; a start site needs one")
    return start, end


def is_count(cell: str) -> bool:
    """Say whether a cell is a whole number from 0 up that an int64 holds."""
    return cell.isdecimal() and len(cell) < 19


def up_to_ids(attributes: str) -> str:
    """Return attributes up to both ids and the sign behind them: rows that begin so are of one transcript."""
    end = max(match.end() for match in ATTRIBUTE.finditer(attributes) if match[1] in ("gene_id", "transcript_id"))
    return attributes[: end + 1] if end < len(attributes) else NO_IDS


def read_feature(cells: list[str], start: int, end: int, line: int) -> Feature:
    """Return a row's content; ids have no version, what is not said is empty."""
    values, tags = {}, set()
    for key, quoted, bare in ATTRIBUTE.findall(cells[8]):
        values.setdefault(key, quoted or bare)
        if key == "tag":
            tags.add(quoted or bare)
    gene, transcript = (strip_version(values.get(key, "")) for key in ("gene_id", "transcript_id"))
    if gene.endswith("_PAR_Y") and transcript and not transcript.endswith("_PAR_Y"):
        transcript += "_PAR_Y"
    gene_biotype, biotype = (values.get(f"{what}_biotype") or values.get(f"{what}_type", "") for what in ("gene", "transcript"))
    place = (cells[0], cells[6], start, end)
    return Feature(cells[2], gene, transcript, values.get("gene_name", ""), gene_biotype, biotype, *place, rank_of(tags), line)


def rank_of(tags: set[str]) -> int:
    """Return how well a transcript stands for its gene, by its tags."""
    basic = (BASIC_CCDS_RANK if "CCDS" in tags else BASIC_RANK) if tags & BASIC_TAGS else LAST_RANK
    return min([basic, *(TAG_RANKS[tag] for tag in tags & TAG_RANKS.keys())])


def one_transcript(known: Feature, row: Feature, path: Path) -> Feature:
    """Return what is to be kept of two rows of one transcript: its own row before an exon's. They agree in gene and place."""
    if (known.gene, known.chrom, known.strand) != (row.gene, row.chrom, row.strand):
        both = (f"gene {each.gene}, {each.chrom} {each.strand} (line {each.line})" for each in (known, row))
        raise InputError(f"{path.name}: transcript {row.transcript} is in {' and in '.join(both)}; a transcript has one gene and one place")
    if row.kind == known.kind == "transcript" and (known.start, known.end) != (row.start, row.end):
        places = f"{known.start + 1}-{known.end} (line {known.line}) and {row.start + 1}-{row.end} (line {row.line})"
        raise InputError(f"{path.name}: transcript {row.transcript} is at {places} of {row.chrom}; a transcript has one place")
    return row if row.kind == "transcript" else known


def distinct_rows(rows: array) -> np.ndarray:
    """Return distinct rows of (transcript's number, start, end), (rows, 3), in order."""
    table = np.array(rows, np.int64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
    return table[np.append(True, (table[1:] != table[:-1]).any(axis=1))[: len(table)]]


def with_extents(transcripts: list[Feature], parts: np.ndarray) -> list[Feature]:
    """Return transcripts, those without a row of their own with the extent of their parts."""
    starts, ends = np.full(len(transcripts), np.iinfo(np.int64).max), np.zeros(len(transcripts), np.int64)
    np.minimum.at(starts, parts[:, 0], parts[:, 1])
    np.maximum.at(ends, parts[:, 0], parts[:, 2])
    extents = zip(transcripts, starts.tolist(), ends.tolist(), strict=True)
    return [row if row.kind == "transcript" else row._replace(start=start, end=end) for row, start, end in extents]


def judge_introns(path: Path, annotation: Annotation, genome: Path) -> None:
    """Raise InputError if too few introns begin with GT and end with AG: then the GTF is of another assembly."""
    with open_genome(genome) as fasta:
        aliases = chrom_aliases(dict(zip(fasta.references, fasta.lengths, strict=True)))
        judged = spliced = 0
        for chrom, strand, start, end in spread(introns(annotation, aliases)):
            ends = fasta.fetch(chrom, start, start + 2).upper() + fasta.fetch(chrom, end - 2, end).upper()
            known = len(ends) == 4 and set(ends) <= set("ACGT")
            judged += known
            spliced += known and ends == ("GTAG" if strand == "+" else "CTAC")
            if judged == INTRONS_JUDGED:
                break
    share = spliced / max(judged, 1)
    found = f"{spliced:,} of {judged:,} introns judged have GT…AG in {genome.name} ({share:.1%})"
    log.info(f"{path.name}: {found}")
    if judged >= INTRONS_NEEDED and share < SPLICED_SHARE:
        raise InputError(f"{path.name}: only {found}; this GTF belongs to another assembly")


def introns(annotation: Annotation, aliases: dict[str, str]) -> list[tuple[str, str, int, int]]:
    """Return (chromosome, strand, start, end) of the distinct introns on the genome, in order."""
    number, start, end = annotation.exons.T
    gaps = np.flatnonzero((number[1:] == number[:-1]) & (start[1:] - end[:-1] >= INTRON_BP))
    rows = (annotation.transcripts[transcript] for transcript in number[gaps].tolist())
    places = zip(rows, end[gaps].tolist(), start[gaps + 1].tolist(), strict=True)
    return sorted({(aliases[row.chrom], row.strand, left, right) for row, left, right in places if row.chrom in aliases})


def spread(items: list[tuple[str, str, int, int]]) -> Iterator[tuple[str, str, int, int]]:
    """Yield items evenly over a list, as many a pass as are to be judged; later passes fill the gaps between."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), PASSES * INTRONS_JUDGED)).astype(int).tolist()
    for first in range(PASSES):
        yield from (items[number] for number in chosen[first::PASSES])
