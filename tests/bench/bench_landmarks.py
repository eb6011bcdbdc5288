"""How fast landmarks become all other genes: ridge regression of 9,520 targets beside scikit-learn's, in seconds of the processor.

envs/setup.sh python -m pytest tests/bench/bench_landmarks.py -s
"""

from time import process_time
from types import SimpleNamespace

import numpy as np
import torch
from sklearn.linear_model import Ridge

from exprcast.means import fit_mean
from exprcast.ridge import ALPHAS, fit_ridge, predict_ridge

LANDMARKS, TARGETS, TRAINING, VALIDATING = 943, 9_520, 2_000, 200
FASTER = 5.0


def made() -> SimpleNamespace:
    """Return samples whose targets follow their landmarks linearly, with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(TRAINING + VALIDATING, LANDMARKS)).astype(np.float32)
    y = (x @ rng.normal(size=(LANDMARKS, TARGETS)).astype(np.float32) + 30 * rng.normal(size=(len(x), TARGETS))).astype(np.float32)
    return SimpleNamespace(
        x=x,
        y=y,
        rows=range(len(x)),
        columns=range(TARGETS),
        features=lambda index: x[index],
        targets=lambda index: torch.from_numpy(y[index]),
    )


def test_ridge_of_all_targets_and_penalties_is_scikit_learns_and_five_times_faster():
    """Both fit all targets for each of 15 penalties and keep the one that is best on validation."""
    examples, train, valid = made(), np.arange(TRAINING), np.arange(TRAINING, TRAINING + VALIDATING)
    start = process_time()
    mean = fit_mean("samples", examples, train, valid)
    ridge = fit_ridge("samples", examples, mean, train, valid)
    predicted = predict_ridge("samples", examples, mean, ridge, valid)
    ours, start = process_time() - start, process_time()
    x, y = (examples.x - ridge["centre"]) / ridge["scale"], examples.y.astype(np.float64)
    level = y[train].mean(axis=0)
    fits = [Ridge(alpha * TRAINING, fit_intercept=False).fit(x[train], y[train] - level) for alpha in ALPHAS]
    known = [fit.predict(x[valid]) + level for fit in fits]
    best = int(np.argmin([np.square(one - y[valid]).mean() for one in known]))
    theirs = process_time() - start
    print(
        f"\nridge, {TRAINING:,} × {LANDMARKS} → {TARGETS:,}, {len(ALPHAS)} penalties: {ours:.1f} s of the processor; scikit-learn {theirs:.1f} s"
    )
    assert ALPHAS[best] == ridge["alpha"][0]
    np.testing.assert_allclose(predicted, known[best], rtol=1e-6, atol=1e-6 * np.abs(y).max())
    assert theirs >= FASTER * ours
