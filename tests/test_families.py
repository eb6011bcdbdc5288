"""The contract of family.py, held against every family in the project and three toys, one for each kind of example."""

import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from exprcast.baselines import baseline_names
from exprcast.checkpoint import load_checkpoint
from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset
from exprcast.family import AXES, check_inputs, describe_methods, example_roles, load_family, make_config, make_model
from exprcast.folds import train_rows
from exprcast.metrics import pearson
from exprcast.prepared import STAGES, Prepared, map_array, packed
from exprcast.resident import ROOM, Resident, fits, resident
from exprcast.training import fit, make_fabric
from tiny import read_examples, tiny_dataset
from tiny import run_script as run

ROOT = Path(__file__).parent.parent
TOYS = Path(__file__).parent / "families"
REAL = sorted(path.stem for path in (ROOT / "bin/exprcast/families").glob("*.py") if not path.stem.startswith("_"))
FAMILIES = [(name, None) for name in REAL] + [(path.stem, TOYS) for path in sorted(TOYS.glob("*.py"))]
HOLD_OUT = {"samples": "samples", "genes": "genes", "samples×genes": "samples"}
SCHEMES = [(name, folder, hold_out) for name, folder in FAMILIES for hold_out in AXES[load_family(name, folder).EXAMPLES]]
every_scheme = pytest.mark.parametrize("name, folder, hold_out", SCHEMES)
every_family = pytest.mark.parametrize("name, folder", FAMILIES)
SMALL = {"epochs": 2}


def load(name, folder, tmp_path, hold_out=None, **how):
    family = load_family(name, folder)
    dataset = Dataset(tiny_dataset(tmp_path / "dataset.h5", hold_out=hold_out or HOLD_OUT[family.EXAMPLES], **how))
    return family, dataset, make_config(family, "default", SMALL)


def disturb(dataset, parts):
    """Return a change of a tiny dataset that turns round what stands in the members of these roles (an input of genes is theirs alone only
    where it is no signal: windows overlap)."""
    samples, genes = (np.flatnonzero(np.isin(role[0], parts)) for role in (dataset.sample_role, dataset.gene_role))

    def change(values, signal, halflife):
        if dataset.hold_out != "genes":
            values[samples], signal[samples] = values[samples[::-1]] * 3, signal[samples[::-1]] + 50
        if dataset.hold_out != "samples":
            values[:, genes], halflife[genes] = values[:, genes[::-1]] * 3, halflife[genes[::-1]] * 3

    return change


@every_scheme
def test_state_ignores_held_out_rows(name, folder, hold_out, tmp_path):
    family, dataset, config = load(name, folder, tmp_path, hold_out)
    permute = disturb(dataset, (VALID, TEST, UNUSED))
    (tmp_path / "changed").mkdir()
    other = Dataset(tiny_dataset(tmp_path / "changed/dataset.h5", hold_out=dataset.hold_out, change=permute))
    states = [family.prepare(one, train_rows(one, 0), config) for one in (dataset, other)]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(states[1][key])), key


@every_scheme
def test_weights_ignore_test_rows(name, folder, hold_out, tmp_path):
    family, dataset, config = load(name, folder, tmp_path, hold_out)
    permute = disturb(dataset, (TEST, UNUSED))
    (tmp_path / "changed").mkdir()
    other = Dataset(tiny_dataset(tmp_path / "changed/dataset.h5", hold_out=dataset.hold_out, change=permute))
    fits = []
    for one in (dataset, other):
        examples = read_examples(family, one, config)
        role = example_roles(family, one, 0)
        train, valid = (np.flatnonzero(role == part) for part in (TRAIN, VALID))
        make = partial(make_model, family, config, examples, train)
        fits.append(fit(make, examples, train, valid, config, 1, make_fabric("cpu", "32-true")))
    assert fits[0].status == "trained" and fits[0].history == fits[1].history
    for key, value in fits[0].weights.items():
        assert torch.equal(value, fits[1].weights[key]), key


@every_family
def test_initialising_leaves_the_global_generator_alone(name, folder, tmp_path):
    family, dataset, config = load(name, folder, tmp_path)
    examples = read_examples(family, dataset, config)
    train = np.flatnonzero(example_roles(family, dataset, 0) == TRAIN)
    torch.manual_seed(1)
    family.Model(config, examples.sizes)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    made = make_model(family, config, examples, train)
    assert torch.equal(drawn, torch.rand(3))
    if name == "toy_genes":
        assert torch.equal(made.mean, examples.targets(train).mean(dim=0)), "it was set"


def test_the_methods_text_says_what_was_done():
    family = load_family("toy_samples", TOYS)
    usual = describe_methods(family, make_config(family, "default"))
    assert "by AdamW on squared error (learning rate 0.03, weight decay 0.01, batches of 256, at most 60 epochs, 6 without" in usual
    plain = {"optimizer": "sgd", "momentum": 0.9, "schedule": "constant", "batch_size": 0, "patience": 0}
    text = describe_methods(family, make_config(family, "default", plain), refit=True)
    assert "by SGD with momentum 0.9" in text and "learning rate 0.03, constant" in text and "all training examples in every step" in text
    assert "60 epochs); the last weights were kept." in text and "on training and validation part together" in text
    assert "together" not in usual and "summed" not in usual and "multiplied" not in usual and "times" not in usual
    paper = {"loss": "sum", "schedule": "on-rise", "later_rate": 3.0, "batch_size": 50, "accumulate": 4}
    text = describe_methods(family, make_config(family, "default", paper))
    assert (
        "squared error, summed over an example's outputs and averaged over examples (learning rate 0.03, times 3 for weights behind" in text
    )
    assert "multiplied by 0.9 after each epoch in which the error on training examples rose" in text and "batches of 200," in text


@every_family
def test_the_methods_text_names_the_settings(name, folder):
    family = load_family(name, folder)
    text = describe_methods(family, make_config(family, "default", {"epochs": 77}))
    assert "77 epochs" in text and "{" not in text


@every_family
def test_examples_held_on_a_device_are_the_same(name, folder, tmp_path):
    family, dataset, config = load(name, folder, tmp_path)
    examples = read_examples(family, dataset, config)
    some = np.flatnonzero(np.arange(len(examples)) % 3 > 0)
    held = Resident(examples, some[::-1].copy(), torch.device("cpu"))
    index = some[[3, 0, 2]]
    assert all(torch.equal(ours, own) for ours, own in zip(held.inputs(index), examples.inputs(index), strict=True))
    assert torch.equal(held.targets(index).nan_to_num(-1), examples.targets(index).nan_to_num(-1))
    bytes_needed = sum(part.nbytes for part in (*examples.inputs(some), examples.targets(some)))
    assert fits(examples, some, int(bytes_needed / ROOM) + 1) and not fits(examples, some, int(bytes_needed / ROOM) - 10)
    assert resident(examples, some, torch.device("cpu")) is None


@every_family
def test_same_prediction_at_any_batch_size(name, folder, tmp_path):
    family, dataset, config = load(name, folder, tmp_path)
    examples = read_examples(family, dataset, config)
    torch.manual_seed(0)
    model = make_model(family, config, examples, np.flatnonzero(example_roles(family, dataset, 0) == TRAIN)).eval()
    index = np.arange(min(8, len(examples)))
    together = model(*examples.inputs(index))
    alone = torch.cat([model(*examples.inputs(index[i : i + 1])) for i in index])
    assert together.shape == examples.targets(index).shape
    assert together.std() > 0
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@every_family
def test_examples_fill_their_matrix(name, folder, tmp_path):
    family, dataset, config = load(name, folder, tmp_path)
    examples = read_examples(family, dataset, config)
    outputs = examples.targets(np.array([0])).shape[1]
    assert len(examples) * outputs == len(examples.rows) * len(examples.columns)
    assert len(example_roles(family, dataset, 0)) == len(examples)
    assert set(examples.explained) <= set(examples.input_names)
    index = np.arange(3)
    assert len(examples.inputs(index)) == len(examples.reference(index)) == len(examples.input_names)
    assert examples.features(index).shape[0] == 3


@every_family
def test_train_predict_attribute_combine_evaluate(name, folder, tmp_path):
    """From dataset to scores by the scripts' own mains; the toys, whose truth is linear, must also find it."""
    family, dataset, _ = load(name, folder, tmp_path, samples=16, genes=30)
    where = ["--families-dir", folder] if folder else []
    data = ["--dataset", dataset.path]
    config = ["--config", '{"epochs": 2}'] if not folder else []
    parts = []
    for fold in range(dataset.n_folds):
        stem = tmp_path / f"{name}.fold{fold}"
        prepared = ["--prepared", f"{stem}.prepared", *where, *data]
        run("prepare.py", "--family", name, *where, *config, "--fold", fold, *data, "--out", prepared[1])
        run("train.py", *prepared, "--history-out", f"{stem}.history.tsv", "--out", f"{stem}.pt")
        run("fit_baselines.py", *prepared, "--out", f"{stem}.baselines.h5")
        for option, source in (("--checkpoint", "pt"), ("--baselines", "baselines.h5")):
            parts.append(tmp_path / f"{fold}.{source}.predictions.h5")
            run("predict.py", option, f"{stem}.{source}", *prepared, "--out", parts[-1])
        if fold == 0:
            run("attribute.py", "--checkpoint", f"{stem}.pt", *prepared, "--out", tmp_path / "attributions.h5")
        if fold == 1:
            break
    run("combine.py", "--predictions", *parts, "--table-out", tmp_path / "cells.tsv.gz", "--out", tmp_path / "predictions.h5")
    tables = [word for kind in ("samples", "genes") for word in (f"--{kind}-out", tmp_path / f"{kind}.tsv")]
    run("evaluate.py", "--predictions", tmp_path / "predictions.h5", *data, *tables, "--out", tmp_path / "scores.tsv")
    check_predictions(tmp_path / "predictions.h5", baseline_names(family.EXAMPLES), learned=folder is not None)
    with h5py.File(tmp_path / "attributions.h5") as file:
        assert file.attrs["completeness_error_max"] < 1e-2
        assert any(np.abs(shares[:]).sum() > 0 for shares in file["shares"].values())
    rows = [line.split("\t") for line in (tmp_path / "scores.tsv").read_text().splitlines()]
    assert {row[1] for row in rows[1:]} - {"replicate", "ceiling"} == {"model", *baseline_names(family.EXAMPLES)}
    assert (
        load_checkpoint(tmp_path / f"{name}.fold0.pt")["columns"] == read_examples(family, dataset, make_config(family, "default")).columns
    )


def fit_and_predict(name, hold_out, folder, *more, change=None, control=(), families=TOYS):
    """Return {predictor: matrix} of fold 0 and the checkpoint, through the scripts; `more` goes to what prepares."""
    folder.mkdir()
    dataset = tiny_dataset(folder / "dataset.h5", hold_out=hold_out, samples=12, genes=30, change=change)
    toy, files = ["--dataset", dataset, *(["--families-dir", families] if families else [])], (folder / "a.pt", folder / "a.h5")
    run("prepare.py", "--family", name, *toy, "--fold", 0, *more, "--out", folder / "prepared")
    toy += ["--prepared", folder / "prepared"]
    run("train.py", *toy, *control, "--history-out", folder / "history.tsv", "--out", files[0])
    run("fit_baselines.py", *toy, "--out", files[1])
    matrices = {}
    for option, source in zip(("--checkpoint", "--baselines"), files, strict=True):
        run("predict.py", option, source, *toy, "--out", folder / f"{source.name}.predictions.h5")
        with h5py.File(folder / f"{source.name}.predictions.h5") as file:
            matrices |= {key: values[:] for key, values in file.items() if key not in ("rows", "columns")}
            assert bool(file.attrs["refit"]) == ("--refit" in more)
    return matrices, load_checkpoint(files[0])


@pytest.mark.parametrize(
    "name, hold_out", [("toy_samples", "samples"), ("toy_genes", "genes"), ("toy_pairs", "samples"), ("toy_pairs", "both")]
)
def test_a_second_fit_predicts_the_test_part_and_the_first_one_validation(name, hold_out, tmp_path):
    once, first = fit_and_predict(name, hold_out, tmp_path / "once")
    twice, second = fit_and_predict(name, hold_out, tmp_path / "twice", "--refit")
    role, observed = once["role"], once["observed"]
    for key in ("model", *baseline_names(load_family(name, TOYS).EXAMPLES)):
        assert twice[key][role == VALID] == pytest.approx(once[key][role == VALID], rel=1e-6, abs=1e-6), key
        assert key == "nearest" or np.abs(once[key] - twice[key])[role == TEST].max() > 1e-4, key  # the nearest may stay the same
        assert np.isnan(twice[key][role == TRAIN]).all() and np.isfinite(twice[key][role == TEST]).all(), key
    joined = np.where(role <= VALID, observed, np.nan)
    if hold_out == "samples":  # by hand
        assert twice["mean"][role == TEST] == pytest.approx(np.broadcast_to(np.nanmean(joined, axis=0), role.shape)[role == TEST], abs=1e-5)
        assert twice["training_mean"][0] == pytest.approx(np.nanmean(joined, axis=0), abs=1e-5)
    if name == "toy_genes":
        assert second["weights"]["mean"] == pytest.approx(np.nanmean(joined, axis=1), abs=1e-5), "initialise() sees validation"
        data = ["--families-dir", TOYS, "--dataset", tmp_path / "twice/dataset.h5", "--prepared", tmp_path / "twice/prepared"]
        run("attribute.py", "--checkpoint", tmp_path / "twice/a.pt", *data, "--out", tmp_path / "shares.h5")
        with h5py.File(tmp_path / "shares.h5") as file:
            assert file["predicted"][:] == pytest.approx(twice["model"][0][role[0] == TEST], abs=1e-5), "the second fit is explained"
    assert first["selection"] is None and second["selection"].keys() == {"sizes", "state", "weights"}
    for part in ("state", "weights"):
        assert all(torch.equal(value, second["selection"][part][key]) for key, value in first[part].items())
        assert any(not torch.equal(value, second[part][key]) for key, value in first[part].items())
    assert (tmp_path / "once/history.tsv").read_bytes() == (tmp_path / "twice/history.tsv").read_bytes()


@every_scheme
def test_test_rows_change_nothing_in_a_second_fit_and_validation_does(name, folder, hold_out, tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", hold_out=hold_out, samples=12, genes=30))
    options = ["--refit", "--config", json.dumps(SMALL)]
    (before, one), (after, other), (_, third) = (
        fit_and_predict(name, hold_out, tmp_path / word, *options, change=change, families=folder)
        for word, change in (("before", None), ("after", disturb(dataset, (TEST, UNUSED))), ("valid", disturb(dataset, (VALID,))))
    )
    for part in ("state", "weights"):
        assert all(np.array_equal(value, other[part][key], equal_nan=True) for key, value in one[part].items()), part
    assert any(not np.array_equal(value, third["weights"][key], equal_nan=True) for key, value in one["weights"].items())
    tested = before["role"] == TEST
    assert np.array_equal(before["mean"], after["mean"], equal_nan=True) and not np.array_equal(before["observed"], after["observed"])
    if hold_out != "genes" or name == "toy_genes":  # windows overlap, so that a gene's own signal cannot be disturbed alone
        assert not np.array_equal(before["ridge"][tested], after["ridge"][tested]), "other inputs, other predictions"


@every_scheme
def test_what_is_prepared_is_what_a_family_makes_in_memory(name, folder, hold_out, tmp_path):
    """Both stages, the same bytes each time, mapped read-only; the fold's second fit looks at validation rows, too."""
    family, dataset, config = load(name, folder, tmp_path, hold_out)
    where = ["--families-dir", folder] if folder else []
    for out in ("first", "again"):
        run("prepare.py", "--family", name, *where, "--config", json.dumps(SMALL), "--fold", 1, "--refit", "--dataset", dataset.path, "--out", tmp_path / out)  # fmt: skip
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*"))
    assert [path.name for path in files].count("prepared.pt") == 1
    assert all((tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)
    prepared = Prepared(tmp_path / "first", dataset, folder)
    index = np.arange(4)
    for with_valid in (False, True):
        rows = train_rows(dataset, 1, with_valid)
        state = family.prepare(dataset, rows, config)
        assert packed(state) == packed(prepared.state(with_valid))
        expected, mapped = read_examples(family, dataset, config, rows), prepared.examples(with_valid)
        for what in ("inputs", "reference"):
            for one, other in zip(getattr(expected, what)(index), getattr(mapped, what)(index), strict=True):
                assert np.array_equal(one, other, equal_nan=True)
        assert np.array_equal(expected.features(index), mapped.features(index))
        for path in (tmp_path / "first" / STAGES[with_valid]).glob("*.npy"):
            assert not map_array(path).flags.writeable
    assert np.array_equal(prepared.roles, example_roles(family, dataset, 1))


def test_what_was_prepared_for_something_else_is_refused(tmp_path):
    fit_and_predict("toy_pairs", "samples", tmp_path / "once")
    fit_and_predict("toy_pairs", "samples", tmp_path / "twice", "--refit")
    fit_and_predict("toy_pairs", "samples", tmp_path / "other", change=lambda values, signal, halflife: values.__imul__(2))
    shared = ["--families-dir", TOYS, "--dataset", tmp_path / "once/dataset.h5", "--out", tmp_path / "no.h5"]
    prepared = ["--prepared", tmp_path / "once/prepared", *shared]
    for option, file in (("--checkpoint", "a.pt"), ("--baselines", "a.h5")):
        with pytest.raises(InputError, match=f"{file} was not fitted with prepared: refit differ; give what was prepared for it"):
            run("predict.py", option, tmp_path / "twice" / file, *prepared)
    for script in ("predict.py", "attribute.py"):
        with pytest.raises(InputError, match="a.pt was trained with another state than prepared holds"):
            run(script, "--checkpoint", tmp_path / "other/a.pt", *prepared)
    run("prepare.py", "--family", "toy_pairs", "--preset", "short", "--fold", 1, *shared[:-1], tmp_path / "short")
    with pytest.raises(InputError, match="a.pt was not fitted with short: preset, config, fold differ"):
        run("predict.py", "--checkpoint", tmp_path / "once/a.pt", "--prepared", tmp_path / "short", *shared)
    more = tiny_dataset(tmp_path / "more.h5", samples=12, genes=33)
    with pytest.raises(InputError, match="prepared was not prepared from more.h5: samples, genes or folds differ; prepare it again"):
        run(
            "train.py",
            *prepared[:2],
            "--families-dir",
            TOYS,
            "--dataset",
            more,
            "--history-out",
            tmp_path / "h.tsv",
            "--out",
            tmp_path / "a.pt",
        )
    with pytest.raises(InputError, match="--fold 9: dataset.h5 has folds 0 to 5"):
        run("prepare.py", "--family", "toy_pairs", "--fold", 9, *shared)


def test_damaged_preparation_is_named(tmp_path):
    fit_and_predict("toy_pairs", "samples", tmp_path / "a")
    command = [
        "--checkpoint",
        tmp_path / "a/a.pt",
        "--families-dir",
        TOYS,
        "--dataset",
        tmp_path / "a/dataset.h5",
        "--out",
        tmp_path / "no.h5",
    ]
    array = tmp_path / "a/prepared/train/signal.npy"
    array.write_bytes(array.read_bytes()[:-100])
    with pytest.raises(InputError, match="prepared/train: signal.npy cannot be read .*; prepare it again"):
        run("predict.py", *command, "--prepared", tmp_path / "a/prepared")
    (tmp_path / "a/prepared/prepared.pt").write_bytes(b"nothing")
    with pytest.raises(InputError, match="prepared.pt: not a prepared fold that can be read safely"):
        run("predict.py", *command, "--prepared", tmp_path / "a/prepared")
    with pytest.raises(InputError, match="none/prepared.pt: no such file"):
        run("predict.py", *command, "--prepared", tmp_path / "none")


def test_the_control_is_fitted_again_like_the_model(tmp_path):
    control = ["--control", "shuffled"]
    (once, first), (twice, second) = (
        fit_and_predict("toy_pairs", "both", tmp_path / str(len(more)), *more, control=control) for more in ((), ("--refit",))
    )
    role = once["role"]
    assert twice["model"][role == VALID] == pytest.approx(once["model"][role == VALID], rel=1e-6) and second["control"] == "shuffled"
    assert np.isfinite(twice["model"][role == TEST]).all() and not torch.equal(
        *(one["weights"]["linear.weight"] for one in (first, second))
    )


def test_fits_of_two_kinds_are_not_combined(tmp_path):
    fit_and_predict("toy_pairs", "samples", tmp_path / "once")
    fit_and_predict("toy_pairs", "samples", tmp_path / "twice", "--refit")
    parts = [tmp_path / "once/a.h5.predictions.h5", tmp_path / "twice/a.pt.predictions.h5"]
    with pytest.raises(InputError, match="some were fitted again with --refit and some were not; train all alike"):
        run("combine.py", "--predictions", *parts, "--out", tmp_path / "all.h5")
    parts[0] = tmp_path / "twice/a.h5.predictions.h5"
    run("combine.py", "--predictions", *parts, "--out", tmp_path / "all.h5")


def check_predictions(path, names, learned):
    with h5py.File(path) as file:
        role, predicted, observed = file["role"][:], file["predicted"][:], file["observed"][:]
        assert not np.isnan(predicted[:, 0][role == TEST]).any()
        assert np.isnan(predicted[:, 0][role == TRAIN]).all()
        for name in names:
            assert not np.isnan(file[f"baselines/{name}"][:][role == TEST]).any(), name
        if learned:
            truth = np.broadcast_to(observed, role.shape)
            assert pearson(predicted[:, 0][role == TEST], truth[role == TEST], axis=0) > 0.4


def test_unknown_family_lists_the_known_ones():
    with pytest.raises(InputError, match="no model family 'atac_cs'; there are .*atac_cis"):
        load_family("atac_cs")


def test_a_path_is_no_family():
    with pytest.raises(InputError, match="no model family"):
        load_family("../training")


def test_incomplete_family_is_named(tmp_path):
    (tmp_path / "half.py").write_text("EXAMPLES = 'samples'\nINPUTS = ()\n")
    with pytest.raises(TypeError, match="family half: lacks TARGET, UNITS, METHODS, Config"):
        load_family("half", tmp_path)


def test_options_are_checked():
    family = load_family("toy_samples", TOYS)
    assert make_config(family, "short", {"learning_rate": 1}).learning_rate == 1
    with pytest.raises(InputError, match="no option 'epoch'; there are epochs"):
        make_config(family, "default", {"epoch": 3})
    with pytest.raises(InputError, match="epochs: 'three' is not a int"):
        make_config(family, "default", {"epochs": "three"})
    with pytest.raises(InputError, match="no preset 'long'; there are default, short"):
        make_config(family, "long")


def test_missing_input_and_wrong_axis_are_named(tmp_path):
    family = load_family("toy_samples", TOYS)
    dataset = Dataset(tiny_dataset(tmp_path / "genes.h5", hold_out="genes"))
    with pytest.raises(InputError, match="toy_samples has one example a sample: it can hold out samples, the dataset holds out genes"):
        check_inputs(family, dataset)
    path = tiny_dataset(tmp_path / "bare.h5")
    with h5py.File(path, "a") as file:
        del file["accessibility"]
    with pytest.raises(InputError, match="toy_samples needs accessibility/bin, accessibility/signal, which bare.h5 does not have"):
        check_inputs(family, Dataset(path))
    with h5py.File(tiny_dataset(tmp_path / "unit.h5"), "a") as file:
        file["expression/gene"].attrs["unit"] = "zscore"
    with pytest.raises(InputError, match="predicts expression/gene in tpm; unit.h5 has it in zscore"):
        check_inputs(family, Dataset(tmp_path / "unit.h5"))
