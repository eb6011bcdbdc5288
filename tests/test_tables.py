"""tables.py: what is read is what was written, every fault names its line, and the same table is the same bytes."""

import gzip

import numpy as np
import pytest

from exprcast.cli import InputError
from exprcast.tables import (
    Matrix,
    bin_offsets,
    check_file_id,
    chrom_aliases,
    read_bytes,
    read_chrom_sizes,
    read_lines,
    read_matrix,
    read_table,
    refuse_duplicates,
    strip_version,
    write_matrix,
    write_table,
)


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a file and gives its path."""

    def write(content: str | bytes, name: str = "a.tsv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_are_numbered_from_one_without_ends_or_byte_order_mark(file, pack):
    path = file(pack("\ufeffid\tµ\r\n\r\nlast".encode()))
    assert list(read_lines(path)) == [(1, "id\tµ"), (2, ""), (3, "last")]
    assert read_bytes(path) == "\ufeffid\tµ\r\n\r\nlast".encode()


def test_two_gzip_members_are_one_file(file):
    path = file(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert [line for _, line in read_lines(path)] == ["a", "b"]
    assert read_bytes(path) == b"a\nb\n"


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_gzip_cut_anywhere_is_an_error(file, keep):
    packed = gzip.compress("".join(f"{n}\t{n * n}\n" for n in range(5000)).encode())
    path = file(packed[: int(len(packed) * keep)])
    with pytest.raises(InputError, match="a.tsv: gzip data end or break after line .*; copy or download the file again"):
        list(read_lines(path))
    with pytest.raises(InputError, match="a.tsv: the gzip data are cut short or damaged"):
        read_bytes(path)


def test_a_damaged_gzip_is_an_error(file):
    packed = bytearray(gzip.compress(b"".join(b"%d\n" % (n * n) for n in range(5000))))
    packed[len(packed) // 2] ^= 0xFF
    path = file(bytes(packed))
    with pytest.raises(InputError, match="gzip data end or break"):
        list(read_lines(path))
    with pytest.raises(InputError, match="cut short or damaged"):
        read_bytes(path)


def test_what_is_no_text_or_no_file_is_an_error(file, tmp_path):
    with pytest.raises(InputError, match="a.tsv line 1: not text in UTF-8; is this the right file?"):
        list(read_lines(file(b"\x89HDF\xff\xfe")))
    for read in (read_bytes, lambda path: list(read_lines(path))):
        with pytest.raises(InputError, match="no such file"):
            read(tmp_path / "absent")
        with pytest.raises(InputError, match="no such file"):
            read(tmp_path)


def test_rows_of_a_table_come_with_their_lines(file):
    path = file("#unit=tpm\n\nid\tchrom\na\tchr1\n\nb\t#2\n")
    assert list(read_table(path, ["chrom"])) == [(4, {"id": "a", "chrom": "chr1"}), (6, {"id": "b", "chrom": "#2"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\tchrom\n", "a.tsv line 1: no column strand, tss; the header has id, chrom"),
        ("id\tstrand\ttss\n1\t2\n", "a.tsv line 2: 2 cells where the header has 3; is this tab-separated?"),
        ("tss\tstrand\ttss\n", "a.tsv: column 'tss' occurs twice; each id may stand once"),
        ("", "a.tsv: the file is empty"),
        ("#only=this\n", "a.tsv: the file is empty"),
    ],
)
def test_faults_of_a_table(file, text, message):
    with pytest.raises(InputError, match=message):
        list(read_table(file(text), ["strand", "tss"]))


@pytest.mark.parametrize("name", ["m.tsv", "m.tsv.gz"])
def test_a_matrix_is_read_as_it_was_written(tmp_path, name):
    values = np.array([[0.1, np.nan, 1e-30], [123456789, 0, 2.5]])
    matrix = Matrix({"unit": "tpm"}, "gene", ["nan", "RP11-1.2"], ["s1", "nan2", "s3"], values)
    write_matrix(tmp_path / name, matrix)
    again = read_matrix(tmp_path / name)
    assert again[:4] == matrix[:4]
    assert again.lines == [3, 4]
    np.testing.assert_array_equal(again.values, values)
    text = read_bytes(tmp_path / name).decode()
    assert text == "#unit=tpm\ngene\ts1\tnan2\ts3\nnan\t0.1\tNA\t1e-30\nRP11-1.2\t123456789\t0\t2.5\n"


def test_float32_survives_a_table(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    write_matrix(tmp_path / "m.tsv", Matrix({}, "id", [f"g{n}" for n in range(50)], list("abcd"), values))
    np.testing.assert_array_equal(read_matrix(tmp_path / "m.tsv").values.astype(np.float32), values)


def test_a_gzip_table_has_the_same_bytes_whenever_and_wherever_it_is_written(tmp_path, monkeypatch):
    written = []
    for folder, now in (("one", 1e9), ("two", 1.7e9)):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr("time.time", lambda now=now: now)
        write_table(tmp_path / folder / "t.tsv.gz", ["id", "x"], [("a", 1.5), ("b", None)])
        written.append((tmp_path / folder / "t.tsv.gz").read_bytes())
    assert written[0] == written[1]
    assert gzip.decompress(written[0]) == b"id\tx\na\t1.5\nb\tNA\n"


def test_a_table_that_breaks_off_leaves_nothing(tmp_path):
    def rows():
        yield ("a", 1)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        write_table(tmp_path / "t.tsv.gz", ["id", "x"], rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "id\ts1\ts2\na\t1\tNA\nb\t0\t2.5\n",
        "s1\ts2\na\t1\t\nb\t0\t2.5\n",  # R leaves out the corner
        '"","s1","s2"\n"a",1,nan\n"b",0,2.5\n',
        "id\t s1\ts2 \r\n\r\na\t1\t.\r\nb\t 0\t2.5\r\n",
    ],
)
def test_forms_of_a_matrix(file, text):
    matrix = read_matrix(file(text))
    assert (matrix.rows, matrix.columns) == (["a", "b"], ["s1", "s2"])
    np.testing.assert_array_equal(matrix.values, [[1, np.nan], [0, 2.5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id\ts1\ts2\na\t1\t2\nb\t1\tx2\n", "a.tsv line 3, column s2: 'x2' is no number"),
        ("id\ts1\ts2\na\t1\t2\nb\t1\n", "a.tsv line 3: 2 cells where the header has 3"),
        ("id\ts1\ts1 \na\t1\t2\n", "a.tsv: column 's1' occurs twice"),
        ("id\ts1\n", "a.tsv: no rows"),
        ("", "a.tsv: no rows"),
    ],
)
def test_faults_of_a_matrix(file, text, message):
    with pytest.raises(InputError, match=message):
        read_matrix(file(text))


@pytest.mark.parametrize(
    ("identifier", "stripped"),
    [
        ("ENSG00000141510.18", "ENSG00000141510"),
        ("ENSMUST00000000001.4", "ENSMUST00000000001"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("ENSG00000141510", "ENSG00000141510"),
        ("RP11-153K16.2", "RP11-153K16.2"),
        ("ENSG0000014151.18", "ENSG0000014151.18"),  # a digit short
        ("xENSG00000141510.18", "xENSG00000141510.18"),
        ("NM_001126112.3", "NM_001126112.3"),
    ],
)
def test_only_ensembl_ids_lose_their_version(identifier, stripped):
    assert strip_version(identifier) == stripped


@pytest.mark.parametrize("identifier", ["K562", "K562_1.rep-2", "7"])
def test_ids_that_are_safe_in_file_names(identifier):
    assert check_file_id(identifier, "sample") == identifier


@pytest.mark.parametrize("identifier", ["", "a b", "a;b", "../x", ".x", "-x", "a/b", "a\n", "é", "$(x)", "a'b"])
def test_ids_that_are_not(identifier):
    with pytest.raises(InputError, match="use letters, digits, '.', '_' and '-' only"):
        check_file_id(identifier, "sample")


def test_duplicates_are_named():
    refuse_duplicates(["a", "b"], "sample")
    with pytest.raises(InputError, match="sample 'b' occurs twice; each id may stand once"):
        refuse_duplicates(["a", "b", "c", "b"], "sample")


def test_chromosome_sizes_keep_the_file_s_order(file):
    assert read_chrom_sizes(file("chr2\t50\nchr10\t40\t7\t60\t61\n\nchr1\t9\n")) == {"chr2": 50, "chr10": 40, "chr1": 9}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1 50\n", "line 1: 'chr1 50' is not 'chromosome<TAB>length in bp'; is this a chrom.sizes file?"),
        ("chr1\t50\nchr2\t0\n", "line 2: .* is not 'chromosome<TAB>length in bp'"),
        ("chr1\t-5\n", "line 1: .* is not 'chromosome<TAB>length in bp'"),
        ("chr1\t²\n", "line 1: .* is not 'chromosome<TAB>length in bp'"),
        ("chr1\t50\nchr1\t60\n", "line 2: chromosome chr1 occurs twice"),
        ("", "the file is empty"),
    ],
)
def test_faults_of_chromosome_sizes(file, text, message):
    with pytest.raises(InputError, match=message):
        read_chrom_sizes(file(text, "chrom.sizes"))


@pytest.mark.parametrize("genome", [["chr1", "chrX", "chrM"], ["1", "X", "MT"]])
def test_ucsc_and_ensembl_names_are_the_same_chromosomes(genome):
    aliases = chrom_aliases(dict.fromkeys(genome, 100))
    for one, x, m in (("chr1", "chrX", "chrM"), ("1", "X", "MT"), ("1", "X", "M")):
        assert [aliases[one], aliases[x], aliases[m]] == genome
    assert "2" not in aliases


def test_a_genome_that_has_both_names_keeps_both():
    aliases = chrom_aliases({"1": 100, "chr1": 200})
    assert (aliases["1"], aliases["chr1"]) == ("1", "chr1")


def test_the_last_bin_of_a_chromosome_may_be_short():
    assert bin_offsets({"chr1": 1000, "chr2": 1001, "chr3": 1}, 200).tolist() == [0, 5, 11, 12]
