"""Features of a gene's neighbourhood against reference samples, and the family that reads them."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from exprcast.accessibility import Scaled, genome_gram, normalise, quantile_reference
from exprcast.cli import InputError
from exprcast.context import CIS, FEATURES, PROGRAMMES, SIGNALS, Around, Background, compare, nearer_genes
from exprcast.dataset import Dataset, write_array
from exprcast.family import load_family, make_config
from exprcast.folds import Rows
from exprcast.references import choose_references, means_of_others, relate
from tiny import read_examples, tiny_dataset

SUM_ALL = FEATURES.index("sum_all")


@pytest.fixture
def dataset(tmp_path):
    return Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30))


def context(dataset, samples=range(10), **options):
    family = load_family("atac_context")
    config = make_config(family, "quick", options)
    return family, config, read_examples(family, dataset, config, Rows(np.array(samples), np.arange(len(dataset.genes))))


def without(dataset, path, closed):
    """Return a dataset at `path` that lacks the open bins of which closed(sample, bins) is true."""
    shutil.copy(dataset.path, path)
    found = [dataset.open_bins(sample) for sample in range(len(dataset.samples))]
    kept = [~np.broadcast_to(closed(sample, bins), bins.shape) for sample, (bins, _) in enumerate(found)]
    with h5py.File(path, "r+") as file:
        for number, name in enumerate(("bin", "signal")):
            values = np.concatenate([one[number][own] for one, own in zip(found, kept, strict=True)])
            del file[f"accessibility/{name}"]
            write_array(file, f"accessibility/{name}", values, **({"bin_bp": 200, "source": "peaks"} if name == "bin" else {}))
        file["accessibility/indptr"][:] = np.cumsum([0, *(own.sum() for own in kept)])
    return Dataset(path)


def test_genome_gram_is_the_product_of_dense_genomes(dataset):
    reference = quantile_reference(dataset, np.arange(10))
    genome = np.zeros((12, 6_000))
    for sample in range(12):
        bins, signal = dataset.open_bins(sample)
        genome[sample, bins] = normalise(np.log2(1 + signal), reference)
    for in_memory in (100, 10**6):  # three and a half samples' open bins, or all
        gram = genome_gram(Scaled(dataset, reference, in_memory), np.arange(10), 8_000)
        assert gram[:10] == pytest.approx((genome @ genome.T)[:10], rel=1e-3) and np.array_equal(gram, gram.T, equal_nan=True)
        assert np.isnan(gram[10, 11]) and gram[11, 11] == pytest.approx((genome[11] ** 2).sum(), rel=1e-3)


def test_similarity_is_the_same_bytes_whatever_else_is_there(dataset, tmp_path):
    training = np.array([0, 3, 5])
    reference = quantile_reference(dataset, training)
    usual = genome_gram(Scaled(dataset, reference), training, 8_000)
    others = without(dataset, tmp_path / "few.h5", lambda sample, bins: ~np.isin(sample, [*training, 7]) & (bins % 2_000 > 1_000))
    got = genome_gram(Scaled(others, reference), training)
    assert np.array_equal(got[7], usual[7], equal_nan=True) and got[1, 1] < 0.9 * usual[1, 1]


def test_nearer_genes_are_counted_on_both_strands(dataset):
    position = dataset.array("tss/position").copy()  # 20 kb apart on each chromosome, strands alternate
    nearer = nearer_genes(dataset, position, 100_000)
    chrom = np.array(dataset.text("genes/chrom"))
    for gene in (0, 4, 7):
        others = np.setdiff1d(np.flatnonzero(chrom == chrom[gene]), [gene])
        sign = -1 if dataset.text("genes/strand")[gene] == "-" else 1
        for wide, offset in enumerate(range(-99_500, 100_000, 1_000)):
            place = position[gene] + sign * offset
            assert nearer[gene, wide] == (np.abs(position[others] - place) < abs(offset)).sum()


def test_local_kernels_are_kernel_ridge_regression_on_weighted_windows():
    """Each gene's answers equal scikit-learn's, with its own penalty."""
    rng = np.random.default_rng(1)
    members, genes, bins = 6, 4, 30
    windows, rna = rng.gamma(1, 2, (members + 1, genes, bins)).astype(np.float32), rng.normal(3, 1, (members, genes))
    signals = rng.gamma(1, 2, (members + 1, genes, len(SIGNALS))).astype(np.float32)
    gram = (lambda x: x @ x.T)(rng.normal(size=(members + 1, 50)))
    relation = relate(gram, members, np.arange(members))
    roots = [rng.random((genes, bins)).astype(np.float32) for _ in range(2)]
    scales = np.array([1.0] * len(SIGNALS) + [0.5, 60.0])
    background = Background(Around(signals[:-1], windows[:-1]), rna, relation.kernel[:-1, :-1], roots, scales)
    found = compare(Around(signals[-1], windows[-1]), background, rna.mean(axis=0), relation)
    for gene in range(genes):
        change = rna[:, gene] - rna[:, gene].mean()
        for number, (name, root) in enumerate(zip(("local_10kb", "local_50kb"), roots, strict=True)):
            x = windows[:, gene] * root[gene]
            x = x - x[:-1].mean(axis=0)
            spread = (x[:-1] ** 2).sum(axis=1).mean()
            for suffix, penalty in (("", 0.1 * spread), ("_firm", max(spread, scales[len(SIGNALS) + number]))):
                expected = KernelRidge(alpha=penalty + 1e-6, kernel="linear").fit(x[:-1], change).predict(x[-1:])[0]
                span = np.ptp(change)
                expected = np.clip(expected, change.min() - span, change.max() + span)
                assert found[gene, FEATURES.index(name + suffix)] == pytest.approx(expected, rel=1e-3, abs=1e-4), (gene, name + suffix)


def test_references_are_the_most_similar_samples_and_views_leave_out_the_nearest_groups():
    profiles = np.cos(np.linspace(0, 1.5, 7))[:, None] * [1, 0] + np.sin(np.linspace(0, 1.5, 7))[:, None] * [0, 1]
    gram, groups = profiles @ profiles.T, np.array([0, 1, 1, 2, 3, 4, 5])
    assert choose_references(gram, 0, np.arange(1, 7), groups, 3).tolist() == [1, 2, 3]
    assert choose_references(gram, 0, np.arange(1, 7), groups, 6, cut=0.4).tolist() == [4, 5, 6]  # 2 of 5 groups
    assert choose_references(gram, 0, np.array([1, 2, 3]), groups, 6, cut=0.9).tolist() == [1, 2, 3]  # two groups at least are left
    relation = relate(gram, 0, np.array([1, 5]))
    assert relation.nearest == 0
    assert relation.soft.sum() == pytest.approx(1)


def test_own_group_is_never_looked_at(tmp_path):
    """The features of a training sample do not change when its group's RNA does; another group's do."""

    def louder(values, _signal, _halflife):
        values[2:4] *= 3  # both samples of group g1

    one, other = (
        Dataset(tiny_dataset(tmp_path / f"{i}.h5", samples=12, genes=30, change=change)) for i, change in enumerate((None, louder))
    )
    (_, _, before), (_, _, after) = context(one), context(other)
    own = np.arange(2 * 30, 4 * 30)
    assert np.array_equal(before.array[:, 2:4], after.array[:, 2:4], equal_nan=True)
    assert np.array_equal(before.known(own), after.known(own))
    assert not np.array_equal(before.array[:, 0], after.array[:, 0], equal_nan=True)


def test_a_twin_of_a_reference_is_told_its_rna(tmp_path):
    def twins(values, signal, _halflife):
        rng = np.random.default_rng(3)
        signal[:] = rng.gamma(0.5, 20, signal.shape)
        values[:] = 2 ** rng.normal(5, 2, values.shape)
        signal[11], values[11] = signal[0], values[0]

    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30, change=twins))
    _, _, examples = context(dataset)
    index = 11 * 30 + np.arange(30)
    change = examples.targets(index).numpy()[:, 0] - examples.known(index)[:, 0]
    told = examples.inputs(index)[0][:, SUM_ALL].numpy()
    assert np.corrcoef(told, change)[0, 1] > 0.9
    assert examples.summary(index)[:, FEATURES.index("global_nearest")] == pytest.approx(change, abs=0.02)


def test_genes_never_seen_have_no_rna(dataset):
    family = load_family("atac_context")
    examples = read_examples(family, dataset, make_config(family, "quick"), Rows(np.arange(10), np.arange(20)))
    index = 11 * 30 + np.arange(30)
    of_rna = examples.summary(index)[:, len(CIS) :]
    assert np.isnan(of_rna[20:]).all() and np.isfinite(of_rna[:20]).all()
    assert np.isnan(examples.known(index)[20:]).all()
    assert examples.features(index).shape == (30, len(CIS))
    inputs = examples.inputs(index)
    model = family.Model(make_config(family, "quick"), examples.sizes).eval()
    assert torch.isfinite(model(*inputs)).all()


def test_closing_bins_begins_with_the_inputs_as_they_are(dataset):
    _, _, examples = context(dataset)
    genes = np.array([0, 5, 9])
    for gene, (opened, (features, known)) in zip(genes, examples.without_bins(11, genes), strict=True):
        stored = examples.inputs(np.array([11 * 30 + gene]))
        assert features[0].numpy() == pytest.approx(stored[0][0].numpy(), rel=2e-3, abs=2e-3)
        assert torch.equal(known, stored[1].expand(len(known)))
        own = int(np.flatnonzero(opened == 100)[0]) + 1  # the start site's own bin
        assert features[own, SIGNALS.index("promoter_max")] == 0 < features[0, SIGNALS.index("promoter_max")]
        assert len(features) == 1 + len(opened) == 1 + len({int(bin_) for bin_ in opened})


def test_what_is_closed_on_paper_is_what_a_sample_without_the_peak_has(tmp_path):
    """The weakest bin of a tested sample: without it no other bin has another rank. Similarity of whole genomes is held as it was."""
    plant = lambda values, signal, halflife: signal.__setitem__((11, 4), 0.05)  # noqa: E731
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30, change=plant))
    bins, signal = dataset.open_bins(11)
    weakest = bins[signal.argmin()]
    (_, _, before), (_, _, after) = (
        context(one) for one in (dataset, without(dataset, tmp_path / "closed.h5", lambda sample, bins: (sample == 11) & (bins == weakest)))
    )
    [(opened, (features, _))] = before.without_bins(11, np.array([4]))
    knocked, really = features[1 + np.flatnonzero(opened == 100)[0]].numpy(), after.inputs(np.array([11 * 30 + 4]))[0][0].numpy()
    own = [i for i, name in enumerate(FEATURES) if not name.startswith(("global", "sum", "programme"))]
    assert knocked[own] == pytest.approx(really[own], rel=5e-3, abs=5e-3) and len(own) > 35
    assert np.abs(features[0].numpy() - knocked)[own].max() > 0.1, "it made a difference"


@pytest.mark.parametrize("references", [3, 16])
def test_the_reference_input_does_not_depart(dataset, references):
    _, _, examples = context(dataset, references=references)
    features, known = examples.reference(np.arange(330, 360))
    assert (features[:, len(SIGNALS) : len(CIS)] == 0).all()
    assert torch.equal(known, examples.inputs(np.arange(330, 360))[1])
    assert (features[:, [FEATURES.index(name) for name in PROGRAMMES]] == 0).all()
    assert torch.equal(features[:, SUM_ALL], features[:, FEATURES.index("rna_near")])


def test_views_are_drawn_for_training_only(dataset):
    _, _, examples = context(dataset, views=3)
    index = np.arange(30)
    drawn = {examples.augmented(index, np.random.default_rng(seed))[0].numpy().tobytes() for seed in range(8)}
    assert len(drawn) > 4
    assert np.array_equal(examples.inputs(index)[0].numpy(), examples.array[0, 0].astype(np.float32))


def test_means_leave_the_own_group_out():
    values, number = np.array([[1.0, np.nan], [3.0, 2.0], [8.0, np.nan]]), np.array([0, 0, 1])
    means = means_of_others(values, number)
    assert means[0, 0] == 8 and np.isnan(means[0, 1])
    assert means[1].tolist() == [2, 2]


def test_a_gene_that_no_reference_has_is_not_silent(tmp_path):
    """Gene 0 is measured in one training sample only: for others that reference may be too far, for itself there is none."""

    def rare(values, _signal, _halflife):
        values[1:, 0] = np.nan

    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=12, genes=30, change=rare))
    _, _, examples = context(dataset, references=2)
    index = np.arange(4, 12) * 30
    known = examples.known(index)[:, 0]
    assert np.isfinite(known).all()
    assert examples.inputs(index)[0][:, FEATURES.index("rna_mean")].numpy() == pytest.approx(known, abs=0.01)
    assert not examples.all_seen or np.isfinite(examples.rna.means).any(axis=0).all()


@pytest.mark.parametrize("wrong", [{"references": 0}, {"flank_bp": 0}, {"views": 0}])
def test_impossible_settings_are_named(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        make_config(load_family("atac_context"), "default", wrong)
