"""Which samples and which genes are held out together, as role matrices.

A role is 0 train, 1 valid, 2 test, 3 unused (a pair has one more: 4 mixed). Groups never straddle roles: samples that share a donor, a biosample or a
replicate group (whichever of them `group_by` names) are one group, and so are the genes of a chromosome or the paralogs of
a family (`gene_groups`). A user's own folds are in fold_table.py.
"""

from collections import Counter
from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np

from exprcast.cli import InputError, log
from exprcast.dataset import MIXED, TEST, TRAIN, UNUSED, VALID, Dataset

VALID_SHARE = 0.1
MOST_FOLDS = 1000
GROUP_COLUMNS = ("replicate_group", "donor", "biosample", "batch")
GENE_GROUPS = ("chromosome", "paralogs", "chromosome+paralogs", "random")


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


def group_genes(by: str, ids: list[str], chroms: list[str], paralogs: list[str] | None) -> list[str]:
    """Return one group name a gene; a gene without paralogs is a group of its own, as every gene is in a random split."""
    if "paralogs" in by and paralogs is None:
        raise InputError(
            f"--gene_groups {by}: which genes are paralogs is not known; give --paralogs, or a genome (--fasta), whose promoters are compared"
        )
    if by == "paralogs":
        return [group or gene for gene, group in zip(ids, paralogs, strict=True)]
    return ids if by == "random" else chroms


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
    if (folds or len(sizes)) > MOST_FOLDS:
        raise InputError(f"{what}: {folds or len(sizes):,} folds are too many; choose 2 to {MOST_FOLDS:,} with --folds and --gene_folds")
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
    members = 0
    for group in sorted(candidates, key=lambda name: sizes[name])[:-1]:
        taken.append(group)
        members += sizes[group]
        if members >= VALID_SHARE * total:
            break
    return taken


def make_folds(
    samples: list[str], genes: list[str], hold_out: str, folds: int, gene_folds: int, seed: int, apart: list[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return sample_role (folds, samples) and gene_role (folds, genes) of one group name a sample and one a gene.

    `both` crosses every sample fold with every gene fold. `apart`: one paralog group a gene ("" none); a test gene whose
    paralogs are in training or validation is unused in that fold.
    """
    sample_rng, gene_rng = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    sample_role = np.full((1, len(samples)), TRAIN, dtype=np.uint8)
    gene_role = np.full((1, len(genes)), TRAIN, dtype=np.uint8)
    if hold_out != "genes":
        sample_role = axis_roles(samples, folds, sample_rng, "samples")
    if hold_out != "samples":
        gene_role = axis_roles(genes, gene_folds if hold_out == "both" else folds, gene_rng, "genes")
        gene_role = gene_role if apart is None else drop_paralogs(gene_role, apart)
    roles = np.repeat(sample_role, len(gene_role), axis=0), np.tile(gene_role, (len(sample_role), 1))
    refuse_small_folds(*roles)
    return roles


def refuse_unknown_groups(group_by: list[str]) -> None:
    """Raise InputError unless these are columns that samples can be grouped by, or random alone."""
    unknown = [column for column in group_by if column not in GROUP_COLUMNS]
    if unknown and group_by != ["random"]:
        raise InputError(f"--group_by {','.join(unknown)}: choose from {', '.join(GROUP_COLUMNS)}, or random alone")


def add_external_fold(roles: np.ndarray, groups: list[str], external: np.ndarray, seed: int) -> np.ndarray:
    """Return (folds + 1, samples) roles: those of the main samples (folds, main samples), and a fold that external samples test or choose in.

    `external` (samples,) holds TRAIN for a main sample, TEST or VALID for an external one; `groups` one name a main sample. All main
    samples train in the last fold; where no external sample validates, groups with a tenth of them do. In the others external samples
    are unused.
    """
    main, last = external == TRAIN, external.copy()
    if not (last == VALID).any():
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[2])  # the first two are make_folds'
        sizes = Counter(groups)
        validating = validation_groups(list(rng.permutation(sorted(sizes))), sizes, len(groups))
        last[np.flatnonzero(main)[np.isin(groups, validating)]] = VALID
    spread = np.full((len(roles), len(external)), UNUSED, dtype=np.uint8)
    spread[:, main] = roles
    return np.concatenate([spread, last[None]])


def drop_paralogs(gene_role: np.ndarray, paralogs: list[str]) -> np.ndarray:
    """Return (folds, genes) roles in which a test gene with a paralog in training or validation is unused."""
    names, group = np.unique(paralogs, return_inverse=True)
    dropped = gene_role.copy()
    for fold, roles in enumerate(dropped):
        seen = np.zeros(len(names), dtype=bool)
        seen[group[roles <= VALID]] = True
        seen[names == ""] = False
        tested = (roles == TEST).sum()
        roles[(roles == TEST) & seen[group]] = UNUSED
        if not (roles == TEST).any():
            raise InputError(
                f"gene fold {fold}: each of its {tested} test genes has a paralog in training; --gene_groups paralogs keeps paralogs together instead"
            )
        log.info(
            f"gene fold {fold}: {tested - (roles == TEST).sum():,} of {tested:,} test genes have a paralog in training and are left out"
        )
    return dropped


def promises(hold_out: str, group_by: Sequence[str], gene_groups: str, keys: Container[str]) -> list[str]:
    """Return what test and training are promised not to share, as axis:thing; `keys` are the entries that the dataset has.

    A random split promises nothing. Otherwise samples with identical values are one sample, and so for paralogs are identical promoters.
    """
    named = {"samples:peaks": "accessibility/bin", "samples:expression": "expression/gene"}
    samples = [f"samples:{column}" for column in group_by if column in GROUP_COLUMNS]
    samples += [thing for thing, key in named.items() if key in keys] if samples else []
    genes = ["genes:chrom"] if "chromosome" in gene_groups else []
    if "paralogs" in gene_groups:
        genes += ["genes:paralog_group"] + (["genes:promoter"] if "promoters/sequence" in keys else [])
    return (samples if hold_out != "genes" else []) + (genes if hold_out != "samples" else [])


def refuse_small_folds(sample_role: np.ndarray, gene_role: np.ndarray) -> None:
    """Raise InputError for a fold whose training part is a single sample or gene; a dataset may have no sample at all."""
    for what, roles in (("sample", sample_role), ("gene", gene_role)):
        for fold, row in enumerate(roles):
            if len(row) and (row == TRAIN).sum() < 2:
                raise InputError(
                    f"fold {fold} would train on {(row == TRAIN).sum()} {what}(s); give more {what}s, or hold out less with --folds, --group_by or --gene_groups"
                )


def combine_roles(sample_role: np.ndarray, gene_role: np.ndarray, hold_out: str) -> np.ndarray:
    """Return (samples, genes) roles of one fold's pairs.

    `samples` and `genes` take that axis's role. `both`: test, train or valid if both are; MIXED if one is train and one valid (a tested
    pair has no part in training, so such pairs cannot say what suits it); else unused.
    """
    sample, gene = sample_role[:, None], gene_role[None, :]
    shape = (len(sample_role), len(gene_role))
    if hold_out == "samples":
        return np.broadcast_to(sample, shape).copy()
    if hold_out == "genes":
        return np.broadcast_to(gene, shape).copy()
    roles = np.full(shape, UNUSED, dtype=np.uint8)
    roles[(sample <= VALID) & (gene <= VALID)] = MIXED
    for role in (TRAIN, VALID, TEST):
        roles[(sample == role) & (gene == role)] = role
    return roles


def train_rows(dataset: Dataset, fold: int, with_valid: bool = False) -> Rows:
    """Return the samples and the genes that training may look at in a fold; a second fit may look at validation's, too."""
    samples, genes = dataset.sample_role[fold], dataset.gene_role[fold]
    last = VALID if with_valid else TRAIN
    return Rows(
        np.flatnonzero(samples <= last) if dataset.hold_out != "genes" else np.arange(len(samples)),
        np.flatnonzero(genes <= last) if dataset.hold_out != "samples" else np.arange(len(genes)),
    )
