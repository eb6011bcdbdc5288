#!/usr/bin/env python3
"""Group genes that are alike: promoters, and a table of paralogs if there is one → the groups, and the pairs with similar promoters."""

import argparse
from collections import Counter
from pathlib import Path

from exprcast.cli import log, run, write_task
from exprcast.paralogs import ALIKE, group_links, read_paralogs, similar_promoters
from exprcast.tables import read_table, write_table


def group_paralogs(genes: Path, promoters: Path | None, paralogs: Path | None, similar_out: Path, out: Path) -> None:
    """Write the groups of the user's table, or else of similar promoters; genes with the same promoter are always together."""
    ids = [row["id"] for _, row in read_table(genes, ["id"])]
    pairs, same = similar_promoters(promoters) if promoters else ({}, [])
    links = read_paralogs(paralogs, ids) if paralogs else [pair for pair, containment in pairs.items() if containment >= ALIKE]
    groups = group_links(ids, links + same)
    sizes = Counter(groups.values())
    largest = f"; the largest has {max(sizes.values()):,}" if sizes else ""
    log.info(f"{len(groups):,} of {len(ids):,} genes are in {len(sizes):,} groups{largest}")
    write_table(similar_out, ["gene", "other", "containment"], [(*pair, pairs[pair]) for pair in sorted(pairs)])
    write_table(out, ["gene", "group"], sorted(groups.items()))


def parse_args() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=Path, required=True, help="TSV: id")
    parser.add_argument("--promoters", type=Path, help="FASTA of extract_promoters.py")
    parser.add_argument("--paralogs", type=Path, help="TSV: gene and group, or gene and paralog; without it similar promoters make groups")
    parser.add_argument("--similar-out", type=Path, required=True, help="TSV of genes with similar promoters: gene, other, containment")
    parser.add_argument("--out", type=Path, required=True, help="TSV: gene, group; genes that are alone are left out")
    return parser


def main(options: argparse.Namespace) -> None:
    """Group, then say with what."""
    group_paralogs(options.genes, options.promoters, options.paralogs, options.similar_out, options.out)
    write_task(options.task_out, "numpy", "scipy", *(["sourmash"] if options.promoters else []))


if __name__ == "__main__":
    run(main, parse_args())
