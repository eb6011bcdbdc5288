"""deepsf: planted factors are found, by every way of explaining; controls without them gain nothing; what is refused."""

from functools import partial

import h5py
import numpy as np
import pytest
import torch

from exprcast.attribution import DEEPLIFT, INTEGRATED, share_out
from exprcast.cli import InputError
from exprcast.controls import under
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.families import deepsf
from exprcast.family import make_config, make_model
from exprcast.folds import train_rows
from exprcast.metrics import interval_of_ratio
from exprcast.training import fit, make_deterministic, make_fabric, predict
from planted import planted_dataset
from test_landmarks import write
from tiny import load_script, read_examples, run_script

FABRIC = make_fabric("cpu", "32-true")
SMALL = {"hidden": [32], "components": 16, "epochs": 10, "context": 0}
SEEDS, LEAST_EMPTY = 30, 28  # of permuted controls, and how many of them may not have an interval above 0


def trained(dataset, control="", seed=1, **options):
    """Return examples of fold 0 as a control reads them, and the network that was trained on them."""
    make_deterministic(1)
    config = make_config(deepsf, "default", SMALL | options)
    examples = under(deepsf, read_examples(deepsf, dataset, config, train_rows(dataset, 0)), control, seed)
    train, valid = (np.flatnonzero(dataset.sample_role[0] == role) for role in (TRAIN, VALID))
    result = fit(partial(make_model, deepsf, config, examples, train), examples, train, valid, config, seed, FABRIC)
    model = deepsf.Model(config, examples.sizes)
    model.load_state_dict(result.weights)
    return examples, model, np.flatnonzero(dataset.sample_role[0] == TEST)


def saved(dataset, examples, model, test):
    """Return how much smaller the squared error is than the training mean's, in each test sample's mean, with its interval over donors."""
    found, observed = predict(model, examples, test, 64, FABRIC).numpy(), examples.values[test]
    mean = np.nanmean(examples.values[dataset.sample_role[0] == TRAIN], axis=0)
    by_sample = np.nansum((mean - observed) ** 2 - (found - observed) ** 2, axis=1)
    donors = np.unique(np.array(dataset.text("samples/donor"))[test], return_inverse=True)[1]
    return interval_of_ratio(np.bincount(donors, by_sample), np.bincount(donors).astype(float) * observed.shape[1], seed=0)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return a dataset of 96 samples, its truth, and a network trained on it."""
    path = tmp_path_factory.mktemp("planted") / "dataset.h5"
    truth = planted_dataset(path)
    dataset = Dataset(path)
    return dataset, truth, trained(dataset)


def test_the_network_tells_shares_from_factors(planted):
    dataset, _, run = planted
    value, low, _ = saved(dataset, *run)
    assert low > 0 and value > 0.0005


def explained(planted):
    """Return test examples, each with every isoform that a factor acts on, and the number of that factor among those listed."""
    dataset, truth, (examples, _, test) = planted
    listed = np.flatnonzero(dataset.array("lists/splicing_factor"))
    outputs = np.searchsorted(examples.isoforms.listed, truth.transcript)
    return np.repeat(test, len(outputs)), np.tile(outputs, len(test)), np.searchsorted(listed, truth.factor)


@pytest.mark.parametrize("method", [INTEGRATED, DEEPLIFT])
def test_the_planted_factor_ranks_first_for_its_gene(planted, method):
    examples, model, test = planted[2]
    index, outputs, factor = explained(planted)
    result = share_out(model, examples, index, outputs, FABRIC, method)
    assert result.completeness_error.max() < 1e-4 and list(result.shares) == ["factors"]
    shares = np.abs(result.shares["factors"]).reshape(len(test), len(factor), -1).mean(axis=0)  # (isoforms, factors)
    assert (shares.argmax(axis=1) == factor).all()


def test_knocked_down_factors_are_the_planted_ones(planted):
    """What a prediction loses when a factor is halved has the sign of the planted effect."""
    examples, model, test = planted[2]
    _, _, factor = explained(planted)
    isoforms = np.searchsorted(examples.isoforms.listed, planted[1].transcript)
    lost = load_script("attribute").knock_down(model, examples, np.repeat(test, len(isoforms)), np.tile(isoforms, len(test)), FABRIC)
    lost = lost.reshape(len(test), len(isoforms), -1)  # (samples, isoforms, factors)
    assert (np.abs(lost).mean(axis=0).argmax(axis=1) == factor).all()
    own = lost.mean(axis=0)[np.arange(len(factor)), factor]
    assert (np.sign(own) == np.sign(planted[1].effect)).mean() > 0.9


def test_permuted_factors_gain_nothing(tmp_path):
    """In 28 of 30 cohorts at least the interval of the gain over the training mean holds 0, or is below."""
    lows, real = [], []
    for seed in range(SEEDS):
        planted_dataset(tmp_path / f"{seed}.h5", samples=48, donors=24, genes=40, seed=seed)
        dataset = Dataset(tmp_path / f"{seed}.h5")
        lows.append(saved(dataset, *trained(dataset, "permuted", seed, epochs=3))[1])
        if seed < 3:
            real.append(saved(dataset, *trained(dataset, seed=seed, epochs=3))[1])
    assert sum(low <= 0 for low in lows) >= LEAST_EMPTY
    assert min(real) > 0, "the factors themselves do gain"


def test_permuted_factors_are_of_the_same_biosample(tmp_path):
    planted_dataset(tmp_path / "dataset.h5", samples=24, donors=8, genes=40, biosamples=3)
    dataset = Dataset(tmp_path / "dataset.h5")
    examples = read_examples(deepsf, dataset, make_config(deepsf, "default", SMALL))
    other = under(deepsf, examples, "permuted", 1)
    place = {row.tobytes(): sample for sample, row in enumerate(examples.factors)}
    source = np.array([place[row.tobytes()] for row in other.factors])
    kinds = np.array(dataset.text("samples/biosample"))
    assert sorted(source) == list(range(24)) and (source != np.arange(24)).sum() > 12
    assert (kinds[source] == kinds).all() and np.array_equal(other.values, examples.values, equal_nan=True)
    assert under(deepsf, examples, "matched", 1).factors is examples.matched
    assert under(deepsf, examples, "", 1) is examples


def test_a_validation_set_of_one_sample_is_enough(tmp_path):
    planted_dataset(tmp_path / "dataset.h5", samples=12, donors=12, genes=40)
    with h5py.File(tmp_path / "dataset.h5", "r+") as file:
        file["folds/sample_role"][0] = [TEST] * 3 + [VALID] + [TRAIN] * 8
    examples, model, test = trained(Dataset(tmp_path / "dataset.h5"), context=8)
    found = predict(model, examples, test, 64, FABRIC)
    group = torch.from_numpy(examples.isoforms.group)
    sums = torch.zeros(len(test), len(examples.isoforms.genes)).index_add(1, group, found)
    assert (found > 0).all() and sums == pytest.approx(1, abs=1e-5), "all transcripts are listed here, and nothing is left over"


def test_unknown_controls_and_settings_are_refused(tmp_path):
    path = tmp_path / "dataset.h5"
    planted_dataset(path, samples=12, donors=6, genes=40)
    prepared = tmp_path / "fold.prepared"
    run_script("prepare", "--family", "deepsf", "--fold", 0, "--dataset", path, "--out", prepared)
    out = ["--history-out", tmp_path / "h.tsv", "--out", tmp_path / "c.pt"]
    with pytest.raises(InputError, match="--control permute: deepsf has shuffled, permuted, matched"):
        run_script("train", "--prepared", prepared, "--dataset", path, "--control", "permute", *out)
    for options, message in (({"quantile": "all"}, "quantile all: deepsf maps nothing by rank"), ({"context": -1}, "context -1")):
        with pytest.raises(InputError, match=message):
            make_config(deepsf, "default", options)


def test_a_dataset_without_transcripts_is_refused(tmp_path):
    path = write(tmp_path / "dataset.h5", np.ones((6, 8)), 4).path
    with pytest.raises(
        InputError, match="deepsf needs transcripts/gene, lists/splicing_factor, lists/isoform, expression/transcript, which"
    ):
        run_script("prepare", "--family", "deepsf", "--fold", 0, "--dataset", path, "--out", tmp_path / "p")
