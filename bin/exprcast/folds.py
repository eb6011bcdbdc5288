"""Which samples and which genes are held out together, as role matrices; and a table of what the parts still share.

A role is 0 train, 1 valid, 2 test, 3 unused. Groups never straddle roles: samples that share a donor, a biosample or a
replicate group (whichever of them `group_by` names) are one group, and so are the genes of a chromosome.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError
from exprcast.dataset import TEST, TRAIN, UNUSED, VALID, Dataset

VALID_SHARE = 0.1
GROUP_COLUMNS = ("replicate_group", "donor", "biosample")


class Rows(NamedTuple):
    """The samples and the genes that one role may use, as ascending indices."""

    samples: np.ndarray
    genes: np.ndarray


def group_samples(columns: dict[str, list[str]]) -> list[str]:
    """Return one group name a sample: samples that share a value in any column are joined; an empty cell joins nothing.

    The name of a group is its first sample's first non-empty value, or the sample's number.
    """
    count = len(next(iter(columns.values())))
    parent = list(range(count))

    def root(sample: int) -> int:
        while parent[sample] != sample:
            sample = parent[sample]
        return sample

    for values in columns.values():
        first: dict[str, int] = {}
        for sample, value in enumerate(values):
            if value:
                a, b = root(sample), root(first.setdefault(value, sample))
                parent[max(a, b)] = min(a, b)
    firsts = [root(sample) for sample in range(count)]
    return [f"{first}:" + next((values[first] for values in columns.values() if values[first]), "") for first in firsts]


def deal(sizes: dict[str, int], parts: int, rng: np.random.Generator) -> list[list[str]]:
    """Deal groups into `parts` parts of similar size: the largest first, each to the smallest part so far, ties at random."""
    names = sorted(sizes)
    order = rng.permutation(len(names))
    by_size = sorted(order, key=lambda i: -sizes[names[i]])
    hands: list[list[str]] = [[] for _ in range(parts)]
    totals = [0] * parts
    for i in by_size:
        smallest = int(np.argmin(totals))
        hands[smallest].append(names[i])
        totals[smallest] += sizes[names[i]]
    return hands


def axis_roles(groups: list[str], folds: int, rng: np.random.Generator, what: str) -> np.ndarray:
    """Return (folds, members) roles of one axis; folds = 0 holds out each group once.

    Each fold tests one part; of the other groups about 10 % (at least one) are its validation.
    """
    sizes = Counter(groups)
    if len(sizes) < 3:
        raise InputError(f"{what}: {len(sizes)} group(s) that must stay together, at least 3 are needed (train, validation, test)")
    if folds > len(sizes):
        raise InputError(f"{what}: {folds} folds asked for but there are only {len(sizes)} groups that must stay together; lower --folds")
    if folds == 1:
        raise InputError(f"{what}: one fold leaves nothing to train on; --folds takes 0 (each group once) or 2 and more")
    parts = deal(sizes, folds or len(sizes), rng)
    members = np.array(groups)
    roles = np.full((len(parts), len(groups)), TRAIN, dtype=np.uint8)
    for fold, test in enumerate(parts):
        followers = [group for part in parts[fold + 1 :] + parts[:fold] for group in sorted(part)]
        roles[fold, np.isin(members, test)] = TEST
        roles[fold, np.isin(members, validation_groups(followers, sizes, len(groups)))] = VALID
    return roles


def validation_groups(candidates: list[str], sizes: Counter[str], total: int) -> list[str]:
    """Take groups, small ones first, until they hold 10 % of all members; always one, never the last of the candidates."""
    taken: list[str] = []
    for group in sorted(candidates, key=lambda name: sizes[name])[:-1]:
        taken.append(group)
        if sum(sizes[name] for name in taken) >= VALID_SHARE * total:
            break
    return taken


def make_folds(
    groups: list[str], chroms: list[str], hold_out: str, folds: int, gene_folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sample_role (folds, samples) and gene_role (folds, genes); `both` crosses every sample fold with every gene fold."""
    sample_rng, gene_rng = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    if hold_out == "samples":
        samples = axis_roles(groups, folds, sample_rng, "samples")
        roles = samples, np.full((len(samples), len(chroms)), TRAIN, dtype=np.uint8)
    elif hold_out == "genes":
        genes = axis_roles(chroms, folds, gene_rng, "chromosomes")
        roles = np.full((len(genes), len(groups)), TRAIN, dtype=np.uint8), genes
    else:
        samples, genes = axis_roles(groups, folds, sample_rng, "samples"), axis_roles(chroms, gene_folds, gene_rng, "chromosomes")
        roles = np.repeat(samples, len(genes), axis=0), np.tile(genes, (len(samples), 1))
    refuse_small_folds(*roles)
    return roles


def refuse_small_folds(sample_role: np.ndarray, gene_role: np.ndarray) -> None:
    """Raise InputError for a fold whose training part is a single sample or gene."""
    for what, roles in (("sample", sample_role), ("gene", gene_role)):
        for fold, row in enumerate(roles):
            if (row == TRAIN).sum() < 2:
                raise InputError(
                    f"fold {fold} would train on {(row == TRAIN).sum()} {what}(s); give more {what}s, or hold out less with --folds and --group_by"
                )


def combine_roles(sample_role: np.ndarray, gene_role: np.ndarray, hold_out: str) -> np.ndarray:
    """Return (samples, genes) roles of one fold's pairs.

    `samples` and `genes` take that axis's role. `both`: test if both are test, train if both are train, valid if neither is
    test or unused and at least one is valid, else unused.
    """
    sample, gene = sample_role[:, None], gene_role[None, :]
    shape = (len(sample_role), len(gene_role))
    if hold_out == "samples":
        return np.broadcast_to(sample, shape).copy()
    if hold_out == "genes":
        return np.broadcast_to(gene, shape).copy()
    roles = np.full(shape, UNUSED, dtype=np.uint8)
    roles[(sample == TEST) & (gene == TEST)] = TEST
    roles[(sample == TRAIN) & (gene == TRAIN)] = TRAIN
    roles[(sample <= VALID) & (gene <= VALID) & ((sample == VALID) | (gene == VALID))] = VALID
    return roles


def train_rows(dataset: Dataset, fold: int) -> Rows:
    """Return the samples and the genes that training may look at in a fold."""
    samples, genes = dataset.sample_role[fold], dataset.gene_role[fold]
    return Rows(
        np.flatnonzero(samples == TRAIN) if dataset.hold_out != "genes" else np.arange(len(samples)),
        np.flatnonzero(genes == TRAIN) if dataset.hold_out != "samples" else np.arange(len(genes)),
    )


def leakage(dataset: Dataset) -> list[tuple[str, str, int, int, str]]:
    """Return rows (axis, shared thing, promised, folds with sharing, names): what test and training parts have in common."""
    found: list[tuple[str, str, int, int, str]] = []
    axes = [("samples", dataset.sample_role, [f"samples/{column}" for column in GROUP_COLUMNS])]
    axes.append(("genes", dataset.gene_role, ["genes/chrom"]))
    for axis, roles, keys in axes:
        held_out = dataset.hold_out in (axis, "both")
        for key in keys:
            shared = [shared_values(dataset.text(key), row) for row in roles] if held_out else []
            names = sorted({name for fold in shared for name in fold})
            found.append((axis, key.split("/")[1], int(held_out), sum(map(bool, shared)), ",".join(names[:10])))
    return found


def shared_values(values: list[str], roles: np.ndarray) -> set[str]:
    """Return the non-empty values that stand both in test and in train or valid."""
    parts = [{value for value, role in zip(values, roles, strict=True) if value and role in part} for part in ((TEST,), (TRAIN, VALID))]
    return parts[0] & parts[1]
