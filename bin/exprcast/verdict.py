"""What the report judges: does a family beat the simple rules, on all test cells, paired by sample? Which samples stand out?

Where genes are in training, r_gene_dev is judged. Of a gene that is not, no mean is known, and what departs from the mean of what was
tested is no skill; there r_gene is judged.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from exprcast.metrics import LEAST_UNITS, TAILS, Estimate
from exprcast.page import Verdict, number
from exprcast.results import Predictions, Reads
from exprcast.score_tables import NO_TWINS, POOLED, Leak, Scores
from exprcast.scoring import MODEL
from exprcast.tables import name_some

NO_BETTER = 0.001  # a squared error within this part of the training mean's is no other
QUESTION = {
    frozenset(["samples"]): "how expression differs between samples",
    frozenset(["genes"]): "how expression differs between genes",
    frozenset(["samples", "genes"]): "how high unseen genes are in unseen samples",
}
WITHOUT_CORRELATION = {
    "r_gene_dev": "are missing or do not differ from the training mean",
    "r_gene": "are missing or the same for all genes",
}
FRACTION = "fraction"  # the unit of shares that isoforms have in their genes
UNITS = {
    "samples": "{n} {row}s",
    "groups": "{n} groups of samples",
    "genes": "{n} {column}s",
    "replicate groups": "{n} groups of replicates",
}
SHARED = {
    "replicate_group": "the same replicate group",
    "donor": "the same donor",
    "biosample": "the same biosample",
    "batch": "the same batch",
    "accession": "groups of the same study (by its accession)",
    "peaks": "identical peaks",
    "expression": "identical expression",
    "twin": "a near-duplicate",
    "chrom": "the same chromosome",
    "paralog_group": "paralogs",
    "promoter": "identical promoters",
}  # fmt: skip
CONTROLS = {
    "permuted": ("the splicing factors of a sample", "with those of another sample of its biosample"),
    "matched": ("splicing factors rather than any genes", "with other genes of equal mean and spread in their place"),
}  # what carries a part of the prediction if the network is better than a control, and what that one reads
SHOWN, NOT_SHOWN = "{} carry a part of it", "that {} carry any of it is not shown"
TOO_FEW = "so few groups of samples cannot tell whether {} carry a part of it"
MOST_NAMED = 6
LEAST_MAPPED = 0.5  # share of the reads; a sample with less stands out
LEAST_GENES = 0.5  # genes detected, as a part of the samples' median


def estimate(scores: Scores, family: str, predictor: str, metric: str, against: str = "", scope: str = POOLED) -> Estimate:
    """Return one score, NaN where the table has none."""
    return scores.get((family, predictor, against, metric, scope), Estimate(np.nan))


def held_out(leakage: Sequence[Leak], predictions: Predictions) -> frozenset[str]:
    """Return the axes on which a family's test cells are new to it; where the leakage table does not say, what an example is."""
    own = {leak.axis for leak in leakage if leak.held_out} & set(predictions.axes.split("×"))
    return frozenset(own or predictions.axes.split("×")[:1])


def judged_by(leakage: Sequence[Leak], predictions: Predictions) -> str:
    """Return the metric that the verdict is about."""
    return "r_gene" if "genes" in held_out(leakage, predictions) else "r_gene_dev"


def over_rows(predictions: Predictions) -> bool:
    """Say whether a gene's correlation over rows is worth telling: over samples always, over labels where there are enough for an interval."""
    return predictions.axes != "genes" or len(predictions.rows) >= LEAST_UNITS


def best_rule(scores: Scores, predictions: Predictions, metric: str) -> str | None:
    """Return the baseline with the highest score; NA counts 0, as in the gains (the training mean has no correlation)."""
    rules = [name for name in predictions.predictors if name != MODEL]
    values = {name: estimate(scores, predictions.family, name, metric).value for name in rules}
    return max(rules, key=lambda name: (np.nan_to_num(values[name]), not np.isnan(values[name])), default=None)


def judge(scores: Scores, predictions: Predictions, leakage: Sequence[Leak]) -> tuple[str, str]:
    """Return a verdict, and for undecided the reason.

    better: than every rule; worse: than the best; undecided: an interval holds 0 or is missing, or is over genes though samples were
    held out; unknown: no correlation. Which rule is best was seen on the same data: so "worse" takes the interval at the level of as
    many comparisons as there are rules (Bonferroni), as if it were normal. "better" needs none, because it asks of every rule.
    """
    family, metric = predictions.family, judged_by(leakage, predictions)
    best, other = best_rule(scores, predictions, metric), other_name(predictions)
    gains = {name: estimate(scores, family, MODEL, metric, name) for name in predictions.predictors if name != MODEL}
    if best is None or np.isnan(estimate(scores, family, MODEL, metric).value) or np.isnan(gains[best].value):
        return "unknown", ""
    gain, groups = gains[best], estimate(scores, family, MODEL, "r_sample_median").n
    if "samples" in held_out(leakage, predictions) and gain.unit == "genes":
        return "undecided", f"only {groups:,.0f} group{'s' * (groups != 1)} of samples were held out, it takes {LEAST_UNITS}"
    if np.isnan(gain.low):
        return "undecided", f"too few {'genes' if predictions.axes == 'genes' else 'samples'} for an interval of the gain"
    if all(one.low > 0 for one in gains.values()):
        return "better", ""
    if gain.value + (gain.high - gain.value) * norm.ppf(1 - TAILS[0] / len(gains)) / norm.ppf(TAILS[1]) < 0:
        return "worse", ""
    if gain.high < 0:
        return "undecided", f"the interval of the gain holds 0 when it allows for the choice of the best of {len(gains)} {other}s"
    return "undecided", "the interval of the gain holds 0" if gain.low <= 0 else f"against another {other} the interval of the gain holds 0"


def make_verdict(scores: Scores, predictions: Predictions, leakage: Sequence[Leak]) -> Verdict:
    """Return one family's verdict in words, its numbers, and what speaks against trusting them."""
    family, metric = predictions.family, judged_by(leakage, predictions)
    best, (kind, because) = best_rule(scores, predictions, metric), judge(scores, predictions, leakage)
    warnings = [*collapse_warning(predictions), *leakage_warnings(leakage, predictions)]
    own = estimate(scores, family, MODEL, metric)
    question = predictions.reword(QUESTION[held_out(leakage, predictions)])
    if predictions.unit == FRACTION:
        question = question.replace("how expression differs", "how shares of isoforms differ")
    remarks = [
        *sample_remark(scores, predictions),
        *mean_remark(scores, predictions),
        *control_remarks(scores, predictions, metric),
        *twin_remark(scores, family, metric),
        *ceiling_remark(scores, family, metric),
    ]
    if best is None or kind == "unknown":
        sentence = f"{family} cannot be judged: its predictions {predictions.reword(WITHOUT_CORRELATION[metric])}, so they have no correlation ({metric} {number(own.value, 2)})."
        return Verdict("unknown", sentence, [], warnings, " ".join(remarks))
    rule, gain = estimate(scores, family, best, metric), estimate(scores, family, MODEL, metric, best)
    other, short = other_name(predictions, "simple "), other_name(predictions)
    numbers = f"({metric} {number(own.value, 2)}; best {short}, {rule_name(best)}: {number(rule.value, 2)}; gain {number(gain.value, 2)}, {interval_text(gain, predictions)})"
    words = {
        "better": f"{family} predicts {question} better than every {other} {numbers}.",
        "worse": f"{family} predicts {question} worse than the best {other} {numbers}.",
        "undecided": f"Whether {family} predicts {question} better than the best {other} is undecided: {because} {numbers}.",
    }
    rule_text = f"best {other}: {rule_name(best)}" + (", no correlation, counts as 0" if np.isnan(rule.value) else "")
    tiles = [
        (number(own.value, 2), f"{metric} of {family}"),
        (number(rule.value, 2), rule_text),
        (number(gain.value, 2), f"gain, {interval_text(gain, predictions)}"),
        *twin_tile(scores, predictions, metric),
        *ceiling_tile(scores, family, metric),
    ]
    return Verdict(kind, words[kind], tiles, warnings, " ".join(remarks))


def sample_remark(scores: Scores, predictions: Predictions) -> list[str]:
    """Say how the model does gene by gene over samples, beside the rule that is best there; genes of one cohort are not independent."""
    family, rules = predictions.family, [name for name in predictions.predictors if name != MODEL]
    own, values = (
        estimate(scores, family, MODEL, "r_sample_median"),
        {n: estimate(scores, family, n, "r_sample_median").value for n in rules},
    )
    best = max(rules, key=lambda name: np.nan_to_num(values[name], nan=-np.inf), default=None)
    if best is None or np.isnan(own.value) or np.isnan(values[best]) or not over_rows(predictions):
        return []
    gain = estimate(scores, family, MODEL, "r_sample", best)
    return [
        f"Over {predictions.row}s, {predictions.column} by {predictions.column}, it has a median r_sample of {number(own.value, 2)}, "
        f"the best {other_name(predictions)} there ({rule_name(best)}) {number(values[best], 2)}; "
        f"gain {number(gain.value, 2)}, {interval_text(gain, predictions)}."
    ]


def mean_remark(scores: Scores, predictions: Predictions) -> list[str]:
    """Say that a family whose networks trained is no better than the training mean by squared error, if so: a finding, no failure."""
    own, mean = (estimate(scores, predictions.family, name, "mse").value for name in (MODEL, "mean"))
    if predictions.collapsed or not own >= (1 - NO_BETTER) * mean:  # NaN is neither
        return []
    return [f"It is no better than the training mean: its mean squared error is {number(own)}, that of the mean {number(mean)}."]


def control_remarks(scores: Scores, predictions: Predictions, metric: str) -> list[str]:
    """Say what the family's own controls leave of the claim that its inputs carry the prediction, whichever way it goes: a sentence a finding."""
    found: dict[str, dict[str, Estimate]] = {}
    for name in CONTROLS:
        if name in predictions.controls:
            gain = estimate(scores, predictions.family, MODEL, metric, name)
            found.setdefault(TOO_FEW if gain.unit == "genes" else SHOWN if gain.low > 0 else NOT_SHOWN, {})[name] = gain
    return [control_remark(finding, gains, predictions) for finding, gains in found.items()]


def control_remark(finding: str, gains: Mapping[str, Estimate], predictions: Predictions) -> str:
    """Return one sentence for all controls of which the same was found; `gains` over each of them."""
    claims = [CONTROLS[name][0] for name in gains]
    joined = (" and " if finding == SHOWN else ", or ").join(claims) + "," * (finding != SHOWN and len(claims) > 1)
    told = finding.format(joined)
    numbers = [f"{CONTROLS[name][1]} is {number(gain.value, 2)}, {interval_text(gain, predictions)}" for name, gain in gains.items()]
    return f"{told[0].upper()}{told[1:]}: the gain over the same network {'; over one '.join(numbers)}."


def twin_remark(scores: Scores, family: str, metric: str) -> list[str]:
    """Say what the score is without samples that have a near-duplicate in training."""
    own = estimate(scores, family, MODEL, metric, scope=NO_TWINS)
    return (
        [] if np.isnan(own.value) else [f"Without samples that have a near-duplicate in training its {metric} is {number(own.value, 2)}."]
    )


def twin_tile(scores: Scores, predictions: Predictions, metric: str) -> list[tuple[str, str]]:
    """Return the same as a tile."""
    own = estimate(scores, predictions.family, MODEL, metric, scope=NO_TWINS)
    return [] if np.isnan(own.value) else [(number(own.value, 2), f"{metric} without near-duplicates, {interval_text(own, predictions)}")]


def ceiling_remark(scores: Scores, family: str, metric: str) -> list[str]:
    """Say how well replicates agree, and what follows for a perfect prediction, or for the replicates."""
    replicate, ceiling = (estimate(scores, family, name, metric) for name in ("replicate", "ceiling"))
    if np.isnan(ceiling.value):
        return []
    if exceeds(scores, family, metric):
        return [f"Replicates agree to r {number(replicate.value, 2)}, less than the model does with them; they may not be replicates."]
    return [f"Replicates agree to r {number(replicate.value, 2)}; the most that any prediction can reach is {number(ceiling.value, 2)}."]


def ceiling_tile(scores: Scores, family: str, metric: str) -> list[tuple[str, str]]:
    """Return the same as a tile; none where it is no ceiling."""
    ceiling = estimate(scores, family, "ceiling", metric)
    if np.isnan(ceiling.value) or exceeds(scores, family, metric):
        return []
    return [(number(ceiling.value, 2), "the most that replicates allow")]


def exceeds(scores: Scores, family: str, metric: str) -> bool:
    """Say whether the model is above what its replicates allow."""
    return estimate(scores, family, MODEL, metric).value > estimate(scores, family, "ceiling", metric).value


def other_name(predictions: Predictions, adjective: str = "") -> str:
    """Return what a family is compared with: a rule; an ensemble is compared with its members."""
    return "member" if predictions.weights else f"{adjective}rule"


def rule_name(name: str) -> str:
    """Return a baseline's name in a sentence ("rule" alone says nothing)."""
    return "the family's own" if name == "rule" else name


def interval_text(one: Estimate, predictions: Predictions) -> str:
    """Return an interval and what it was drawn over in words."""
    if np.isnan(one.low):
        return "no interval"
    return f"95 % interval {number(one.low, 2)} to {number(one.high, 2)}{over(one, predictions)}"


def over(one: Estimate, predictions: Predictions) -> str:
    """Return what an interval was drawn over: " over 8 groups of samples"."""
    words = {"n": f"{one.n:,.0f}", "row": predictions.row, "column": predictions.column}
    return f" over {UNITS[one.unit].format(**words)}" if one.unit in UNITS else ""


def collapse_warning(predictions: Predictions) -> list[str]:
    """Return a warning if a training ended COLLAPSED."""
    if not predictions.collapsed:
        return []
    total = len(predictions.folds) * len(predictions.seeds)
    named = name_some([f"fold {fold} seed {seed}" for fold, seed in predictions.collapsed])
    return [f"COLLAPSED in {len(predictions.collapsed)} of {total} trainings ({named}): those predictions do not depend on the input."]


def admission_warning(misaligned: str) -> list[str]:
    """Return what it means that tables were joined whose columns seem to be other genes ("" if none were)."""
    if not misaligned:
        return []
    return [
        f"Misaligned expression tables were admitted: {misaligned}. A column stands for one gene in training and for another in the test, so "
        "no score here says anything about expression; the mean, or 0, may well score as good as a network."
    ]


def leakage_warnings(leakage: Sequence[Leak], predictions: Predictions) -> list[str]:
    """Return a warning for each thing that test and training parts share on an axis that is held out."""
    return [leakage_warning(leak, len(predictions.folds)) for leak in leakage if leak.held_out and leak.folds]


def leakage_warning(leak: Leak, folds: int) -> str:
    """Return one warning; near-duplicates are named one by one."""
    if leak.shared == "twin":
        pairs = [name.replace("~", " has a near-duplicate in training: ", 1) for name in leak.names[:MOST_NAMED]]
        return (
            "; ".join([*pairs, *([f"{leak.members:,} {leak.axis} in all"] if leak.members > len(pairs) else [])])
            + ". The scores may be too good."
        )
    named = ", ".join(leak.names[:MOST_NAMED]) + (", …" if len(leak.names) > MOST_NAMED else "")
    what = SHARED.get(leak.shared, leak.shared)
    return f"Test and training {leak.axis} have {what} in {leak.folds} of {folds} folds ({named}): the scores may be too good."


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
