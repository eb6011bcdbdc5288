"""What the report judges: does a family beat the simple rules (by r_gene_dev, on all test cells, paired by sample)? Which samples stand out?"""

from collections.abc import Sequence

import numpy as np

from exprcast.metrics import Estimate
from exprcast.page import Verdict, number
from exprcast.results import MODEL, Predictions, Reads, Scores

JUDGED_BY = "r_gene_dev"
POOLED = "pooled"
QUESTION = {
    "samples": "how expression differs between samples",
    "samples×genes": "how expression differs between samples",
    "genes": "how expression differs between genes",
}
MOST_NAMED = 6
LEAST_MAPPED = 0.5  # share of the reads; a sample with less stands out
LEAST_GENES = 0.5  # genes detected, as a part of the samples' median


def estimate(scores: Scores, family: str, predictor: str, metric: str, against: str = "", scope: str = POOLED) -> Estimate:
    """Return one score, NaN where the table has none."""
    return scores.get((family, predictor, against, metric, scope), Estimate(np.nan))


def best_rule(scores: Scores, predictions: Predictions) -> str | None:
    """Return the baseline with the highest r_gene_dev; NA counts 0, as in the gains (the training mean has no correlation)."""
    rules = [name for name in predictions.predictors if name != MODEL]
    values = {name: estimate(scores, predictions.family, name, JUDGED_BY).value for name in rules}
    return max(rules, key=lambda name: (np.nan_to_num(values[name]), not np.isnan(values[name])), default=None)


def judge(scores: Scores, predictions: Predictions) -> str:
    """Return better (than every rule), worse (than the best), undecided (an interval holds 0 or is missing) or unknown (no correlation)."""
    family, best = predictions.family, best_rule(scores, predictions)
    gains = {name: estimate(scores, family, MODEL, JUDGED_BY, name) for name in predictions.predictors if name != MODEL}
    if best is None or np.isnan(estimate(scores, family, MODEL, JUDGED_BY).value) or np.isnan(gains[best].value):
        return "unknown"
    if all(gain.low > 0 for gain in gains.values()):
        return "better"
    return "worse" if gains[best].high < 0 else "undecided"


def make_verdict(scores: Scores, predictions: Predictions, leakage: list[list[str]]) -> Verdict:
    """Return one family's verdict in words, its three numbers, and what speaks against trusting them."""
    family, best, kind = predictions.family, best_rule(scores, predictions), judge(scores, predictions)
    warnings = [*collapse_warning(predictions), *leakage_warnings(leakage, predictions)]
    own = estimate(scores, family, MODEL, JUDGED_BY)
    question = QUESTION.get(predictions.axes, QUESTION["samples"])
    if best is None or kind == "unknown":
        because = "its predictions are missing or do not differ from the training mean, so they have no correlation"
        sentence = f"{family} cannot be judged: {because} (r_gene_dev {number(own.value, 2)})."
        return Verdict("unknown", sentence, [], warnings)
    rule, gain = estimate(scores, family, best, JUDGED_BY), estimate(scores, family, MODEL, JUDGED_BY, best)
    numbers = f"(r_gene_dev {number(own.value, 2)}; best rule, {rule_name(best)}: {number(rule.value, 2)}; gain {number(gain.value, 2)}, {interval_text(gain)})"
    words = {
        "better": f"{family} predicts {question} better than every simple rule {numbers}.",
        "worse": f"{family} predicts {question} worse than the best simple rule {numbers}.",
        "undecided": f"Whether {family} predicts {question} better than the best simple rule is undecided: {undecided_because(gain)} {numbers}.",
    }
    rule_text = f"best simple rule: {rule_name(best)}" + (", no correlation, counts as 0" if np.isnan(rule.value) else "")
    tiles = [
        (number(own.value, 2), f"r_gene_dev of {family}"),
        (number(rule.value, 2), rule_text),
        (number(gain.value, 2), f"gain, {interval_text(gain)}"),
    ]
    return Verdict(kind, words[kind], tiles, warnings)


def rule_name(name: str) -> str:
    """Return a baseline's name in a sentence ("rule" alone says nothing)."""
    return "the family's own" if name == "rule" else name


def interval_text(gain: Estimate) -> str:
    """Return an interval in words."""
    return "no interval" if np.isnan(gain.low) else f"95 % interval {number(gain.low, 2)} to {number(gain.high, 2)}"


def undecided_because(gain: Estimate) -> str:
    """Say why a gain decides nothing."""
    if np.isnan(gain.low):
        return "too few samples for an interval of the gain"
    return "the interval of the gain holds 0" if gain.low <= 0 else "against another rule the interval of the gain holds 0"


def collapse_warning(predictions: Predictions) -> list[str]:
    """Return a warning if a training ended COLLAPSED."""
    if not predictions.collapsed:
        return []
    total = len(predictions.folds) * len(predictions.seeds)
    named = ", ".join(f"fold {fold} seed {seed}" for fold, seed in predictions.collapsed[:MOST_NAMED]) + (
        ", …" if len(predictions.collapsed) > MOST_NAMED else ""
    )
    return [f"COLLAPSED in {len(predictions.collapsed)} of {total} trainings ({named}): those predictions do not depend on the input."]


def leakage_warnings(leakage: list[list[str]], predictions: Predictions) -> list[str]:
    """Return a warning for each thing that test and training parts share on an axis that is held out."""
    return [
        f"Test and training {axis} share a {shared.replace('_', ' ')} in {folds} of {len(predictions.folds)} folds ({names}): the scores may be too good."
        for axis, shared, promised, folds, names in leakage
        if promised == "1" and folds != "0"
    ]


def outliers(reads: Sequence[Reads]) -> dict[str, list[str]]:
    """Return {sample: why} of the samples that stand out: few reads map, few genes are detected, or there is a remark."""
    median = median_genes(reads)
    found: dict[str, list[str]] = {}
    for one in reads:
        why = found[one.sample] = []
        if one.mapped_share < LEAST_MAPPED:
            why.append(f"only {100 * one.mapped_share:.1f} % of the reads map")
        if one.genes < LEAST_GENES * median:
            why.append(f"only {one.genes:,.0f} genes are detected, the median is {median:,.0f}")
        if one.remark:
            why.append(one.remark)
    return {sample: why for sample, why in found.items() if why}


def median_genes(reads: Sequence[Reads]) -> float:
    """Return the median number of genes detected in a sample."""
    return float(np.median([one.genes for one in reads]))
