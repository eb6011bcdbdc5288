"""From transcripts and a list of factors to a dataset: a table, folders of kallisto, a samplesheet's reads; and what is refused."""

import gzip
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_bad_input import expect_refused

from exprcast.dataset import TEST, Dataset, write_array
from exprcast.folds import make_folds
from exprcast.score_tables import POOLED
from exprcast.tables import read_table
from planted import planted_dataset

ROOT = Path(__file__).parents[2]
ISOFORM = ROOT.parent / "shared/data/isoform"
sys.path.insert(0, str(ROOT / "tests/bench"))
from recorded import read_recorded, warn_of_older  # noqa: E402

GENES = [f"ENSG0000000000{i}" for i in range(1, 5)]  # with one to four transcripts
DONORS = [f"D{i // 2}" for i in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write transcripts of eight samples as a table and as kallisto's files, whose samples, donors and factors."""
    folder, rng = tmp_path_factory.mktemp("transcripts"), np.random.default_rng(1)
    owner = [i for i in range(4) for _ in range(i + 1)]
    names, values = [f"ENST{i:011d}.2" for i in range(len(owner))], rng.gamma(2.0, 1e4, (len(owner), 8)).round(3)
    values[-1] = 0
    samples = [f"S{i}" for i in range(8)]
    lines = [["tx", "gene_id", *samples], *([name, GENES[i], *row] for name, i, row in zip(names, owner, values.tolist(), strict=True))]
    (folder / "tpm.tsv").write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))
    (folder / "tx2gene.tsv").write_text("".join(f"{name}\t{GENES[i]}\tsymbol{i}\n" for name, i in zip(names, owner, strict=True)))
    for sample, column in zip(samples, values.T.tolist(), strict=True):
        (folder / "kallisto" / sample).mkdir(parents=True)
        rows = [f"{name}\t900\t700.5\t{value / 100}\t{value}" for name, value in zip(names, column, strict=True)]
        text = "\n".join(["target_id\tlength\teff_length\test_counts\ttpm", *rows]) + "\n"
        (folder / "kallisto" / sample / "abundance.tsv").write_text(text)
    (folder / "kallisto/versions.yml").write_text("kallisto: 0.52.0\n")
    (folder / "people.tsv").write_text("sample\tperson\n" + "".join(f"{s}\t{d}\n" for s, d in zip(samples, DONORS, strict=True)))
    (folder / "factors.txt").write_text(f"symbol1\n{GENES[3]}.7\nQKI\n")
    return folder


def words(folder, **more):
    """Return the command line of a run of these files; None leaves a parameter out."""
    given = {"transcripts": folder / "tpm.tsv", "factors": folder / "factors.txt", "families": "none", "folds": 0}
    given |= {"matrix_samples": folder / "people.tsv", "matrix_groups": "donor=person"} | more
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]


def test_folders_of_kallisto_become_a_dataset_with_isoforms_and_factors(pipeline, folder, tmp_path):
    run = pipeline(tmp_path, *words(folder, transcripts=folder / "kallisto", transcript_genes=folder / "tx2gene.tsv"))
    assert run.status == 0, run.text
    dataset = Dataset(run.results / "dataset.h5")
    assert dataset.samples == [f"S{i}" for i in range(8)] and dataset.text("samples/donor") == DONORS
    assert dataset.genes == GENES and dataset.text("genes/symbol") == [f"symbol{i}" for i in range(4)]
    given = read_matrix_of(folder / "tpm.tsv")
    np.testing.assert_allclose(dataset.array("expression/transcript").T, given, rtol=1e-6)
    gene = dataset.array("transcripts/gene")
    assert gene.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3] and dataset.array("lists/isoform").tolist() == [0, *[1] * 8, 0]
    np.testing.assert_allclose(dataset.array("expression/gene").T, np.add.reduceat(given, [0, 1, 3, 6]), rtol=1e-6)
    assert dataset.array("lists/splicing_factor").tolist() == [0, 1, 0, 1] and not dataset.has("tss/gene")
    assert dataset.n_folds == 4 and dataset.promised == ["samples:donor", "samples:expression"]
    assert sorted(np.flatnonzero(fold == TEST).tolist() for fold in dataset.sample_role) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    page = (run.results / "report.html").read_text()
    assert "read from kallisto (tpm)" in page and "8 transcripts are isoforms to be predicted" in page and "ATAC" not in page
    assert [row["id"] for _, row in read_table(run.results / "tables/samples.tsv", ("donor",))] == dataset.samples


def read_matrix_of(path):
    """Return (transcripts, samples) of the table."""
    return np.array([line.split("\t")[2:] for line in path.read_text().splitlines()[1:]], float)


def test_what_is_wrong_beside_transcripts_is_said_before_any_task(pipeline, folder, tmp_path):
    wrong = {"factors": None, "matrix_unit": "zscore", "hold_out": "genes", "group_by": "batch", "families": "atac_cis,dgex"}
    (tmp_path / "kallisto/a;b").mkdir(parents=True)
    (tmp_path / "kallisto/a;b/abundance.tsv").write_text("")
    run = pipeline(tmp_path, *words(folder, **wrong, transcripts=tmp_path / "kallisto"))
    expect_refused(
        run,
        "--factors is needed beside --transcripts: .*",
        "--matrix_unit zscore: transcripts are tpm, cpm or counts",
        "--transcripts: folder 'a;b' names a sample: use letters, .*",
        "--hold_out genes: transcripts are predicted from genes of the same sample; give --hold_out samples",
        "--group_by batch: --matrix_groups names no batch; write --matrix_groups batch=COLUMN",
        "--families atac_cis,dgex: reads no splicing factors, and transcripts have nothing else; choose from .*none",
    )
    assert "Submitted" not in run.text
    (tmp_path / "empty").mkdir()
    run = pipeline(tmp_path, *words(folder, transcripts=tmp_path / "empty", simulate="true", transcript_genes="none.tsv"))
    expect_refused(run, r"--transcripts: file not found: .*/empty/SAMPLE/abundance.tsv", "--transcript_genes: file not found: .*none.tsv")
    run = pipeline(tmp_path, *words(folder, simulate="true"))
    expect_refused(run, "--transcripts, --simulate: give only one of files, --promoters, --matrix, --transcripts, --dataset and --simulate")
    run = pipeline(tmp_path, "--simulate", "--factors", folder / "factors.txt")
    expect_refused(run, "--factors: has no effect without --transcripts or --transcript_fasta")


def test_one_donor_is_refused_by_the_folds(pipeline, folder, tmp_path):
    (tmp_path / "people.tsv").write_text("sample\tperson\n" + "".join(f"S{i}\tD\n" for i in range(8)))
    run = pipeline(tmp_path, *words(folder, matrix_samples=tmp_path / "people.tsv"))
    expect_refused(run, r"assemble_dataset.py: error: samples: 1 group\(s\) that must stay together, at least 3 are needed .*")


@pytest.mark.skipif(not ISOFORM.is_dir(), reason="../shared/data is absent")
def test_readme_command_is_as_good_on_one_donor_of_the_macrophages_as_recorded(readme, tmp_path):
    """One of the four folds of the README's run; tests/bench/accuracy_isoform.py records what it finds there."""
    _, rows = zip(*read_table(ISOFORM / "macrophage_samples.tsv", ("sample", "donor")), strict=True)
    rows = sorted(rows, key=lambda row: row["sample"])
    (roles, *_), _ = make_folds([row["donor"] for row in rows], ["unknown"] * 2, "samples", 4, 0, 1)
    lines = [f"{row['sample']}\t{('train', 'valid', 'test')[role]}" for row, role in zip(rows, roles, strict=True)]
    (tmp_path / "fold.tsv").write_text("\n".join(["id\tfold_1", *lines]) + "\n")
    run = readme("--outdir results_isoforms", **{"--folds 0": f"--fold_table {tmp_path / 'fold.tsv'} --attribution_genes 5"})
    assert run.status == 0, run.text
    dataset = Dataset(run.results / "dataset.h5")
    assert (len(dataset.samples), len(dataset.genes), dataset.n_folds) == (16, 38_403, 1)
    assert dataset.file["expression/transcript"].shape == (16, 154_398) and dataset.array("lists/splicing_factor").sum() == 161
    isoform, gene = dataset.array("lists/isoform") == 1, dataset.array("transcripts/gene")
    several = np.bincount(gene)[gene] > 1
    expressed = np.median(dataset.array("expression/transcript"), axis=0) > 1
    assert isoform.tolist() == (several & expressed).tolist() and expressed.sum() == 33_742, "as the catalogue of the data says"
    errors = {(row["family"], row["predictor"]): float(row["value"]) for row in scores_of(run) if not row["against"]}
    assert {name for family, name in errors if family == "deepsf_levels"} > {"model", "mean", "own_gene", "permuted", "matched"}
    assert errors["deepsf_levels", "model"] < errors["deepsf_levels", "mean"]
    assert {"permuted", "matched"} <= {row["against"] for row in scores_of(run) if row["family"] == "deepsf"}
    part = errors["deepsf", "model"] / errors["deepsf", "mean"]
    assert part <= float(read_recorded("isoform")["all isoforms, first donor: error of shares as a part of the mean's"]["value"]) + 0.02
    with h5py.File(run.results / "attributions/deepsf.fold0.seed1.h5") as file:
        assert file.attrs["completeness_error_max"] < 1e-4 and len(file["shares/factors"].attrs["names"]) == 161
        assert file["knocked_down/factors"].shape == file["shares/factors"].shape == (4 * 5, 161)
    assert not (run.results / "models").exists(), "nothing could read transcripts of new samples"
    warn_of_older("isoform", "deepsf")


def test_published_networks_stand_beside_deepsf_and_have_levels_already(pipeline, tmp_path):
    planted_dataset(tmp_path / "planted.h5", samples=24, donors=8, genes=40, folds=2)
    with h5py.File(tmp_path / "planted.h5", "r+") as file:  # one of the folds
        for name in ("folds/sample_role", "folds/gene_role"):
            roles, attributes = file[name][:1], dict(file[name].attrs)
            del file[name]
            write_array(file, name, roles, **attributes)
    words = ["--dataset", tmp_path / "planted.h5", "--families", "deepsf:quick,deepsf_paper:ensemble", "--attribution_genes", 0]
    run = pipeline(tmp_path, *words, "--refit")
    assert run.status == 0, run.text
    made = sorted(path.name for path in (run.results / "predictions").glob("*.h5"))
    assert made == ["deepsf.h5", "deepsf_levels.h5", "deepsf_paper.h5"]
    rows = [row for row in scores_of(run) if row["family"] == "deepsf_paper"]
    assert {row["predictor"] for row in rows} > {"model", "mean", "rule", "permuted", "matched"}
    compared = [row for _, row in read_table(run.results / "bake_off.tsv", ())]
    assert {row["predictor"].split(".")[0] for row in compared if row["cells"] == "common"} > {"deepsf_levels", "deepsf_paper"}


def scores_of(run):
    """Return the rows of scores.tsv on squared errors over all test values."""
    return [row for _, row in read_table(run.results / "scores.tsv", ()) if (row["metric"], row["scope"]) == ("mse", POOLED)]


@pytest.fixture(scope="module")
def beside(cohort, tmp_path_factory):
    """Write the cohort's true transcripts as a user's table, with a sample that the samplesheet does not know, and factors of its annotation."""
    folder = tmp_path_factory.mktemp("beside")
    header, *lines = gzip.decompress((cohort / "true_transcripts.tsv.gz").read_bytes()).decode().splitlines()
    (folder / "tpm.csv").write_text("\n".join([f"{header}\tother", *(f"{line}\t25" for line in lines)]).replace("\t", ",") + "\n")
    genes = re.findall(r">(\S+) .*gene:(\S+)", gzip.decompress((cohort / "cdna.fa.gz").read_bytes()).decode())
    (folder / "tx2gene.tsv").write_text("".join(f"{transcript}\t{gene}\n" for transcript, gene in genes))
    (folder / "factors.txt").write_text("SIM3\nSIM5\nno_gene\n")
    return folder


def test_transcripts_stand_beside_peaks_in_the_place_of_levels_of_genes(pipeline, cohort, beside, tmp_path):
    files = {"transcripts": beside / "tpm.csv", "transcript_genes": beside / "tx2gene.tsv", "factors": beside / "factors.txt"}
    files |= {"samples": cohort / "tables.csv", "gene_table": cohort / "genes.tsv", "chrom_sizes": cohort / "chrom.sizes"}
    given = [word for name, path in files.items() for word in (f"--{name}", path)]
    run = pipeline(tmp_path, "-profile", "test", "--simulate", "false", *given, "--attribution_genes", 0)
    assert run.status == 0, run.text
    dataset = Dataset(run.results / "dataset.h5")
    assert len(dataset.samples) == 8 and len(dataset.genes) == 40 and dataset.has("accessibility/bin")
    assert {
        dataset.symbols[gene] for gene, listed in zip(dataset.genes, dataset.array("lists/splicing_factor"), strict=True) if listed
    } == {"SIM3", "SIM5"}
    gene, values = dataset.array("transcripts/gene"), dataset.array("expression/transcript")
    np.testing.assert_allclose(
        np.add.reduceat(values, np.unique(gene, return_index=True)[1], axis=1), dataset.array("expression/gene"), rtol=1e-5
    )
    assert "Transcripts of each sample were read from tpm.csv (tpm)" in (run.results / "report.html").read_text()


def test_transcripts_of_reads_are_taken_where_factors_are_listed(pipeline, files, beside, tmp_path):
    run = pipeline(tmp_path, *files, "--factors", beside / "factors.txt", "--families", "none")
    assert run.status == 0 and run.processes("COMPLETED") >= {"COLLECT_ABUNDANCES", "IMPORT_TRANSCRIPTS"}, run.text
    assert list(read_table(run.results / "tables/transcripts_without_gene.tsv", ("transcript",))) == []


def test_what_does_not_go_with_a_samplesheet_is_said(pipeline, files, beside, tmp_path):
    given = ["--transcripts", beside / "tpm.csv", "--matrix_groups", "donor=x"]
    run = pipeline(tmp_path, *files, *given)
    expect_refused(
        run,
        "--matrix_groups: the samplesheet says what samples there are and which belong together; leave it out",
        "--transcripts, --transcript_fasta: give only one of them; reads are quantified on the latter",
    )
