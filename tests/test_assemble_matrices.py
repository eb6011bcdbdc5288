"""Imported matrices become one dataset: by id, as measured, with a fold of their own for external sets; what does not fit is said."""

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.cohort import cohort_of_dataset, cohort_section
from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset
from exprcast.folds import add_external_fold
from exprcast.leakage import leakage
from exprcast.methods import methods_section
from exprcast.tables import read_table
from matrix_files import GENES, write_gctx, write_matrices
from tiny import load_script, run_script

PANEL = Path(__file__).parents[2] / "shared/data/panel"
real = pytest.mark.skipif(not PANEL.is_dir(), reason="../shared/data is absent")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_matrices(tmp_path_factory.mktemp("matrices"))


def lists(folder):
    return ("--landmarks", folder / "landmarks.tsv", "--targets", folder / "targets.tsv")


def import_set(folder, files, name, matrix, unit="log2_intensity", *more):
    run_script("import_matrix", "--matrix", files / matrix, "--unit", unit, *lists(files), *more, "--out", folder / name)
    return folder / name


def import_all(folder, files):
    """Import the main matrix and both external sets."""
    import_set(folder, files, "main", "arrays.gctx", "log2_intensity", "--groups", "batch=series")
    import_set(folder, files, "rnaseq", "counts.tsv", "counts", "--sample-table", files / "people.tsv", "--groups", "donor=person")
    import_set(folder, files, "pcr", "pcr.tsv")
    return folder


def assemble(folder, *more, external=(("test", "rnaseq"), ("choose", "pcr")), by="batch", folds=0):
    sets = [word for role, name in external for word in ("--external", role, folder / name)]
    tables = ("--sets-out", folder / "sets.tsv", "--out", folder / "dataset.h5")
    run_script("assemble_matrices", "--main", folder / "main", *sets, "--folds", folds, "--group-by", by, *more, *tables)
    return Dataset(folder / "dataset.h5")


def test_values_meet_by_id_in_blocks_of_any_size(tmp_path, files, monkeypatch):
    dataset = assemble(import_all(tmp_path, files))
    values, sets = dataset.array("expression/gene"), np.array(dataset.text("samples/set"))
    for name in ("main", "rnaseq", "pcr"):
        with h5py.File(tmp_path / name / "matrix.h5") as file:
            samples, genes, own = file["samples/id"].asstr()[:].tolist(), file["genes/id"].asstr()[:].tolist(), file["value"][:]
        rows, columns = [dataset.samples.index(one) for one in samples], [dataset.genes.index(one) for one in genes]
        np.testing.assert_array_equal(values[np.ix_(rows, columns)], own)
        assert set(sets[rows]) == {"" if name == "main" else name}
        assert np.isnan(np.delete(values[rows], columns, axis=1)).all(), "what a set lacks is missing, not zero"
    assert set(dataset.text("samples/donor")) == {"", *(f"rnaseq:p{i}" for i in range(4))}
    first, script = (tmp_path / "dataset.h5").read_bytes(), load_script("assemble_matrices")
    sets = ["--external", "choose", tmp_path / "pcr", "--external", "test", tmp_path / "rnaseq"]
    words = [
        "--main",
        tmp_path / "main",
        *sets,
        "--folds",
        0,
        "--group-by",
        "batch",
        "--sets-out",
        tmp_path / "s",
        "--out",
        tmp_path / "again.h5",
    ]
    options = script.parse_args().parse_args([str(word) for word in words])
    options.code = ""
    for size in (1, 7):
        monkeypatch.setattr(script, "BLOCK", size)
        script.assemble_matrices(options)
        assert (tmp_path / "again.h5").read_bytes() == first


def test_one_matrix_has_no_sets_and_no_fold_of_their_own(tmp_path, files):
    import_set(tmp_path, files, "main", "arrays.gctx", "log2_intensity", "--groups", "batch=series")
    dataset = assemble(tmp_path, external=())
    assert not dataset.has("samples/set") and not dataset.has("samples/unit") and dataset.n_folds == 6
    assert dataset.promised == ["samples:batch", "samples:expression"]
    assert (dataset.sample_role == TEST).sum(axis=0).tolist() == [1] * 24
    at_random = assemble(tmp_path, external=(), by="random", folds=3)
    assert at_random.n_folds == 3 and at_random.promised == [""]


def test_without_a_set_that_chooses_a_tenth_of_the_main_groups_does(tmp_path, files):
    dataset = assemble(import_all(tmp_path, files), external=(("test", "rnaseq"), ("test", "pcr")))
    last, sets, batch = dataset.sample_role[-1], np.array(dataset.text("samples/set")), np.array(dataset.text("samples/batch"))
    assert set(last[sets != ""]) == {TEST} and set(last[sets == ""]) == {TRAIN, VALID}
    assert len(set(batch[last == VALID])) == 1 and (dataset.sample_role[:-1][:, sets != ""] == UNUSED).all()


def test_fold_of_external_samples_by_hand():
    roles = np.array([[TEST, VALID, TRAIN, TRAIN], [TRAIN, TEST, VALID, TRAIN]], np.uint8)
    external = np.array([TRAIN, TEST, TRAIN, VALID, TRAIN, TRAIN], np.uint8)
    found = add_external_fold(roles, ["a", "b", "c", "c"], external, 1)
    assert found.tolist() == [
        [TEST, UNUSED, VALID, UNUSED, TRAIN, TRAIN],
        [TRAIN, UNUSED, TEST, UNUSED, VALID, TRAIN],
        [TRAIN, TEST, TRAIN, VALID, TRAIN, TRAIN],
    ]
    external[3] = TEST
    last = add_external_fold(roles, ["a", "b", "c", "c"], external, 1)[-1]
    assert sorted(last[[0, 2]]) == [TRAIN, VALID] and (last[[4, 5]] == TRAIN).all(), "the smallest group validates"


def test_a_table_of_folds_is_of_the_main_samples(tmp_path, files):
    table = tmp_path / "folds.csv"
    table.write_text("id,fold_1\n" + "".join(f"GSM{i},{'test' if i < 4 else 'valid' if i < 6 else 'train'}\n" for i in range(24)))
    dataset = assemble(import_all(tmp_path, files), "--fold-table", table)
    tested = [sample for sample, role in zip(dataset.samples, dataset.sample_role[0], strict=True) if role == TEST]
    assert tested == [f"GSM{i}" for i in range(4)] and dataset.n_folds == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_of_samples_and_probe_sets_gives_the_same_bytes(tmp_path, files, seed):
    with h5py.File(files / "arrays.gctx") as file:
        values = file["0/DATA/0/matrix"][:]
        names = {key: [text.decode() for text in file[f"0/META/{key}"][:]] for key in ("COL/id", "ROW/id", "COL/series")}
    rng = random.Random(seed)
    rows, columns = (rng.sample(range(size), size) for size in values.shape)
    shuffled = [names["COL/id"][i] for i in rows], [names["ROW/id"][i] for i in columns]
    write_gctx(tmp_path / "arrays.gctx", *shuffled, values[np.ix_(rows, columns)], series=[names["COL/series"][i] for i in rows])
    for name in ("landmarks", "targets"):
        head, *lines = (files / f"{name}.tsv").read_text().splitlines()
        (tmp_path / f"{name}.tsv").write_text("\n".join([head, *rng.sample(lines, len(lines))]) + "\n")
    made = []
    for folder in (files, tmp_path):
        (out := tmp_path / f"of_{folder.name}").mkdir()
        import_set(out, folder, "main", "arrays.gctx", "log2_intensity", "--groups", "batch=series")
        assemble(out, external=())
        made.append((out / "dataset.h5").read_bytes())
    assert made[0] == made[1]


def test_detected_genes_are_counted_where_a_unit_says_what_is_detected(tmp_path, files):
    head, *lines = (files / "counts.tsv").read_text().splitlines()
    cells = [line.split("\t") for line in lines]
    for row in cells[2:]:
        row[3] = "0"
    (tmp_path / "counts.tsv").write_text("\n".join([head, *map("\t".join, cells)]) + "\n")
    for name in ("landmarks.tsv", "targets.tsv", "arrays.gctx", "pcr.tsv", "people.tsv"):
        (tmp_path / name).symlink_to(files / name)
    import_all(tmp_path, tmp_path)
    with pytest.raises(
        InputError, match="sample counts2: 2 genes detected, the cohort's median is 27; leave it out or lower --min_detected"
    ):
        assemble(tmp_path)
    assert not (tmp_path / "dataset.h5").exists()
    assert assemble(tmp_path, "--min-detected", 0).n_folds == 7


def rename(folder, name, old, new):
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def same_sample(folder):
    with h5py.File(folder / "pcr/matrix.h5", "a") as file:
        file["samples/id"][0] = "GSM3"
    rename(folder, "pcr/samples.tsv", "pcr0", "GSM3")


def no_target(folder):
    """Leave an external set its landmarks only."""
    with h5py.File(folder / "pcr/matrix.h5", "a") as file:
        values = file["value"][:, :10]
        del file["value"], file["genes/id"]
        file["value"], file["genes/id"] = values, GENES[:10]
        file["value"].attrs["unit"] = "log2_intensity"


@pytest.mark.parametrize(
    "change, options, message",
    [
        (same_sample, {}, "sample GSM3 is in the main matrix and pcr: it would be trained on and tested; give each sample once"),
        (
            no_target,
            {},
            "--external pcr: it has 10 of 10 landmarks and 0 of 20 targets of the main matrix; half of the landmarks and a target",
        ),
        (lambda folder: None, {"by": "tissue"}, "--group_by tissue: choose from replicate_group, donor, biosample, batch, or random alone"),
        (lambda folder: rename(folder, "main/lists.tsv", "targets", "others"), {}, "no gene of --targets is left in the matrix"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, files, change, options, message):
    change(import_all(tmp_path, files))
    with pytest.raises(InputError, match=message):
        assemble(tmp_path, **options)
    assert not (tmp_path / "dataset.h5").exists()


def test_one_series_only_cannot_be_held_out(tmp_path, files):
    with h5py.File(files / "arrays.gctx") as file:
        values, probes = file["0/DATA/0/matrix"][:], [text.decode() for text in file["0/META/ROW/id"][:]]
    write_gctx(tmp_path / "one.gctx", [f"S{i}" for i in range(len(values))], probes, values, series=["GSE1"] * len(values))
    import_set(tmp_path, files, "main", tmp_path / "one.gctx", "log2_intensity", "--groups", "batch=series")
    with pytest.raises(InputError, match=r"samples: 1 group\(s\) that must stay together, at least 3 are needed"):
        assemble(tmp_path, external=())


def test_page_speaks_of_matrices_and_their_sets_not_of_peaks(tmp_path, files):
    dataset = assemble(import_all(tmp_path, files))
    section = cohort_section(cohort_of_dataset(dataset))
    assert section.blocks[-1].head == ["sample", "set", "donor", "batch", "RNA", "tested in fold"]
    parameters = {"matrix": "/x/arrays.gctx", "matrix_unit": "log2_intensity", "duplicates": "1.0", "expression_unit": "tpm", "bin_bp": 200}
    text = " ".join(block.text for block in methods_section({}, parameters, dataset, [], [], 0).blocks[:-1])
    for said in (
        "Expression was read from arrays.gctx (log2_intensity)",
        "10 landmark genes are measured and 20 target genes are predicted",
        "Of two samples nearer than 1.0",
        "pcr (choose), rnaseq (test)",
        "samples that share a batch stayed together",
    ):
        assert said in text
    assert "ATAC" not in text and "came as a table" not in text
    rows = [tuple(row.values()) for _, row in read_table(tmp_path / "sets.tsv", ())]
    assert rows == [
        ("main", "main", "log2_intensity", "24", "10", "20"),
        ("pcr", "choose", "log2_intensity", "4", "10", "20"),
        ("rnaseq", "test", "cpm", "8", "9", "18"),
    ]


@real
def test_labels_of_the_real_panel_leak_and_its_accessions_do_not(tmp_path):
    """14 labels are 10 studies: held out by label, a study is on both sides."""
    lists = ("--landmarks", PANEL / "landmarks_943.tsv", "--targets", PANEL / "targets_9520.tsv")
    accessions = Path(__file__).parent / "panel/samples.tsv"
    words = ("--matrix", PANEL / "geo_u133a_probes.gctx", "--unit", "log2_intensity", *lists, "--sample-table", accessions)
    found = {}
    for column in ("series", "accession"):
        (folder := tmp_path / column).mkdir()
        run_script("import_matrix", *words, "--groups", f"batch={column}", "--out", folder / "main")
        dataset = assemble(folder, external=())
        (found[column],) = [row for row in leakage(dataset, []) if row.shared == "accession"]
        assert dataset.n_folds == {"series": 14, "accession": 10}[column]
        assert int(dataset.array("lists/landmark").sum()) == 943 and int(dataset.array("lists/target").sum()) == 9_075
    leaked = found["series"]
    assert (leaked.folds, leaked.names) == (8, "GSE14924,GSE24739,GSE38666,GSE6956") and leaked.members > 50
    assert (found["accession"].folds, found["accession"].names) == (0, "")
