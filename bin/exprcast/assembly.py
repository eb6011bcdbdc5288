"""Tables that become parts of a dataset in the same way, whether it is trained on or only predicted: samples, a matrix of genes, open bins."""

from pathlib import Path

import h5py
import numpy as np

from exprcast.cli import InputError, Progress
from exprcast.dataset import write_array
from exprcast.tables import Matrix, check_file_id, read_matrix, read_table, refuse_duplicates, strip_version

SAMPLE_COLUMNS = ("id", "donor", "biosample", "replicate_group", "batch")
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
    """Read one matrix whose rows are genes, ids without their versions."""
    if len(paths) != 1:
        raise InputError(f"one table is needed here, {len(paths)} were given: {', '.join(map(str, paths))}")
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
