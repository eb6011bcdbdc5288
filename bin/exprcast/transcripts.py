"""Transcripts of samples from outside: a table of any usual format, or one file a sample of kallisto or salmon; and which gene each is of."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from exprcast.cli import InputError, Progress, log
from exprcast.matrices import gene_of, open_matrix
from exprcast.matrix_file import SampleMatrix, checked, clean_ids, few_ids
from exprcast.tables import MISSING, check_file_id, few, name_some, read_lines, refuse_duplicates, strip_version

ENSEMBL_GENE = re.compile(r"ENS[A-Z]*GR?\d{10,11}(\.\d+)?(_PAR_Y)?")
TRANSCRIPT_NAMES = ("transcript_id", "transcript", "tx", "tx_id", "txname", "target_id", "target", "transcriptid", "name")
GENE_NAMES = ("gene_id", "gene", "geneid", "ensembl_gene_id", "gene_name", "gene_symbol", "symbol")
SYMBOL_NAMES = ("gene_name", "symbol", "gene_symbol", "external_gene_name")
GENCODE = "|"  # in kallisto's ids where GENCODE's FASTA was indexed: transcript|gene|…|transcript's name|gene's name|…
GENCODE_GENE, GENCODE_SYMBOL = 1, 5
KALLISTO, SALMON = ("target_id", "length", "eff_length", "est_counts", "tpm"), ("Name", "Length", "EffectiveLength", "TPM", "NumReads")
VALUE = {KALLISTO: {"tpm": "tpm", "counts": "est_counts"}, SALMON: {"tpm": "TPM", "counts": "NumReads"}}
MOST_WITHOUT_GENE = 0.5


class Annotated(NamedTuple):
    """Transcripts × samples while they are read; genes (transcripts,) "" where a transcript's is not known; symbols of genes, as far as known."""

    matrix: SampleMatrix
    genes: list[str]
    symbols: dict[str, str]


class TranscriptGenes(NamedTuple):
    """{transcript: gene} and {gene: symbol}, ids without version."""

    genes: dict[str, str]
    symbols: dict[str, str]


def open_transcripts(paths: list[Path], names: list[str], unit: str, table: Path | None, scratch: Path) -> Annotated:
    """Open a table, or, where samples are named, one file of kallisto or salmon each; genes come from the table of genes, else from the file."""
    matrix = open_quantified(paths, names, unit) if names else open_table(paths[0], scratch)
    for sample in matrix.samples:
        check_file_id(sample, f"{matrix.name}: sample")
    parts = [feature.split(GENCODE) for feature in matrix.features]
    matrix = with_transcript_ids(matrix, [strip_version(part[0]) for part in parts])
    known = read_transcript_genes(table) if table else genes_in_file(matrix, parts)
    genes = [known.genes.get(transcript, "") for transcript in matrix.features]
    refuse_without_genes(matrix, genes, table)
    return Annotated(matrix, genes, known.symbols)


def open_table(path: Path, scratch: Path) -> SampleMatrix:
    """Open a table, whose rows are transcripts; in HDF5 (h5ad, GCTX) the format, or the ids, say which axis they are."""
    return open_matrix(path, scratch, features="auto" if path.is_file() and h5py.is_hdf5(path) else "rows")


def with_transcript_ids(matrix: SampleMatrix, ids: list[str]) -> SampleMatrix:
    """Return a matrix with ids without version; two versions of one transcript are refused."""
    if "" in ids:
        raise InputError(f"{matrix.name}: '{matrix.features[ids.index('')][:40]}' is no id of a transcript")
    refuse_duplicates(ids, f"{matrix.name}: transcript (without its version)")
    return matrix._replace(features=ids)


def genes_in_file(matrix: SampleMatrix, parts: list[list[str]]) -> TranscriptGenes:
    """Return what a table's own columns, or ids of GENCODE's form, say of genes."""
    if all(len(part) > GENCODE_SYMBOL for part in parts):
        genes, symbols = ([part[place] for part in parts] for place in (GENCODE_GENE, GENCODE_SYMBOL))
    else:
        column = gene_column(matrix)
        genes = matrix.feature_facts[column]
        named = next((facts for name, facts in matrix.feature_facts.items() if name.lower() in SYMBOL_NAMES and name != column), None)
        symbols = named or [""] * len(genes)
    genes = [gene_of(gene) for gene in genes]
    pairs = zip(genes, symbols, strict=True)
    return TranscriptGenes(dict(zip(matrix.features, genes, strict=True)), {gene: symbol for gene, symbol in pairs if gene and symbol})


def gene_column(matrix: SampleMatrix) -> str:
    """Return the column beside the ids that holds genes: the one with the most Ensembl gene ids, else one that is called so."""
    facts = matrix.feature_facts
    found = {name: sum(ENSEMBL_GENE.fullmatch(fact) is not None for fact in values) for name, values in facts.items()}
    best = max(found, key=found.__getitem__, default="")
    if best and found[best]:
        return best
    called = {name.lower(): name for name in facts}
    column = next((called[name] for name in GENE_NAMES if name in called), None)
    if column is None:
        beside = f"beside the ids there is {name_some(sorted(facts))}" if facts else "there are ids and numbers only"
        raise InputError(
            f"{matrix.name}: no column says which gene a transcript is of: {beside}; give --transcript_genes, a table of transcript and gene"
        )
    return column


def refuse_without_genes(matrix: SampleMatrix, genes: list[str], table: Path | None) -> None:
    """Tell of transcripts without gene, which are left out; where they are half of all, raise InputError."""
    lacking = [transcript for transcript, gene in zip(matrix.features, genes, strict=True) if not gene]
    if not lacking:
        return
    where = table.name if table else matrix.name
    said = f"{len(lacking):,} of {len(genes):,} transcripts have no gene in {where}"
    if len(lacking) >= MOST_WITHOUT_GENE * len(genes):
        raise InputError(f"{said}: {name_some(lacking)}; are these the same kind of id and annotation?")
    log.warning(f"warning: {said}; left out: {name_some(lacking)}")


def read_transcript_genes(path: Path) -> TranscriptGenes:
    """Read a table of transcript and gene, perhaps symbol (TSV or CSV): by its header, or without one the first two or three columns."""
    genes: dict[str, str] = {}
    symbols: dict[str, str] = {}
    lines = [(number, line) for number, line in read_lines(path) if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError(f"{path.name}: no line in it; transcript and gene are needed on each")
    first = lines[0][1]
    delimiter = "\t" if "\t" in first or "," not in first else ","
    header = split_line(first, delimiter)
    places, headed = columns_of(header, path)
    for number, line in lines[headed:]:
        if not line.replace("\t", " ").isprintable():
            raise InputError(f"{path.name} line {number}: there are control characters in it; is this the right file?")
        cells = split_line(line, delimiter)
        if len(cells) != len(header):
            raise InputError(
                f"{path.name} line {number}: {len(cells)} cells where the first line has {len(header)}; transcript and gene are needed"
            )
        transcript, gene, symbol = ("" if cells[place] in MISSING else cells[place] for place in places)
        transcript, gene = strip_version(transcript), gene_of(gene)
        if transcript and genes.setdefault(transcript, gene) != gene:
            raise InputError(
                f"{path.name} line {number}: transcript {transcript} is of gene {gene or 'NA'}, before it was of {genes[transcript] or 'NA'}; give each once"
            )
        if gene and symbol and symbol != gene:
            symbols.setdefault(gene, symbol)
    return TranscriptGenes(genes, symbols)


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, quoted or not."""
    return [cell.strip() for cell in (next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter))]


def columns_of(cells: Sequence[str], path: Path) -> tuple[tuple[int, int, int], bool]:
    """Return where transcript, gene and symbol stand (the gene's place where there is no symbol), and whether these cells are a header."""
    lower = [cell.lower() for cell in cells]
    transcript, gene, symbol = (
        next((lower.index(name) for name in names if name in lower), None) for names in (TRANSCRIPT_NAMES, GENE_NAMES, SYMBOL_NAMES)
    )
    if transcript is not None and gene is not None:
        return (transcript, gene, gene if symbol is None else symbol), True
    if len(cells) < 2 or transcript is not None:
        raise InputError(f"{path.name}: columns of transcript and gene are needed; the first line has {few(cells)}")
    return (0, 1, 2 if len(cells) > 2 else 1), False


def open_quantified(paths: list[Path], samples: list[str], unit: str) -> SampleMatrix:
    """Open one abundance.tsv or quant.sf a sample, all quantified on the same transcripts; each is read when its turn comes."""
    refuse_duplicates(samples, "sample")
    if len(samples) != len(paths):
        raise InputError(f"{len(samples):,} names of samples for {len(paths):,} files; one each is needed")
    names = quantified(paths[0], samples[0], unit)[0]
    ids = clean_ids(names.to_pylist(), f"{paths[0].name} of sample {samples[0]}: transcript")

    def read() -> Iterator[np.ndarray]:
        progress = Progress(len(paths), "samples read")
        for done, (path, sample) in enumerate(zip(paths, samples, strict=True), 1):
            others, values = quantified(path, sample, unit)
            if not others.equals(names):
                both = f"{len(others):,} and {len(names):,}" if len(others) != len(names) else "in another order, or others"
                raise InputError(
                    f"sample {sample}: its transcripts are not those of sample {samples[0]} ({both}); quantify both on one index"
                )
            yield values.astype(np.float32)[None]
            progress.step(done)

    log.info(f"{len(samples):,} samples ({few_ids(samples)}), {len(ids):,} transcripts ({few_ids(ids)})")
    return checked(SampleMatrix(f"{paths[0].name} of {len(samples):,} samples", samples, ids, {}, {}, read))


def quantified(path: Path, sample: str, unit: str) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Return transcripts and their values of an abundance.tsv or quant.sf, gzip or not."""
    header = tuple(next(read_lines(path), (0, ""))[1].split("\t"))
    if header not in VALUE:
        raise InputError(
            f"sample {sample}: {path.name} is neither an abundance.tsv of kallisto nor a quant.sf of salmon: it begins {few(header)[:60]}"
        )
    name, value = header[0], VALUE[header][unit]
    kinds = pc.ConvertOptions(column_types={name: pa.string(), value: pa.float64()}, include_columns=[name, value])
    try:
        table = pc.read_csv(path, parse_options=pc.ParseOptions(delimiter="\t", quote_char=False), convert_options=kinds)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"sample {sample}: {path.name} is damaged ({reason}); quantify the sample again") from None
    values = table[value].to_numpy()
    if not len(values) or np.isnan(values).any():
        raise InputError(
            f"sample {sample}: {path.name} is empty or holds NaN, as kallisto writes when no read maps; quantify the sample again"
        )
    return table[name], values
