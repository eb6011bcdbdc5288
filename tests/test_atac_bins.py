"""atac_bins: which bins it reads and what stands in them, what its rule and its buffers are; the original study's result with its preset."""

import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from exprcast.accessibility import Scaled
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.families import atac_bins
from exprcast.family import make_config, make_model
from exprcast.folds import Rows
from exprcast.means import fit_mean, predict_mean
from exprcast.metrics import pearson
from exprcast.training import fit, make_deterministic, make_fabric
from tiny import read_examples, run_script, tiny_dataset

sys.path.insert(0, str(Path(__file__).parent / "encode29"))

import make_inputs

ENCODE29 = make_inputs.DATA
STRONG = (np.array([1, 10]), np.array([8.0, 2.0], np.float32))  # quantile reference: rank 1 is 8, rank 10 is 2


def with_bins(tmp_path, samples):
    """Write a dataset of three genes whose samples (four at least) have these {bin: signal}; chr1 to chr3 have 2,000 bins of 200 bp each."""
    path = tiny_dataset(tmp_path / "bins.h5", samples=len(samples), genes=3, groups=list("abcdef")[: len(samples)])
    numbers = [sorted(sample) for sample in samples]
    arrays = {
        "indptr": np.cumsum([0, *map(len, numbers)]),
        "bin": np.concatenate(numbers),
        "signal": np.concatenate([[sample[bin_] for bin_ in order] for sample, order in zip(samples, numbers, strict=True)]),
    }
    with h5py.File(path, "a") as file:
        for name, values in arrays.items():
            old = file[f"accessibility/{name}"]
            attributes, dtype = dict(old.attrs), old.dtype
            del file[f"accessibility/{name}"]
            file.create_dataset(f"accessibility/{name}", data=values, dtype=dtype).attrs.update(attributes)
    return Dataset(path)


def config(**options):
    return make_config(atac_bins, options.pop("preset", "default"), {"bin_bp": 200} | options)


def all_rows(dataset):
    return Rows(np.arange(len(dataset.samples)), np.arange(len(dataset.genes)))


def read(dataset, settings, rows=None):
    return read_examples(atac_bins, dataset, settings, rows or all_rows(dataset))


def test_the_bins_that_vary_most_over_training_samples_are_chosen(tmp_path):
    dataset = with_bins(tmp_path, [{10: 9, 20: 9, 30: 9}, {10: 9, 20: 9}, {10: 9}, {10: 9}, {40: 9}])
    chosen = partial(atac_bins.choose_bins, Scaled(dataset, STRONG), np.arange(4))
    assert chosen(config(values="open", max_bins=1)).tolist() == [20], "open in two of four"
    assert chosen(config(values="open")).tolist() == [20, 30], "10 is open in all, 40 in a sample that is not in training"
    everyone = atac_bins.choose_bins(Scaled(dataset, STRONG), np.arange(5), config(values="open"))
    assert everyone.tolist() == [10, 20, 30, 40]


def test_every_bin_of_the_genome_is_read_also_those_never_open(tmp_path):
    dataset = with_bins(tmp_path, [{0: 9, 5_999: 9}, {7: 5}, {7: 5}, {7: 5}])
    examples = read(dataset, config(values="open", max_bins=0))
    features = examples.features(np.arange(4))
    assert features.shape == (4, 6_000) and features.dtype == np.float32
    assert [np.flatnonzero(row).tolist() for row in features] == [[0, 5_999], [7], [7], [7]]
    assert set(features.ravel()) == {0.0, 1.0}
    np.testing.assert_allclose(examples.reference(np.array([0]))[0][0, [0, 7, 8]], [1 / 4, 3 / 4, 0])


def test_a_wide_bin_holds_the_strongest_of_its_stored_bins_and_none_of_the_next_chromosome(tmp_path):
    dataset = with_bins(tmp_path, [{1_999: 3, 2_000: 7, 2_004: 31, 2_005: 1}, {5: 1}, {6: 1}, {7: 1}])
    bins, values = atac_bins.read_bins(Scaled(dataset, STRONG), 0, config(bin_bp=1_000))
    assert bins.tolist() == [399, 400, 401], "chr1's last, chr2's first and second"
    expected = np.interp(np.log([3, 1, 4]), np.log([1, 10]), [8, 2])  # by rank: 2,004 is the strongest, 1,999 the third
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert atac_bins.read_bins(Scaled(dataset, STRONG), 0, config(bin_bp=1_000, values="open"))[1].tolist() == [1, 1, 1]


def test_targets_are_logarithms_or_the_values_as_they_are(tmp_path):
    dataset = with_bins(tmp_path, [{1: 1}, {2: 1}, {3: 1}, {4: 1}])
    values, index = dataset.array("expression/gene"), np.array([2, 0])
    raw, logs = read(dataset, config(target="raw")), read(dataset, config())
    assert (raw.unit, logs.unit) == ("tpm", "log2(tpm + 1)")
    np.testing.assert_array_equal(raw.targets(index), values[index])
    np.testing.assert_allclose(logs.targets(index), np.log2(values[index] + 1), rtol=1e-6)


def test_the_rule_is_one_slope_in_units_of_each_genes_standard_deviation():
    nan = np.nan
    near = np.array([[1.0, 5, 0, 4], [3, 5, 2, 6], [9, 5, 9, 9]], np.float32)
    values = torch.tensor([[2.0, 7, nan, 10], [4, 9, nan, 14], [nan] * 4])
    examples = SimpleNamespace(near=near, targets=lambda index: values[index])
    fitted = atac_bins.fit_rule(examples, np.array([0, 1]))
    assert fitted["mean"].tolist() == [3, 8, pytest.approx(46 / 6), 12] and fitted["sd"].tolist() == [1, 1, 0, 2]
    # changes ±1, ±1 and ±2; expected ±1, 0 and ±2 for a slope of 1
    assert fitted["slope"] == pytest.approx(1.0)
    np.testing.assert_allclose(atac_bins.rule(examples, fitted, np.array([2])), [[3 + 7, 8, 46 / 6, 12 + 2 * 4]])


def test_a_network_starts_as_the_rule_and_never_moves_a_gene_that_was_not_measured(tmp_path):
    rng = np.random.default_rng(0)
    dataset = with_bins(tmp_path, [{int(bin_): 1 + float(s) for bin_, s in enumerate(rng.gamma(2, 3, 600))} for _ in range(6)])
    settings, train = config(hidden=8, epochs=3, learning_rate=0.1), np.arange(4)
    examples = read(dataset, settings, Rows(train, np.arange(3)))
    examples.values[:, 1] = np.nan
    model = make_model(atac_bins, settings, examples, train).eval()
    start = model(*examples.inputs(np.arange(6))).detach().numpy()
    rule = atac_bins.fit_rule(examples, train)
    np.testing.assert_allclose(start, atac_bins.rule(examples, rule, np.arange(6)), rtol=1e-4)
    result = fit(partial(make_model, atac_bins, settings, examples, train), examples, train, np.array([4, 5]), settings, 1, fabric())
    model.load_state_dict(result.weights)
    moved = model(*examples.inputs(np.arange(6))).detach().numpy()
    np.testing.assert_allclose(moved[:, 1], np.full(6, rule["mean"][1]), rtol=1e-6)
    assert (np.abs(moved - start)[:, [0, 2]].max(axis=0) > 1e-3).all()


def fabric():
    make_deterministic(1)
    return make_fabric("cpu", "32-true")


def test_components_have_equal_variances_and_a_bin_that_does_not_vary_counts_nothing():
    x = np.random.default_rng(0).normal(size=(7, 50)).astype(np.float32) * np.linspace(1, 90, 50, dtype=np.float32)
    x[:, 3] = 5
    learnt = atac_bins.principal_directions(x, 4)
    scores = (x - learnt["bin_mean"]) @ learnt["directions"]
    np.testing.assert_allclose(scores.T @ scores / 7, np.eye(4) * atac_bins.GAIN**2 / 4, atol=1e-5)
    assert not learnt["directions"][3].any()
    copies = atac_bins.principal_directions(np.vstack([x[:2], x[:2]]), 3)
    assert np.isfinite(copies["directions"]).all() and not copies["directions"][:, 1:].any(), "two different samples have one direction"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bin_bp": 300}, "bins of 300 bp are no multiple of the dataset's 200 bp"),
        ({"values": "closed"}, "values 'closed': there are signal, open"),
        ({"target": "ln"}, "target 'ln': there are log2, raw"),
        ({"components": -1}, "components -1: 0 at least is needed"),
    ],
)
def test_impossible_settings_are_named(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        read(with_bins(tmp_path, [{1: 1}, {2: 1}, {3: 1}, {4: 1}]), config(**options))


def test_training_samples_with_one_and_the_same_peaks_are_refused(tmp_path):
    with pytest.raises(InputError, match="no bin differs between the 4 training samples"):
        read(with_bins(tmp_path, [{1: 1, 9: 2}] * 4), config())


def test_the_original_network_is_two_linear_layers_with_the_first_numbers_of_the_seed():
    torch.manual_seed(42)
    model = atac_bins.Model(config(preset="shashkat"), {"bins": 30, "genes": 5, "components": 0})
    torch.manual_seed(42)
    expected = [torch.nn.Linear(30, 400), torch.nn.Linear(400, 5)]
    assert list(model.state_dict()) == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    for layer, name in zip(expected, ("hidden", "out"), strict=True):
        assert torch.equal(layer.weight, getattr(model, name).weight) and torch.equal(layer.bias, getattr(model, name).bias)
    x = torch.rand(3, 30)
    assert torch.equal(model(x), expected[1](torch.relu(expected[0](x))))


@pytest.fixture(scope="module")
def encode29(tmp_path_factory):
    """The original study's matrices as a dataset, made by the scripts of bin/."""
    if not ENCODE29.is_dir():
        pytest.skip(f"{ENCODE29} is not here")
    folder = tmp_path_factory.mktemp("encode29")
    make_inputs.make_inputs(folder)
    sizes, beds = folder / "chr1.sizes", sorted((folder / "peaks").glob("*.bed"))
    for bed in beds:
        run_script("bin_peaks.py", "--sample", bed.stem, "--peaks", bed, "--chrom-sizes", sizes, "--bin-bp", 1000,
                   "--stats-out", folder / "stats.tsv", "--out", bed.with_suffix(".npz"))  # fmt: skip
    run_script("make_gene_table.py", "--genes", folder / "genes.tsv", "--chrom-sizes", sizes, "--tss-out", folder / "tss.tsv",
               "--transcripts-out", folder / "transcripts.tsv", "--out", folder / "gene_table.tsv")  # fmt: skip
    run_script("collect_expression.py", "--table", *sorted(ENCODE29.glob("exp_output_*.csv.gz")), "--unit", "tpm", "--admit-misaligned",
               "--column-genes", ENCODE29 / "gene_columns_360.tsv", "--stats-out", folder / "stats.tsv", "--out", folder / "tpm.tsv")  # fmt: skip
    samples = "".join(f"{bed.stem}\t\t\t\t\n" for bed in beds)
    (folder / "samples.tsv").write_text("id\tdonor\tbiosample\treplicate_group\tbatch\n" + samples)
    run_script("assemble_dataset.py", "--samples", folder / "samples.tsv", "--chrom-sizes", sizes, "--genes", folder / "gene_table.tsv",
               "--tss", folder / "tss.tsv", "--table", "expression/gene", folder / "tpm.tsv",
               "--table", "accessibility/bin", *(bed.with_suffix(".npz") for bed in beds), "--fold-table", folder / "folds.csv",
               "--min-detected", 0, "--out", folder / "dataset.h5")  # fmt: skip
    return Dataset(folder / "dataset.h5")


def test_the_original_inputs_arrive_unchanged(encode29):
    index = [encode29.samples.index(f"exp_output_tissues_{n}") for n in range(1, 20)]
    examples = read(encode29, config(preset="shashkat", bin_bp=1_000))
    np.testing.assert_array_equal(examples.features(np.array(index)), np.loadtxt(ENCODE29 / "peaks_input_tissues.csv.gz", delimiter=","))
    values = np.loadtxt(ENCODE29 / "exp_output_tissues.csv.gz", delimiter=",", dtype=np.float32)
    np.testing.assert_allclose(examples.targets(np.array(index)), values, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_original_result_is_reproduced(encode29, threads):
    make_deterministic(threads)
    settings = config(preset="shashkat", bin_bp=1_000)
    lines, tissues = (np.array([i for i, name in enumerate(encode29.samples) if kind in name]) for kind in ("lines", "tissues"))
    examples = read(encode29, settings, Rows(tissues, np.arange(len(encode29.genes))))
    result = fit(partial(make_model, atac_bins, settings, examples, tissues), examples, tissues, tissues, settings, 42, fabric_of(threads))
    assert result.epochs == 100 and result.status == "trained"
    model = make_model(atac_bins, settings, examples, tissues)
    model.load_state_dict(result.weights)
    truth, mean = examples.targets(lines).numpy().astype(np.float64), fit_mean("samples", examples, tissues, lines)
    with torch.no_grad():
        predicted = model(*examples.inputs(lines)).numpy()
    scores = [((truth - values) ** 2).mean() for values in (predicted, 0, predict_mean("samples", examples, mean, lines))]
    assert scores == pytest.approx([614.661, 521.087, 730.274], abs=5e-4)


def fabric_of(threads):
    make_deterministic(threads)
    return make_fabric("cpu", "32-true")


@pytest.mark.parametrize("kind, samples, genes, mse, r_gene", [("tissues", 12, 116, 0.428, 0.888), ("lines", 10, 121, 0.416, 0.877)])
def test_inside_one_table_the_mean_of_the_other_samples_scores_what_was_found_before(encode29, kind, samples, genes, mse, r_gene):
    logs = np.log2(1 + encode29.array("expression/gene"))
    usable = np.array([i for i, name in enumerate(encode29.samples) if kind in name and (logs[i] > 0).sum() > 40])
    detected = (logs[usable] > 0).any(axis=0)
    assert (len(usable), detected.sum()) == (samples, genes)
    examples = read(encode29, config(bin_bp=1_000, values="open"))
    errors, correlations = [], []
    for one in usable:
        mean = fit_mean("samples", examples, usable[usable != one], np.array([one]))
        predicted = predict_mean("samples", examples, mean, np.array([one]))[0, detected]
        errors.append(((predicted - logs[one, detected]) ** 2).mean())
        correlations.append(pearson(predicted, logs[one, detected], axis=0))
    assert (np.mean(errors), np.mean(correlations)) == (pytest.approx(mse, abs=0.001), pytest.approx(r_gene, abs=0.001))
