"""The cohort section: counts, which samples lack RNA or ATAC, batches that cannot be told from biosamples."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.cohort import Cohort, cohort_of_dataset, cohort_of_table, cohort_section
from exprcast.dataset import Dataset
from tiny import tiny_dataset


def words(cohort: Cohort) -> list[str]:
    """Return the section's paragraphs."""
    return [block.text for block in cohort_section(cohort).blocks[:-1]]


def test_the_cohort_of_a_dataset(tmp_path):
    path = tiny_dataset(tmp_path / "dataset.h5")
    cohort = cohort_of_dataset(Dataset(path))
    assert words(cohort) == [
        "8 samples, 4 donors, biosamples not given, 4 replicate groups, batches not given.",
        "Every sample has both RNA and ATAC.",
    ]
    table = cohort_section(cohort).blocks[-1]
    assert table.head == ["sample", "donor", "replicate group", "RNA", "ATAC", "tested in fold"]
    fold = int(np.flatnonzero(Dataset(path).sample_role[:, 7] == 2)[0])
    assert [getattr(cell, "text", cell) for cell in table.rows[7]] == ["S7", "g3", "g3", "yes", "yes", str(fold)]


def test_samples_without_RNA_or_ATAC_are_named(tmp_path):
    path = tiny_dataset(tmp_path / "dataset.h5")
    with h5py.File(path, "a") as file:
        file["expression/gene"][2] = np.nan
        file["accessibility/indptr"][-2] = file["accessibility/indptr"][-1]  # the last sample's bins go to the one before
    with h5py.File(path) as file:
        assert np.diff(file["accessibility/indptr"][:])[-1] == 0
    assert words(cohort_of_dataset(Dataset(path)))[1] == "6 of 8 samples have both RNA and ATAC; not S2 (no RNA), S7 (no ATAC)."


def test_no_fold_is_named_where_genes_are_held_out(tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "dataset.h5", hold_out="genes"))
    assert cohort_section(cohort_of_dataset(dataset)).blocks[-1].head[-1] == "ATAC"


def table(folder: Path, *rows: str) -> Path:
    path = folder / "samples.tsv"
    path.write_text("\n".join(["id\tdonor\tbiosample\treplicate_group\tbatch", *rows]) + "\n")
    return path


def test_the_cohort_of_a_sample_table(tmp_path):
    path = table(tmp_path, "B\td1\tblood\t\tb1", "A\td1\tblood\t\tb1", "C\td2\tliver\t\tb2")
    assert words(cohort_of_table(path, {"A", "B"}, {"B", "C"})) == [
        "3 samples, 2 donors, 2 biosamples, replicate groups not given, 2 batches.",
        "1 of 3 samples have both RNA and ATAC; not A (no ATAC), C (no RNA).",
        "No biosample lies in two batches: differences between biosamples cannot be told from differences between batches.",
    ]


@pytest.mark.parametrize("batches", [("b1", "b2", "b2"), ("b1", "b1", "b1"), ("", "", "")])
def test_batches_that_can_be_told_from_biosamples_give_no_warning(tmp_path, batches):
    rows = [f"{sample}\t\t{one}\t\t{batch}" for sample, one, batch in zip("ABC", ("blood", "blood", "liver"), batches, strict=True)]
    assert len(words(cohort_of_table(table(tmp_path, *rows), set("ABC"), set("ABC")))) == 2


def test_a_sample_that_stands_twice_is_named(tmp_path):
    with pytest.raises(InputError, match="samples.tsv: sample 'A' occurs twice"):
        cohort_of_table(table(tmp_path, "A\t\t\t\t", "A\t\t\t\t"), set(), set())
