"""The one file between data and models: LAYOUT says what stands in dataset.h5; here it is created, opened and checked.

Ids are stored with the values and everything is joined by id. A group that was not given is absent. Signals are stored as
measured, with their unit; logarithms, coarser bins and scaling happen on reading, in the package or in a family.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from exprcast.cli import InputError, whole_file
from exprcast.tables import RAW_UNITS, bin_offsets

FORMAT, FORMAT_VERSION = "exprcast-dataset", 3
UNITS = (*RAW_UNITS, "log2_intensity", "log10_tpm", "log10_cpm", "log10_rpkm", "zscore")
SCALES = ("measured", "transformed")  # of half-life features: bp, fractions, exons per kb; or logarithms and z-scores
TRAIN, VALID, TEST, UNUSED = 0, 1, 2, 3
MIXED = 4  # of a pair: one part in training, one in validation
LEARNT = (TRAIN, VALID, MIXED)  # by a second fit, when everything is chosen
HOLD_OUT = ("samples", "genes", "both")


class Entry(NamedTuple):
    """One array of the file: its axes by name, its type, and the form of the table that it is read from."""

    path: str
    axes: tuple[str, ...]
    dtype: str  # "text" or a NumPy dtype
    table: str | None = None  # how assemble_dataset.py reads it; None: written together with another entry
    attributes: tuple[str, ...] = ()


LAYOUT = (
    Entry("samples/id", ("samples",), "text"),
    Entry("samples/donor", ("samples",), "text"),
    Entry("samples/biosample", ("samples",), "text"),
    Entry("samples/replicate_group", ("samples",), "text"),
    Entry("samples/batch", ("samples",), "text"),
    Entry("samples/set", ("samples",), "text"),
    Entry("samples/unit", ("samples",), "text"),
    Entry("genes/id", ("genes",), "text"),
    Entry("genes/symbol", ("genes",), "text"),
    Entry("genes/chrom", ("genes",), "text"),
    Entry("genes/strand", ("genes",), "text"),
    Entry("genes/biotype", ("genes",), "text"),
    Entry("genes/paralog_group", ("genes",), "text", "groups"),
    Entry("tss/gene", ("tss",), "i4"),
    Entry("tss/position", ("tss",), "i8"),
    Entry("tss/source", ("tss",), "text"),
    Entry("transcripts/id", ("transcripts",), "text"),
    Entry("transcripts/gene", ("transcripts",), "i4"),
    Entry("chromosomes/name", ("chromosomes",), "text"),
    Entry("chromosomes/size", ("chromosomes",), "i8"),
    Entry("expression/gene", ("samples", "genes"), "f4", "expression", ("unit",)),
    Entry("expression/transcript", ("samples", "transcripts"), "f4", "transcripts", ("unit",)),
    Entry("accessibility/indptr", ("samples+1",), "i8"),
    Entry("accessibility/bin", ("open_bins",), "i4", "bins", ("bin_bp", "source")),
    Entry("accessibility/signal", ("open_bins",), "f4"),
    Entry("promoters/sequence", ("genes", "bases"), "u1", "sequences", ("upstream_bp", "downstream_bp")),
    Entry("promoters/halflife", ("genes", "features"), "f4", "features", ("name", "scale")),
    Entry("similarity/gene", ("pairs",), "i4", "pairs"),
    Entry("similarity/other", ("pairs",), "i4"),
    Entry("similarity/containment", ("pairs",), "f4"),
    Entry("labels/value", ("labels", "genes"), "f4", "labels", ("unit",)),
    Entry("labels/name", ("labels",), "text"),
    Entry("lists/landmark", ("genes",), "u1", "list"),
    Entry("lists/target", ("genes",), "u1", "list"),
    Entry("lists/splicing_factor", ("genes",), "u1", "list"),
    Entry("lists/isoform", ("transcripts",), "u1"),
    Entry("folds/sample_role", ("folds", "samples"), "u1", None, ("hold_out", "scheme", "promised", "seed")),
    Entry("folds/gene_role", ("folds", "genes"), "u1"),
)
ENTRIES = {entry.path: entry for entry in LAYOUT}
REQUIRED = ("samples/id", "genes/id", "chromosomes/name", "chromosomes/size", "folds/sample_role", "folds/gene_role")


def write_array(file: h5py.File, path: str, values: np.ndarray | list[str], **attributes: object) -> None:
    """Store one entry of LAYOUT, compressed in chunks of whole rows where it is a matrix."""
    entry = ENTRIES[path]
    if entry.dtype == "text":
        file.create_dataset(path, data=np.array(list(values), dtype=object), dtype=h5py.string_dtype())
    else:
        array = np.ascontiguousarray(values, dtype=entry.dtype)
        chunks = (1, *array.shape[1:]) if array.ndim == 2 and array.size else None
        file.create_dataset(path, data=array, chunks=chunks, compression="gzip" if chunks else None)
    file[path].attrs.update(attributes)


@contextmanager
def create_dataset(path: Path, **attributes: str) -> Iterator[h5py.File]:
    """Open a new dataset for writing; it gets its final name when the block ends well."""
    with whole_file(path) as temporary, h5py.File(temporary, "w", track_order=False) as file:
        file.attrs.update({"format": FORMAT, "format-version": FORMAT_VERSION, **attributes})
        yield file


def open_hdf5(path: Path, what: str) -> h5py.File:
    """Open an HDF5 file that came from outside; anything that HDF5 cannot read is an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        cause = "it is cut short; copy it again" if "truncated" in str(error) else "it is no HDF5 file or is damaged"
        raise InputError(f"{path.name}: cannot be opened as {what}: {cause}") from None


class Dataset:
    """A dataset opened for reading: ids and small tables at once, big arrays on demand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open_hdf5(path, "a dataset")
        check_layout(self.file, path)
        self.samples, self.genes = self.text("samples/id"), self.text("genes/id")
        self.sample_role, self.gene_role = self.file["folds/sample_role"][:], self.file["folds/gene_role"][:]
        self.hold_out = str(self.file["folds/sample_role"].attrs["hold_out"])
        self.promised = str(self.file["folds/sample_role"].attrs["promised"]).split(",")

    def has(self, path: str) -> bool:
        """Say whether an entry is present."""
        return path in self.file

    def text(self, path: str) -> list[str]:
        """Return a text entry as a list of str."""
        return list(self.file[path].asstr()[:])

    def array(self, path: str) -> np.ndarray:
        """Return a numeric entry whole."""
        return self.file[path][:]

    def row(self, path: str, number: int) -> np.ndarray:
        """Return one row of a numeric entry."""
        return self.file[path][number]

    def rows(self, path: str, numbers: np.ndarray) -> np.ndarray:
        """Return some rows of a numeric entry."""
        return np.stack([self.row(path, number) for number in numbers]) if len(numbers) else self.file[path][:0]

    @property
    def symbols(self) -> dict[str, str]:
        """Return {gene: symbol}, its id where no symbol is known."""
        known = self.text("genes/symbol") if self.has("genes/symbol") else self.genes
        return {gene: symbol or gene for gene, symbol in zip(self.genes, known, strict=True)}

    @property
    def transcript_genes(self) -> dict[str, str]:
        """Return {transcript: its gene}; nothing where there are no transcripts."""
        if not self.has("transcripts/id"):
            return {}
        return {one: self.genes[gene] for one, gene in zip(self.text("transcripts/id"), self.array("transcripts/gene"), strict=True)}

    def unit(self, path: str) -> str:
        """Return the unit of an entry."""
        return str(self.file[path].attrs["unit"])

    @property
    def misaligned(self) -> str:
        """Return what was found when tables were joined whose columns seem to be other genes; "" if none were."""
        return str(self.file["expression/gene"].attrs.get("misaligned", "")) if self.has("expression/gene") else ""

    @property
    def chrom_sizes(self) -> dict[str, int]:
        """Return {chromosome: length in bp} in the file's order."""
        return dict(zip(self.text("chromosomes/name"), map(int, self.array("chromosomes/size")), strict=True))

    @property
    def bin_bp(self) -> int:
        """Return the width of the stored accessibility bins in bp."""
        return int(self.file["accessibility/bin"].attrs["bin_bp"])

    @property
    def bin_source(self) -> str:
        """Return what the bins are made of: peaks or coverage, and what was left out."""
        return str(self.file["accessibility/bin"].attrs["source"])

    @property
    def asked(self) -> np.ndarray:
        """Return the samples whose examples are going to be read: all of them."""
        return np.arange(len(self.samples))

    @property
    def judged(self) -> bool:
        """Say whether targets are going to be read."""
        return True

    @property
    def n_folds(self) -> int:
        """Return the number of folds."""
        return len(self.sample_role)

    def open_bins(self, sample: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one sample's open bins: genome-wide bin numbers, ascending, and their signal as measured."""
        start, end = self.file["accessibility/indptr"][sample : sample + 2]
        return self.file["accessibility/bin"][start:end], self.file["accessibility/signal"][start:end]


def check_layout(file: h5py.File, path: Path) -> None:
    """Raise InputError naming the first thing in which a file departs from LAYOUT."""
    if file.attrs.get("format") != FORMAT:
        raise InputError(f"{path.name}: this is not an exprcast dataset (its format attribute is {file.attrs.get('format')!r})")
    if file.attrs.get("format-version") != FORMAT_VERSION:
        raise InputError(
            f"{path.name}: format version {file.attrs.get('format-version')}, this code reads {FORMAT_VERSION}; assemble it again"
        )
    lacking = [key for key in REQUIRED if key not in file]
    if lacking:
        raise InputError(f"{path.name}: {', '.join(lacking)} is missing")
    sizes: dict[str, int] = {}
    for entry in LAYOUT:
        if entry.path in file:
            check_entry(file[entry.path], entry, sizes, path)
    check_values(file, path)


def check_entry(array: h5py.Dataset, entry: Entry, sizes: dict[str, int], path: Path) -> None:
    """Compare one array's type, attributes and axes with LAYOUT; `sizes` collects each axis's length."""
    is_text = h5py.check_string_dtype(array.dtype) is not None
    if is_text != (entry.dtype == "text") or (not is_text and array.dtype != np.dtype(entry.dtype)):
        raise InputError(f"{path.name}: {entry.path} has type {array.dtype}, not {entry.dtype}")
    if array.ndim != len(entry.axes):
        raise InputError(f"{path.name}: {entry.path} has {array.ndim} axes, not {len(entry.axes)} {entry.axes}")
    for axis, size in zip(entry.axes, array.shape, strict=True):
        name, length = (axis[:-2], size - 1) if axis.endswith("+1") else (axis, size)
        if sizes.setdefault(name, length) != length:
            raise InputError(f"{path.name}: {entry.path} has {length} {name}, other arrays have {sizes[name]}")
    lacking = [name for name in entry.attributes if name not in array.attrs]
    if lacking:
        raise InputError(f"{path.name}: {entry.path} lacks its attribute {', '.join(lacking)}")


def check_values(file: h5py.File, path: Path) -> None:
    """Check what a shape cannot say: known units and hold-outs, roles 0 to 3, lists that name something, genes of TSSs, transcripts and pairs that exist, bins in the genome."""
    rules: dict[str, Callable[[h5py.Dataset], bool]] = {
        "expression/gene": lambda array: array.attrs["unit"] in UNITS,
        "samples/unit": lambda array: set(array.asstr()[:]) <= set(UNITS),
        "labels/value": lambda array: array.attrs["unit"] in UNITS,
        "lists/landmark": lambda array: array.size > 0 and array[:].max() == 1,
        "lists/target": lambda array: array.size > 0 and array[:].max() == 1,
        "lists/splicing_factor": lambda array: array.size > 0 and array[:].max() == 1,
        "lists/isoform": lambda array: array.size > 0 and array[:].max() == 1 and "expression/transcript" in file,
        "transcripts/gene": lambda array: transcripts_fit(file),
        "expression/transcript": lambda array: array.attrs["unit"] in RAW_UNITS and "transcripts/gene" in file,
        "promoters/halflife": lambda array: array.attrs["scale"] in SCALES,
        "folds/sample_role": lambda array: (
            array.attrs["hold_out"] in sample_splits(array) and len(array) > 0 and array[:].max(initial=0) <= UNUSED
        ),
        "folds/gene_role": lambda array: array.size > 0 and array[:].max() <= UNUSED,
        "tss/gene": lambda array: array.size > 0 and 0 <= array[:].min() and array[:].max() < len(file["genes/id"]),
        "accessibility/indptr": lambda array: (
            array[0] == 0 and array[-1] == len(file["accessibility/bin"]) and bool((np.diff(array[:]) >= 0).all())
        ),
        "accessibility/bin": lambda array: bins_fit(file),
        "similarity/gene": lambda array: pairs_fit(file),
    }
    for key, holds in rules.items():
        if key in file and not holds(file[key]):
            raise InputError(f"{path.name}: {key} holds values that are not possible there; the file is damaged or made by other code")


def sample_splits(sample_role: h5py.Dataset) -> tuple[str, ...]:
    """Return what can be held out: without any sample only genes."""
    return HOLD_OUT if sample_role.shape[1] else ("genes",)


def bins_fit(file: h5py.File) -> bool:
    """Say whether each sample's last bin lies in the genome (bins are ascending, so the last is the largest)."""
    ends = file["accessibility/indptr"][1:][np.diff(file["accessibility/indptr"][:]) > 0]
    sizes = dict(enumerate(file["chromosomes/size"][:].tolist()))
    total = bin_offsets(sizes, int(file["accessibility/bin"].attrs["bin_bp"]))[-1]
    return all(file["accessibility/bin"][end - 1] < total for end in ends)


def transcripts_fit(file: h5py.File) -> bool:
    """Say whether transcripts have ids and stand in the order of their genes, which exist."""
    gene = file["transcripts/gene"][:]
    return (
        "transcripts/id" in file
        and gene.size > 0
        and gene[0] >= 0
        and gene[-1] < len(file["genes/id"])
        and bool((np.diff(gene) >= 0).all())
    )


def pairs_fit(file: h5py.File) -> bool:
    """Say whether each pair of similar promoters is one of two genes, the first before the second."""
    gene, other = (file[f"similarity/{name}"][:] for name in ("gene", "other"))
    return bool(((gene >= 0) & (gene < other) & (other < len(file["genes/id"]))).all())
