"""Genes with similar promoters are found on either strand; repeats and strangers are not; a user's table is joined through."""

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.paralogs import similar_promoters
from exprcast.tables import read_table
from tiny import run_script

PROMOTERS = Path(__file__).parents[2] / "shared/data/sequence/promoters_2048bp_hg38.tsv.gz"
OTHER_STRAND = str.maketrans("ACGTN", "TGCAN")


def random_bases(rng, count):
    return "".join(rng.choice(list("ACGT"), count))


def mutate(rng, sequence, share):
    """Replace a share of the bases by another one."""
    return "".join("ACGT"[("ACGT".index(base) + rng.integers(1, 4)) % 4] if rng.random() < share else base for base in sequence)


def reverse_complement(sequence):
    return sequence.translate(OTHER_STRAND)[::-1]


def write_fasta(path, promoters):
    path.write_text("".join(f">{gene} chr1:0-9(+)\n{sequence}\n" for gene, sequence in promoters.items()))
    return path


def compare(folder, promoters):
    return similar_promoters(write_fasta(folder / "promoters.fa", promoters))[0]


def test_containment_of_known_relatives(tmp_path):
    rng = np.random.default_rng(7)
    genome = random_bases(rng, 12_000)
    plus = genome[4000:7000]  # a start site at 6,000: 2,000 bp before it, 1,000 behind
    minus = reverse_complement(genome[4501:7501])  # head to head: a start site at 5,500 on the other strand
    first = random_bases(rng, 3000)
    promoters = {"plus": plus, "minus": minus, "first": first, "five": mutate(rng, first, 0.05), "ten": mutate(rng, first, 0.1)}
    promoters |= {"turned": reverse_complement(first), "half": "N" * 1500 + first[1500:], "stranger": random_bases(rng, 3000)}
    pairs = compare(tmp_path, promoters)
    assert pairs["first", "turned"] == 1 and pairs["first", "half"] == 1, "strands are the same, N is not counted"
    assert pairs["first", "five"] == pytest.approx(0.95**21, abs=0.06), "0.34 of 21-mers have no substitution"
    assert pairs["first", "ten"] == pytest.approx(0.9**21, abs=0.04), "0.11: listed, but no group"
    assert pairs["minus", "plus"] == pytest.approx(2499 / 3000, abs=0.05), "the overlap of their windows"
    assert not any("stranger" in pair for pair in pairs)


def test_repeats_make_no_kin(tmp_path):
    """Half of 50 promoters is one repeat: nothing. The same half in 20 promoters: kin."""
    for copies, pairs in ((50, 0), (20, 190)):
        rng = np.random.default_rng(1)
        repeat = random_bases(rng, 1000)
        promoters = {f"g{i:02}": random_bases(rng, 1000) + repeat for i in range(copies)}
        assert len(compare(tmp_path, promoters)) == pairs


def test_a_few_shared_bases_are_no_kinship_where_little_is_left(tmp_path):
    """Both promoters are one repeat but for 100 bp, which they share: about 80 of 2,080 21-mers, of which a quarter counts at least."""
    rng = np.random.default_rng(2)
    repeat, shared = random_bases(rng, 2000), random_bases(rng, 100)
    promoters = {f"g{i:02}": repeat + random_bases(rng, 100) for i in range(30)} | {"x": repeat + shared, "y": repeat + shared}
    promoters["y"] = random_bases(rng, 1) + promoters["y"][1:]  # else they are the same
    assert compare(tmp_path, promoters)["x", "y"] == pytest.approx(80 / 520, abs=0.06)


def test_same_promoters_are_one_group_whatever_else_they_are(tmp_path):
    rng = np.random.default_rng(3)
    common, short = random_bases(rng, 500), random_bases(rng, 15)
    promoters = {f"g{i:02}": common for i in range(25)} | {"short1": short, "short2": short, "n1": "N" * 500, "n2": "N" * 500}
    groups, pairs = grouped(tmp_path, promoters)
    assert groups == {f"g{i:02}": "g00" for i in range(25)} | {"short1": "short1", "short2": "short1"}
    assert set(pairs.values()) == {"1"} and len(pairs) == 25 * 24 // 2 + 1


def grouped(folder, promoters=None, table=None, genes=None):
    """Return {gene: group} and {(gene, other): containment as written} of the script."""
    genes = genes or list(promoters)
    (folder / "genes.tsv").write_text("id\tsymbol\n" + "".join(f"{gene}\t.\n" for gene in genes))
    words = ["--genes", folder / "genes.tsv", "--similar-out", folder / "similar.tsv", "--out", folder / "paralogs.tsv"]
    words += ["--promoters", write_fasta(folder / "promoters.fa", promoters)] if promoters else []
    if table is not None:
        (folder / "table.tsv").write_text(table)
        words += ["--paralogs", folder / "table.tsv"]
    run_script("group_paralogs", *words)
    pairs = {(row["gene"], row["other"]): row["containment"] for _, row in read_table(folder / "similar.tsv", ["containment"])}
    return {row["gene"]: row["group"] for _, row in read_table(folder / "paralogs.tsv", ["group"])}, pairs


def test_promoters_make_groups_in_any_order(tmp_path):
    rng = np.random.default_rng(4)
    a, b = random_bases(rng, 2000), random_bases(rng, 2000)
    bridge = a[:1000] + b[:1000]
    promoters = {"c": b, "a": a, "x": random_bases(rng, 2000), "b": bridge, "m": mutate(rng, a, 0.1)}
    groups, pairs = grouped(tmp_path, promoters)
    assert groups == {"a": "a", "b": "a", "c": "a"}, "a and c are kin of b; x is alone; m is too far"
    assert list(pairs) == sorted(pairs) and {("a", "b"), ("b", "c"), ("a", "m")} <= set(pairs)
    first = [(tmp_path / name).read_bytes() for name in ("paralogs.tsv", "similar.tsv")]
    grouped(tmp_path, dict(reversed(promoters.items())))
    assert first == [(tmp_path / name).read_bytes() for name in ("paralogs.tsv", "similar.tsv")]


@pytest.mark.parametrize(
    "table",
    [
        "gene\tgroup\nENSG00000000001.5\tENSG00000000004\nENSG00000000002\tENSG00000000004\nENSG00000000002\tf2\nENSG00000000003\tf2\nENSG00000000004\t\n",
        "gene\tparalog\nENSG00000000001.5\tENSG00000000009.1\nENSG00000000003\tENSG00000000009\nENSG00000000002\tENSG00000000001\n"
        "ENSG00000000004\t\n",
        "name\tparalog\tgene\nx\tENSG00000000002\tENSG00000000001\ny\tENSG00000000002\tENSG00000000003\n",
    ],
)
def test_a_table_of_groups_or_of_pairs_is_joined_through(tmp_path, table):
    """Also through a gene that the annotation lacks (…09) and a second group; a group's name is no gene, an empty cell joins nothing."""
    genes = [f"ENSG0000000000{i}" for i in (4, 3, 2, 1)]
    groups, pairs = grouped(tmp_path, table=table, genes=genes)
    assert groups == {gene: "ENSG00000000001" for gene in sorted(genes)[:3]} and pairs == {}


def test_a_table_replaces_similarity_but_not_identity(tmp_path):
    rng = np.random.default_rng(5)
    a = random_bases(rng, 2000)
    promoters = {"a": a, "b": mutate(rng, a, 0.02), "c": a, "d": random_bases(rng, 2000)}
    groups, pairs = grouped(tmp_path, promoters, table="gene\tparalog\nb\td\n")
    assert groups == {"a": "a", "c": "a", "b": "b", "d": "b"}
    assert float(pairs["a", "b"]) > 0.5, "the pairs are told all the same"


@pytest.mark.parametrize(
    "table, message",
    [
        ("gene\tfamily\na\tx\n", "table.tsv: columns gene and group, or gene and paralog, are needed; the header has gene, family"),
        ("gene\tgroup\tparalog\na\tx\tb\n", "columns gene and group, or gene and paralog, are needed; the header has gene, group, paralog"),
        ("gene\tgroup\n", "columns gene and group, or gene and paralog, are needed, and rows"),
        ("name\tgroup\na\tx\n", "table.tsv line 1: no column gene; the header has name, group"),
        ("gene\tgroup\nBRCA1\tx\nBRCA2\tx\n", "table.tsv: no gene fits: it has BRCA1, BRCA2, the gene table a, b"),
        ("gene\tgroup\na\n", "table.tsv line 2: 1 cells where the header has 2"),
        ("", "table.tsv: the file is empty"),
    ],
)
def test_a_wrong_table_gets_one_line_and_leaves_nothing(tmp_path, table, message):
    with pytest.raises(InputError, match=message):
        grouped(tmp_path, table=table, genes=["a", "b"])
    assert not (tmp_path / "paralogs.tsv").exists() and not (tmp_path / "similar.tsv").exists()


@pytest.mark.skipif(not PROMOTERS.exists(), reason="needs ../shared/data")
def test_real_promoters_that_are_the_same_are_found(tmp_path):
    with gzip.open(PROMOTERS, "rt") as file:
        header, *rows = [line.rstrip("\n").split("\t") for line in file]
    promoters = {row[0]: row[header.index("sequence")] for row in rows}
    groups, pairs = grouped(tmp_path, promoters)
    copies = Counter(promoters.values())
    same = {(a, b) for a, b in pairs if promoters[a] == promoters[b]}
    assert len(same) == sum(n * (n - 1) // 2 for n in copies.values()) == 14
    assert all(float(pairs[pair]) == 1 and groups[pair[0]] == groups[pair[1]] for pair in same)
    assert max(Counter(groups.values()).values()) < 20, "groups do not run together"
