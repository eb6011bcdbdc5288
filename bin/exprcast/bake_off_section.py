"""The report's section on the bake-off: who wins on the cells that all families test, who adds what over whom, who was left out."""

from collections.abc import Mapping, Sequence

import numpy as np

from exprcast.bake_off_table import ADDS, ALL, GAIN, MEAN, Compared
from exprcast.figures import draw_gains, draw_intervals, shorten
from exprcast.metrics import LEAST_UNITS, Estimate
from exprcast.page import Cell, Picture, Pictures, Section, Table, Terms, Text, number
from exprcast.results import Predictions
from exprcast.score_sections import score_cell, told
from exprcast.score_tables import Leak
from exprcast.scoring import MODEL
from exprcast.verdict import held_out, interval_text, judged_by, over

METRICS = ("r_gene_dev", "r_sample_median", "r_gene", "mse", "mae")
SMALLER_IS_BETTER = ("mse", "mae")
TERMS = [
    ("gain", "What a predictor has more than another on the same cells, paired; of errors, how much smaller they are. NA of the other counts 0."),
    (
        "adds",
        "What the weighted mean of two has more than one of them alone. The weights (none negative, their sum 1) are learned on each fold's validation "
        "values. A predictor that knows less adds something all the same where its errors are others.",
    ),
    ("‹family›", "A family's network: the mean over its seeds."),
    (
        "‹family›.‹rule›",
        "The simple rule of that family with the least squared error on validation values; without the family's name where it is the same in several.",
    ),
    (MEAN, "The training mean."),
    (ALL, "The weighted mean of all networks and rules that stand here, weighted as an ensemble is."),
    ("ensemble", "The weighted mean of all families and all their rules, from --ensemble."),
]  # fmt: skip


def bake_off_section(
    common: Compared | None, left_out: Mapping[str, Compared], families: Sequence[Predictions], leakage: Sequence[Leak]
) -> Section:
    """Say who wins, then show every number, its picture, and who adds what over whom."""
    known = {p.family: p for p in families}
    if common is None or not common.predictors:
        why = "No two families predict the same values, so none is compared with another; each has its own scores."
        return Section("bake-off", "All families side by side", [Text(why), *own_table(left_out, known)])
    compared = [known[name] for name in common.predictors if name in known]
    metric = "r_gene" if "r_gene" in {judged_by(leakage, p) for p in compared} else "r_gene_dev"
    blocks = [
        Text(" ".join([winner(common, metric, compared, leakage), *best_network(common, metric, known)])),
        *([Text(named_left_out(left_out), "warn")] if left_out else []),
        Terms("What the words mean", [(word, text) for word, text in TERMS if word not in (ALL, "ensemble") or word in common.predictors]),
        Pictures([forest(common, metric, known, compared[0])]),
        score_table(common, left_out, known, compared[0]),
        Pictures([*gain_pictures(common, metric)]),
        pair_table(common, metric),
    ]
    return Section("bake-off", "All families side by side", blocks)


def ranked(common: Compared, metric: str, names: Sequence[str] | None = None) -> list[str]:
    """Return the predictors (or some of them) that have a score, the best first."""
    values = {name: common.number(name, metric).value for name in (common.predictors if names is None else names)}
    return sorted((name for name, value in values.items() if not np.isnan(value)), key=lambda name: (-values[name], name))


def winner(common: Compared, metric: str, compared: Sequence[Predictions], leakage: Sequence[Leak]) -> str:
    """Say who is best, by how much before the next, and whether the interval excludes 0."""
    counts, order = common.counts, ranked(common, metric)
    row, names = f"{compared[0].row}s", [p.family for p in compared if not p.weights]
    where = (
        f"On the {counts['samples']:,} {row} × {counts['genes']:,} {compared[0].column}s in {counts['folds']:,} folds "
        f"({counts['values']:,} measured values) that {', '.join(names[:-1])} and {names[-1]} predict"
    )
    if len(order) < 2:
        return f"{where}, {order[0] if order else 'none'} alone has a correlation ({metric})."
    best, second = order[:2]
    gain = common.number(best, metric, second, GAIN)
    gains = [common.number(best, metric, other, GAIN) for other in common.predictors if other != best]
    ahead = sum(one.low > 0 for one in gains)
    return (
        f"{where}, {called(best)} is best ({metric} {number(common.number(best, metric).value, 2)}): its gain over the next, {called(second)}, is "
        f"{number(gain.value, 2)}, {interval_text(gain, compared[0])}{judged(gain, compared, leakage)}. "
        f"Against {ahead} of {len(gains)} others the interval lies above 0."
    )


def judged(gain: Estimate, compared: Sequence[Predictions], leakage: Sequence[Leak]) -> str:
    """Say what an interval of a gain tells."""
    if np.isnan(gain.low):
        return ", so that nothing is decided"
    if gain.unit == "genes" and any("samples" in held_out(leakage, p) for p in compared):
        others = f"other {compared[0].column}s, not of other samples"
        return f", which tells of {others}: fewer than {LEAST_UNITS} groups of samples were held out"
    return ", which excludes 0" if gain.low > 0 else ", which holds 0: who is best is undecided"


def best_network(common: Compared, metric: str, known: Mapping[str, Predictions]) -> list[str]:
    """Say which single network is best, beside the best rule, and who adds most to it."""
    networks = ranked(common, metric, [name for name in common.predictors if name in known and not known[name].weights])
    if not networks:
        return []
    best, said = networks[0], []
    rules = ranked(common, metric, [name for name in common.predictors if kind_of(name, known) == "rule"])
    if rules:
        gain = common.number(best, metric, rules[0], GAIN)
        said.append(
            f"Of single networks {best} is best ({number(common.number(best, metric).value, 2)}); its gain over the best rule, {rules[0]}, is "
            f"{number(gain.value, 2)}, {interval_text(gain, known[best])}."
        )
    added = {name: common.number(name, metric, best, ADDS) for name in common.predictors}
    most = max((name for name, one in added.items() if not np.isnan(one.value)), key=lambda name: added[name].value, default=None)
    if most is not None:
        said.append(f"To {best}, {most} adds most: {number(added[most].value, 2)}, {interval_text(added[most], known[best])}.")
    return said


def called(name: str) -> str:
    """Return a predictor's name in a sentence."""
    return {MEAN: "the training mean", ALL: "the mean of all", "ensemble": "the ensemble"}.get(name, name)


def kind_of(name: str, known: Mapping[str, Predictions]) -> str:
    """Return what a predictor is, as a name that has a colour: model, rule, mean, or a mean of several."""
    if name in known:
        return "ensemble" if known[name].weights else MODEL
    return name if name in (MEAN, ALL) else "rule"


def named_left_out(left_out: Mapping[str, Compared]) -> str:
    """Name the families that are not compared, and say why."""
    return f"Not compared: {'; '.join(f'{name} ({one.why})' for name, one in left_out.items())}."


def forest(common: Compared, metric: str, known: Mapping[str, Predictions], one: Predictions) -> Picture:
    """Draw every predictor's score with its interval, the best first."""
    order = ranked(common, metric)
    estimates = {name: common.number(name, metric) for name in order}
    drawn = over(next(iter(estimates.values()), Estimate(np.nan)), one)
    caption = f"{metric} on common cells; 95 % interval{drawn}. The intervals of gains, paired, are in the table below: two may differ though their intervals overlap."
    alt = f"{metric} on common cells: " + ", ".join(f"{name} {number(one.value, 2)}" for name, one in estimates.items())
    return draw_intervals("bake-off", estimates, metric, alt, caption, {name: kind_of(name, known) for name in order})


def score_table(common: Compared, left_out: Mapping[str, Compared], known: Mapping[str, Predictions], first: Predictions) -> Table:
    """Return one row a predictor, the best value of each column marked; families that were left out stand last, and never are best."""
    metrics = told(first, METRICS)
    best = {}
    for metric in metrics:
        values = [value for name in common.predictors if not np.isnan(value := common.number(name, metric).value)]
        best[metric] = (min if metric in SMALLER_IS_BETTER else max)(values, default=np.nan)
    order = [*ranked(common, metrics[0]), *(name for name in common.predictors if np.isnan(common.number(name, metrics[0]).value))]
    rows = []
    for name in order:
        found = [common.number(name, metric) for metric in metrics]
        marked = (score_cell(one, "best" * (one.value == best[metric])) for metric, one in zip(metrics, found, strict=True))
        rows.append([name, *marked, "common"])
    rows += own_rows(left_out, metrics)
    caption = "Scores on common cells, 95 % interval in small print" + "; rows on own cells cannot be compared with others" * bool(left_out)
    return Table(caption, ["predictor", *metrics, "cells"], rows, words=(len(metrics) + 1,))


def own_rows(left_out: Mapping[str, Compared], metrics: Sequence[str]) -> list[list[Cell | str]]:
    """Return the rows of families that are alone on their cells."""
    return [
        [name if name.startswith(family) else f"{name} ({family})", *(score_cell(one.number(name, metric)) for metric in metrics),
         f"own, {one.counts['values']:,} values: {one.why}"]
        for family, one in left_out.items() for name in one.predictors
    ]  # fmt: skip


def own_table(left_out: Mapping[str, Compared], known: Mapping[str, Predictions]) -> list[Table]:
    """Return the scores of families that share no cells."""
    if not left_out:
        return []
    caption = "Each family on its own cells, 95 % interval in small print; no row can be compared with one of another family"
    return [Table(caption, ["predictor", *METRICS, "cells"], own_rows(left_out, METRICS), words=(len(METRICS) + 1,))]


def gain_pictures(common: Compared, metric: str) -> list[Picture]:
    """Draw who is better than whom, and who adds what to whom; rows over columns."""
    order = ranked(common, metric)
    able = [name for name in order if any(key[0] == name and key[2] == ADDS for key in common.numbers)]
    pictures = []
    for kind, names, words in (
        (GAIN, order, "what the predictor of a row has more than that of a column"),
        (ADDS, able, "what the predictor of a row adds to that of a column: both together less the column alone"),
    ):
        if len(names) > 1:
            found = [[common.number(one, metric, other, kind) for other in names] for one in names]
            values = np.array([[estimate.value for estimate in row] for row in found])
            sure = np.array([[estimate.low > 0 or estimate.high < 0 for estimate in row] for row in found])
            caption = f"{metric}: {words}. Blue: more, red: less; in bold where the 95 % interval excludes 0."
            alt = f"{kind} in {metric} of {', '.join(names)} over each other; the table of pairs holds the numbers"
            pictures.append(draw_gains(f"bake-off {kind}", [shorten(name) for name in names], values, sure, alt, caption))
    return pictures


def pair_table(common: Compared, metric: str) -> Table:
    """Return one row a pair: gain, and what the one adds to the other."""
    order = [*ranked(common, metric), *(name for name in common.predictors if np.isnan(common.number(name, metric).value))]
    columns = [(metric, GAIN), ("mse", GAIN), (metric, ADDS), ("mse", ADDS)]
    rows = [
        [one, other, *(pair_cell(common.number(one, name, other, kind)) for name, kind in columns)]
        for one in order for other in order if one != other
    ]  # fmt: skip
    caption = "Who adds what over whom, on common cells, paired; 95 % interval in small print"
    head = ["predictor", "over", f"gain, {metric}", "gain, mse saved", f"adds, {metric}", "adds, mse saved"]
    return Table(caption, head, rows, words=(1,))


def pair_cell(one: Estimate) -> Cell:
    """Return a gain with its interval; what is not asked (what a mean adds to its member) is empty."""
    return Cell("–") if np.isnan(one.value) and not one.unit else score_cell(one)
