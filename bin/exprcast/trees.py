"""Boosted trees (LightGBM) for examples that lie on genes: a family's features, condensed where it says how, → change from the base."""

import numpy as np

from exprcast.cli import InputError
from exprcast.family import Examples
from exprcast.means import Fitted, blocks, predict_base, residual

MOST_EXAMPLES = 500_000  # drawn with seed 0
ROUNDS, PATIENCE = 600, 50
FEW_FEATURES = 10  # a tree of fewer sees all of them
OF_NODES = ("split_feature", "threshold", "decision_type", "left_child", "right_child")  # in a booster's text, one number a node
SETTINGS = {
    "objective": "regression", "learning_rate": 0.05, "num_leaves": 31, "bagging_fraction": 0.7, "bagging_freq": 1,
    "lambda_l2": 10.0, "seed": 0, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip


def fit_trees(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray, chosen: Fitted | None = None) -> Fitted:
    """Return one booster an output as text (bytes), and the rounds that were best on validation, or those of an earlier fit.

    A feature that validation never has (the known level of genes, where new genes are tested) is left out of training, too.
    """
    import lightgbm  # half a second, only needed here

    parts = [draw(index) for index in (train, valid) if len(index)]
    inputs, targets = [condensed(examples, part) for part in parts], [residual(axes, examples, mean, part) for part in parts]
    columns = chosen["columns"] if chosen else np.flatnonzero(~np.isnan(inputs[-1]).all(axis=0))
    fitted, rounds = {"columns": columns}, []
    for output in range(targets[0].shape[1]):
        parts = []
        for x, y in zip(inputs, targets, strict=True):
            measured = ~np.isnan(y[:, output])
            parts.append(
                lightgbm.Dataset(x[measured][:, columns], y[measured, output], free_raw_data=False, reference=parts[0] if parts else None)
            )
        leaf = int(np.clip(len(parts[0].get_label()) // 100, 5, 200))
        settings = SETTINGS | {"min_data_in_leaf": leaf, "feature_fraction": 0.4 if len(columns) >= FEW_FEATURES else 1.0}
        most = int(chosen["rounds"][output]) if chosen else ROUNDS
        stop = [lightgbm.early_stopping(PATIENCE, verbose=False) for part in parts[1:] if len(part.get_label())]
        booster = lightgbm.train(settings, parts[0], most, valid_sets=parts[1:] if stop else None, callbacks=stop)
        fitted[f"booster{output}"] = np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8)
        rounds.append(booster.best_iteration or most)
    return fitted | {"rounds": np.array(rounds)}


def predict_trees(axes: str, examples: Examples, mean: Fitted, trees: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the base plus the change that each output's booster predicts."""
    import lightgbm

    x = condensed(examples, index)[:, trees["columns"]]
    try:
        texts = [trees[f"booster{output}"].tobytes().decode() for output in range(len(trees["rounds"]))]
        if not all(are_sound(text, x.shape[1]) for text in texts):
            raise ValueError
        boosters = [lightgbm.Booster(model_str=text) for text in texts]
    except (lightgbm.basic.LightGBMError, ValueError, KeyError, IndexError):
        raise InputError("the fitted baselines hold boosted trees that cannot be read; fit them again") from None
    return predict_base(axes, examples, mean, index) + np.column_stack([booster.predict(x) for booster in boosters])


def are_sound(text: str, features: int) -> bool:
    """Say whether a booster's text is one that LightGBM can follow without leaving its own memory: from each node to a later node or a leaf."""
    head, *parts = text.split("\nTree=")
    facts = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if facts["num_class"] != "1" or int(facts["max_feature_idx"]) != features - 1 or "\nend of trees" not in parts[-1]:
        return False
    return all(is_sound_tree(dict(line.split("=", 1) for line in part.splitlines() if "=" in line), features) for part in parts)


def is_sound_tree(tree: dict[str, str], features: int) -> bool:
    """Say the same of one tree, by the arrays in its text."""
    leaves = int(tree["num_leaves"])
    numbers = {name: np.array(tree.get(name, "").split(), dtype=float) for name in (*OF_NODES, "leaf_value")}
    if tree["num_cat"] != "0" or len(numbers["leaf_value"]) != leaves or any(len(numbers[name]) != leaves - 1 for name in OF_NODES):
        return False
    node, split = np.arange(leaves - 1), numbers["split_feature"]
    children = (numbers["left_child"], numbers["right_child"])
    forward = all((np.where(child < 0, child >= -leaves, (child > node) & (child < leaves - 1))).all() for child in children)
    return bool(forward and ((split >= 0) & (split < features)).all())


def draw(index: np.ndarray) -> np.ndarray:
    """Return the index, or a part of it where it is long."""
    return np.sort(np.random.default_rng(0).choice(index, MOST_EXAMPLES, replace=False)) if len(index) > MOST_EXAMPLES else index


def condensed(examples: Examples, index: np.ndarray) -> np.ndarray:
    """Return (index, few) features: the family's own summary of its inputs, or all features."""
    read = getattr(examples, "summary", examples.features)
    return np.concatenate([read(part) for part in blocks(index)])
