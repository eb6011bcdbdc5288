"""strand.py: k-mers of the sense strand and of the other, sampled alike; reads tell on which one they lie."""

import numpy as np
import pytest

from exprcast.strand import SAMPLED, K, count_strands, join_kmers, make_probe, sample_kmers

COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


def random_bases(count: int, seed: int = 0) -> bytes:
    return bytes(np.random.default_rng(seed).choice(np.frombuffer(b"ACGT", np.uint8), count))


def reverse_complement(bases: bytes) -> bytes:
    return bases.translate(COMPLEMENT)[::-1]


def code(bases: bytes) -> int:
    value = 0
    for base in bases:
        value = 4 * value + b"ACGT".index(base)
    return value


def test_kmers_are_the_bases_in_order_and_their_reverse_complements():
    bases = random_bases(60)
    forward, reverse = join_kmers(np.array([b"ACGT".index(base) for base in bases], np.uint64))
    assert len(forward) == len(reverse) == 60 - K + 1
    for start in (0, 1, 17, 36):
        assert forward[start] == code(bases[start : start + K])
        assert reverse[start] == code(reverse_complement(bases[start : start + K]))


def test_one_kmer_in_sampled_is_taken_and_the_same_ones_on_both_strands():
    bases = random_bases(100_000)
    there, back = sample_kmers(bases), sample_kmers(reverse_complement(bases))
    assert len(there.start) == pytest.approx(100_000 / SAMPLED, rel=0.1)
    assert sorted(there.start) == sorted(100_000 - K - back.start)
    assert set(there.forward) == set(back.reverse) and set(there.reverse) == set(back.forward)


def test_no_kmer_spans_an_unknown_base_or_two_sequences():
    bases = random_bases(20_000)
    broken = bases[:10_000] + b"N" + bases[10_001:]
    lost = set(sample_kmers(bases).start) - set(sample_kmers(broken).start)
    assert all(10_000 - K < start <= 10_000 for start in lost)
    starts = sample_kmers(broken).start
    assert not ((starts > 10_000 - K) & (starts <= 10_000)).any()
    assert len(sample_kmers(b"ACGT").start) == len(sample_kmers(b"").start) == 0


def test_probe_leaves_out_what_lies_on_both_strands():
    one, two = random_bases(50_000, 1), random_bases(50_000, 2)
    assert len(make_probe([one, reverse_complement(one), two])) == len(make_probe([two])) > 500
    assert len(make_probe([])) == 0
    np.testing.assert_array_equal(make_probe([one, two]), make_probe([two, one, two]))


def test_reads_vote_for_their_strand():
    transcript = random_bases(50_000)
    reads = [transcript[start : start + 100] for start in range(0, 40_000, 200)]
    probe = make_probe([transcript])
    forward, reverse = count_strands(reads, probe)
    assert forward > 100 and reverse == 0
    assert count_strands([reverse_complement(read) for read in reads], probe) == (0, forward)
    assert count_strands([random_bases(100, seed) for seed in range(200)], probe) == (0, 0)
    assert count_strands([], probe) == count_strands(reads, np.empty(0, np.uint64)) == (0, 0)
