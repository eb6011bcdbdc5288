"""Whatever test and training share is found and named, in each axis; nothing is found where nothing is shared."""

from pathlib import Path

import h5py
import numpy as np
import pytest

import exprcast.leakage
from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset
from exprcast.leakage import TWIN_R, Leak, is_twin, leak, leakage, nearest, nearest_samples, promised_leaks
from exprcast.tables import read_matrix
from tiny import tiny_dataset

BLOOD = Path(__file__).parents[2] / "shared/data/atac/blood_hg19/rna_counts.tsv.gz"
FOLD = [TEST, TRAIN, TRAIN, TRAIN, TRAIN, TRAIN, VALID, UNUSED]  # of samples; S0 is tested


def put(key, values):
    """Return an edit that replaces an entry, or adds it."""

    def edit(file):
        attributes = dict(file[key].attrs) if key in file else {}
        if key in file:
            del file[key]
        if isinstance(values, list):
            file.create_dataset(key, data=values, dtype=h5py.string_dtype()).attrs.update(attributes)
        else:
            file.create_dataset(key, data=values).attrs.update(attributes)

    return edit


def copy_sample(key, source, copy):
    """Return an edit that gives one sample the values of another; all tiny samples have the same bins open."""

    def edit(file):
        values = file[key][:]
        by_sample = values.reshape(8, -1)
        by_sample[copy] = by_sample[source]
        file[key][...] = values

    return edit


def made(folder, *edits, hold_out="samples", roles=None):
    """Return a tiny dataset with edits, in which the samples and genes of `roles` (one fold) are held out."""
    path = tiny_dataset(folder / "d.h5", hold_out=hold_out, groups=[f"d{i}" for i in range(8)])
    with h5py.File(path, "a") as file:
        put("samples/biosample", [f"b{i}" for i in range(8)])(file)
        put("genes/chrom", [f"chr{1 + i // 4}" for i in range(12)])(file)
        for key, row in (roles or {}).items():
            put(f"folds/{key}", np.array([row], np.uint8))(file)
        for edit in edits:
            edit(file)
    return Dataset(path)


def of_samples(folder, *edits, row=FOLD):
    return made(folder, *edits, roles={"sample_role": row, "gene_role": [TRAIN] * 12})


def of_genes(folder, *edits, row=(TEST,) * 4 + (TRAIN,) * 4 + (VALID,) * 3 + (UNUSED,)):
    """G0–G3 are tested, G11 is unused."""
    return made(folder, *edits, hold_out="genes", roles={"sample_role": [TRAIN] * 8, "gene_role": list(row)})


def found(dataset):
    """Return {axis:thing: (folds, members, names)} of what is shared."""
    rows = leakage(dataset, nearest(dataset))
    return {f"{row.axis}:{row.shared}": (row.folds, row.members, row.names) for row in rows if row.folds}


@pytest.mark.parametrize("axis, others", [("samples", of_samples), ("genes", of_genes)])
def test_nothing_is_found_where_nothing_is_shared(tmp_path, axis, others):
    dataset = others(tmp_path, put("genes/paralog_group", ["a"] * 4 + [""] * 8), put("genes/chrom", ["chr1"] * 4 + ["chr2"] * 8))
    assert found(dataset) == {}
    rows = leakage(dataset, nearest(dataset))
    assert {row.shared for row in rows if row.held_out} == (
        {"replicate_group", "donor", "biosample", "peaks", "expression", "twin"}
        if axis == "samples"
        else {"chrom", "paralog_group", "expression", "promoter"}
    )
    assert all(row[3:] == (0, 0, 0, 0, "") for row in rows if not row.held_out), "an axis that is not held out is not looked at"


@pytest.mark.parametrize("column", ["replicate_group", "donor", "biosample"])
@pytest.mark.parametrize("other, shared", [(3, True), (6, True), (7, False)])
def test_a_shared_group_of_samples_is_found_by_name(tmp_path, column, other, shared):
    """S3 trains and S6 validates; S7 is unused."""
    values = [f"x{i}" for i in range(8)]
    values[other] = "x0"
    dataset = of_samples(tmp_path, put(f"samples/{column}", values))
    assert found(dataset) == ({f"samples:{column}": (1, 1, "x0")} if shared else {})
    assert found(of_samples(tmp_path, put(f"samples/{column}", ["", "", *values[2:]]))) == {}, "an empty cell is no group"


def change_first_bin_of_s4(file):
    file["accessibility/signal"][4 * 12] += 1


def test_same_peaks_are_found_by_name_and_empty_ones_are_not(tmp_path):
    same = copy_sample("accessibility/signal", 0, 4)
    assert found(of_samples(tmp_path, same)) == {"samples:peaks": (1, 1, "S0=S4")}
    assert found(of_samples(tmp_path, same, change_first_bin_of_s4)) == {}, "one bin makes other peaks"
    none = [put("accessibility/indptr", np.zeros(9, np.int64)), put("accessibility/bin", np.zeros(0, np.int32))]
    assert found(of_samples(tmp_path, *none, put("accessibility/signal", np.zeros(0, np.float32)))) == {}


def test_same_expression_of_samples_is_found_by_name(tmp_path):
    shared = found(of_samples(tmp_path, copy_sample("expression/gene", 5, 0)))
    assert shared.pop("samples:expression") == (1, 1, "S0=S5")
    assert shared == {"samples:twin": (1, 1, "S0~S5 (r 1.00)")}


@pytest.mark.parametrize("value, same", [(np.nan, True), (7.0, False)])
def test_missing_values_are_the_same_values_and_constants_prove_nothing(tmp_path, value, same):
    """S0 and S5 are the same in all genes; five of twelve, or all of them, have one value."""

    def edit(file):
        values = file["expression/gene"][:]
        values[0, : 5 if same else 12] = value
        values[5] = values[0]
        file["expression/gene"][...] = values

    assert ("samples:expression" in found(of_samples(tmp_path, edit))) == same


def test_a_twin_is_named_with_its_r(tmp_path):
    """S2 is S0 with noise: other values, the same departures from the mean."""

    def twin(file):
        values = np.log2(file["expression/gene"][:].astype(float) + 1)
        values[2] = values[0] + np.random.default_rng(1).normal(0, 0.2, 12)
        file["expression/gene"][...] = 2**values - 1

    dataset = of_samples(tmp_path, twin)
    (row,) = nearest(dataset)
    assert (row.axis, row.fold, row.id, row.nearest, row.twin) == ("samples", 0, "S0", "S2", 1) and TWIN_R < row.similarity < 1
    assert found(dataset) == {"samples:twin": (1, 1, f"S0~S2 (r {row.similarity:.2f})")}
    assert promised_leaks(leakage(dataset, nearest(dataset))) == [], "a twin is said, and stops nothing"


def test_nearest_sample_is_what_correlation_says(tmp_path):
    def edit(file):
        file["expression/gene"][1, 3] = np.nan  # G3 counts for all others
        file["expression/gene"][4] = file["expression/gene"][4] * 0 + 3

    dataset = made(tmp_path, edit)
    values = np.log2(dataset.array("expression/gene").astype(float) + 1)
    deviations = values - np.nanmean(values, axis=0)
    rows = nearest_samples(dataset)
    assert len(rows) == (dataset.sample_role == TEST).sum()
    for row in rows:
        sample, r = int(row.id[1:]), {}
        for other in np.flatnonzero(dataset.sample_role[row.fold] <= VALID):
            both = ~np.isnan(deviations[[sample, other]]).any(axis=0)
            r[other] = np.corrcoef(deviations[sample, both], deviations[other, both])[0, 1]
        best = max(r, key=r.get)
        assert row.nearest == f"S{best}" and row.similarity == pytest.approx(r[best], abs=1e-6)


@pytest.mark.parametrize(
    "r, twin", [([0.76, 0.5], 1), ([0.76, 0.6], 0), ([0.9, 0.88], 0), ([0.96, 0.955], 1), ([0.74, 0.0], 0), ([0.8], 1), ([0.6], 0)]
)
def test_a_twin_is_nearly_the_same_or_alone_so_close(r, twin):
    """Donors of one tissue resemble each other all alike: they are no twins."""
    assert is_twin(np.array(r)) == twin


def test_a_sample_without_expression_takes_the_twins_from_nobody_else(tmp_path):
    def edit(file):
        values = file["expression/gene"][:]
        values[7], values[3] = values[0] * 1.01, np.nan
        file["expression/gene"][:] = values

    dataset = made(tmp_path, edit)
    rows = {row.id: row for row in nearest(dataset)}
    assert (rows["S0"].nearest, rows["S0"].twin, rows["S3"].nearest) == ("S7", 1, "") and np.isnan(rows["S3"].similarity)
    (row,) = [row for row in leakage(dataset, nearest(dataset)) if row.shared == "twin" and row.axis == "samples"]
    assert row.members == 2 and row.unknown == 1, "of S3 it cannot be told"


def test_a_shared_chromosome_and_paralog_group_are_found_by_name(tmp_path):
    chroms = ["chr1"] * 3 + ["chr2"] * 8 + ["chr3"]
    assert found(of_genes(tmp_path, put("genes/chrom", chroms))) == {"genes:chrom": (1, 1, "chr2")}
    groups = ["", "G1", "G1", "", "G1", "", "", "", "", "", "", ""]
    shared = found(of_genes(tmp_path, put("genes/chrom", ["chr1"] * 4 + ["chr2"] * 8), put("genes/paralog_group", groups)))
    assert shared == {"genes:paralog_group": (1, 2, "G1")}


def test_same_promoters_and_expression_of_genes_are_found_by_name(tmp_path):
    clean = put("genes/chrom", ["chr1"] * 4 + ["chr2"] * 8)
    codes = np.random.default_rng(0).integers(0, 4, (12, 40)).astype(np.uint8)
    codes[9] = codes[1]  # validates
    codes[[2, 5]] = 4  # N throughout
    codes[11] = codes[0]  # unused

    def sequence(file):
        del file["promoters/sequence"]
        file["promoters/sequence"] = codes
        file["promoters/sequence"].attrs.update(upstream_bp=20, downstream_bp=20)

    assert found(of_genes(tmp_path, clean, sequence)) == {"genes:promoter": (1, 1, "G1=G9")}

    def expression(rare):
        def edit(file):
            values = file["expression/gene"][:]
            values[:, 3] = [1, 2, 3, 0, 0, 0, 0, 0] if rare else [1, 2, 3, 4, 5, 0, 0, 0]
            values[:, 6] = values[:, 3]
            values[:, [0, 4]] = 5.0
            file["expression/gene"][...] = values

        return edit

    assert found(of_genes(tmp_path, clean, expression(rare=False))) == {"genes:expression": (1, 1, "G3=G6")}
    assert found(of_genes(tmp_path, clean, expression(rare=True))) == {}, "genes of a few reads are alike by chance"


def test_folds_and_members_are_counted_and_ten_are_named(tmp_path):
    dataset = made(tmp_path, put("samples/donor", ["d"] * 8), put("samples/biosample", [f"{i % 2}" for i in range(8)]))
    rows = {row.shared: row for row in leakage(dataset, [])}
    assert rows["donor"] == Leak("samples", "donor", 1, 1, 8, 8, 0, "d")
    assert rows["biosample"] == Leak("samples", "biosample", 1, 0, 8, 8, 0, "0,1")
    assert [row.shared for row in promised_leaks(list(rows.values()))] == ["donor"]
    many = [{gene: f"c{gene // 2:02}" for gene in range(30)}, {}, {0: "c00", 40: "d"}]
    assert leak("genes", "chrom", True, True, many) == Leak("genes", "chrom", 1, 1, 2, 31, 0, ",".join(f"c{i:02}" for i in range(10)))


def test_the_nearest_training_gene_is_the_most_similar_promoter(tmp_path):
    pairs = {"gene": [0, 0, 0, 1, 2], "other": [3, 4, 9, 11, 8], "containment": [0.9, 0.3, 0.5, 0.8, 0.06]}
    edits = [put(f"similarity/{key}", np.array(values, np.float32 if key == "containment" else np.int32)) for key, values in pairs.items()]
    rows = nearest(of_genes(tmp_path, *edits))
    assert [row[:4] + (round(row.similarity, 6), row.twin) for row in rows] == [
        ("genes", 0, "G0", "G9", 0.5, 1),  # G3 is tested, too
        ("genes", 0, "G1", "", 0.0, 0),  # G11 is unused
        ("genes", 0, "G2", "G8", 0.06, 0),
        ("genes", 0, "G3", "", 0.0, 0),
    ]
    assert nearest(of_genes(tmp_path)) == [], "without promoters nothing is said"


@pytest.mark.skipif(not BLOOD.exists(), reason="needs ../shared/data")
def test_two_halves_of_a_blood_population_are_twins(tmp_path):
    """Each of ten populations is held out alone; only a replicate and the next neighbours in the tree of blood are alike."""
    table = read_matrix(BLOOD)
    values = np.nan_to_num(table.values).T
    path = tiny_dataset(tmp_path / "d.h5", samples=10, groups=table.columns)
    with h5py.File(path, "a") as file:
        for group in ("genes", "tss", "promoters", "labels", "lists"):
            del file[group]
        put("samples/id", table.columns)(file)
        put("genes/id", [f"G{i}" for i in range(values.shape[1])])(file)
        put("folds/gene_role", np.zeros((10, values.shape[1]), np.uint8))(file)
        put("expression/gene", (values / values.sum(axis=1, keepdims=True) * 1e6).astype(np.float32))(file)
    r = {(row.id, row.nearest): round(float(row.similarity), 2) for row in nearest(Dataset(path)) if row.twin}
    assert r == {("GMP-A", "GMP-B"): 0.76, ("GMP-B", "GMP-A"): 0.76, ("HSC", "MPP"): 0.86, ("MPP", "HSC"): 0.86}


def test_members_without_a_value_are_counted(tmp_path):
    """The tiny cohort names no biosample: nothing is shared, and nothing could be seen to be."""
    rows = {row.shared: row for row in leakage(Dataset(tiny_dataset(tmp_path / "d.h5")), [])}
    assert (rows["biosample"].folds, rows["biosample"].unknown, rows["donor"].unknown) == (0, 8, 0)


def test_groups_that_are_parts_of_one_study_are_told_by_its_accession(tmp_path):
    """GSE6956AA and GSE6956C are held out one by one; a number that only begins the same is another study."""
    labels = ["GSE6956AA", "GSE6956C", "GSE69560", "GSE3585", "", "x:E-MTAB-62_a", "E-MTAB-62_b", "GSE6956"]
    (row,) = [one for one in leakage(of_samples(tmp_path, put("samples/batch", labels)), []) if one.shared == "accession"]
    assert (row.folds, row.members, row.names, row.promised) == (1, 1, "GSE6956", 0)
    dataset = of_samples(tmp_path, put("samples/batch", labels), row=[TRAIN, UNUSED, TEST, TEST, TEST, TEST, VALID, TRAIN])
    (row,) = [one for one in leakage(dataset, []) if one.shared == "accession"]
    assert (row.folds, row.members, row.names) == (1, 1, "E-MTAB-62")
    assert all(one.shared != "accession" for one in leakage(of_samples(tmp_path, put("samples/batch", ["b"] * 8)), []))


def test_a_shared_batch_is_told_only_where_it_was_promised_to_be_held_out(tmp_path):
    batches = put("samples/batch", ["a"] * 8)
    assert "batch" not in {row.shared for row in leakage(of_samples(tmp_path, batches), [])}
    promised = of_samples(tmp_path, batches, lambda file: file["folds/sample_role"].attrs.update(promised="samples:batch"))
    assert [(row.shared, row.names) for row in promised_leaks(leakage(promised, []))] == [("batch", "a")]


def test_sets_in_other_units_are_compared_as_deviations_from_their_own_means(tmp_path):
    """S1 is S0's twin; S4 is like S5 and S6 only as all arrays are, which is no twin."""

    def other_platform(file):
        values, rng = file["expression/gene"][:], np.random.default_rng(3)
        log = rng.normal(8, 1, (8, 12))
        log[4:] += 40 * rng.random(12)  # what the platform does to each gene
        log[1] = log[0] + rng.normal(0, 0.01, 12)
        values[:4], values[4:] = 2 ** log[:4] - 1, log[4:]
        file["expression/gene"][...] = values

    sets, units = put("samples/set", [""] * 4 + ["arrays"] * 4), put("samples/unit", ["tpm"] * 4 + ["log2_intensity"] * 4)
    dataset = of_samples(tmp_path, other_platform, sets, units, row=[TEST, TRAIN, TRAIN, TRAIN, TEST, TRAIN, VALID, UNUSED])
    near = {row.id: row for row in nearest_samples(dataset)}
    assert near["S0"].nearest == "S1" and near["S0"].twin and near["S4"].similarity < 0.95


def test_many_samples_are_compared_by_every_nth_gene(tmp_path, monkeypatch):
    dataset = of_samples(tmp_path, copy_sample("expression/gene", 0, 3))
    monkeypatch.setattr(exprcast.leakage, "MOST_VALUES", 40)
    monkeypatch.setattr(exprcast.leakage, "LEAST_GENES", 4)
    assert exprcast.leakage.deviations(dataset).values.shape == (8, 4)
    assert nearest_samples(dataset)[0].nearest == "S3"
