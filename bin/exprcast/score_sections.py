"""The report's sections of scores: every number beside simple rules, observed against predicted, which genes are predictable."""

from collections.abc import Iterable, Sequence

import numpy as np

from exprcast.figures import MOST_BARS, draw_bars, draw_density, draw_histogram, draw_intervals
from exprcast.metrics import Estimate
from exprcast.page import Cell, Picture, Pictures, Section, Table, Terms, Text, decimal, number
from exprcast.results import Predictions, reword
from exprcast.score_tables import BEST, BY_CLASS, CLASSES, NO_TWINS, OVER_FOLDS, OVER_SEEDS, POOLED, SET, Genes, Leak, Scores, Units
from exprcast.scoring import MODEL
from exprcast.verdict import best_rule, estimate, judged_by, other_name, over, over_rows, rule_name

METRICS = {
    "r_gene_dev": "Within one sample, each gene's training mean taken away: does the predictor know which genes are higher or lower here than "
    "they usually are? Mean over samples. The verdict is judged by this number where genes are in training; of genes that are not it says nothing, "
    "because no mean of theirs is known.",
    "r_gene_dev_min": "The same number for the sample where it is lowest.",
    "r_sample_median": "For one gene, over samples: do prediction and measurement rise and fall together (both minus the training mean)? Median over genes.",
    "r_sample_positive": "Share of genes for which that correlation is above 0.",
    "r_sample_significant": "Share of genes for which it is above 0 beyond chance (false discovery rate below 5 %).",
    "r_gene": "Within one sample, over genes, nothing taken away: are highly expressed genes predicted high? Mean over samples. "
    "Simple rules score high here too, because most genes keep their level in all samples; only for genes that are not in training is it a test, "
    "and there the verdict is judged by it.",
    "rho_gene": "The same with ranks (Spearman).",
    "mse": "Mean squared error over all test values; smaller is better.",
    "mae": "Mean absolute error over all test values; smaller is better.",
    "mae_sd": "The same in units of a gene's standard deviation over training samples (+ 0.001), so that all genes count alike.",
    "r2_cod": "Share of the variance of all test values that is predicted: 1 − squared errors / squared distances from their mean. Below 0: worse than one number for all.",
    "r2_pearson": "Squared correlation over all test values; blind to a wrong scale.",
}
OF_GENES = {
    "r_gene": "Over the test genes, which no training saw: are genes with a high level predicted high? Mean over labels. The verdict is judged by this number.",
    "r_sample_median": "For one gene, over labels: do prediction and measurement rise and fall together (both minus each label's training mean)? Median over genes.",
}  # where an example is a gene, and rows are labels
SMALLER_IS_BETTER = ("mse", "mae", "mae_sd")
FOLD_METRICS = ("r_gene_dev", "r_gene", "mse", "mae", "mae_sd")
OF_SAMPLES = ("mae_sd", "genes_better")  # told where an example is a sample
SEED_METRICS = ("r_gene_dev", "r_gene", "r_sample_median", "mse")
WORDS = {
    "r_gene_dev": "which genes are higher or lower than usual in a sample",
    "r_gene": "which genes are high and which are low{within}",
    "r_sample_median": "in which {row}s a gene is higher or lower than usual; median over genes",
}
REPLICATES = ("replicate", "ceiling")
GAINS = {
    "r_gene_dev": "r_gene_dev",
    "r_sample": "r_sample",
    "r_gene": "r_gene",
    "mse": "mse saved",
    "genes_better": "genes with a smaller mae_sd",
}
RULES = [
    (
        "mean",
        "The gene's mean over the training samples, the same in every sample: its deviations from itself have no correlation (NA). "
        "A gene that is not in training gets the mean of all that are, so that r_gene_dev needs genes seen in training.",
    ),
    ("ridge", "That mean plus a linear function of the inputs that the model reads."),
    (
        "nearest",
        "The measured values of the training sample whose inputs are most similar; of landmark genes, the mean of the ten nearest samples.",
    ),
    ("kernel", "That mean plus a smooth function of all inputs at once: kernel ridge regression."),
    ("elastic_net", "That mean plus a linear function of few inputs, each gene by itself."),
    ("trees", "That mean plus a sum of decision trees on the same inputs: gradient boosting."),
    ("shuffled", "A control, no rule: the same network trained on labels that were shuffled. It should predict nothing."),
    (
        "permuted",
        "A control, no rule: the same network, of which each sample reads the splicing factors of another sample of its biosample.",
    ),
    (
        "matched",
        "A control, no rule: the same network reading other genes, with the mean and spread of the splicing factors, in their place.",
    ),
    ("own_gene", "A straight line on the level of the isoform's own gene, which contains what is predicted."),
    ("replicate", "No prediction: another replicate of the same sample, as measured. Shows how well a measurement repeats."),
    ("ceiling", "The square root of that: what a perfect prediction would reach against one replicate."),
    (
        "rule",
        "The family's own simple rule; for open chromatin, peaks summed with weights that fall with distance from the TSS; "
        "for landmark genes, the mean of the 20 that correlate most with a gene in training (KNN-GE); "
        "for isoforms, the mean share in training samples of the same biosample.",
    ),
]
OF_COLUMNS = ("mean", "elastic_net")  # told in words for what the columns are
RULES_OF_GENES = {
    "mean": "The mean over training genes, one number for all genes of a fold: it has no correlation (NA). Pooled, a small one is left, because the means of folds differ.",
    "nearest": "The measured level of the training gene whose inputs are most similar.",
    "rule": "The family's own simple rule; of promoters, ridge regression on their words of four bases and half-life features.",
}
BEYOND_CHANCE, BEST_GENES = 0.05, 20
MOST_DOTS, MOST_LISTED = 8, 7  # members of an ensemble in one picture; predictors in one sentence


def scores_section(families: Sequence[Predictions], scores: Scores, leakage: Sequence[Leak]) -> Section:
    """Scores beside baselines: pictures of the two main numbers, then every number with its interval."""
    blocks: list = [
        Terms("What the numbers mean", metric_terms(families)),
        Terms("What the model is compared with", rule_terms(families, scores)),
    ]
    for p in families:
        metric, own = judged_by(leakage, p), told(p, METRICS)
        drawn, groups = (over(estimate(scores, p.family, MODEL, name), p) for name in (metric, "r_sample_median"))
        of_samples = f" (of r_sample{groups})" * ("r_sample_median" in own)
        pooled = f"{p.family}, pooled: all test values at once; 95 % interval{drawn}{of_samples} in small print"
        blocks += [
            Pictures([
                score_picture(p, scores, one, f"{in_words(p, one)}; 95 % interval{over_what}")
                for one, over_what in ((metric, drawn), ("r_sample_median", groups)) if one == metric or one in own
            ]),
            Table(pooled, ["predictor", *own], score_rows(p, scores, own, POOLED)),
            fold_table(p, scores),
            gain_table(p, scores),
            *set_tables(p, scores),
            *twin_table(p, scores),
            *class_table(p, scores),
            *seed_table(p, scores),
        ]  # fmt: skip
    return Section("scores", "Scores beside simple rules", blocks)


def told(p: Predictions, metrics: Iterable[str]) -> list[str]:
    """Return those of these metrics that say something of a family: of labels, whose training mean is one number, r_gene_dev does not."""
    names = [name for name in metrics if over_rows(p) or not name.startswith("r_sample")]
    names = [name for name in names if p.axes == "samples" or name not in OF_SAMPLES]
    return [name for name in names if not (p.axes == "genes" and name.startswith("r_gene_dev"))]


def in_words(p: Predictions, metric: str) -> str:
    """Return what a judged metric is about; one label needs no name."""
    within = {"sample": " in a sample", "label": " within a label" * (len(p.rows) > 1)}[p.row]
    return p.reword(WORDS[metric].format(row=p.row, within=within))


def metric_terms(families: Sequence[Predictions]) -> list[tuple[str, str]]:
    """Return what the metrics that are shown mean; where all examples are genes, or all columns isoforms, in their words."""
    shown_of = {name for p in families for name in told(p, METRICS)}
    words = METRICS | (OF_GENES if all(p.axes == "genes" for p in families) else {})
    others = [p.family for p in families if p.column != families[0].column]
    isoforms = ", ".join(p.family for p in families if p.column == "isoform")
    both = [("gene", f"Where columns are isoforms, read isoform for it: {isoforms}.")] if others else []
    return [(name, reword(families, text)) for name, text in words.items() if name in shown_of] + both


def rule_terms(families: Sequence[Predictions], scores: Scores) -> list[tuple[str, str]]:
    """Return what the predictors mean that stand beside the models."""
    beside = {name for p in families for name in (*shown(p, scores), *p.weights)}
    words = dict(RULES) | (RULES_OF_GENES if all(p.axes == "genes" for p in families) else {})
    return [(name, reword(families, text) if name in OF_COLUMNS else text) for name, text in words.items() if name in beside]


def shown(p: Predictions, scores: Scores, metric: str = "r_gene_dev") -> list[str]:
    """Return what has a row: the model, its baselines, controls, and replicates where there are any."""
    return [*p.predictors, *p.controls, *(name for name in REPLICATES if (p.family, name, "", metric, POOLED) in scores)]


def by_weight(p: Predictions) -> list[str]:
    """Return an ensemble's members, the heaviest first; of a family none."""
    return sorted(p.weights, key=lambda name: (-p.weights[name].mean(), name))


def compared(p: Predictions) -> list[str]:
    """Return what has a column or an outline: the model and its baselines, of an ensemble the heaviest member (the others look alike)."""
    return [MODEL, by_weight(p)[0]] if p.weights else p.predictors


def score_picture(p: Predictions, scores: Scores, metric: str, words: str) -> Picture:
    """Draw one pooled metric of every predictor, of an ensemble without its light members."""
    light = by_weight(p)[MOST_DOTS:]
    words += f"; the {MOST_DOTS} heaviest of {len(p.weights)} members" * bool(light)
    estimates = {name: estimate(scores, p.family, name, metric) for name in shown(p, scores, metric) if name not in light}
    alt = f"{metric} of {p.family}: " + ", ".join(f"{name} {number(one.value, 2)}" for name, one in estimates.items())
    return draw_intervals(f"{p.family} {metric}", estimates, metric, alt, f"{p.family}: {metric}, {words}.")


def score_rows(p: Predictions, scores: Scores, metrics: Sequence[str], scope: str) -> list[list[Cell | str]]:
    """Return one row a predictor; the best value that was predicted is marked in each column."""
    names = shown(p, scores) if scope == POOLED else [*p.predictors, *p.controls]
    table = {name: [estimate(scores, p.family, name, metric, scope=scope) for metric in metrics] for name in names}
    best = []
    for k, metric in enumerate(metrics):
        values = [table[name][k].value for name in p.predictors if not np.isnan(table[name][k].value)]
        best.append((min if metric in SMALLER_IS_BETTER else max)(values, default=np.nan))
    return [
        [name, *(score_cell(one, "best" if name in p.predictors and one.value == best[k] else "") for k, one in enumerate(row))]
        for name, row in table.items()
    ]


def fold_table(p: Predictions, scores: Scores) -> Table:
    """Return the mean over folds of each fold's own scores."""
    own = told(p, FOLD_METRICS)
    caption = f"{p.family}, mean over folds; lowest and highest in small print"
    return Table(caption, ["predictor", *own], score_rows(p, scores, own, OVER_FOLDS))


def gain_table(p: Predictions, scores: Scores) -> Table:
    """Return what the model has more than each baseline and each control."""
    own, rules = told(p, GAINS), [*(name for name in p.predictors if name != MODEL), *p.controls]
    rows = [[f"over {name}", *(score_cell(estimate(scores, p.family, MODEL, metric, name)) for metric in own)] for name in rules]
    caption = f"{p.family}, gain of the model, pooled and paired; NA of a {other_name(p)} counts 0"
    return Table(caption, ["gain", *(p.reword(GAINS[metric]) for metric in own)], rows)


def set_tables(p: Predictions, scores: Scores) -> list[Table]:
    """Return the scores of each external set, whose samples are in no other table; nothing where there is none."""
    names = sorted({scope.removeprefix(f"{SET} ") for family, *_, scope in scores if family == p.family and scope.startswith(f"{SET} ")})
    own = told(p, METRICS)
    caption = "{}, external set {}, by the networks of its own fold; 95 % interval in small print"
    return [Table(caption.format(p.family, name), ["predictor", *own], score_rows(p, scores, own, f"{SET} {name}")) for name in names]


def twin_table(p: Predictions, scores: Scores) -> list[Table]:
    """Return the scores without samples that have a near-duplicate in training; nothing where none has."""
    if (p.family, MODEL, "", "r_gene_dev", NO_TWINS) not in scores:
        return []
    metrics, rows = ("r_gene_dev", "r_gene"), []
    for name in p.predictors:
        own = [score_cell(estimate(scores, p.family, name, metric, scope=NO_TWINS)) for metric in metrics]
        gains = [score_cell(estimate(scores, p.family, MODEL, metric, name, NO_TWINS)) for metric in metrics] if name != MODEL else ["", ""]
        rows.append([name, *own, *gains])
    caption = f"{p.family}, pooled, without samples that have a near-duplicate in training; 95 % interval in small print"
    return [Table(caption, ["predictor", *metrics, *(f"gain of the model, {metric}" for metric in metrics)], rows)]


def class_table(p: Predictions, scores: Scores) -> list[Table]:
    """Return scores by how similar the nearest training gene's promoter is; nothing where that is not known."""
    rows, names = [], compared(p)
    for metric in told(p, ("r_gene_dev", "r_gene")):
        for one in CLASSES:
            found = [estimate(scores, p.family, name, metric, scope=f"{BY_CLASS} {one}") for name in names]
            if (p.family, MODEL, "", metric, f"{BY_CLASS} {one}") in scores:
                rows.append([f"{metric}, similarity {one}", *map(score_cell, found)])
    caption = f"{p.family}, pooled, by the similarity of the most similar training gene's promoter (shared k-mers of the smaller one)"
    return [Table(caption, ["genes", *names], rows)] if rows else []


def seed_table(p: Predictions, scores: Scores) -> list[Table]:
    """Return each seed's scores, their mean with its SD, and those of the seeds that were best on validation; nothing for one seed."""
    if (p.family, MODEL, "", "r_gene_dev", OVER_SEEDS) not in scores:
        return []
    rows, own = [], told(p, SEED_METRICS)
    for scope in (*(f"seed {seed}" for seed in p.seeds), OVER_SEEDS, BEST):
        found = [estimate(scores, p.family, MODEL, metric, scope=scope) for metric in own]
        spread = scope == OVER_SEEDS
        rows.append(
            [scope, *(Cell(decimal(one.value), f"± {decimal(one.high - one.value)}") if spread else score_cell(one) for one in found)]
        )
    caption = f"{p.family}, single seeds, pooled; 95 % interval in small print. Elsewhere the model is the mean prediction of its seeds"
    return [Table(caption, ["networks", *own], rows)]


def score_cell(one: Estimate, kind: str = "") -> Cell:
    """Return a value with its interval in small print."""
    return Cell(decimal(one.value), "" if np.isnan(one.low) else f"{decimal(one.low)} to {decimal(one.high)}", kind)


def ensemble_section(p: Predictions, scores: Scores, leakage: Sequence[Leak]) -> Section:
    """What an ensemble is made of: each member's weight over folds, beside its own score, the heaviest first."""
    metric = judged_by(leakage, p)
    rows = []
    for name in by_weight(p):
        own = p.weights[name]
        spread = "" if own.min() == own.max() else f"{decimal(own.min())} to {decimal(own.max())}"
        rows.append([name, Cell(decimal(own.mean()), spread, bar=own.mean()), score_cell(estimate(scores, p.family, name, metric))])
    text = (
        f"The {p.family} is the weighted mean of these {len(rows)} predictions. In each fold the weights were learned on validation values, and are 0 where "
        "a member adds nothing to the others. A member is a family's network (the mean over its seeds), or a simple rule, that of one family after its name."
    )
    table = Table("Mean weight over folds, lowest and highest in small print; score pooled", ["member", "weight", metric], rows)
    return Section(p.family, f"What the {p.family} is made of", [Text(text), table])


def observed_section(families: Sequence[Predictions], scores: Scores, samples: Units, leakage: Sequence[Leak]) -> Section:
    """Observed against predicted: every test value, and sample by sample (or label by label, where there are several)."""
    blocks: list = []
    for p in families:
        metric = judged_by(leakage, p)
        own = in_order(p, samples, metric)
        pictures = [level_picture(p), *([] if p.axes == "genes" else [deviation_picture(p, metric)])]
        blocks.append(Pictures([*pictures, *([samples_picture(p, scores, own, metric)] if over_rows(p) else [])]))
        blocks += [label_table(p, own, metric)] if p.axes == "genes" and len(p.rows) > 1 else []
    return Section("observed", "Observed against predicted", blocks)


def level_picture(p: Predictions) -> Picture:
    """Draw all test values."""
    count = f"{int((~np.isnan(p.observed)).sum()):,} test values"
    always = " Much of the agreement is what each gene always does." if p.axes != "genes" else " No gene here was in training."
    return draw_density(
        f"{p.family} level", p.predicted, p.observed, (f"observed, {p.unit}", f"predicted, {p.unit}"),
        f"Density of observed against predicted values of {p.family}, {count}",
        f"{p.family}: level, {count}; the stronger the colour, the more.{p.reword(always)} Dashed: predicted = observed.",
    )  # fmt: skip


def deviation_picture(p: Predictions, metric: str) -> Picture:
    """Draw what departs from each gene's training mean."""
    judged = ", and what the verdict is about" if metric == "r_gene_dev" else ""
    return draw_density(
        f"{p.family} deviation", p.predicted - p.training_mean, p.observed - p.training_mean, ("observed − training mean", "predicted − training mean"),
        f"Density of observed against predicted deviations from the training mean, {p.family}",
        f"{p.family}: the same minus each {p.column}'s training mean: what differs between samples{judged}.",
    )  # fmt: skip


def label_table(p: Predictions, own: dict[str, dict[str, float]], metric: str) -> Table:
    """Return the judged metric of every predictor, label by label."""
    rows = [[one, *(decimal(own[name].get(one, np.nan)) for name in p.predictors)] for one in p.rows]
    return Table(f"{p.family}: {metric} label by label", ["label", *p.predictors], rows)


def in_order(p: Predictions, units: Units, metric: str) -> dict[str, dict[str, float]]:
    """Return {predictor: {sample: r}} of a family, the model first."""
    return {name: units.get((p.family, metric, name), {}) for name in p.predictors}


def samples_picture(p: Predictions, scores: Scores, samples: dict[str, dict[str, float]], metric: str) -> Picture:
    """Draw the judged metric sample by sample beside the best simple rule; a histogram where bars would be too many."""
    rule = best_rule(scores, p, metric) or MODEL
    ids = [one for one, r in samples[MODEL].items() if not np.isnan(r)]  # those that were tested
    values = {name: np.array([samples[name].get(one, np.nan) for one in ids], dtype=float) for name in (MODEL, rule)}
    wins = int((values[MODEL] > np.nan_to_num(values[rule])).sum())
    caption = f"{p.family}: {metric} {p.row} by {p.row}; the model is above the best {other_name(p, 'simple ')} ({rule_name(rule)}) in {wins:,} of {len(ids):,} {p.row}s."
    alt = f"{metric} of each {p.row}, {p.family} beside the {other_name(p, 'simple ')} {rule}"
    if len(ids) > MOST_BARS:
        return draw_histogram(f"{p.family} samples", values, (f"{metric} of a {p.row}", f"{p.row}s"), alt, caption)
    return draw_bars(f"{p.family} samples", ids, values[MODEL], values[rule], rule, metric, alt, caption)


def genes_section(families: Sequence[Predictions], genes: dict[str, Genes]) -> Section:
    """How predictable each gene is over samples (or labels), and by what."""
    blocks: list = []
    for p in families:
        if p.family in genes:
            one = genes[p.family]
            blocks += [Text(predictable(p, one)), Pictures([genes_picture(p, one)]), *best_genes(p, one)]
    columns = " and ".join(sorted({f"{p.column}s" for p in families}))
    return Section("genes", f"Which {columns} are predictable", blocks or [Text("No scores of genes were given.")])


def predictable(p: Predictions, genes: Genes) -> str:
    """Say how many genes the model predicts beyond chance, and which predictor is best for how many."""
    known = int((~np.isnan(genes.r[MODEL])).sum())
    if not known:
        return f"{p.family}: no {p.column} has a correlation across {p.row}s; it takes three tested {p.row}s whose values differ."
    certain = int((genes.q_value < BEYOND_CHANCE).sum())
    counts = {name: genes.best.count(name) for name in p.predictors}
    words = {MODEL: "the model", "rule": "the family's own rule"}
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    others = sum(count for _, count in ordered[MOST_LISTED:])
    named = [(name, count) for name, count in [*ordered[:MOST_LISTED], ("others", others)] if count]
    best = ", ".join(f"{words.get(name, name)} for {count:,}" for name, count in named)
    return (
        f"{p.family}: across {p.row}s {certain:,} of {known:,} {p.column}s rise and fall with the model's prediction beyond chance "
        f"(false discovery rate below 5 %). The best predictor is {best} {p.column}s."
    )


def genes_picture(p: Predictions, genes: Genes) -> Picture:
    """Draw how r_sample is spread over genes."""
    return draw_histogram(
        f"{p.family} genes", {name: genes.r[name] for name in compared(p) if name in genes.r}, (p.reword("r_sample of a gene"), f"{p.column}s"),
        f"Histogram over {p.column}s of the correlation across {p.row}s, {p.family} and {other_name(p, 'simple ')}s",
        f"{p.family}: r_sample of the {int((~np.isnan(genes.r[MODEL])).sum()):,} {p.column}s that have one. The further right, the better.",
    )  # fmt: skip


def best_genes(p: Predictions, genes: Genes) -> list[Table]:
    """Return the genes that the model predicts best."""
    r = genes.r[MODEL]
    order = [k for k in np.argsort(np.where(np.isnan(r), np.inf, -r), kind="stable")[:BEST_GENES] if not np.isnan(r[k])]
    rows = [
        [
            genes.symbol[k] or genes.gene[k],
            genes.gene[k],
            number(genes.n[k]),
            decimal(genes.sd[k]),
            decimal(r[k]),
            number(genes.q_value[k], 2),
            genes.best[k],
            score_cell(Estimate(genes.r_best[k], genes.low[k], genes.high[k])),
        ]
        for k in order
    ]
    named = ["gene", "id" if p.column == "gene" else p.column]
    head = [*named, f"{p.row}s", "SD observed", "r_sample of the model", "q", "best predictor", "its r_sample"]
    best = f"the {len(rows)} {p.column}s with the highest r_sample of {len(r):,}"
    caption = f"{p.family}: {best}; 95 % interval in small print. genes.tsv has all"
    return [Table(caption, head, rows, words=(1, 6))] if rows else []
