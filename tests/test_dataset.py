"""Opening a dataset checks it and names the key that is wrong; writing one leaves nothing half-written."""

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import LAYOUT, Dataset, create_dataset
from tiny import tiny_dataset


def test_what_was_written_is_read(tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=6, genes=9))
    assert dataset.samples[1] == "S1" and dataset.genes[8] == "G8"
    assert dataset.unit("expression/gene") == "tpm" and dataset.hold_out == "samples"
    assert dataset.chrom_sizes["chr2"] == 400_000 and dataset.bin_bp == 200
    bins, signal = dataset.open_bins(2)
    assert len(bins) == len(signal) == 9 and (np.diff(bins) > 0).all()
    assert not dataset.has("similarity/gene")
    assert dataset.promised == ["samples:replicate_group", "samples:donor", "samples:peaks", "samples:expression"]


def edit(path, change):
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replace(key, values):
    def change(file):
        attributes = dict(file[key].attrs)
        del file[key]
        file.create_dataset(key, data=values).attrs.update(attributes)

    return change


def plant_pairs(file, gene, other):
    for name, values in (("gene", gene), ("other", other)):
        file[f"similarity/{name}"] = np.array(values, np.int32)
    file["similarity/containment"] = np.ones(len(gene), np.float32)


def plant_transcripts(file, gene=(0, 0, 3), isoform=(1, 1, 0), unit="tpm"):
    for key in ("transcripts", "expression/transcript", "lists/isoform", "lists/splicing_factor"):
        del file[key]
    file["transcripts/id"] = np.array([f"T{i}" for i in range(len(gene))], dtype=h5py.string_dtype())
    file["transcripts/gene"] = np.array(gene, np.int32)
    file["expression/transcript"] = np.ones((8, len(gene)), np.float32)
    file["expression/transcript"].attrs["unit"] = unit
    file["lists/isoform"] = np.array(isoform, np.uint8)
    file["lists/splicing_factor"] = (np.arange(12) == 5).astype(np.uint8)


def test_transcripts_and_lists_are_read(tmp_path):
    dataset = Dataset(edit(tiny_dataset(tmp_path / "d.h5"), plant_transcripts))
    assert dataset.text("transcripts/id") == ["T0", "T1", "T2"] and dataset.unit("expression/transcript") == "tpm"


def lose_samples(file):
    """Leave genes alone, as a dataset of labels has them."""
    for group in ("samples", "expression", "accessibility", "transcripts", "lists"):
        del file[group]
    file["samples/id"] = np.array([], dtype=h5py.string_dtype())
    replace("folds/sample_role", np.empty((len(file["folds/gene_role"]), 0), np.uint8))(file)


def test_genes_alone_are_a_dataset_if_genes_are_held_out(tmp_path):
    dataset = Dataset(edit(tiny_dataset(tmp_path / "d.h5", hold_out="genes"), lose_samples))
    assert dataset.samples == [] and len(dataset.genes) == 12 and dataset.n_folds == 3


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda file: file.attrs.pop("format"), "not an exprcast dataset"),
        (lambda file: file.attrs.update({"format-version": 99}), "format version 99, this code reads 3"),
        (lambda file: file.pop("genes/id"), "genes/id is missing"),
        (replace("expression/gene", np.zeros((8, 12))), "expression/gene has type float64, not f4"),
        (replace("expression/gene", np.zeros((8, 11), np.float32)), "expression/gene has 11 genes, other arrays have 12"),
        (replace("expression/gene", np.zeros(8, np.float32)), "expression/gene has 1 axes, not 2"),
        (lambda file: file["expression/gene"].attrs.pop("unit"), "expression/gene lacks its attribute unit"),
        (lambda file: file["folds/sample_role"].attrs.pop("promised"), "folds/sample_role lacks its attribute promised"),
        (lambda file: file["promoters/halflife"].attrs.pop("scale"), "promoters/halflife lacks its attribute scale"),
        (lambda file: file["promoters/halflife"].attrs.update({"scale": "log"}), "promoters/halflife holds values that are not possible"),
        (lambda file: file["labels/value"].attrs.update({"unit": "counts"}), "labels/value holds values that are not possible"),
        (lose_samples, "folds/sample_role holds values that are not possible"),
        (lambda file: plant_pairs(file, [0, 3], [5, 3]), "similarity/gene holds values that are not possible"),
        (lambda file: plant_pairs(file, [0], [12]), "similarity/gene holds values that are not possible"),
        (lambda file: plant_pairs(file, [0, 1], [2]), "similarity/other has 1 pairs, other arrays have 2"),
        (lambda file: file["expression/gene"].attrs.update({"unit": "counts"}), "expression/gene holds values that are not possible"),
        (replace("folds/sample_role", np.full((4, 8), 7, np.uint8)), "folds/sample_role holds values"),
        (replace("tss/gene", np.full(12, 12, np.int32)), "tss/gene holds values"),
        (lambda file: plant_transcripts(file, gene=(0, 3, 0)), "transcripts/gene holds values"),
        (lambda file: plant_transcripts(file, gene=(0, 3, 12)), "transcripts/gene holds values"),
        (lambda file: plant_transcripts(file, isoform=(0, 0, 0)), "lists/isoform holds values"),
        (lambda file: plant_transcripts(file, isoform=(1, 1)), "lists/isoform has 2 transcripts, other arrays have 3"),
        (lambda file: plant_transcripts(file, unit="counts"), "expression/transcript holds values"),
        (lambda file: [plant_transcripts(file), file.pop("transcripts/gene")], "expression/transcript holds values"),
        (lambda file: [plant_transcripts(file), file.pop("expression/transcript")], "lists/isoform holds values"),
        (replace("accessibility/bin", np.full(96, 10**6, np.int32)), "accessibility/bin holds values"),
        (replace("accessibility/indptr", np.arange(9)[::-1].copy()), "accessibility/indptr holds values"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, change, message):
    path = edit(tiny_dataset(tmp_path / "bad.h5"), change)
    with pytest.raises(InputError, match=f"bad.h5: .*{message}"):
        Dataset(path)


def test_truncated_and_foreign_files(tmp_path):
    path = tiny_dataset(tmp_path / "cut.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cut.h5: cannot be opened as a dataset: it is cut short"):
        Dataset(path)
    path.write_text("gene\tS1\n")
    with pytest.raises(InputError, match="it is no HDF5 file or is damaged"):
        Dataset(path)
    with pytest.raises(InputError, match="no such file"):
        Dataset(tmp_path / "absent.h5")


def test_nothing_half_written(tmp_path):
    with pytest.raises(RuntimeError), create_dataset(tmp_path / "d.h5"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_same_values_same_bytes(tmp_path):
    first, second = (tiny_dataset(tmp_path / name).read_bytes() for name in ("a.h5", "b.h5"))
    assert first == second


def test_layout_names_each_entry_once():
    assert len({entry.path for entry in LAYOUT}) == len(LAYOUT)
