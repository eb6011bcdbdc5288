"""Bundles and what they predict for new samples: a recorded prediction comes back, order and blocks do not matter, what does not fit is refused."""

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from exprcast import calibration
from exprcast.bundle import SUMMARY, Bundle, checksum, digest
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, Dataset, write_array
from exprcast.family import load_family
from exprcast.joined import JoinedDataset
from tiny import load_script, tiny_dataset
from tiny import run_script as run

TOYS = Path(__file__).parent / "families"
SMALL = {"epochs": 2}
MADE = [
    ("atac_cis", "samples"),
    ("atac_bins", "samples", "--refit"),
    ("atac_context", "samples"),
    ("atac_context", "both", "--refit"),
    ("atac_cis", "genes"),
]
GROUPS = [f"g{i // 3}" for i in range(12)]


def make_bundle(folder: Path, name: str, hold_out: str, *more: object, seeds: int = 1) -> Path:
    """Run one family through all scripts, from a tiny dataset to its bundle."""
    dataset = tiny_dataset(folder / "dataset.h5", hold_out=hold_out, samples=12, genes=30, groups=GROUPS)
    data, parts, checkpoints, baselines = ["--dataset", dataset], [], [], []
    for fold in range(Dataset(dataset).n_folds):
        stem = folder / f"{name}.fold{fold}"
        prepared = ["--prepared", f"{stem}.prepared", *data]
        run("prepare", "--family", name, "--config", json.dumps(SMALL), "--fold", fold, *more, *data, "--out", prepared[1])
        for seed in range(1, seeds + 1):
            checkpoints.append(f"{stem}.seed{seed}.pt")
            run("train", *prepared, "--seed", seed, "--history-out", f"{stem}.history.tsv", "--out", checkpoints[-1])
        baselines.append(f"{stem}.baselines.h5")
        run("fit_baselines", *prepared, "--out", baselines[-1])
        for option, source in [("--checkpoint", one) for one in checkpoints[-seeds:]] + [("--baselines", baselines[-1])]:
            parts.append(f"{source}.predictions.h5")
            run("predict", option, source, *prepared, "--out", parts[-1])
    run("combine", "--predictions", *parts, "--out", folder / f"{name}.h5")
    tables = ["--samples-out", folder / "samples.tsv", "--genes-out", folder / "genes.tsv", "--out", folder / "scores.tsv"]
    run("evaluate", "--predictions", folder / f"{name}.h5", *data, *tables)
    given = ["--predictions", folder / f"{name}.h5", "--checkpoints", *checkpoints, "--baselines", *baselines]
    run("bundle", *data, *given, "--scores", folder / "scores.tsv", "--code", "abc", "--out", folder / "models" / name)
    return folder / "models" / name


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Make each bundle once."""
    made = {}

    def get(name, hold_out, *more, seeds=1):
        key = name, hold_out, more, seeds
        if key not in made:
            folder = tmp_path_factory.mktemp(name)
            (folder / "models").mkdir()
            made[key] = make_bundle(folder, name, hold_out, *more, seeds=seeds)
        return made[key]

    return get


def new_dataset(bundle: Path, path: Path, samples: list[int], genes: list[int] | None = None, rna: bool = True) -> Path:
    """Write a dataset of some of the training samples under new names, its genes in another order."""
    training = Dataset(bundle / "training.h5")
    genes = genes or list(range(len(training.genes)))
    order = np.argsort([training.samples[i] for i in samples])
    samples = [samples[i] for i in order]
    open_bins = [training.open_bins(sample) for sample in samples]
    with h5py.File(path, "w") as file:
        file.attrs.update(dict(training.file.attrs))
        for column in ("id", "donor", "biosample", "replicate_group", "batch"):
            values = training.text(f"samples/{column}")
            write_array(file, f"samples/{column}", [values[i] for i in samples])
        for column in ("id", "symbol", "chrom", "strand"):
            values = training.text(f"genes/{column}")
            write_array(file, f"genes/{column}", [values[i] for i in genes])
        for entry in ("chromosomes/name", "chromosomes/size"):
            training.file.copy(entry, file["chromosomes"] if "chromosomes" in file else file.create_group("chromosomes"))
        if rna:
            write_array(file, "expression/gene", training.array("expression/gene")[np.ix_(samples, genes)], unit="tpm")
        write_array(file, "accessibility/indptr", np.cumsum([0, *(len(bins) for bins, _ in open_bins)]))
        write_array(file, "accessibility/bin", np.concatenate([bins for bins, _ in open_bins]), bin_bp=200, source="peaks")
        write_array(file, "accessibility/signal", np.concatenate([signal for _, signal in open_bins]))
        facts = {"hold_out": "samples", "scheme": "new", "promised": "", "seed": 0}
        write_array(file, "folds/sample_role", np.full((1, len(samples)), TEST), **facts)
        write_array(file, "folds/gene_role", np.zeros((1, len(genes)), dtype=int))
    return path


def apply(bundle: Path, dataset: Path, folder: Path, *more: object) -> tuple[list[Path], Path]:
    """Apply every fold and average them; return the folds' files and the mean's."""
    folder.mkdir()
    files = []
    for fold in Bundle(bundle).folds:
        files.append(folder / f"fold{fold}.h5")
        run("apply", "--bundle", bundle, "--fold", fold, "--dataset", dataset, *more, "--out", files[-1])
    out = folder / "applied.h5"
    run(
        "average_folds",
        "--bundle",
        bundle,
        "--applied",
        *files,
        "--dataset",
        dataset,
        "--measured-out",
        folder / "measured.txt",
        "--out",
        out,
    )
    return files, out


@pytest.mark.parametrize("made", MADE, ids="-".join)
def test_a_training_sample_gets_its_recorded_prediction_from_its_own_fold(bundles, tmp_path, made):
    name, hold_out = made[:2]
    bundle = bundles(*made)
    dataset = new_dataset(bundle, tmp_path / "new.h5", [0, 3, 4, 7, 11])
    files, _ = apply(bundle, dataset, tmp_path / "out")
    training, rows = Dataset(bundle / "training.h5"), [0, 3, 4, 7, 11]
    ids = [training.samples[i] for i in rows]
    compared = 0
    with h5py.File(bundle.parent.parent / f"{name}.h5") as recorded:
        for number, path in enumerate(files):
            with h5py.File(path) as file:
                place = [list(file["rows"].asstr()[:]).index(one) for one in ids]
                tested = recorded["role"][number][rows] == TEST
                arrays = {"seed1": recorded["predicted"][number, 0], **{key: array[number] for key, array in recorded["baselines"].items()}}
                for key, expected in arrays.items():
                    if hold_out == "genes" and key in ("nearest", "kernel"):
                        continue  # a new sample may be its own neighbour: its genes were in training
                    got = file[key][:][place][tested]
                    assert got == pytest.approx(expected[rows][tested], rel=1e-6, abs=1e-6), key
                    compared += tested.sum()
    assert compared > 100


def test_order_blocks_and_company_of_samples_change_nothing(bundles, tmp_path):
    bundle = bundles("atac_context", "samples")
    together = new_dataset(bundle, tmp_path / "a.h5", [1, 5, 6, 9, 10], rna=False)
    fewer = new_dataset(bundle, tmp_path / "b.h5", [9, 1], genes=list(range(29, -1, -1)), rna=False)
    (_, one), (_, blocks), (_, other) = (
        apply(bundle, dataset, tmp_path / word, *more)
        for dataset, word, more in ((together, "one", ()), (together, "blocks", ("--block-samples", 2)), (fewer, "other", ()))
    )
    assert one.read_bytes() == blocks.read_bytes()
    with h5py.File(one) as first, h5py.File(other) as second:
        assert not len(first["baselines"]), "without RNA nobody asks for rules, which take long"
        rows = [list(first["rows"].asstr()[:]).index(name) for name in second["rows"].asstr()[:]]
        assert list(first["columns"].asstr()[:]) == list(second["columns"].asstr()[:])
        for name in ("low", "high"):
            assert np.array_equal(first[name][:][rows], second[name][:])
        assert np.array_equal(first["predicted"][0, 0][rows], second["predicted"][0, 0])
        assert np.isnan(second["observed"][:]).all() and not (tmp_path / "other/measured.txt").exists()


def test_the_mean_over_folds_and_seeds_has_an_interval_around_it(bundles, tmp_path):
    bundle = bundles("atac_cis", "samples", seeds=2)
    dataset = new_dataset(bundle, tmp_path / "new.h5", [2, 3])
    files, out = apply(bundle, dataset, tmp_path / "out")
    with h5py.File(out) as file:
        by_fold = []
        for path in files:
            with h5py.File(path) as one:
                by_fold.append((one["seed1"][:] + one["seed2"][:]) / 2)
        assert file["predicted"][0, 0] == pytest.approx(np.mean(by_fold, axis=0), abs=1e-5)
        assert (file["low"][:] <= file["predicted"][0, 0]).all() and (file["high"][:] >= file["predicted"][0, 0]).all()
        assert file["observed"][:] == pytest.approx(np.log2(1 + Dataset(dataset).array("expression/gene")), abs=1e-5)
        known = np.log2(1 + Dataset(bundle / "training.h5").array("expression/gene"))
        assert file["training_sd"][0, 0] == pytest.approx(known.std(axis=0), rel=1e-4)
        assert list(file["samples/nearest"].asstr()[:]) == list(file["rows"].asstr()[:]) and file["samples/distance"][:].max() < 1e-9
        assert not file["samples/outside"][:].any() and 0 < np.nanmean(file["calibration/coverage"][:]) <= 1
    assert (tmp_path / "out/measured.txt").is_file()
    tables = ["--samples-out", tmp_path / "s.tsv", "--genes-out", tmp_path / "g.tsv", "--out", tmp_path / "scores.tsv"]
    run("evaluate", "--predictions", out, "--dataset", dataset, *tables)
    assert "atac_cis\tmodel" in (tmp_path / "scores.tsv").read_text()


def test_a_draw_of_samples_goes_with_a_bundle_under_their_names(bundles, tmp_path, monkeypatch):
    whole = bundles("atac_cis", "samples")
    folder, training = whole.parent.parent, whole / "training.h5"
    monkeypatch.setattr(calibration, "MOST_KEPT", 30 * 6)
    made = ["--checkpoints", *folder.glob("*.seed1.pt"), "--baselines", *folder.glob("*.baselines.h5")]
    given = ["--dataset", training, "--predictions", folder / "atac_cis.h5", "--scores", folder / "scores.tsv", *made]
    run("bundle", *given, "--out", tmp_path / "atac_cis")
    samples, drawn = Dataset(training).samples, calibration.of_bundle(Bundle(tmp_path / "atac_cis")).sample
    names = [samples[i] for i in drawn]
    _, out = apply(tmp_path / "atac_cis", new_dataset(whole, tmp_path / "new.h5", [2, 3]), tmp_path / "out")
    with h5py.File(out) as file, h5py.File(folder / "atac_cis.h5") as recorded:
        assert len(names) == 6 and file["calibration/sample"].asstr()[:].tolist() == names
        tested = (recorded["role"][:] == TEST)[:, drawn]
        errors = np.abs(recorded["observed"][:] - recorded["predicted"][:, 0])[:, drawn][tested]
        assert len(errors) == 6 * 30
    with h5py.File(tmp_path / "atac_cis/calibration.h5") as file:
        assert np.sort(file["residual"][:], axis=None) == pytest.approx(np.sort(errors))
    card = (tmp_path / "atac_cis/card.md").read_text().split("## Intervals")[1].split("##")[0]
    assert "mean over 6 of 12 samples:" in card and [name for name in samples if f"| {name} |" in card] == names
    assert "mean over samples:" in (whole / "card.md").read_text()
    forge(tmp_path / "atac_cis", "calibration.h5", lambda file: file["sample"].__setitem__(-1, 12))
    with pytest.raises(
        InputError, match="^bundle atac_cis: calibration.h5 is of samples up to number 13 in .*, the bundle of 12 in .*copy"
    ):
        calibration.of_bundle(Bundle(tmp_path / "atac_cis"))


def test_samples_never_held_out_give_no_interval(bundles, tmp_path):
    _, out = apply(bundles("atac_cis", "genes"), new_dataset(bundles("atac_cis", "genes"), tmp_path / "new.h5", [2]), tmp_path / "out")
    with h5py.File(out) as file:
        assert np.isfinite(file["predicted"][:]).all() and np.isnan(file["low"][:]).all() and "calibration" not in file


def test_a_joined_dataset_finds_genes_by_their_ids(bundles, tmp_path):
    bundle = bundles("atac_cis", "samples")
    new = Dataset(new_dataset(bundle, tmp_path / "new.h5", [2, 3], genes=list(range(29, -1, -1))))
    training = Dataset(bundle / "training.h5")
    joined = JoinedDataset(training, new, np.array([1]))
    assert joined.array("expression/gene")[-1] == pytest.approx(training.array("expression/gene")[3])
    assert [list(part) for part in joined.open_bins(12)] == [list(part) for part in training.open_bins(3)]
    assert np.diff(joined.array("accessibility/indptr"))[-1] == len(training.open_bins(3)[0])
    assert joined.learnt(load_family("atac_cis"), 0, False).max() < 12 * 30


def change(path: Path, edit) -> None:
    with h5py.File(path, "r+") as file:
        edit(file)


def put_attribute(key, name, value):
    return lambda file: (file[key] if key else file).attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    "edit, message",
    [
        (put_attribute("", "assembly", "hg19"), "bundle atac_cis was trained with another assembly than new.h5 has: tiny and hg19"),
        (put_attribute("accessibility/bin", "source", "coverage"), "another bins than new.h5 has: peaks and coverage"),
        (put_attribute("accessibility/bin", "bin_bp", 100), "another bin width in bp than new.h5 has: 200 and 100"),
        (put_attribute("expression/gene", "unit", "cpm"), "another unit of expression than new.h5 has: tpm and cpm"),
        (lambda file: file["genes/id"].__setitem__(0, "other"), "predicts 30 genes, new.h5 has 30 and not the same"),
        (lambda file: file["chromosomes/size"].__setitem__(0, 400_001), "has other chromosomes or lengths than new.h5"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(bundles, tmp_path, edit, message):
    bundle = bundles("atac_cis", "samples")
    dataset = new_dataset(bundle, tmp_path / "new.h5", [2, 3])
    change(dataset, edit)
    with pytest.raises(InputError, match=message):
        run("apply", "--bundle", bundle, "--fold", 0, "--dataset", dataset, "--out", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def seal(bundle: Path, edit) -> None:
    """Change bundle.json as somebody would who knows how it is checked."""
    content = json.loads((bundle / SUMMARY).read_text())
    edit(content)
    content["checksum"] = checksum(content)
    (bundle / SUMMARY).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda c: c.update(format="else"), "is of no exprcast bundle"),
        (lambda c: c.update(format_version=9), "has format version 9, this code reads 1"),
        (lambda c: c.update(bin_bp="200"), r"is damaged \(bin_bp\)"),
        (
            lambda c: c["files"].update({"../../evil": {"bytes": 1, "sha256": "0"}}),
            r"holds what a bundle does not have \(../../evil\)",
        ),
        (lambda c: c.update(folds=[]), r"holds what a bundle does not have \(folds\)"),
        (lambda c: c.update(folds=[0, 0, 1]), r"holds what a bundle does not have \(folds\)"),
        (lambda c: c.update(bin_bp=True), r"holds what a bundle does not have \(bin_bp\)"),
        (lambda c: c.update(samples=99), "training.h5 has other samples than bundle.json says"),
        (lambda c: c.update(family="../x"), "family '../x': use letters"),
        (lambda c: c.update(seeds=[7]), "it has no fold0.seed7.pt"),
        (lambda c: c.update(family="atac_bins"), "fold0.seed1.pt is of another family"),
    ],
)
def test_a_forged_summary_is_refused(bundles, tmp_path, edit, message):
    bundle = shutil.copytree(bundles("atac_cis", "samples"), tmp_path / "atac_cis")
    dataset = new_dataset(bundle, tmp_path / "new.h5", [2, 3])
    seal(bundle, edit)
    with pytest.raises(InputError, match=message):
        run("apply", "--bundle", bundle, "--fold", 0, "--dataset", dataset, "--out", tmp_path / "out.h5")


def test_files_that_lead_out_of_the_bundle_are_refused(bundles, tmp_path):
    bundle = shutil.copytree(bundles("atac_cis", "samples"), tmp_path / "atac_cis")
    (bundle / "card.md").unlink()
    (bundle / "card.md").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="card.md is no file there"):
        Bundle(bundle).check_all()
    with h5py.File(bundle / "training.h5", "r+") as file:
        del file["expression/gene"]
        file["expression/gene"] = h5py.ExternalLink("/tmp/other.h5", "x")
    seal(
        bundle,
        lambda c: c["files"].update(
            {"training.h5": {"bytes": (bundle / "training.h5").stat().st_size, "sha256": digest(bundle / "training.h5")}}
        ),
    )
    with pytest.raises(InputError, match="training.h5: expression/gene leads out of the file"):
        _ = Bundle(bundle).training


def test_two_hundred_faults_are_refused_or_change_nothing(bundles, tmp_path):
    """Flipped and missing bytes, anywhere in the bundle: one line each, never a traceback; only what is never read may differ."""
    bundle = bundles("atac_cis", "samples")
    rng, broken = np.random.default_rng(1), tmp_path / "atac_cis"
    names, refused, whole = sorted(path.name for path in bundle.iterdir()), 0, Bundle(bundle).content
    for trial in range(200):
        shutil.copytree(bundle, broken)
        victim = broken / names[trial % len(names)]
        content = bytearray(victim.read_bytes())
        if trial % 4 == 3:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        victim.write_bytes(content)
        try:
            found = Bundle(broken)
            found.check_all()
            assert found.content == whole, "another kind of blank in bundle.json"
        except InputError as error:
            assert "\n" not in str(error) and "atac_cis" in str(error)
            refused += 1
        shutil.rmtree(broken)
    assert refused >= 195


def test_a_damaged_file_stops_each_script_before_it_is_read(bundles, tmp_path):
    bundle = shutil.copytree(bundles("atac_cis", "samples"), tmp_path / "atac_cis")
    dataset, out = new_dataset(bundle, tmp_path / "new.h5", [2], rna=False), ["--out", tmp_path / "out"]
    for name, script in (
        ("fold0.seed1.pt", "apply"),
        ("fold0.baselines.h5", "apply"),
        ("training.h5", "apply"),
        ("calibration.h5", "average_folds"),
    ):
        whole = (bundle / name).read_bytes()
        (bundle / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        more = ["--fold", 0] if script == "apply" else ["--applied", tmp_path / "none.h5"]
        with pytest.raises(InputError, match=f"{name} is not what bundle.json lists .*; it is damaged or was exchanged, copy it again"):
            run(script, "--bundle", bundle, *more, "--dataset", dataset, *out)
        with pytest.raises(InputError, match=name):
            run("check_bundle", "--bundles", bundle, *out)
        (bundle / name).write_bytes(whole)
        assert not (tmp_path / "out").exists()


def forge(bundle: Path, name: str, edit) -> None:
    """Change one file of a bundle as somebody would who knows how it is checked."""
    if name.endswith(".pt"):
        content = torch.load(bundle / name, weights_only=True)
        edit(content)
        torch.save(content, bundle / name)
    else:
        change(bundle / name, edit)
    listed = {"bytes": (bundle / name).stat().st_size, "sha256": digest(bundle / name)}
    seal(bundle, lambda c: c["files"].update({name: listed}))


def rewrite_trees(old: str, new: str):
    """Return a change of the boosted trees' text."""

    def edit(file):
        text = re.sub(old, new, file["trees/booster0"][:].tobytes().decode(), count=1, flags=re.DOTALL)
        del file["trees/booster0"]
        file["trees/booster0"] = np.frombuffer(text.encode(), dtype=np.uint8)

    return edit


@pytest.mark.parametrize(
    "name, edit, message",
    [
        ("training.h5", put_attribute("accessibility/bin", "bin_bp", "wide"), "training.h5 is no dataset of ours"),
        ("training.h5", put_attribute("", "format", [1, 2]), "training.h5 is no dataset of ours"),
        ("fold0.seed1.pt", lambda c: c["config"].update(extra=1), "fold 0 cannot be used .*extra.*; it was made by other code or forged"),
        ("fold0.seed1.pt", lambda c: c["state"].pop("tss"), "fold 0 cannot be used .*tss"),
        ("fold0.seed1.pt", lambda c: c["weights"].popitem(), "fold 0 cannot be used .*Missing key"),
        (
            "fold0.seed1.pt",
            lambda c: [w.fill_(float("nan")) for w in c["weights"].values()],
            "seed1 predicts what is no number; train again",
        ),
        ("fold0.baselines.h5", lambda f: f.__delitem__("mean"), "fold 0 cannot be used .*mean"),
        ("fold0.baselines.h5", lambda f: f["ridge/weights"].__setitem__(..., np.nan), "ridge predicts what is no number"),
        ("fold0.baselines.h5", rewrite_trees(r"left_child=\S+", "left_child=99"), "boosted trees that cannot be read; fit them again"),
        ("fold0.baselines.h5", rewrite_trees(r"split_feature=\d+", "split_feature=9999"), "boosted trees that cannot be read"),
        ("fold0.baselines.h5", rewrite_trees("num_class=1", "num_class=100000000"), "boosted trees that cannot be read"),
        ("fold0.baselines.h5", rewrite_trees("Tree=1.*", ""), "boosted trees that cannot be read"),
    ],
)
def test_a_forged_file_ends_in_one_line(bundles, tmp_path, name, edit, message):
    bundle = shutil.copytree(bundles("atac_cis", "samples"), tmp_path / "atac_cis")
    dataset = new_dataset(bundle, tmp_path / "new.h5", [2, 3])
    forge(bundle, name, edit)
    with pytest.raises(InputError, match=message):
        run("apply", "--bundle", bundle, "--fold", 0, "--dataset", dataset, "--out", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_a_collapsed_network_is_never_applied_in_silence(bundles, tmp_path, caplog):
    bundle = shutil.copytree(bundles("atac_cis", "samples"), tmp_path / "atac_cis")
    forge(bundle, "fold1.seed1.pt", lambda c: c.update(status="collapsed"))
    _, out = apply(bundle, new_dataset(bundle, tmp_path / "new.h5", [2]), tmp_path / "out")
    with h5py.File(out) as file:
        assert file["status"].asstr()[:].tolist() == [["collapsed"]]
    assert "networks that collapsed in training are among those that predict (atac_cis fold 1)" in caplog.text


def test_an_ensemble_of_several_seeds_predicts_as_it_was_recorded(bundles, tmp_path):
    made = [bundles(name, "samples", seeds=2) for name in ("atac_bins", "atac_cis")]
    recorded, training = tmp_path / "ensemble.h5", Dataset(made[0] / "training.h5")
    families = [bundle.parent.parent / f"{bundle.name}.h5" for bundle in made]
    run("ensemble", "--predictions", *families, "--dataset", training.path, "--table-out", tmp_path / "t.tsv.gz", "--out", recorded)
    tables = ["--samples-out", tmp_path / "s.tsv", "--genes-out", tmp_path / "g.tsv", "--out", tmp_path / "scores.tsv"]
    run("evaluate", "--predictions", recorded, "--dataset", training.path, *tables)
    whole = tmp_path / "models/ensemble"
    run("bundle", "--dataset", training.path, "--predictions", recorded, "--scores", tmp_path / "scores.tsv", "--out", whole)
    dataset = Dataset(new_dataset(made[0], tmp_path / "new.h5", list(range(12))))
    parts = [path for bundle in made for path in apply(bundle, dataset.path, tmp_path / bundle.name)[0]]
    files = [h5py.File(path) for path in parts]
    members = load_script("average_folds").Members(files, Bundle(whole), np.full((4, 30), True))
    with h5py.File(recorded) as file:
        tested = file["role"][:] == TEST
        place = [dataset.samples.index(name) for name in file["rows"].asstr()[:]]
        got = members.predict(slice(0, 12))[:, place]
        assert got[tested] == pytest.approx(file["predicted"][:, 0][tested], rel=1e-6, abs=1e-6)
    with pytest.raises(InputError, match="bundle ensemble: no predictions of atac_bins fold 0, .*apply every fold of atac_bins, atac_cis"):
        load_script("average_folds").Members(files[4:], Bundle(whole), np.full((4, 30), True))
    run("average_folds", "--bundle", whole, "--applied", *parts, "--dataset", dataset.path, "--out", tmp_path / "applied.h5")
    with h5py.File(tmp_path / "applied.h5") as file:
        assert "atac_cis" in file["baselines"] and file["weights"].shape == (1, len(file["members"]))


def test_a_gene_is_predicted_by_folds_that_knew_its_rna(bundles, tmp_path):
    bundle = bundles("atac_cis", "genes")
    files, out = apply(bundle, new_dataset(bundle, tmp_path / "new.h5", [2, 5]), tmp_path / "out")
    training, by_fold = Dataset(bundle / "training.h5"), []
    for path in files:
        with h5py.File(path) as file:
            by_fold.append(file["seed1"][:])
    seen = training.gene_role == TRAIN
    expected = [np.mean([one[:, gene] for one, known in zip(by_fold, seen[:, gene], strict=True) if known], axis=0) for gene in range(30)]
    with h5py.File(out) as file:
        assert file["predicted"][0, 0] == pytest.approx(np.maximum(np.array(expected).T, 0), abs=1e-5)
        assert np.abs(file["baselines/mean"][0][0] - file["training_mean"][0, 0]).max() < 0.5


def test_the_card_can_be_read_alone(bundles):
    card = (bundles("atac_cis", "samples") / "card.md").read_text()
    for said in (
        "# Model card: atac_cis",
        "## Data",
        "| S9 |",
        "## Folds",
        "samples by donor",
        "## Scores",
        "r across genes",
        "## Intervals",
        "mean over samples",
        "## Limits",
        "code abc",
    ):
        assert said in card, said
