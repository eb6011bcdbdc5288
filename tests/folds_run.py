"""One family on all folds of a dataset, by the scripts of bin/ as the pipeline runs them with --refit."""

from pathlib import Path
from shutil import rmtree

from exprcast.dataset import Dataset
from tiny import run_script


def predict(
    dataset: Path,
    folder: Path,
    family: str,
    options: tuple = (),
    seed: int = 1,
    controls: tuple[str, ...] = (),
    folds: list[int] | None = None,
) -> Path:
    """Return the predictions of one family: all folds, or these, and networks that are controls."""
    parts = []
    for fold in range(Dataset(dataset).n_folds) if folds is None else folds:
        stem = folder / f"{family}.fold{fold}"
        prepared = ["--prepared", f"{stem}.prepared", "--dataset", dataset]
        run_script("prepare", "--family", family, *options, "--fold", fold, "--refit", "--dataset", dataset, "--out", prepared[1])
        run_script("fit_baselines", *prepared, "--out", f"{stem}.baselines.h5")
        fitted = [("--baselines", f"{stem}.baselines.h5")]
        for control in ("", *controls):
            made = f"{stem}{control and '.' + control}"
            run_script(
                "train", *prepared, "--seed", seed, "--control", control, "--history-out", f"{made}.history.tsv", "--out", f"{made}.pt"
            )
            fitted.append(("--checkpoint", f"{made}.pt"))
        for option, path in fitted:
            parts.append(Path(f"{path}.predictions.h5"))
            run_script("predict", option, path, *prepared, "--out", parts[-1])
        rmtree(f"{stem}.prepared")
    out = folder / f"{family}.h5"
    run_script("combine", "--predictions", *parts, "--out", out)
    return out
