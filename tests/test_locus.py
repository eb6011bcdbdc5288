"""One gene's locus: the right gene, the right two samples, bins and shares on the gene's own strand."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.dataset import Dataset
from exprcast.locus import locus_section, read_loci
from exprcast.page import render_page
from exprcast.results import Locus, read_predictions, read_shares
from test_report import write_predictions
from tiny import tiny_dataset

SAMPLES = [f"S{i}" for i in range(8)]
R_SAMPLE = {"G0": 0.2, "G3": 0.9, "G4": np.nan, "G11": 1.0}  # G11 is not explained


def write_attributions(
    path: Path, seed: int, genes: tuple[str, ...] = ("G0", "G3", "G4"), samples: list[str] = SAMPLES, moved_bp: int = 0
) -> Path:
    """Write shares over 8 bins of 10 kb: for sample number s the s-th bin has `seed`, all others 0; G3's start site may be moved."""
    tss = {"G0": 100_100, "G3": 120_100 + moved_bp, "G4": 120_100}
    pairs = [(sample, gene) for sample in samples for gene in genes]
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs.update({"family": "toy", "fold": 0, "seed": seed, "unit": "log2(tpm + 1)", "method": "integrated gradients"})
        file.attrs.update({"bins": 8, "bin_bp": 10_000, "flank_bp": 40_000})
        file.create_dataset("row", data=np.array([row for row, _ in pairs], dtype=object), dtype=text)
        file.create_dataset("column", data=np.array([column for _, column in pairs], dtype=object), dtype=text)
        file["tss"] = np.array([tss[gene] for _, gene in pairs])
        file["predicted"], file["reference"] = np.ones(len(pairs)), np.zeros(len(pairs))
        file["shares/window"] = seed * np.eye(8, dtype=np.float32)[[int(row[1:]) % 8 for row, _ in pairs]]
    return path


def loci(folder: Path, *attributions: Path, change: object = None) -> list[Locus]:
    """Return the loci of a tiny dataset; `change` may edit its file."""
    path = tiny_dataset(folder / "dataset.h5")
    if change:
        with h5py.File(path, "a") as file:
            change(file)
    families = [read_predictions(write_predictions(folder / "toy.h5", SAMPLES))]
    shares = [read_shares(one) for one in attributions or (write_attributions(folder / "a.h5", 1),)]
    return read_loci(Dataset(path), shares, families, {"toy": R_SAMPLE})


def test_the_gene_with_the_highest_r_sample_is_shown_in_its_highest_and_lowest_sample(tmp_path):
    (locus,) = loci(tmp_path)
    with h5py.File(tmp_path / "toy.h5") as file:
        observed = file["observed"][:, 3]
    assert (locus.gene, locus.symbol, locus.place, locus.r_sample, locus.candidates) == ("G3", "g3", "chr1:120,101 (-)", 0.9, 2)
    assert [one.sample for one in locus.samples] == [SAMPLES[observed.argmax()], SAMPLES[observed.argmin()]]
    high = locus.samples[0]
    assert (high.observed, high.predicted, high.training_mean) == (observed.max(), observed.max(), 0)
    assert high.shares.tolist() == np.eye(8)[observed.argmax()].tolist()


def test_bins_lie_on_the_genes_own_strand(tmp_path):
    """On chr1 are G0 at 100.1, G3 (minus) at 120.1, G6 at 140.1 and G9 at 160.1 kb, each with one open bin."""
    (locus,) = loci(tmp_path)
    dataset, one = Dataset(tmp_path / "dataset.h5"), locus.samples[0]
    bins, signal = dataset.open_bins(SAMPLES.index(one.sample))
    expected = {20_000: 500, 0: 600, -20_000: 700, -40_000: 800}  # 200 bp a bin
    assert dict(zip(one.start_bp.tolist(), one.signal.tolist(), strict=True)) == {
        start: signal[bins.tolist().index(number)] for start, number in expected.items()
    }
    assert locus.others_bp.tolist() == [-20_000, 20_000]


def test_shares_are_the_mean_over_networks(tmp_path):
    (locus,) = loci(tmp_path, write_attributions(tmp_path / "a.h5", 1), write_attributions(tmp_path / "b.h5", 4))
    assert locus.samples[0].shares.sum() == 2.5


def test_a_gene_whose_start_site_the_folds_chose_apart_is_passed_over(tmp_path):
    (locus,) = loci(tmp_path, write_attributions(tmp_path / "a.h5", 1), write_attributions(tmp_path / "b.h5", 2, moved_bp=10_000))
    assert (locus.gene, locus.candidates) == ("G0", 1)


def test_bins_and_shares_lie_around_the_start_site_that_training_chose(tmp_path):
    (locus,) = loci(tmp_path, write_attributions(tmp_path / "a.h5", 1, moved_bp=20_000))
    assert (locus.gene, locus.place) == ("G3", "chr1:140,101 (-)")
    assert sorted(locus.samples[0].start_bp.tolist()) == [-20_000, 0, 20_000]


def test_a_gene_needs_two_measured_samples(tmp_path):
    def forget(file: h5py.File) -> None:
        file["expression/gene"][:7, 3] = np.nan

    (locus,) = loci(tmp_path, change=forget)
    assert (locus.gene, locus.candidates) == ("G0", 1)


def test_a_dataset_of_another_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a.h5 explains sample S9, which dataset.h5 lacks; give the dataset that this run was trained on"):
        loci(tmp_path, write_attributions(tmp_path / "a.h5", 1, samples=["S1", "S9"]))


@pytest.mark.parametrize("more", [{"genes": ("G4",)}, {"samples": ["S1"]}])
def test_where_no_gene_can_be_shown_the_section_says_why(tmp_path, more):
    found = loci(tmp_path, write_attributions(tmp_path / "a.h5", 1, **more))
    assert found == [] and "none is explained in two samples" in locus_section(found).blocks[0].text


def test_the_section_says_why_this_gene_and_draws_it(tmp_path):
    said, pictures = locus_section(loci(tmp_path)).blocks
    assert said.text == (
        "toy: g3 (G3) at chr1:120,101 (-), the best and not a typical example: of 2 genes whose predictions are explained around start sites "
        "within 10,000 bp it has the highest r_sample (0.90)."
    )
    (drawn,) = pictures.pictures
    assert "distance to the TSS of g3, chr1:120,101 (-), in kb" in drawn.svg and drawn.svg.count("TSS →") == 2
    assert "shares sum to 1" in drawn.caption and len(drawn.svg) < 100_000
    closed = locus_section([loci(tmp_path)[0]._replace(knocked_out=True)]).blocks[1].pictures[0].caption
    assert "when a bin of 10,000 bp is closed" in closed and "sum to" not in closed


@pytest.mark.filterwarnings("error")  # matplotlib warns where it loses the layout
def test_an_empty_neighbourhood_is_drawn(tmp_path):
    (locus,) = loci(tmp_path)
    empty = [one._replace(start_bp=one.start_bp[:0], signal=one.signal[:0], shares=0 * one.shares) for one in locus.samples]
    (drawn,) = locus_section([locus._replace(others_bp=locus.others_bp[:0], samples=empty)]).blocks[1].pictures
    assert drawn.svg.count("TSS →") == 2


def test_a_symbol_from_outside_is_escaped(tmp_path):
    def rename(file: h5py.File) -> None:
        file["genes/symbol"][3] = "<script>$x$"

    page = render_page("", "", [], [locus_section(loci(tmp_path, change=rename))])
    assert page.count("<script") == 1 and "TSS of &lt;script&gt;$x$, chr1" in page
