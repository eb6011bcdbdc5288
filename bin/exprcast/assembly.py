"""Tables that become parts of a dataset in the same way, whether it is trained on or only predicted: samples, a matrix of genes, transcripts, open bins."""

from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import InputError, Progress, log
from exprcast.dataset import write_array
from exprcast.gene_lists import PAR, read_list
from exprcast.tables import Matrix, check_file_id, few, name_some, read_matrix, read_table, refuse_duplicates, strip_version

LANDMARK, TARGET = "lists/landmark", "lists/target"
SAMPLE_COLUMNS = ("id", "donor", "biosample", "replicate_group", "batch")
MIN_MEDIAN = 1.0  # TPM or CPM that an isoform's median must exceed
SUMS_DIFFER, NEAR_ZERO = 0.05, 0.1  # share of a gene's level, and TPM, by which its transcripts' sum may be off
BLOCK = 2**25  # numbers in memory at once
NOT_KNOWN = {"na", "n/a", "nan", "none", "null", "unknown", "."}  # what people write into an empty cell: it groups nothing


def read_samples(path: Path, any_id: bool = False) -> dict[str, list[str]]:
    """Return the columns of the sample table, sorted by id; `any_id` takes ids that no file is named by."""
    rows = sorted((row for _, row in read_table(path, SAMPLE_COLUMNS)), key=lambda row: row["id"])
    refuse_duplicates((row["id"] for row in rows), f"{path.name}: sample")
    for row in rows if not any_id else []:
        check_file_id(row["id"], f"{path.name}: sample")
    return {
        column: ["" if column != "id" and row[column].lower() in NOT_KNOWN else row[column] for row in rows] for column in SAMPLE_COLUMNS
    }


def no_samples() -> dict[str, list[str]]:
    """Return the columns of a sample table without rows: models of genes alone need no sample."""
    return {column: [] for column in SAMPLE_COLUMNS}


def read_gene_matrix(paths: list[Path]) -> Matrix:
    """Read one matrix whose rows are genes, ids without their versions: a table, or an imported HDF5 file of samples × genes."""
    if len(paths) != 1:
        raise InputError(f"one table is needed here, {len(paths)} were given: {', '.join(map(str, paths))}")
    if h5py.is_hdf5(paths[0]):
        with h5py.File(paths[0]) as file:
            genes, samples = (file[f"{axis}/id"].asstr()[:].tolist() for axis in ("genes", "samples"))
            return Matrix({"unit": str(file["value"].attrs["unit"])}, "id", genes, samples, file["value"][:].T.astype(np.float64))
    matrix = read_matrix(paths[0])
    rows = [strip_version(row) for row in matrix.rows]
    refuse_duplicates(rows, f"{paths[0].name}: gene")
    return matrix._replace(rows=rows)


def refuse_undetected(detected: np.ndarray, samples: list[str], min_detected: float) -> None:
    """Raise InputError for a sample in which too few genes have a value above 0; detected (samples,) counts them."""
    few = np.flatnonzero(detected < min_detected * np.median(detected))
    if len(few) or (min_detected > 0 and not detected.all()):
        sample = int(few[0]) if len(few) else int(np.argmin(detected))
        raise InputError(
            f"sample {samples[sample]}: {detected[sample]:,} genes detected, the cohort's median is {np.median(detected):,.0f}; "
            f"leave it out or lower --min_detected ({min_detected})"
        )


def write_bins(file: h5py.File, paths: list[Path], samples: list[str]) -> None:
    """Append each sample's open bins; one sample is in memory at a time."""
    by_sample = {}
    for path in paths:
        with np.load(path, allow_pickle=False) as table:
            by_sample[str(table["sample"])] = path
    lacking = [sample for sample in samples if sample not in by_sample]
    if lacking:
        raise InputError(f"accessibility: no peaks for sample {', '.join(lacking[:5])}")
    chunk = {"maxshape": (None,), "chunks": (65_536,), "compression": "gzip"}
    bins = file.create_dataset("accessibility/bin", shape=(0,), dtype="i4", **chunk)
    signals = file.create_dataset("accessibility/signal", shape=(0,), dtype="f4", **chunk)
    indptr, made, progress = [0], {}, Progress(len(samples), "samples' bins written")
    for done, sample in enumerate(samples, 1):
        with np.load(by_sample[sample], allow_pickle=False) as table:
            made = same_bins(file, table, by_sample[sample], made)
            end = indptr[-1] + len(table["bin"])
            for array, values in ((bins, table["bin"]), (signals, table["signal"])):
                array.resize(end, axis=0)
                array[indptr[-1] : end] = values
            indptr.append(end)
        progress.step(done)
    bins.attrs.update(made)
    write_array(file, "accessibility/indptr", np.array(indptr))


def same_bins(file: h5py.File, table: np.lib.npyio.NpzFile, path: Path, before: dict[str, object]) -> dict[str, object]:
    """Return a sample's bin width and what its bins are made of, after comparing them, and the chromosomes, with those before it."""
    names, sizes = list(file["chromosomes/name"].asstr()[:]), file["chromosomes/size"][:]
    if list(table["chromosomes"]) != names or not np.array_equal(table["sizes"], sizes):
        raise InputError(
            f"{path.name}: binned on {len(table['chromosomes'])} chromosomes of another genome than the dataset's {len(names)}"
        )
    made = {"bin_bp": int(table["bin_bp"]), "source": str(table["source"])}
    if before and before != made:
        raise InputError(
            f"{path.name}: bins of {made['bin_bp']} bp of {made['source']}, the samples before have {before['bin_bp']} bp of {before['source']}"
        )
    return made


def write_transcripts(file: h5py.File, path: Path, samples: list[str]) -> None:
    """Write the transcripts of import_transcripts.py whose genes the dataset has, by gene and id, their values, and which a family predicts.

    One sample is in memory at a time, or a block of transcripts. Where the gene's level is known (expression/gene), the sum of its transcripts is held against it.
    """
    index = {gene: i for i, gene in enumerate(file["genes/id"].asstr()[:])}
    with h5py.File(path) as source:
        ids, owners, columns = (source[key].asstr()[:].tolist() for key in ("transcripts/id", "transcripts/gene", "samples/id"))
        rows = sample_places(columns, samples)
        kept = sorted((index[gene], name, place) for place, (name, gene) in enumerate(zip(ids, owners, strict=True)) if gene in index)
        if not kept:
            raise InputError(
                f"transcripts: none of {len(ids):,} is of a gene of the dataset: theirs are {few(owners)}, the dataset's {few(index)}; are these the same kind of id?"
            )
        gene, names, places = (np.array(column) for column in zip(*kept, strict=True))
        others = "; the others are of genes that the dataset lacks" if len(kept) < len(ids) else ""
        log.info(f"kept {len(kept):,} of {len(ids):,} transcripts{others}")
        write_array(file, "transcripts/id", names.tolist())
        write_array(file, "transcripts/gene", gene)
        copy_samples(file, source["value"], rows, places)
        write_array(file, "lists/isoform", isoforms(gene, medians(source["value"], rows)[places]))
    report_sums(file, samples)


def sample_places(columns: list[str], samples: list[str]) -> list[int]:
    """Return where the dataset's samples stand in a table of transcripts; each must be there."""
    row = {sample: i for i, sample in enumerate(columns)}
    lacking = [sample for sample in samples if sample not in row]
    if lacking:
        raise InputError(
            f"transcripts: no column for {len(lacking):,} of {len(samples):,} samples: {few(lacking)}; the table has {few(columns)}; use the same names"
        )
    if len(columns) > len(samples):
        log.info(
            f"transcripts: {len(columns) - len(samples):,} columns belong to no sample and are left out: {few(sorted(set(columns) - set(samples)))}"
        )
    return [row[sample] for sample in samples]


def copy_samples(file: h5py.File, values: h5py.Dataset, rows: list[int], places: np.ndarray) -> None:
    """Write expression/transcript, sample by sample, from (samples, transcripts) of a file."""
    array = file.create_dataset("expression/transcript", (len(rows), len(places)), "f4", chunks=(1, len(places)), compression="gzip")
    array.attrs["unit"] = values.attrs["unit"]
    progress = Progress(len(rows), "samples' transcripts written")
    for i, row in enumerate(rows):
        array[i] = values[row][places]
        progress.step(i + 1)


def medians(values: h5py.Dataset, rows: list[int]) -> np.ndarray:
    """Return (transcripts,) medians over the samples that measured it, 0 where none did."""
    width = max(BLOCK // len(values), 1)
    found = []
    for start in range(0, values.shape[1], width):
        block = values[:, start : start + width][rows]
        median = np.median(block, axis=0)
        partly = np.flatnonzero(np.isnan(median) & ~np.isnan(block).all(axis=0))
        median[partly] = np.nanmedian(block[:, partly], axis=0)
        found.append(np.nan_to_num(median))
    return np.concatenate(found)


def isoforms(gene: np.ndarray, median: np.ndarray) -> np.ndarray:
    """Return (transcripts,) 1 for one that is predicted: expressed, and of a gene with several transcripts."""
    several = np.bincount(gene)[gene] > 1
    listed = several & (median > MIN_MEDIAN)
    if not listed.any():
        raise InputError(
            f"transcripts: none of {len(gene):,} is to be predicted: {several.sum():,} are of a gene with several, none of these has a median above {MIN_MEDIAN:g}; are these TPM?"
        )
    log.info(
        f"{listed.sum():,} isoforms of {len(np.unique(gene[listed])):,} genes are predicted: median above {MIN_MEDIAN:g}, of a gene with several transcripts"
    )
    return listed


def report_sums(file: h5py.File, samples: list[str]) -> None:
    """Say in how many values the sum of a gene's transcripts is not the gene's level, and which is farthest off."""
    units = [file[f"expression/{name}"].attrs["unit"] for name in ("gene", "transcript") if f"expression/{name}" in file]
    if len(set(units)) > 1:
        log.warning(f"warning: genes are in {units[0]}, transcripts in {units[1]}: sums are not compared with levels")
    if len(units) < 2 or len(set(units)) > 1:
        return
    genes, starts = np.unique(file["transcripts/gene"][:], return_index=True)
    off, compared, worst = 0, 0, (0.0, "")
    for i, sample in enumerate(samples):
        level, total = (
            file["expression/gene"][i][genes].astype(np.float64),
            np.add.reduceat(file["expression/transcript"][i], starts, dtype=np.float64),
        )
        apart = np.nan_to_num(np.abs(level - total))
        wrong = (apart > NEAR_ZERO) & (apart > SUMS_DIFFER * np.fmax(level, total))
        off, compared = off + int(wrong.sum()), compared + int(np.isfinite(level - total).sum())
        if (apart * wrong).max() > worst[0]:
            at = int(np.argmax(apart * wrong))
            worst = (
                float(apart[at]),
                f"{file['genes/id'].asstr()[genes[at]]} in {sample} is {level[at]:.4g}, its transcripts add up to {total[at]:.4g}",
            )
    if off:
        log.warning(
            f"warning: {off:,} of {compared:,} levels of genes ({off / compared:.1%}) are not the sum of their transcripts: {worst[1]}; the levels given are kept"
        )


def write_list(file: h5py.File, key: str, path: Path) -> None:
    """Write (genes,) 1 for a gene that is on a user's list, found by id, else by symbol; what is not known is named, and a target is no landmark."""
    ids, symbols = file["genes/id"].asstr()[:].tolist(), file["genes/symbol"].asstr()[:].tolist()
    by_id, by_symbol = {gene: [i] for i, gene in enumerate(ids)}, defaultdict(list)
    for i, symbol in enumerate(symbols):
        by_symbol[symbol].append(i)
    rows = read_list(path)
    found = [by_id.get(row.gene) or by_symbol.get(row.symbol, []) for row in rows]
    unknown = [row.symbol for row, here in zip(rows, found, strict=True) if not here]
    what = f"{key.partition('/')[2].replace('_', ' ')}s"
    known = len(rows) - len(unknown)
    if not known or (key == LANDMARK and 2 * known < len(rows)):
        refuse_list(
            f"{known:,} of {len(rows):,} {what} are genes" if known else f"none of {len(rows):,} {what} is a gene", unknown, ids, symbols
        )
    log.info(f"kept {known:,} of {len(rows):,} {what}")
    if unknown:
        log.warning(f"warning: {len(unknown):,} {what} are no genes of the dataset: {name_some(unknown)}")
    member = np.zeros(len(ids))
    member[[place for here in found for place in here]] = 1
    write_array(file, key, without_landmarks(file, member) if key == TARGET else member)


def refuse_list(count: str, unknown: list[str], ids: list[str], symbols: list[str]) -> None:
    """Raise InputError for a list of which too few are genes of the dataset."""
    named = symbols[0] not in ("", ids[0])
    advice = (
        "are these the same kind of id?"
        if named
        else "no symbols are known there; give a list with the column gene_id, or a column of symbols beside the genes"
    )
    raise InputError(f"{count} of the dataset: the list has {few(unknown)}, the dataset {ids[0]}{f' ({symbols[0]})' * named} …; {advice}")


def without_landmarks(file: h5py.File, target: np.ndarray) -> np.ndarray:
    """Return targets (genes,) that are no landmark, nor a landmark's copy on Y; raise InputError if none is left."""
    if LANDMARK not in file:
        return target
    ids = file["genes/id"].asstr()[:]
    landmarks = {gene.removesuffix(PAR) for gene in ids[file[LANDMARK][:] == 1]}
    twin = np.array([gene.removesuffix(PAR) in landmarks for gene in ids])
    both = file["genes/symbol"].asstr()[:][twin & (target == 1)].tolist()
    if both:
        log.warning(f"warning: {len(both):,} targets are landmarks, too; they are landmarks only: {name_some(both)}")
    if len(both) == target.sum():
        raise InputError("no target is left: all of them are landmarks, too; are these the right lists?")
    return np.where(twin, 0, target)
