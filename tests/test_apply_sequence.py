"""apply_sequence.py and track_locus.py: any window predicted on either strand, alleles that leave the start site where it is, input that is refused."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pyBigWig
import pysam
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exprcast.bundle import FACTS, Bundle, gene_list, network_file, save_bundle
from exprcast.checkpoint import load_checkpoint, save_checkpoint
from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.families.xpresso import Config, Model
from exprcast.tables import read_table
from exprcast.variants import Variant, Windows, distance_to_tss, with_alternative
from exprcast.windows import Site, bounds, encode
from tiny import run_script, tiny_dataset

DATA = Path(__file__).parents[2] / "shared" / "data"
HUMAN = DATA / "sequence" / "xpresso_weights" / "humanMedian_trainepoch.11-0.426.h5"
WIDTH, TSS, MARGIN = 60, 40, 2
SIZES = {"width": WIDTH, "halflife": 2, "labels": 2}
CONFIG = Config(filters=[4], widths=[6], pools=[2, 2], dense=[4], dropouts=[0.0], shift_bp=MARGIN, test_shifts=[-1, 0, 2])
VCF = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Make a bundle of two folds whose networks have random weights, and other half-life scales each."""
    folder = tmp_path_factory.mktemp("bundle")
    dataset = Dataset(tiny_dataset(folder / "d.h5"))
    files = {"training.h5": folder / "d.h5", "card.md": folder / "card.md"}
    files["card.md"].write_text("")
    for fold in (0, 1):
        torch.manual_seed(fold)
        model = Model(CONFIG, SIZES)
        mean, sd = torch.tensor([0.5, fold], dtype=torch.float64), torch.tensor([2.0, 3.0], dtype=torch.float64)
        state = {"start": 0, "width": WIDTH, "tss": TSS, "halflife_mean": mean, "halflife_sd": sd}
        files[network_file(fold, 1)], files[f"fold{fold}.baselines.h5"] = folder / f"{fold}.pt", folder / "card.md"
        save_checkpoint(
            folder / f"{fold}.pt", CONFIG, family="xpresso", preset="default", sizes=SIZES, state=state, weights=model.state_dict(),
            rows=["first", "second"], columns=dataset.genes, unit="log10_tpm", fold=fold, seed=1, trained_seed=1, status="trained",
            control="", code="", selection=None,
        )  # fmt: skip
    facts = {name: kind() for name, kind in FACTS.items()} | {
        "family": "xpresso", "hold_out": dataset.hold_out, "genes": len(dataset.genes), "samples": len(dataset.samples), "folds": [0, 1],
        "seeds": [1], "gene_list": gene_list(dataset.genes),
    }  # fmt: skip
    save_bundle(folder / "xpresso", facts, files)
    return folder / "xpresso"


@pytest.fixture(scope="module")
def genome(tmp_path_factory) -> Path:
    """Make an indexed genome of a chromosome with N at its end, and a second of N only."""
    bases = "".join(np.random.default_rng(1).choice(list("ACGT"), 600)) + "N" * 200
    return write_genome(tmp_path_factory.mktemp("genome") / "g.fa", {"chr1": bases, "chr2": "N" * 300})


def write_genome(path: Path, sequences: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in sequences.items()))
    pysam.faidx(str(path))
    return path


def write_bed(path: Path, sites: list[tuple[str, int, str]], chrom: str = "chr1") -> Path:
    path.write_text("".join(f"{chrom}\t{place}\t{place + 1}\t{name}\t0\t{strand}\n" for name, place, strand in sites))
    return path


def bases_around(genome: Path, place: int, strand: str, margin: int = 0, chrom: str = "chr1") -> str:
    """Return a start site's window along its strand, by a way of its own."""
    with pysam.FastaFile(str(genome)) as fasta:
        padded = "N" * 100 + fasta.fetch(chrom) + "N" * 100
    up, down = TSS + margin, WIDTH - TSS + margin
    if strand == "+":
        return padded[100 + place - up : 100 + place + down]
    return padded[101 + place - down : 101 + place + up][::-1].translate(str.maketrans("ACGT", "TGCA"))


def table(path: Path) -> list[dict[str, str]]:
    return [row for _, row in read_table(path, ())]


def apply(folder: Path, *arguments: object, out: str = "o.tsv") -> list[dict[str, str]]:
    run_script("apply_sequence", *arguments, "--device", "cpu", "--out", folder / out)
    return table(folder / out)


def network_values(bundle: Path, bases: str, halflife: tuple[float, float] | None = None) -> np.ndarray:
    """Return (networks, labels) predictions of one window with its margins, from the checkpoints."""
    values = []
    for fold in (0, 1):
        content = load_checkpoint(bundle / network_file(fold, 1))
        model = Model(CONFIG, content["sizes"])
        model.load_state_dict(content["weights"])
        features = (
            torch.zeros(2)
            if halflife is None
            else (torch.tensor(halflife) - content["state"]["halflife_mean"]) / content["state"]["halflife_sd"]
        )
        with torch.no_grad():
            values.append(model.eval()(torch.from_numpy(encode(bases.encode()).copy())[None], features.float()[None])[0].numpy())
    return np.array(values)


def check(rows: list[dict[str, str]], expected: np.ndarray) -> None:
    """Compare the rows of one id, one a label, with (networks, labels)."""
    assert [row["label"] for row in rows] == ["first", "second"]
    np.testing.assert_allclose([float(row["predicted"]) for row in rows], expected.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose([float(row["sd"]) for row in rows], expected.std(axis=0, ddof=1), atol=1e-6)


SITES = [("far", 5, "+"), ("low", 200, "-"), ("high", 201, "+"), ("edge", 590, "-"), ("over", 3, "-")]


def test_sites_are_read_along_their_strand_by_all_networks(bundle, genome, tmp_path):
    rows = apply(tmp_path, "--bundle", bundle, "--sites", write_bed(tmp_path / "s.bed", SITES), "--genome", genome)
    assert [row["id"] for row in rows[::2]] == ["edge", "far", "high", "low", "over"] and {row["n_networks"] for row in rows} == {"2"}
    assert len({row["predicted"] for row in rows}) == 10
    for name, place, strand in SITES:
        check([row for row in rows if row["id"] == name], network_values(bundle, bases_around(genome, place, strand, MARGIN)))


def test_sequences_are_predicted_as_their_sites_are(bundle, genome, tmp_path):
    (tmp_path / "s.fa").write_text(
        "".join(f">{name} tss={TSS + 20}\n{bases_around(genome, place, strand, 20)}\n" for name, place, strand in SITES)
    )
    rows = apply(tmp_path, "--bundle", bundle, "--sequences", tmp_path / "s.fa")
    sites = apply(tmp_path, "--bundle", bundle, "--sites", write_bed(tmp_path / "s.bed", SITES), "--genome", genome, out="p.tsv")
    assert [list(row.values())[:2] for row in rows] == [list(row.values())[:2] for row in sites]
    np.testing.assert_allclose([float(row["predicted"]) for row in rows], [float(row["predicted"]) for row in sites], atol=1e-6)


def test_margins_that_a_record_lacks_are_unknown(bundle, tmp_path):
    bases = "ACGTTGCATC" * 6
    (tmp_path / "s.fa.gz").write_bytes(gzip.compress(f">a\n{bases[:25]}\n{bases[25:].lower()}\n>n\n{'N' * WIDTH}\n".encode()))
    rows = apply(tmp_path, "--bundle", bundle, "--sequences", tmp_path / "s.fa.gz", out="o.tsv.gz")
    check(rows[:2], network_values(bundle, f"NN{bases}NN"))
    assert [row["predicted"] for row in rows[2:]] == ["NA", "NA"] and (tmp_path / "o.tsv.gz").read_bytes()[:2] == b"\x1f\x8b"


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (f">a\n{'A' * 60}\n>b\n{'A' * 61}\n", (), r"record b has 61 bases; the networks read 60 bases, 40 of them before the start site; .*--tss-index"),
        (f">a\n{'A' * 59}\n", ("--tss-index", 40), r"record a has 59 bases, its start site is number 40; the networks read 60 bases"),
        (f">a tss=30\n{'A' * 60}\n", (), r"record a has 60 bases, its start site is number 30"),
        (f">a\n{'A' * 60}\n>a\n{'A' * 60}\n", (), "record a occurs twice"),
        (">a\nACGTE\n", (), "line 2: 'E' is no base; is this a protein"),
        ("ACGT\n", (), "line 1: this is no FASTA"),
        ("", (), "no record in the file"),
    ],
)  # fmt: skip
def test_sequences_of_another_kind_end_in_one_line(bundle, tmp_path, text, more, message):
    (tmp_path / "s.fa").write_text(text)
    with pytest.raises(InputError, match=rf"^s\.fa:? .*{message}|^s\.fa: {message}"):
        apply(tmp_path, "--bundle", bundle, "--sequences", tmp_path / "s.fa", *more)
    assert not (tmp_path / "o.tsv").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t10\t12\ta\t0\t+", "10 to 12 is no single base"),
        ("chr1\t10\t11\ta\t0\t.", "strand '.' is neither"),
        ("chr1\t10\t11\ta", "4 columns; six are needed"),
        ("chr9\t10\t11\ta\t0\t+", "the site is on chr9; g.fa has chr1, chr2"),
        ("chr1\t800\t801\ta\t0\t+", "base 800 is not on chr1, which has 800 bp"),
        ("chr1\t10\t11\ta\t0\t+\nchr1\t12\t13\ta\t0\t+", "site 'a' occurs twice"),
    ],
)
def test_sites_of_another_kind_end_in_one_line(bundle, genome, tmp_path, line, message):
    (tmp_path / "s.bed").write_text(line + "\n")
    with pytest.raises(InputError, match=message):
        apply(tmp_path, "--bundle", bundle, "--sites", tmp_path / "s.bed", "--genome", genome)


def test_genome_without_our_index_and_options_that_do_not_fit_are_refused(bundle, genome, tmp_path):
    bed = write_bed(tmp_path / "s.bed", SITES)
    (tmp_path / "g.fa").write_text(">chr1\nACGT\n")
    with pytest.raises(InputError, match=r"g\.fa: no index g\.fa\.fai beside it; index_genome\.py makes one"):
        apply(tmp_path, "--bundle", bundle, "--sites", bed, "--genome", tmp_path / "g.fa")
    for options, message in (
        (("--sites", bed), "belong together"),
        (("--sequences", bed, "--variants", bed), "--variants needs --sites"),
        (("--sites", bed, "--genome", genome, "--tss-index", 3), "--tss-index is for --sequences"),
    ):
        with pytest.raises(InputError, match=message):
            apply(tmp_path, "--bundle", bundle, *options)
    with pytest.raises(InputError, match="--halflife needs --bundle"):
        apply(tmp_path, "--weights", bed, "--sequences", bed, "--halflife", bed)


def test_order_of_rows_changes_no_byte(bundle, genome, tmp_path):
    rng = np.random.default_rng(2)
    sites = [(f"s{i}", int(place), "+-"[i % 2]) for i, place in enumerate(rng.choice(600, 70, replace=False))]
    written = set()
    for number, part in enumerate((sites, sites[::-1])):
        write_bed(tmp_path / "s.bed", part)
        (tmp_path / "s.fa").write_text("".join(f">{name}\n{bases_around(genome, place, strand)}\n" for name, place, strand in part))
        apply(tmp_path, "--bundle", bundle, "--sites", tmp_path / "s.bed", "--genome", genome, out=f"{number}.bed.tsv")
        apply(tmp_path, "--bundle", bundle, "--sequences", tmp_path / "s.fa", out=f"{number}.fa.tsv")
        written.add(tuple((tmp_path / f"{number}.{kind}.tsv").read_bytes() for kind in ("bed", "fa")))
    assert len(written) == 1


def halflife_table(path: Path, rows: str, scale: str = "transformed") -> Path:
    path.write_text(f"#scale={scale}\ngene\tb\ta\n{rows}")
    return path


def test_half_life_features_are_scaled_as_each_network_learnt(bundle, genome, tmp_path):
    bed = write_bed(tmp_path / "s.bed", [("G1", 100, "+"), ("G2", 300, "-"), ("G3", 400, "-")])
    features = halflife_table(tmp_path / "h.tsv", "G2\t7\t-1\nG1\t0.5\t4\nG3\tNA\t4\n")
    rows = apply(tmp_path, "--bundle", bundle, "--sites", bed, "--genome", genome, "--halflife", features)
    check(rows[:2], network_values(bundle, bases_around(genome, 100, "+", MARGIN), (4, 0.5)))
    check(rows[2:4], network_values(bundle, bases_around(genome, 300, "-", MARGIN), (-1, 7)))
    assert [row["predicted"] for row in rows[4:]] == ["NA", "NA"]


@pytest.mark.parametrize(
    ("rows", "scale", "message"), [("G1\t1\t1\n", "measured", "scale measured; .* scale transformed"), ("X\t1\t1\n", "transformed", "it has X; asked for are G1")]
)  # fmt: skip
def test_half_life_features_of_another_kind_end_in_one_line(bundle, genome, tmp_path, rows, scale, message):
    bed = write_bed(tmp_path / "s.bed", [("G1", 100, "+")])
    with pytest.raises(InputError, match=message):
        apply(
            tmp_path, "--bundle", bundle, "--sites", bed, "--genome", genome, "--halflife", halflife_table(tmp_path / "h.tsv", rows, scale)
        )


def test_bundle_of_another_family_is_refused(bundle, tmp_path):
    facts = {name: Bundle(bundle).content[name] for name in FACTS} | {"family": "other"}
    save_bundle(tmp_path / "other", facts, {name: bundle / name for name in Bundle(bundle).content["files"]})
    with pytest.raises(InputError, match="is of the family other, which reads no sequence; give models/xpresso"):
        apply(tmp_path, "--bundle", tmp_path / "other", "--sequences", tmp_path / "s.fa")


def allele_near(genome: Path, position: int, length: int) -> str:
    """Return the bases from a 1-based position on."""
    with pysam.FastaFile(str(genome)) as fasta:
        return fasta.fetch("chr1", position - 1, position - 1 + length)


def other_base(base: str) -> str:
    return "ACGT"[("ACGT".index(base) + 1) % 4]


def test_difference_of_an_allele_is_that_of_the_edited_genome(bundle, genome, tmp_path, caplog):
    sites = [("plus", 200, "+"), ("minus", 205, "-")]
    with pysam.FastaFile(str(genome)) as fasta:
        bases = fasta.fetch("chr1")
    snv, deletion = allele_near(genome, 190, 1), allele_near(genome, 212, 4)
    lines = [
        f"1\t190\trs1\t{snv}\t{other_base(snv)},<DEL>,*\t.\t.\t.",
        f"chr1\t212\t.\t{deletion}\t{deletion[0]}\t.\t.\t.",
        f"chr1\t500\t.\t{allele_near(genome, 500, 1)}\tG\t.\t.\t.",
        "chrUn\t5\t.\tA\tG\t.\t.\t.",
    ]
    (tmp_path / "v.vcf").write_text(VCF + "\n".join(lines) + "\n")
    bed, caplog.handler.level = write_bed(tmp_path / "s.bed", sites), logging.INFO
    with caplog.at_level(logging.INFO, logger="exprcast"):
        rows = apply(tmp_path, "--bundle", bundle, "--sites", bed, "--genome", genome, "--variants", tmp_path / "v.vcf")
    assert "32.6 %" in (tmp_path / "o.tsv").read_text().splitlines()[0] and "32.6 %" in caplog.text
    assert (
        "alleles left out, symbolic, or without an allele that is spelled out: 2" in caplog.text
        and "alleles left out, outside all windows: 1" in caplog.text
    )
    assert "alleles left out, on chromosomes that the genome lacks: 1" in caplog.text
    assert [(row["variant"], row["site"], row["distance_to_tss"]) for row in rows[::2]] == [
        ("rs1", "plus", "-11"), ("rs1", "minus", "16"), (f"chr1:212:{deletion}:{deletion[0]}", "plus", "11"),
        (f"chr1:212:{deletion}:{deletion[0]}", "minus", "-6"),
    ]  # fmt: skip
    edited = {
        "rs1": write_genome(tmp_path / "snv.fa", {"chr1": bases[:189] + other_base(snv) + bases[190:]}),
        "chr1": write_genome(tmp_path / "del.fa", {"chr1": bases[:212] + bases[215:]}),
    }
    for pair in range(4):
        row, (_, place, strand) = rows[2 * pair], sites[pair % 2]
        before = network_values(bundle, bases_around(genome, place, strand, MARGIN))
        after = network_values(bundle, bases_around(edited[row["variant"].split(":")[0]], place, strand, MARGIN))
        for label, row in enumerate(rows[2 * pair : 2 * pair + 2]):
            change = (after - before)[:, label]
            found = [float(row[key]) for key in ("reference", "alternative", "difference", "sd")]
            expected = [before[:, label].mean(), after[:, label].mean(), change.mean(), change.std(ddof=1)]
            np.testing.assert_allclose(found, expected, atol=1e-6)
            assert abs(change.mean()) > 1e-5


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.integers(20, 60), position=st.integers(0, 75), removed=st.integers(1, 12), inserted=st.text("ACGT", min_size=1, max_size=90),
    strand=st.sampled_from("+-"), anchored=st.booleans(),
)  # fmt: skip
def test_start_site_stays_where_it_is(tmp_path, place, position, removed, inserted, strand, anchored):
    """The oracle edits the whole chromosome, follows the start site in it, and cuts the window out."""
    bases = "".join(np.random.default_rng(3).choice(list("ACGT"), 80))
    path = tmp_path / "c.fa"
    if not path.exists():
        write_genome(path, {"c": bases})
    reference = bases[position : position + removed]
    alternative = reference[0] + inserted[1:] if anchored else inserted
    variant, site = Variant("c", position, reference, alternative, "."), Site("s", "c", strand, place)
    low, high = bounds(site, 12, 9)
    with pysam.FastaFile(str(path)) as fasta:
        found = with_alternative(fasta, site, variant, low, high)
    edited = bases[:position] + alternative + bases[position + len(reference) :]
    shift = len(alternative) - len(reference)
    possible = set()
    for moved in {0, shift} if position <= place < variant.end else ({shift} if place >= variant.end else {0}):
        padded = "N" * 200 + edited + "N" * 200
        possible.add(padded[200 + low + moved : 200 + high + moved].encode())
    if (
        position <= place < variant.end
    ):  # a base of the allele: its upstream or its downstream side stays, whichever lies beside the start site
        assert len(found) == high - low and found in possible
    else:
        assert {found} == possible


def test_windows_over_a_place_are_those_that_hold_it():
    rng = np.random.default_rng(4)
    sites = [Site(str(i), "c", "+-"[i % 2], int(rng.integers(0, 300))) for i in range(30)]
    windows = Windows(sites, 7, 4)
    for start in range(0, 300, 3):
        held = {i for i, site in enumerate(sites) if bounds(site, 7, 4)[0] < start + 2 and bounds(site, 7, 4)[1] > start}
        assert set(windows.over("c", start, start + 2)) == held
    assert windows.over("d", 0, 300) == [] and distance_to_tss(Site("", "c", "-", 9), Variant("c", 12, "A", "C", "")) == -3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t200\tx\t{}\tC", r"line 3: the reference allele is {} at chr1:200, g\.fa has [ACGT]; is the VCF of another assembly"),
        ("chr7\t200\tx\tA\tC", r"no variant is on a known chromosome: it has chr7; g\.fa has chr1, chr2"),
        ("chr1\t900\tx\tA\tC", r"chr1:900 is beyond chr1, which has 800 bp"),
        ("chr1\t200\tx\tA", "line 3: .* is no variant"),
        ("chr1\t200\tx\tQ\tA", "reference allele 'Q' is not spelled"),
    ],
)
def test_variants_of_another_kind_end_in_one_line(bundle, genome, tmp_path, line, message):
    wrong = other_base(allele_near(genome, 200, 1))
    (tmp_path / "v.vcf").write_text(VCF + line.format(wrong) + "\n")
    bed = write_bed(tmp_path / "s.bed", [("a", 200, "+")])
    with pytest.raises(InputError, match=message.format(wrong) if "{}" in message else message):
        apply(tmp_path, "--bundle", bundle, "--sites", bed, "--genome", genome, "--variants", tmp_path / "v.vcf")
    assert not (tmp_path / "o.tsv").exists()


def test_alleles_beside_unknown_bases_and_long_ones_are_left_out(bundle, genome, tmp_path, caplog):
    (tmp_path / "v.vcf").write_text(VCF + f"chr1\t610\tn\tA\tC\nchr1\t590\tl\t{allele_near(genome, 590, 1)}\t{'A' * 1001}\n")
    bed = write_bed(tmp_path / "s.bed", [("a", 600, "+")])
    with caplog.at_level(logging.INFO, logger="exprcast"):
        assert apply(tmp_path, "--bundle", bundle, "--sites", bed, "--genome", genome, "--variants", tmp_path / "v.vcf") == []
    assert (
        "alleles left out, with bases that are not known: 1" in caplog.text and "alleles left out, longer than 1,000 bp: 1" in caplog.text
    )


def test_track_has_at_each_step_what_its_start_site_is_predicted(bundle, genome, tmp_path):
    run_script(
        "track_locus", "--bundle", bundle, "--genome", genome, "--locus", "1:101-745", "--step", 20, "--label", "second", "--device", "cpu",
        "--out", tmp_path / "tracks",
    )  # fmt: skip
    places = range(110, 740, 20)
    for strand, name in (("+", "plus.bw"), ("-", "minus.bw")):
        bed = write_bed(tmp_path / "s.bed", [(str(place), place, strand) for place in places])
        rows = apply(tmp_path, "--bundle", bundle, "--sites", bed, "--genome", genome)
        expected = {int(row["id"]): float(row["predicted"]) for row in rows if row["label"] == "second" and row["predicted"] != "NA"}
        with pyBigWig.open(str(tmp_path / "tracks" / name)) as track:
            found = {start + 10: value for start, end, value in track.intervals("chr1") if end == start + 20}
            assert track.chroms() == {"chr1": 800, "chr2": 300}
        assert found.keys() == expected.keys() and 20 < len(found) < len(places)  # N throughout at the end
        np.testing.assert_allclose([found[place] for place in expected], list(expected.values()), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--locus", "chr1:1-10"), "10 bp are less than one step of 20 bp"),
        (("--locus", "chr5:1-100"), "chromosome chr5 is not in g.fa, which has chr1, chr2"),
        (("--locus", "chr1:100-900"), "chr1 has the bases 1 to 800"),
        (("--locus", "chr1"), "write it as chr21:15500001-15600000"),
        (("--locus", "chr2:101-200"), "no base around it is known"),
        (("--locus", "chr1:1-100", "--label", "third"), "choose one of first, second"),
    ],
)
def test_loci_that_cannot_be_tiled_end_in_one_line(bundle, genome, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        run_script(
            "track_locus", "--bundle", bundle, "--genome", genome, "--step", 20, "--label", "first", *options, "--out", tmp_path / "t"
        )
    assert not (tmp_path / "t").exists()


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    """Index the known pieces of hg38."""
    folder = tmp_path_factory.mktemp("mini")
    fasta = needs(DATA / "genome" / "derived_hg38_mini_masked.fa.gz")
    run_script("index_genome", "--fasta", fasta, "--chrom-sizes-out", folder / "sizes", "--out", folder / "g.fa.gz")
    return folder / "g.fa.gz"


def test_real_start_sites_have_the_published_predictions(mini, tmp_path):
    golden = table(needs(DATA / "sequence" / "xpresso_golden.tsv.gz"))
    lines = []
    for row in golden:  # the published window of the minus strand ends 7,000 bases behind the start site's base, as ours does
        place = int(row["start"]) + (7_000 if row["strand"] == "+" else 3_499)
        lines.append(f"{row['chrom']}\t{place}\t{place + 1}\t{row['gene']}\t0\t{row['strand']}\n")
    (tmp_path / "s.bed").write_text("".join(lines))
    found = {row["id"]: row for row in apply(tmp_path, "--weights", needs(HUMAN), "--sites", tmp_path / "s.bed", "--genome", mini)}
    expected = {row["gene"]: float(row["kipoi_prediction"]) for row in golden}
    assert found.keys() == expected.keys() and {row["sd"] for row in found.values()} == {"NA"}
    np.testing.assert_allclose([float(found[gene]["predicted"]) for gene in expected], list(expected.values()), atol=1e-5)
