"""The sequence network: its published form, what it reads, the fast first layer, and that it learns a planted motif."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from exprcast.attribution import METHODS, share_out
from exprcast.cli import InputError
from exprcast.dataset import Dataset, create_dataset, write_array
from exprcast.families import xpresso
from exprcast.family import make_config, make_model
from exprcast.folds import Rows
from exprcast.sequence import WordConvolution, count_words, one_hot, reverse_complement, word_shares, words
from exprcast.training import fit, make_deterministic, make_fabric
from tiny import read_examples

MOTIF = np.array(["ACGT".index(base) for base in "CCGGAAGT"])
PUBLISHED_SIZES = {"width": 10_500, "halflife": 8, "labels": 1}


def write_dataset(path, codes, halflife, labels, upstream=None, scale="transformed", roles=None):
    """Write a dataset of genes alone."""
    genes, upstream = len(codes), codes.shape[1] // 2 if upstream is None else upstream
    with create_dataset(path, assembly="made", annotation="made", code="", sources="{}") as file:
        for column in ("id", "donor", "biosample", "replicate_group", "batch"):
            write_array(file, f"samples/{column}", [])
        for column, values in {"id": [f"G{i:04}" for i in range(genes)], "chrom": ["c"] * genes, "strand": ["+"] * genes}.items():
            write_array(file, f"genes/{column}", values)
        write_array(file, "chromosomes/name", ["c"])
        write_array(file, "chromosomes/size", np.array([10**6]))
        write_array(file, "promoters/sequence", codes, upstream_bp=upstream, downstream_bp=codes.shape[1] - upstream)
        if halflife is not None:
            write_array(file, "promoters/halflife", halflife, name=list("abcdefgh")[: halflife.shape[1]], scale=scale)
        write_array(file, "labels/value", labels, unit="log10_rpkm")
        write_array(file, "labels/name", [f"label{i}" for i in range(len(labels))])
        roles = np.arange(genes) % 5 // 3 if roles is None else roles
        write_array(file, "folds/sample_role", np.zeros((1, 0)), hold_out="genes", scheme="genes", promised="", seed=0)
        write_array(file, "folds/gene_role", roles[None])
    return Dataset(path)


def plain_rows(dataset):
    """Return the training rows of a dataset without samples."""
    return Rows(np.arange(0), np.flatnonzero(dataset.gene_role[0] == 0))


@pytest.fixture
def promoters():
    rng = np.random.default_rng(1)
    return rng.integers(0, 4, (60, 400)), rng.normal(size=(60, 8)), rng.normal(size=(2, 60))


@pytest.mark.parametrize("preset", ["paper", "notebook"])
def test_published_network_has_its_number_of_weights(preset):
    model = xpresso.Model(make_config(xpresso, preset), PUBLISHED_SIZES)
    assert sum(weight.numel() for weight in model.parameters()) == 112_485


def test_default_network_has_no_narrow_rectifiers():
    model = xpresso.Model(xpresso.Config(), {"width": 2_048, "halflife": 8, "labels": 1})
    assert sum(weight.numel() for weight in model.parameters()) == 113_217
    assert not any(isinstance(layer, torch.nn.ReLU) for layer in model.modules())


def numpy_forward(model, codes, halflife):
    """Return the published network's predictions in NumPy, by its definition."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    x = np.eye(5, 4)[codes].transpose(0, 2, 1)
    for number, pool in ((0, 30), (1, 10)):
        weight, bias = state[f"trunk.{number}.weight"], state[f"trunk.{number}.bias"]
        width = weight.shape[2]
        x = np.pad(x, ((0, 0), (0, 0), ((width - 1) // 2, width // 2)))
        x = np.einsum("bctk,fck->bft", np.lib.stride_tricks.sliding_window_view(x, width, axis=2), weight) + bias[:, None]
        x = np.maximum(x, 0)[:, :, : x.shape[2] // pool * pool].reshape(len(x), len(weight), -1, pool).max(axis=3)
    x = np.concatenate([x.transpose(0, 2, 1).reshape(len(x), -1), halflife], axis=1)
    for number in (0, 3, 6):
        x = x @ state[f"head.{number}.weight"].T + state[f"head.{number}.bias"]
        x = np.maximum(x, 0) if number < 6 else x
    return state["mean"] + state["scale"] * x


def test_forward_pass_equals_numpy():
    torch.manual_seed(0)
    model = xpresso.Model(make_config(xpresso, "paper"), PUBLISHED_SIZES).eval()
    with torch.no_grad():
        model.head[3].bias.fill_(0.5)  # of two rectifiers, both on
        model.mean.fill_(0.3)
        model.scale.fill_(2.0)
    rng = np.random.default_rng(0)
    codes, halflife = rng.integers(0, 5, (3, 10_500)).astype(np.uint8), rng.normal(size=(3, 8)).astype(np.float32)
    given = torch.from_numpy(codes), torch.from_numpy(halflife)
    with torch.no_grad():
        predicted, plain = model(*given), model(one_hot(given[0]), given[1])
    expected = numpy_forward(model, codes, halflife)
    assert expected.std() > 1e-3
    assert np.abs(predicted.numpy() - expected).max() < 1e-5 and np.abs(plain.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(("filters", "width", "pool", "bases"), [(7, 6, 10, 100), (5, 3, 10, 95), (4, 1, 7, 30), (6, 8, 5, 60)])
def test_words_give_the_same_as_bases(filters, width, pool, bases):
    torch.manual_seed(2)
    layer, codes = WordConvolution(filters, width, pool), torch.randint(0, 5, (9, bases), dtype=torch.uint8)
    results = []
    for given in (codes, one_hot(codes)):
        layer.zero_grad()
        out = layer(given)
        (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
        results.append((out.detach(), layer.weight.grad.clone(), layer.bias.grad.clone()))
    for fast, plain in zip(*results, strict=True):
        assert fast.shape == plain.shape and torch.allclose(fast, plain, atol=1e-4, rtol=1e-4)
    assert results[0][0].shape == (9, filters, bases // pool) and results[0][1].abs().sum() > 0


def test_unknown_bases_are_zero_columns():
    codes = torch.tensor([[0, 1, 2, 3, 4]], dtype=torch.uint8)
    assert torch.equal(one_hot(codes)[0], torch.cat([torch.eye(4), torch.zeros(1, 4)]))
    assert torch.equal(reverse_complement(codes), torch.tensor([[4, 0, 1, 2, 3]], dtype=torch.uint8))
    assert torch.equal(reverse_complement(one_hot(codes)), one_hot(reverse_complement(codes)))


def test_words_are_counted_without_unknown_bases():
    codes = np.array([[0, 1, 0, 1, 4, 0, 1]], np.uint8)  # ACACNAC
    assert words(codes, 2).tolist() == [[1, 4, 1, 16, 16, 1]]
    counted = count_words(codes, 2)[0]
    assert counted[1] == 3 and counted[4] == 1 and counted.sum() == 4


def test_windows_are_cut_around_the_start_site(promoters, tmp_path):
    codes, halflife, labels = promoters
    dataset = write_dataset(tmp_path / "d.h5", codes, halflife, labels, upstream=300)
    config = make_config(xpresso, "default", {"upstream_bp": 250, "downstream_bp": 70, "shift_bp": 40, "pools": [2, 4]})
    examples = read_examples(xpresso, dataset, config, plain_rows(dataset))
    read = examples.inputs(np.array([3, 5]))[0].numpy()
    assert examples.sizes["width"] == 320 and read.shape == (2, 400)
    assert np.array_equal(read[:, :390], codes[[3, 5], 10:]) and (read[:, 390:] == 4).all()  # 30 bases of the margin are not stored
    whole = read_examples(xpresso, dataset, make_config(xpresso, "default", {"pools": [2, 4]}), plain_rows(dataset))
    assert whole.sizes["width"] == 400


def test_scales_come_from_training_genes(promoters, tmp_path):
    codes, halflife, labels = promoters
    dataset = write_dataset(tmp_path / "d.h5", codes, np.abs(halflife) * 100, labels, scale="measured")
    rows = plain_rows(dataset)
    examples = read_examples(xpresso, dataset, make_config(xpresso, "default", {"pools": [2, 4]}), rows)
    scaled = examples.halflife.numpy()[rows.genes]
    assert np.abs(scaled.mean(axis=0)).max() < 1e-5 and np.abs(scaled.std(axis=0) - 1).max() < 1e-5
    lengths, shares = np.log10(np.abs(halflife[rows.genes, 0]) * 100 + 0.1), np.abs(halflife[rows.genes, 4]) * 100
    for place, values in ((0, lengths), (4, shares)):
        assert np.corrcoef(scaled[:, place], values)[0, 1] > 1 - 1e-6


def test_genes_without_coding_sequence_are_not_learnt(promoters, tmp_path):
    codes, halflife, labels = promoters
    halflife[7] = np.nan
    dataset = write_dataset(tmp_path / "d.h5", codes, halflife, labels)
    examples = read_examples(xpresso, dataset, make_config(xpresso, "default", {"pools": [2, 4]}), plain_rows(dataset))
    unknown = torch.isnan(examples.targets(np.arange(60))).all(dim=1)
    assert unknown.nonzero().ravel().tolist() == [7] and torch.isfinite(examples.inputs(np.array([7]))[1]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "pooled", "filters": [8, 8], "widths": [3, 3], "pools": [30, 20]}, "pools of 30 and 20 leave nothing of 400 bases"),
        ({"pools": [8, 32]}, "pools of 8 and 32 leave nothing of 400 bases"),
    ],
)
def test_impossible_pools_are_refused_before_training(promoters, tmp_path, options, message):
    dataset = write_dataset(tmp_path / "d.h5", *promoters)
    with pytest.raises(InputError, match=message):
        xpresso.prepare(dataset, plain_rows(dataset), make_config(xpresso, "default", options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "wide"}, "network 'wide': there are residual, pooled"),
        ({"dense": [4]}, "one dropout a dense layer"),
        ({"test_shifts": [30]}, "none above shift_bp 24"),
        ({"pools": [0, 4]}, "pools and dense layers from 1 up"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        make_config(xpresso, "default", options)


def planted(genes, bases=512, seed=0):
    """Return codes, half-life and labels: a motif's copies between 100 and 10 bases before the start site, and one feature, make the level."""
    rng = np.random.default_rng(seed)
    codes, copies, halflife = rng.integers(0, 4, (genes, bases)), rng.integers(0, 4, genes), rng.normal(size=(genes, 8))
    for row, count in zip(codes, copies, strict=True):
        for place in rng.choice(np.arange(bases // 2 - 100, bases // 2 - 10, 9), count, replace=False):
            row[place : place + 8] = MOTIF
    return codes, halflife, (copies + halflife[:, 2] + rng.normal(0, 0.2, genes))[None]


def test_planted_motif_is_learnt(tmp_path):
    """In under a minute, to r above 0.8 on genes that were not trained on."""
    make_deterministic(1)  # as every script does; not every operation of PyTorch can
    genes, roles = 1_600, np.repeat([0, 1, 2], [1_200, 200, 200])
    dataset = write_dataset(tmp_path / "d.h5", *planted(genes), roles=roles)
    config = make_config(xpresso, "default", {"epochs": 16, "filters": [32]})
    train, valid, test = (np.flatnonzero(roles == role) for role in range(3))
    examples, fabric = read_examples(xpresso, dataset, config, plain_rows(dataset)), make_fabric("cpu", "32-true")
    result = fit(lambda: make_model(xpresso, config, examples, train), examples, train, valid, config, 1, fabric)
    model = xpresso.Model(config, examples.sizes).eval()
    model.load_state_dict(result.weights)
    with torch.no_grad():
        predicted = model(*examples.inputs(test))[:, 0].numpy()
    observed = examples.targets(test)[:, 0].numpy()
    assert np.corrcoef(predicted, observed)[0, 1] > 0.8
    fitted = xpresso.fit_rule(examples, train)
    ridge = np.corrcoef(xpresso.rule(examples, fitted, test)[:, 0], observed)[0, 1]
    assert 0.3 < ridge < np.corrcoef(predicted, observed)[0, 1]
    for method in METHODS.values():  # and comes back in the attributions
        found = share_out(model, examples, test, np.zeros(len(test), int), fabric, method)
        told = word_shares(examples.inputs(test)[0].numpy(), found.shares["window"])
        assert told.word[0] == "CCGGAAGT" and told.share[0] > 0.5 and np.argmax(np.abs(found.shares["halflife"]).mean(axis=0)) == 2
        assert found.completeness_error.max() < 0.01 and found.shares["window"].shape == examples.codes[test].shape


def test_words_that_raise_and_lower_are_found_by_their_shares():
    rng = np.random.default_rng(0)
    codes, shares = rng.integers(0, 4, (50, 200)).astype(np.uint8), rng.normal(0, 0.01, (50, 200))
    for row in range(40):
        codes[row, 20:28], shares[row, 20:28] = MOTIF, 0.1
        codes[row, 60:68], shares[row, 60:68] = MOTIF[::-1], -0.2
    codes[0, 24] = 4  # N: no word there
    told = word_shares(codes, shares, most=2)
    assert (told.word[0], told.word[-1]) == ("CCGGAAGT", "TGAAGGCC") and told.count[0] == 39
    assert told.share[0] == pytest.approx(0.8, abs=0.02) and told.share[-1] == pytest.approx(-1.6, abs=0.1)
    assert len(told.word) == len(set(told.word)) <= 4 and not word_shares(codes[:1], shares[:1]).word


def test_prediction_is_the_mean_over_shifts():
    torch.manual_seed(3)
    config = make_config(xpresso, "default", {"filters": [8]})
    model = xpresso.Model(config, {"width": 512, "halflife": 8, "labels": 1}).eval()
    codes, features = torch.randint(0, 4, (2, 560), dtype=torch.uint8), torch.randn(2, 8)
    with torch.no_grad():
        parts = [model.read(codes, features, shift) for shift in (-8, 0, 8)]
        moved = model.read(functional.pad(codes, (8, 0))[:, :560], features, 8)
        assert torch.allclose(model(codes, features), torch.stack(parts).mean(dim=0))
    assert torch.allclose(moved, parts[1], atol=1e-6) and not torch.allclose(parts[0], parts[1], atol=1e-4)
