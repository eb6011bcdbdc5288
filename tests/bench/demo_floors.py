#!/usr/bin/env python3
"""Hold the results of the demo's two runs against the truth: the oracle's correlation, ridge, and the bins that were planted; trees, and
the motif and half-life features that were planted.

tests/bench/demo_floors.py results        one line a floor: name, measured, floor; exit status 1 if one is missed
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "bin"))
from exprcast.metrics import pearson  # noqa: E402
from exprcast.simulation.rule import MOTIF  # noqa: E402
from exprcast.tables import read_matrix, strip_version  # noqa: E402

SHARED_BP = 6  # bases in a row that a word has in common with the motif, at least


def pooled(results: Path, predictor: str, metric: str) -> float:
    """Return one predictor's score over all folds."""
    with (results / "scores.tsv").open() as file:
        rows = [
            row
            for row in csv.DictReader(file, delimiter="\t")
            if row["predictor"] == predictor and not row["against"] and row["scope"] == "pooled"
        ]
    return float(next(row["value"] for row in rows if row["metric"] == metric))


def oracle_r_sample(results: Path) -> float:
    """Return the median over genes of the correlation between the true rule on the called peaks and the measured level."""
    oracle, observed = read_matrix(results / "truth/oracle.tsv.gz"), read_matrix(results / "tables/expression.tsv.gz")
    gene = {strip_version(name): i for i, name in enumerate(observed.rows)}
    sample = {name: i for i, name in enumerate(observed.columns)}
    measured = np.log2(
        1 + observed.values[np.ix_([gene[strip_version(name)] for name in oracle.rows], [sample[name] for name in oracle.columns])]
    )
    return float(np.nanmedian(pearson(oracle.values, measured, axis=1)))


def lowest_r_of_reads(results: Path) -> float:
    """Return the lowest sample's correlation over genes between log2(TPM + 1) of its reads and of the truth that they were drawn from."""
    truth, observed = read_matrix(results / "truth/expression.tsv.gz"), read_matrix(results / "tables/gene_tpm.tsv.gz")
    gene = {name: i for i, name in enumerate(observed.rows)}
    sample = {name: i for i, name in enumerate(observed.columns)}
    measured = observed.values[np.ix_([gene[strip_version(name)] for name in truth.rows], [sample[name] for name in truth.columns])]
    return float(pearson(np.log2(truth.values + 1), np.log2(measured + 1), axis=0).min())


def planted_share(results: Path) -> tuple[float, int]:
    """Return the share of genes with a single planted element whose strongest attribution lies on it, and their number.

    The strongest bin is that of the mean absolute share over held-out samples; an element is up to 1,500 bp wide and so may
    open the bin beside its summit's too.
    """
    with (results / "truth/truth.tsv").open() as file:
        planted = {
            row["gene"]: int(row["distance_bp"])
            for row in csv.DictReader(file, delimiter="\t")
            if row["kind"] == "planted" and row["single"] == "yes"
        }
    total: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(1))
    for path in sorted((results / "attributions").glob("*.h5")):
        with h5py.File(path) as file:
            width, flank = int(file.attrs["bin_bp"]), int(file.attrs["flank_bp"])
            for gene, shares in zip(file["column"].asstr()[:], np.abs(file["shares/window"][:]), strict=True):
                total[gene] = total[gene] + shares
    explained = sorted(set(total) & set(planted))
    hits = [abs(int(total[gene].argmax()) - (planted[gene] + flank) // width) <= 1 for gene in explained]
    return float(np.mean(hits)), len(hits)


def first_words(results: Path) -> list[str]:
    """Return the word that raises predictions most, of each network."""
    words = []
    for path in sorted((results / "attributions").glob("xpresso.*.h5")):
        with h5py.File(path) as file:
            words.append(file["words/word"].asstr()[int(file["words/evidence"][:].argmax())])
    return words


def is_planted(word: str) -> bool:
    """Say whether a word has SHARED_BP bases in a row of the planted motif, on its strand."""
    return any(MOTIF[start : start + SHARED_BP] in word for start in range(len(MOTIF) - SHARED_BP + 1))


def strongest_features(results: Path) -> list[str]:
    """Return the two half-life features that move predictions most, over all networks."""
    total, names = 0.0, []
    for path in sorted((results / "attributions").glob("xpresso.*.h5")):
        with h5py.File(path) as file:
            names = list(file["shares/halflife"].attrs["names"])
            total = total + np.abs(file["shares/halflife"][:]).sum(axis=0)
    return sorted(names[place] for place in np.argsort(total)[-2:])


def floors(results: Path) -> list[tuple[str, float, float]]:
    """Return (name, measured, floor) of everything that a run of the demo promises."""
    return (promoter_floors if (results / "predictions/xpresso.h5").is_file() else chromatin_floors)(results)


def promoter_floors(results: Path) -> list[tuple[str, float, float]]:
    """Return the floors of the run that holds out genes."""
    words, features = first_words(results), strongest_features(results)
    planted = ["ORFEXONDENSITY", "UTR3LEN"]
    return [
        ("r over genes of xpresso against boosted trees", pooled(results, "model", "r_gene"), pooled(results, "trees", "r_gene")),
        (f"first word of a network's attributions is {MOTIF} ({', '.join(words)})", float(np.mean(list(map(is_planted, words)))), 1.0),
        (f"planted half-life features have the largest shares ({', '.join(features)})", float(features == planted), 1.0),
    ]


def chromatin_floors(results: Path) -> list[tuple[str, float, float]]:
    """Return the floors of the run that holds out samples."""
    model, ridge = (pooled(results, predictor, "r_sample_median") for predictor in ("model", "ridge"))
    oracle = oracle_r_sample(results)
    share, genes = planted_share(results)
    return [
        ("gene log2(TPM + 1) of the reads against the truth, lowest r of a sample", lowest_r_of_reads(results), 0.98),
        ("median r_sample of atac_cis against 0.9 of the oracle's", model, 0.9 * oracle),
        ("median r_sample of atac_cis against ridge on the same bins", model, ridge),
        (f"planted bin is the top attribution ({genes} genes with a single one)", share, 0.8),
    ]


def main() -> None:
    """Print the floors of a results folder."""
    rows = floors(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
    for name, measured, floor in rows:
        print(f"{name}\t{measured:.4f}\t{floor:.4f}\t{'met' if measured >= floor else 'MISSED'}")
    sys.exit(any(measured < floor for _, measured, floor in rows))


if __name__ == "__main__":
    main()
