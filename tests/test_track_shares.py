"""Shares of bases laid along the genome: both strands, overlaps, unknown bases, several networks, genes without a place."""

import h5py
import numpy as np
import pyBigWig
import pytest

from exprcast.cli import InputError
from tiny import run_script, tiny_dataset

TEXT = h5py.string_dtype()
FLANK, SIZE = 4, 400_000  # the start site is base 4 of six


def write_attributions(path, shares, codes=(0, 1, 2, 3, 0, 1), flank_bp=FLANK, family="toy"):
    """Write what attribute.py does of {gene: shares along it}."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"family": family, "bins": len(codes), "bin_bp": 1, "flank_bp": flank_bp})
        file.create_dataset("column", data=list(shares), dtype=TEXT)
        file["sequence"] = np.tile(np.array(codes, np.uint8), (len(shares), 1))
        file["shares/window"] = np.array(list(shares.values()), np.float32)
    return path


@pytest.fixture
def dataset(tmp_path):
    """Genes G0 (+), G3 (−) and G6 (+) on chr1 with start sites 100, 200 and 203, G1 (−) on chr2 at 0."""
    path = tiny_dataset(tmp_path / "dataset.h5")
    with h5py.File(path, "r+") as file:
        position = file["tss/position"]
        position[0], position[3], position[6], position[1] = 100, 200, 203, 0
    return path


def lay(dataset, *attributions):
    """Return {chromosome: {position: share}}."""
    out = dataset.parent / "toy.bw"
    run_script("track_shares.py", "--attributions", *attributions, "--dataset", dataset, "--out", out)
    with pyBigWig.open(str(out)) as track:
        assert track.chroms("chr1") == SIZE
        return {
            chrom: {start: value for start, end, value in found for start in range(start, end)}
            for chrom in ("chr1", "chr2", "chr3")
            for found in [track.intervals(chrom) or ()]
        }


def test_the_start_site_lies_on_its_base_on_both_strands(dataset, tmp_path):
    found = lay(dataset, write_attributions(tmp_path / "a.h5", {"G0": [1, 2, 3, 4, 5, 6], "G3": [-1, -2, -3, -4, -5, -6]}))
    assert found["chr1"] == {96: 1, 97: 2, 98: 3, 99: 4, 100: 5, 101: 6} | {204: -1, 203: -2, 202: -3, 201: -4, 200: -5, 199: -6}
    assert found["chr2"] == found["chr3"] == {}


def test_where_windows_overlap_the_larger_absolute_share_stands(dataset, tmp_path):
    found = lay(dataset, write_attributions(tmp_path / "a.h5", {"G3": [9, 9, 1, 1, 9, 9], "G6": [0, 0, -2, -8, -10, 4]}))
    assert found["chr1"] == {199: 9, 200: 9, 201: -2, 202: -8, 203: -10, 204: 9}


def test_unknown_bases_and_those_off_the_chromosome_have_no_share(dataset, tmp_path):
    attributions = {"G0": [1, 2, 3, 4, 5, 6], "G1": [1, 2, 3, 4, 5, 6]}
    found = lay(dataset, write_attributions(tmp_path / "a.h5", attributions, codes=(4, 1, 2, 4, 0, 1)))
    assert found["chr1"] == {97: 2, 98: 3, 100: 5, 101: 6} and found["chr2"] == {0: 5, 2: 3, 3: 2}


def test_the_mean_over_networks_stands_and_their_order_is_all_the_same(dataset, tmp_path):
    files = [write_attributions(tmp_path / f"{seed}.h5", {"G0": [seed] * 6, "G3": [0.1 * seed] * 6}) for seed in (1, 2, 6)]
    files.append(write_attributions(tmp_path / "other_fold.h5", {"G1": [1, 1, 1, 1, 7, 1]}))
    found = lay(dataset, *files)
    assert (
        set(found["chr1"][place] for place in range(96, 102)) == {3} and found["chr1"][200] == pytest.approx(0.3) and found["chr2"][0] == 7
    )
    first = (dataset.parent / "toy.bw").read_bytes()
    lay(dataset, *files[::-1])
    assert (dataset.parent / "toy.bw").read_bytes() == first


def test_genes_without_a_place_have_no_track(dataset, tmp_path):
    attributions = write_attributions(tmp_path / "a.h5", {"G0": [1, 2, 3, 4, 5, 6], "G3": [1, 2, 3, 4, 5, 6]})
    with h5py.File(dataset, "r+") as file:
        file["genes/strand"][3] = "."
    assert set(lay(dataset, attributions)["chr1"]) == set(range(96, 102)), "G3 lies on no strand"
    (dataset.parent / "toy.bw").unlink()
    with h5py.File(dataset, "r+") as file:
        del file["tss"]
    run_script("track_shares.py", "--attributions", attributions, "--dataset", dataset, "--out", dataset.parent / "toy.bw")
    assert not (dataset.parent / "toy.bw").exists()


def test_what_does_not_belong_together_is_refused(dataset, tmp_path):
    good = write_attributions(tmp_path / "a.h5", {"G0": [1] * 6})
    with pytest.raises(InputError, match=r"^b.h5 explains gene OTHER, which dataset.h5 lacks; give the dataset of this run$"):
        lay(dataset, good, write_attributions(tmp_path / "b.h5", {"OTHER": [1] * 6}))
    with pytest.raises(InputError, match=r"several families or windows \(2\)"):
        lay(dataset, good, write_attributions(tmp_path / "c.h5", {"G0": [1] * 6}, flank_bp=3))
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["shares/window"] = np.zeros((1, 6))
    with pytest.raises(InputError, match=r"^d.h5: no shares of bases in it"):
        lay(dataset, tmp_path / "d.h5")
    assert not list(dataset.parent.glob("*.bw"))
