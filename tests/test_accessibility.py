"""Windows are the same on both strands, end at the chromosome, and hold the strongest stored bin; normalisation is by rank."""

import h5py
import numpy as np
import pytest

from exprcast.accessibility import Scaled, choose_tss, encode, log_signal, normalise, quantile_reference, read_windows, sample_codes
from exprcast.dataset import Dataset
from tiny import tiny_dataset

FLAT = (np.array([1, 10_000]), np.array([4.0, 4.0], np.float32))


def with_bins(tmp_path, bins, signal, strand=("+", "-"), tss=(50_100, 50_100)):
    """One sample of eight has the given bins; two genes on chr1."""
    path = tiny_dataset(tmp_path / "windows.h5")
    with h5py.File(path, "a") as file:
        for key, values in {
            "accessibility/indptr": np.array([0] + [len(bins)] * 8),
            "accessibility/bin": np.array(bins),
            "accessibility/signal": np.array(signal),
        }.items():
            attributes, dtype = dict(file[key].attrs), file[key].dtype
            del file[key]
            file.create_dataset(key, data=values, dtype=dtype).attrs.update(attributes)
        file["genes/strand"][:2] = strand
        file["genes/chrom"][:] = "chr1"
        file["tss/position"][:] = tss[0]
        file["tss/position"][:2] = tss
    return Dataset(path)


def windows_of(dataset, reference, flank_bp, bin_bp):
    """Return (samples, genes, bins)."""
    return np.stack(list(read_windows(Scaled(dataset, reference), np.arange(8), dataset.array("tss/position"), flank_bp, bin_bp)))


def test_minus_gene_equals_its_mirrored_plus_twin(tmp_path):
    tss_bin = 50_100 // 200
    plus = with_bins(tmp_path, [tss_bin - 7, tss_bin, tss_bin + 3], [1, 2, 3])
    first = windows_of(plus, FLAT, 2_000, 200)[0, 0]
    mirrored = with_bins(tmp_path, [tss_bin - 3, tss_bin, tss_bin + 7], [3, 2, 1])
    second = windows_of(mirrored, FLAT, 2_000, 200)[0, 1]
    assert first.tolist() == second.tolist()
    assert np.flatnonzero(first).tolist() == [3, 10, 13], "upstream first, the TSS opens the second half"


def test_window_stops_at_the_chromosome_end(tmp_path):
    last = 400_000 // 200 - 1
    dataset = with_bins(tmp_path, [0, last, last + 1], [9, 9, 9], tss=(399_900, 100))
    windows = windows_of(dataset, FLAT, 1_000, 200)
    assert np.flatnonzero(windows[0, 0]).tolist() == [5], "the first bin of chr2 is no neighbour of chr1's last"
    assert np.flatnonzero(windows[0, 1]).tolist() == [5]
    assert not windows[1:].any(), "the other samples are closed"


def test_wide_bins_hold_the_maximum(tmp_path):
    tss_bin = 50_100 // 200
    dataset = with_bins(tmp_path, [tss_bin, tss_bin + 4, tss_bin + 5], [1, 3, 7])
    reference = (np.array([1, 2, 3]), np.array([3.0, 2.0, 1.0], np.float32))
    wide = windows_of(dataset, reference, 2_000, 1_000)[0, 0]
    assert wide.tolist() == [0, 0, encode(np.array(2.0)), encode(np.array(3.0))]


def test_normalisation_gives_every_sample_the_training_profile(tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "d.h5", samples=6, genes=40))
    reference = quantile_reference(dataset, np.array([0, 1, 2]))
    expected = np.mean([np.sort(log_signal(dataset, i)[1])[::-1] for i in range(3)], axis=0)
    for sample in range(6):
        values = log_signal(dataset, sample)[1]
        got = normalise(values, reference)
        assert np.sort(got)[::-1] == pytest.approx(expected, abs=0.02)
        assert (np.argsort(got, kind="stable") == np.argsort(values, kind="stable")).all()


def test_equal_signals_stay_equal():
    got = normalise(np.array([1.0, 1.0, 1.0]), (np.array([1, 2, 3]), np.array([5.0, 3.0, 1.0], np.float32)))
    assert len(set(got)) == 1 and got[0] == pytest.approx(3.0)


def test_open_bin_is_never_coded_as_closed(tmp_path):
    dataset = with_bins(tmp_path, [5], [0.0])
    assert sample_codes(Scaled(dataset, (np.array([1]), np.array([0.0], np.float32))), 0)[5] == 1


def test_tss_with_signal_in_training_is_chosen(tmp_path):
    path = tiny_dataset(tmp_path / "two.h5", genes=3)
    with h5py.File(path, "a") as file:
        far = file["tss/position"][0] + 60_000
        for key, values in {"tss/gene": [0, 0, 1, 1, 2], "tss/position": [far, 100_100, 100_100, 160_000, 100_100]}.items():
            dtype = file[key].dtype
            del file[key]
            file.create_dataset(key, data=values, dtype=dtype)
        del file["tss/source"]
        file.create_dataset("tss/source", data=["t"] * 5, dtype=h5py.string_dtype())
    dataset = Dataset(path)
    reference = quantile_reference(dataset, np.arange(8))
    assert choose_tss(Scaled(dataset, reference), np.arange(8)).tolist() == [100_100, 100_100, 100_100]
    assert choose_tss(Scaled(dataset, reference), np.arange(0)).tolist() == [far, 100_100, 100_100], "without signal the first TSS stands"
