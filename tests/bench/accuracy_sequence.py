"""How good the sequence family is: 7,736 promoters of 2,048 bases and half-life features → Roadmap's median level, 12 chromosome folds of the file.

make bench-accuracy        an hour and a half on two cores; numbers go to tests/bench/results/sequence.tsv, with their floors

Each fit's predictions stay in work/accuracy_sequence/‹code›/, so that a run that was broken off goes on.
"""

import subprocess
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, RidgeCV

from exprcast.baselines import fit_baselines, predict_baseline
from exprcast.dataset import TEST, TRAIN, VALID, Dataset
from exprcast.families import xpresso
from exprcast.family import make_config, make_model
from exprcast.folds import train_rows
from exprcast.training import fit, make_deterministic, make_fabric, predict
from recorded import ROOT, Row, fingerprint, missed, record, table
from tiny import read_examples, run_script

DATA = ROOT / "../shared/data/sequence"
SEQUENCE = "../shared/data/sequence"
README = (
    f"--hold_out genes --gene_groups random --promoters {SEQUENCE}/promoters_2048bp_hg38.tsv.gz "
    f"--halflife {SEQUENCE}/halflife_features_18377genes.tsv.gz --labels {SEQUENCE}/labels_roadmap_median.tsv.gz "
    f"--label_columns human_log10_median_rpkm --fold_table {SEQUENCE}/leave_chromosome_out_12folds_18377genes.csv.gz"
)  # the run of the README, whose networks are trained here side by side
SEEDS, FOLDS, GENES, BATCH = (1, 2, 3, 4, 5), 12, 7_736, 512
ONE_SEED, FIVE_SEEDS, WITH_TREES = 0.41, 0.43, 0.445  # floors of pooled r²
DRAWS = 2_000
HALFLIFE, FOUR_MERS = 0.107, 0.304  # r² of the simplest baselines, as published with the protocol

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")


@pytest.fixture(scope="module")
def rows():
    """Gather all rows by part; they are written whatever floor was missed."""
    gathered: dict[str, list[Row]] = {}
    yield gathered
    record("sequence", gathered, SEEDS[0], fingerprint("xpresso"), "make bench-accuracy")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Make the README's dataset."""
    folder = tmp_path_factory.mktemp("sequence")
    command = [ROOT / "envs/nextflow/nextflow", "run", ".", "-profile", "local", "-ansi-log", "false", "-w", folder / "work"]
    command += ["--outdir", folder / "results", "--families", "none", *README.split()]
    subprocess.run(command, cwd=ROOT, check=True, timeout=1200)
    made, path = folder / "results/reference", folder / "dataset.h5"
    tables = {"labels/value": "labels.tsv.gz", "promoters/sequence": "promoters.fa.gz", "promoters/halflife": "halflife.tsv.gz"}
    given = ["--chrom-sizes", made / "chrom.sizes", "--genes", made / "genes.tsv", "--tss", made / "tss.tsv"]
    given += [word for entry, name in tables.items() for word in ("--table", entry, made / name)]
    split = ["--hold-out", "genes", "--gene-groups", "random", "--fold-table", DATA / "leave_chromosome_out_12folds_18377genes.csv.gz"]
    run_script("assemble_dataset", *given, *split, "--out", path)
    return path


@pytest.fixture(scope="module")
def kept() -> Path:
    """Make the folder of finished fits."""
    folder = ROOT / "work/accuracy_sequence" / fingerprint("xpresso")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def simple(dataset, kept) -> dict[str, np.ndarray]:
    """Predict with the simplest baselines, and with the family's own trees and rule."""
    jobs = {fold: kept / f"simple.{fold}.npz" for fold in range(FOLDS)}
    in_parallel([partial(fit_simple, dataset, fold, path) for fold, path in jobs.items() if not path.is_file()])
    parts = [dict(np.load(path)) for path in jobs.values()]
    return {name: pooled(dataset, [part[name] for part in parts]) for name in parts[0]}


def in_parallel(jobs: list[partial]) -> None:
    """Run jobs two at a time, one core each."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for job in [pool.submit(job) for job in jobs]:
            job.result()


def read_fold(dataset: Path, fold: int, preset: str) -> tuple[Dataset, object, xpresso.Examples, list[np.ndarray]]:
    """Return the dataset, the configuration, examples, and the numbers of training, validation and test genes."""
    make_deterministic(1)
    opened, config = Dataset(dataset), make_config(xpresso, preset)
    examples = read_examples(xpresso, opened, config, train_rows(opened, fold))
    return opened, config, examples, [np.flatnonzero(opened.gene_role[fold] == role) for role in (TRAIN, VALID, TEST)]


def fit_network(dataset: Path, preset: str, fold: int, seed: int, out: Path) -> None:
    """Train one network of one fold as TRAIN does, and keep what it predicts for the fold's test genes."""
    _, config, examples, (train, valid, test) = read_fold(dataset, fold, preset)
    fabric, mean = make_fabric("cpu", "32-true"), examples.targets(train).mean(dim=0)
    fitted = fit(partial(make_model, xpresso, config, examples, train), examples, train, valid, config, seed, fabric, offset=mean.expand(len(valid), -1).numpy())  # fmt: skip
    model = xpresso.Model(config, examples.sizes)
    model.load_state_dict(fitted.weights)
    np.save(out, predict(model, examples, test, BATCH, fabric).numpy()[:, 0])


def fit_simple(dataset: Path, fold: int, out: Path) -> None:
    """Fit the two simplest baselines of the protocol on training and validation genes, the family's own as FIT_BASELINES does."""
    opened, _, examples, (train, valid, test) = read_fold(dataset, fold, "default")
    learnt, y = np.concatenate([train, valid]), examples.targets(np.arange(len(examples))).numpy()[:, 0]
    x, words = examples.halflife.numpy(), examples.words[:, : 4**xpresso.WORD_BP]
    words = (words - words[learnt].mean(axis=0)) / words[learnt].std(axis=0)
    found = {
        "half-life features, linear": LinearRegression().fit(x[learnt], y[learnt]).predict(x[test]),
        "4-mers, ridge": RidgeCV(xpresso.ALPHAS).fit(words[learnt], y[learnt]).predict(words[test]),
    }
    fitted = fit_baselines(xpresso, examples, opened.gene_role[fold])
    found |= {name: predict_baseline(xpresso, examples, fitted, name, test)[:, 0] for name in ("rule", "trees")}
    np.savez(out, **found)


def tested(dataset: Dataset) -> np.ndarray:
    """Return the numbers of the genes that some fold tests: the table of folds lacks three."""
    return np.flatnonzero((dataset.gene_role == TEST).any(axis=0))


def pooled(dataset: Path, parts: list[np.ndarray]) -> np.ndarray:
    """Return (tested genes,) what each gene's own test fold predicts."""
    opened = Dataset(dataset)
    values = np.full(len(opened.genes), np.nan)
    for roles, part in zip(opened.gene_role, parts, strict=True):
        values[roles == TEST] = part
    return values[tested(opened)]


def observed(dataset: Dataset) -> np.ndarray:
    """Return (tested genes,) labels."""
    return dataset.array("labels/value")[0, tested(dataset)]


def networks(dataset: Path, kept: Path, preset: str, seeds: tuple[int, ...]) -> np.ndarray:
    """Return (seeds, genes) predictions; what was fitted before is not fitted again."""
    paths = {(seed, fold): kept / f"{preset}.{seed}.{fold}.npy" for seed, fold in product(seeds, range(FOLDS))}
    in_parallel([partial(fit_network, dataset, preset, fold, seed, path) for (seed, fold), path in paths.items() if not path.is_file()])
    return np.stack([pooled(dataset, [np.load(paths[seed, fold]) for fold in range(FOLDS)]) for seed in seeds])


def r2(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Return the protocol's score: the squared correlation over all genes, each by the fold that tests it."""
    return float(np.corrcoef(predicted, observed)[0, 1] ** 2)


def gain(predicted: np.ndarray, other: np.ndarray, observed: np.ndarray, group: np.ndarray) -> tuple[float, float, float]:
    """Return how much higher r² is than another's, with a bootstrap interval over groups of genes."""
    rng, number = np.random.default_rng(0), np.unique(group, return_inverse=True)[1]
    members = [np.flatnonzero(number == one) for one in range(number.max() + 1)]
    draws = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[one] for one in rng.integers(0, len(members), len(members))])
        draws.append(r2(predicted[drawn], observed[drawn]) - r2(other[drawn], observed[drawn]))
    return r2(predicted, observed) - r2(other, observed), *map(float, np.quantile(draws, [0.025, 0.975]))


def test_the_simplest_baselines_are_the_published_ones(dataset, simple, rows):
    y = observed(Dataset(dataset))
    assert len(y) == GENES
    rows["simple"] = [Row(f"r²: {name}", r2(values, y)) for name, values in simple.items()]
    table(rows["simple"])
    assert r2(simple["half-life features, linear"], y) == pytest.approx(HALFLIFE, abs=0.01)
    assert r2(simple["4-mers, ridge"], y) == pytest.approx(FOUR_MERS, abs=0.01)


def test_default(dataset, kept, simple, rows):
    """One seed: the first; five: their mean; with trees: the mean of both."""
    opened = Dataset(dataset)
    y, chroms, trees = observed(opened), np.array(opened.text("genes/chrom"))[tested(opened)], simple["trees"]
    by_seed = networks(dataset, kept, "default", SEEDS)
    mean = by_seed.mean(axis=0)
    both = (mean + trees) / 2
    scores = [r2(one, y) for one in by_seed]
    every = np.arange(len(y))
    measured = [
        Row("r²: default, one seed (the first; range of five)", scores[0], min(scores), max(scores), ONE_SEED),
        Row("r²: default, mean of five seeds", r2(mean, y), floor=FIVE_SEEDS),
        Row("r²: mean of five seeds and boosted trees", r2(both, y), floor=WITH_TREES),
    ]
    compared = [
        Row(f"gain in r² over trees, interval over {unit}: {name}", *gain(values, trees, y, group))
        for name, values in (("one seed", by_seed[0]), ("five seeds", mean), ("five seeds and trees", both))
        for unit, group in (("genes", every), ("chromosomes", chroms))
    ]
    rows["default"] = [*measured, *compared]
    table(rows["default"])
    assert not missed(measured) and not missed([Row("worst seed", min(scores), floor=ONE_SEED)])
    assert all(row.low > 0 for row in compared if row.name.endswith("five seeds and trees"))


def test_paper(dataset, kept, rows):
    """The published network on the same table: 2,048 instead of 10,500 bases, one seed."""
    rows["paper"] = [Row("r²: paper, one seed", r2(networks(dataset, kept, "paper", SEEDS[:1])[0], observed(Dataset(dataset))))]
    table(rows["paper"])
    assert rows["paper"][0].value > HALFLIFE
