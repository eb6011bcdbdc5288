"""The control with shuffled labels: values stay in their role and, of pairs, with their gene; nothing of the test part is left."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from exprcast.controls import ShuffledExamples
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.family import example_roles, load_family, make_config, make_model
from exprcast.means import nan_mean, target_matrix
from exprcast.training import Training, make_fabric, predict, refit
from tiny import read_examples, tiny_dataset

TOYS = Path(__file__).parent / "families"


def shuffled(tmp_path, name, hold_out, seed=1):
    family, dataset = load_family(name, TOYS), Dataset(tiny_dataset(tmp_path / f"{seed}.h5", hold_out=hold_out, samples=12, genes=30))
    config = family.Config()
    examples = read_examples(family, dataset, config)
    roles = example_roles(family, dataset, 0)
    return family, examples, roles, ShuffledExamples(family.EXAMPLES, examples, roles, seed)


@pytest.mark.parametrize(
    "name, hold_out", [("toy_samples", "samples"), ("toy_genes", "genes"), ("toy_pairs", "samples"), ("toy_pairs", "genes")]
)
def test_values_change_places_inside_their_role(tmp_path, name, hold_out):
    family, examples, roles, control = shuffled(tmp_path, name, hold_out)
    for role in (TRAIN, VALID):
        index = np.flatnonzero(roles == role)
        before, after = examples.targets(index).numpy(), control.targets(index).numpy()
        assert np.array_equal(np.sort(before.ravel()), np.sort(after.ravel()))
        assert role == VALID or (before != after).mean() > 0.5
    assert np.isnan(control.targets(np.flatnonzero(roles == TEST)).numpy()).all()
    assert len(control) == len(examples) and control.input_names == examples.input_names


def test_genes_keep_their_level_where_samples_are_held_out(tmp_path):
    family, examples, roles, control = shuffled(tmp_path, "toy_pairs", "samples")
    train = np.flatnonzero(roles == TRAIN)
    levels = [nan_mean(target_matrix(family.EXAMPLES, one, train), axis=0) for one in (examples, control)]
    assert levels[0] == pytest.approx(levels[1], abs=1e-5)


def test_genes_lose_their_level_where_genes_are_held_out(tmp_path):
    family, examples, roles, control = shuffled(tmp_path, "toy_pairs", "genes")
    train = np.flatnonzero(roles == TRAIN)
    levels = [nan_mean(target_matrix(family.EXAMPLES, one, train), axis=0) for one in (examples, control)]
    known = ~np.isnan(levels[0])
    assert np.allclose(np.sort(levels[0][known]), np.sort(levels[1][known]), atol=1e-5)
    assert (np.abs(levels[0] - levels[1])[known] > 1e-3).mean() > 0.5


@pytest.mark.parametrize("name", ["atac_context", "atac_cis"])
def test_a_control_with_new_genes_knows_no_level(tmp_path, name):
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30, hold_out="genes"))
    family = load_family(name)
    examples, roles = read_examples(family, dataset, make_config(family, "quick")), example_roles(family, dataset, 0)
    train, test = (np.flatnonzero(roles == role) for role in (TRAIN, TEST))
    before = examples.inputs(train)[-1].numpy()
    control = ShuffledExamples(family.EXAMPLES, examples, roles, 1)
    assert len(np.unique(before)) >= 10 and control.inputs(train)[-1].numpy() == pytest.approx(before.mean(), abs=0.1)
    assert len(control.inputs(train)[-1].unique()) == 1 and control.inputs(test)[-1].isnan().all()


def test_a_control_with_new_genes_tells_nothing_of_their_level(tmp_path):
    """A gene's level follows its chromatin: a family that knows levels must not learn how shuffled ones differ from the true ones."""

    def plant(values, signal, halflife):
        signal *= np.linspace(0.2, 5, 45)[np.random.default_rng(1).permutation(45)]
        values[:] = signal * 2

    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=45, hold_out="genes", change=plant))
    family, fabric = load_family("atac_context"), make_fabric("cpu", "32-true")
    config = make_config(family, "default", {"epochs": 20, "batch_size": 128})
    roles, told = example_roles(family, dataset, 0), []
    train, valid, test = (np.flatnonzero(roles == role) for role in (TRAIN, VALID, TEST))
    for seed in range(9):
        examples = read_examples(family, dataset, config)
        truth = examples.targets(test)[:, 0].numpy()
        shuffled_too = ShuffledExamples(family.EXAMPLES, examples, roles, seed) if seed else examples
        training = Training(partial(make_model, family, config, shuffled_too, train), shuffled_too, train, config, 1 + seed, fabric)
        refit(training, config.epochs)
        predicted = predict(training.model, examples, test, 4096, fabric)[:, 0].numpy()
        told.append(np.polyfit(truth, predicted, 1)[0])
    assert told[0] > 0.8 and abs(np.mean(told[1:])) < 0.1  # −0.21 where it knew levels


def test_the_seed_says_how(tmp_path):
    first, again, other = (shuffled(tmp_path, "toy_pairs", "samples", seed)[3].values for seed in (1, 1, 2))
    assert np.array_equal(first, again, equal_nan=True) and not np.array_equal(first, other, equal_nan=True)
