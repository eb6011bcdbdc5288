"""combine.py and evaluate.py: only what belongs together is put together, and the numbers are those of the held-out cells."""

import csv
import gzip
from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN
from exprcast.metrics import pearson
from tiny import run_script, tiny_dataset

TOYS = Path(__file__).parent / "families"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two folds and two seeds of a toy family: {name: predictions file}."""
    folder = tmp_path_factory.mktemp("fitted")
    data = ["--dataset", tiny_dataset(folder / "dataset.h5", samples=12, genes=20)]
    toy = ["--family", "toy_samples", "--families-dir", TOYS]
    files = {}
    for fold in (0, 1):
        run_script("fit_baselines", *toy, "--fold", fold, *data, "--out", folder / f"{fold}.baselines.h5")
        sources = {f"fold{fold}": ("--baselines", folder / f"{fold}.baselines.h5")}
        for seed in (1, 2):
            checkpoint = folder / f"{fold}.{seed}.pt"
            run_script("train", *toy, "--fold", fold, "--seed", seed, *data, "--history-out", folder / "h.tsv", "--out", checkpoint)
            sources[f"fold{fold}seed{seed}"] = ("--checkpoint", checkpoint)
        for name, (option, source) in sources.items():
            files[name] = folder / f"{name}.predictions.h5"
            run_script("predict", option, source, "--families-dir", TOYS, *data, "--out", files[name])
    return files


def combine(folder, files, *more):
    run_script("combine", "--predictions", *files, *more, "--out", folder / "toy.h5")
    return folder / "toy.h5"


def evaluate(folder, predictions, dataset):
    tables = [word for kind in ("samples", "genes", "leakage") for word in (f"--{kind}-out", folder / f"{kind}.tsv")]
    run_script("evaluate", "--predictions", predictions, "--dataset", dataset, *tables, "--out", folder / "scores.tsv")
    with (folder / "scores.tsv").open() as file:
        return {(row["predictor"], row["against"], row["metric"], row["scope"]): row for row in csv.DictReader(file, delimiter="\t")}


def test_order_of_the_files_does_not_matter(fitted, tmp_path):
    for name, files in (("a", list(fitted.values())), ("b", list(fitted.values())[::-1])):
        (tmp_path / name).mkdir()
        combine(tmp_path / name, files)
    assert (tmp_path / "a/toy.h5").read_bytes() == (tmp_path / "b/toy.h5").read_bytes()


def test_scores_are_those_of_the_held_out_cells(fitted, tmp_path):
    path = combine(tmp_path, fitted.values(), "--table-out", tmp_path / "cells.tsv.gz")
    with h5py.File(path) as file:
        role, observed, predicted = file["role"][:], file["observed"][:], file["predicted"][:].mean(axis=1)
        training = [observed[(fold == TRAIN).any(axis=1)].mean(axis=0) for fold in role]
        expected = []
        for k in (0, 1):
            for row in np.flatnonzero((role[k] == TEST).any(axis=1)):
                expected.append(pearson((predicted[k, row] - training[k])[None], (observed[row] - training[k])[None], axis=1)[0])
    scores = evaluate(tmp_path, path, fitted["fold0"].parent / "dataset.h5")
    assert float(scores["model", "", "r_gene_dev", "pooled"]["value"]) == pytest.approx(np.mean(expected), abs=1e-6)
    assert scores["mean", "", "r_gene_dev", "pooled"]["value"] == "NA"
    gain = float(scores["model", "mean", "r_gene_dev", "pooled"]["value"])
    assert gain == pytest.approx(np.mean(expected), abs=1e-6), "over NA the gain is the score itself"
    cells = gzip.decompress((tmp_path / "cells.tsv.gz").read_bytes()).decode().splitlines()
    assert len(cells) - 1 == (role == TEST).sum()


def test_table_is_left_out_when_too_long(fitted, tmp_path):
    combine(tmp_path, fitted.values(), "--table-out", tmp_path / "cells.tsv.gz", "--table-rows", 10)
    assert not (tmp_path / "cells.tsv.gz").exists()


def test_a_missing_seed_or_fold_is_named(fitted, tmp_path):
    with pytest.raises(InputError, match="predictions are not complete: fold 1 seed 2 missing"):
        combine(tmp_path, [path for name, path in fitted.items() if name != "fold1seed2"])
    with pytest.raises(InputError, match="predictions are not complete: a fold has no baselines"):
        combine(tmp_path, [path for name, path in fitted.items() if name != "fold1"])
    assert not (tmp_path / "toy.h5").exists()


def test_other_genes_and_other_files_are_refused(fitted, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(fitted["fold0seed1"].read_bytes())
    with h5py.File(other, "a") as file:
        file["columns"][0] = "G99"
    with pytest.raises(InputError, match="predictions do not belong together: their columns differ"):
        combine(tmp_path, [other, *(path for name, path in fitted.items() if name != "fold0seed1")])
    with pytest.raises(InputError, match="dataset.h5: not a file of predictions"):
        evaluate(tmp_path, fitted["fold0"].parent / "dataset.h5", fitted["fold0"].parent / "dataset.h5")


def test_checkpoint_of_other_genes_is_refused(fitted, tmp_path):
    dataset = tiny_dataset(tmp_path / "dataset.h5", samples=12, genes=21)
    with pytest.raises(InputError, match="0.1.pt was trained on 20 outputs, dataset.h5 has 21; 1 ids differ"):
        run_script(
            "predict",
            "--checkpoint",
            fitted["fold0"].parent / "0.1.pt",
            "--families-dir",
            TOYS,
            "--dataset",
            dataset,
            "--out",
            tmp_path / "p.h5",
        )
