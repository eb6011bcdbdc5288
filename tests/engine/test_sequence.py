"""Models of genes alone: ready promoters, half-life features and labels in, no sample; scores, a bundle and a report out."""

import csv
import gzip
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyBigWig
import pytest
from test_bad_input import expect_refused

from exprcast.dataset import TEST, Dataset

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
from recorded import warn_of_older  # noqa: E402

SEQUENCE = ROOT.parent / "shared/data/sequence"
FOLDS, HALFLIFE = "leave_chromosome_out_12folds_18377genes.csv.gz", "halflife_features_18377genes.tsv.gz"
GENES, PARTS = 150, {"chr1": "test", "chr2": "valid"}
pytestmark = pytest.mark.skipif(not SEQUENCE.is_dir(), reason="../shared/data is absent")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Cut the published tables down: the first 150 promoters of genes with half-life features and a label, the first two folds."""
    folder = tmp_path_factory.mktemp("promoters")
    known = [{row["gene_id"] for row in read(name, "\t")} for name in (HALFLIFE, "labels_roadmap_median.tsv.gz")]
    with gzip.open(SEQUENCE / "promoters_2048bp_hg38.tsv.gz", "rt") as file:
        head, *lines = file.read().splitlines()
    chosen = [line for line in lines if all(line.split("\t")[0] in ids for ids in known) and "ENSG00000173531" not in line][:GENES]
    (folder / "promoters.tsv").write_text("\n".join([head, *chosen]) + "\n")
    rows = [",".join(row[name] for name in ("ENSID", "chrom", "fold_1", "fold_2")) for row in read(FOLDS, ",")]
    (folder / "folds.csv").write_text("\n".join(["ENSID,chrom,fold_1,fold_2", *rows]) + "\n")
    return folder


def read(name, delimiter):
    with gzip.open(SEQUENCE / name, "rt") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.fixture(scope="module")
def toy(project):
    """Put the toy family of genes into the project's copy."""
    path = project / "bin/exprcast/families/toy_genes.py"
    path.write_text((ROOT / "tests/families/toy_genes.py").read_text().replace('"zscore"', '"log10_rpkm"'))
    yield "toy_genes:short"
    path.unlink()


def words(tables, family, **more):
    given = {"promoters": tables / "promoters.tsv", "halflife": SEQUENCE / HALFLIFE, "labels": SEQUENCE / "labels_roadmap_median.tsv.gz"}
    given |= {"label_columns": "human_log10_median_rpkm", "hold_out": "genes", "families": family} | more
    return [word for name, value in given.items() if value for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def trained(readme, tables):
    """Run the README's command on a small part: few genes, two folds, few epochs."""
    small = {"$sequence/promoters_2048bp_hg38.tsv.gz": str(tables / "promoters.tsv"), f"$sequence/{FOLDS}": str(tables / "folds.csv")}
    run = readme("--outdir results_sequence", **small, **{"--families xpresso": "--families xpresso:quick"})
    assert run.status == 0, run.text
    return run


def test_published_tables_train_and_score_without_a_sample(trained):
    run = trained
    dataset = Dataset(run.results / "dataset.h5")
    assert dataset.samples == [] and len(dataset.genes) == GENES and dataset.n_folds == 2
    assert dataset.file["promoters/sequence"].attrs["upstream_bp"] == 1024 and dataset.unit("labels/value") == "log10_rpkm"
    with h5py.File(run.results / "predictions/xpresso.h5") as file:
        tested = file["role"][:] == TEST
        assert tested.any() and np.isfinite(file["predicted"][:].mean(axis=1)[tested]).all()
    for name in ("scores.tsv", "report.html", "models/xpresso/bundle.json", "reference/promoters.fa.gz", "tables/leakage.tsv"):
        assert (run.results / name).is_file(), name
    page, card = (run.results / "report.html").read_text(), (run.results / "models/xpresso/card.md").read_text()
    assert "1 label × 150 genes (log10_rpkm)" in page and "Promoters were read from promoters.tsv" in page
    for text in (page, card):  # the start of words that speak of samples of a cohort
        assert not re.search(r"Cohort and pairing|\b[01] samples|samples:|in a sample|ATAC|r_sample|r_gene_dev", text)


def test_what_each_base_adds_lies_along_the_genome(trained):
    """The track equals the attributions of a gene on either strand, whose place stands in the promoters' file."""
    with gzip.open(trained.results / "reference/promoters.fa.gz", "rt") as file:
        places = dict(re.match(r">(\S+) (\S+:\d+-\d+\([+-]\))", line).groups() for line in file if line.startswith(">"))
    strands = set()
    with (
        pyBigWig.open(str(trained.results / "tracks/xpresso.bw")) as track,
        h5py.File(trained.results / "attributions/xpresso.fold0.seed1.h5") as file,
    ):
        first = 1024 - int(file.attrs["flank_bp"])  # stored base that the explained window begins at
        for row, gene in enumerate(file["column"].asstr()[:20]):
            chrom, start, end, strand = re.match(r"(\S+):(\d+)-(\d+)\((.)\)", places[gene]).groups()
            along = np.array(track.values(chrom, int(start), int(end)))[:: 1 if strand == "+" else -1]
            shares = file["shares/window"][row, max(-first, 0) :]
            found = along[max(first, 0) :][: len(shares)]
            shares = shares[: len(found)]
            assert len(found) > 1_000 and not np.isnan(found).any(), gene
            same = np.abs(found - shares) < 1e-6
            assert (same | (np.abs(found) > np.abs(shares))).all() and same.mean() > 0.5, gene  # another gene's share may be larger
            strands.add(strand)
    assert strands == {"+", "-"}


def test_one_fold_of_the_table_is_as_good_as_recorded(readme, tmp_path):
    """The README's command for one of its twelve folds: chromosomes that training never saw."""
    lines = [",".join(row[name] for name in ("ENSID", "chrom", "fold_1")) for row in read(FOLDS, ",")]
    (tmp_path / "folds.csv").write_text("\n".join(["ENSID,chrom,fold_1", *lines]) + "\n")
    one_fold = {f"$sequence/{FOLDS}": str(tmp_path / "folds.csv"), "--outdir results_sequence": "--outdir results_one_fold"}
    run = readme("--outdir results_sequence", "--attribution_genes", 0, **one_fold)
    assert run.status == 0, run.text
    with h5py.File(run.results / "predictions/xpresso.h5") as file:
        tested, observed = file["role"][0, 0] == TEST, file["observed"][0]
        found = {"network": file["predicted"][0, 0, 0], **{name: file[f"baselines/{name}"][0, 0] for name in ("rule", "trees")}}
        r2 = {name: np.corrcoef(values[tested], observed[tested])[0, 1] ** 2 for name, values in found.items()}
    assert tested.sum() > 500 and r2["network"] > 0.34 and r2["network"] > r2["rule"], r2
    warn_of_older("sequence", "xpresso")


def test_published_weights_predict_a_fasta(readme, project):
    """The README's command; the golden predictions come out."""
    with gzip.open(SEQUENCE / "xpresso_golden.tsv.gz", "rt") as file:
        golden = list(csv.DictReader(file, delimiter="\t"))
    (project / "golden.fa").write_text("".join(f">{row['gene']}\n{row['sequence_10500']}\n" for row in golden))
    weights = SEQUENCE / "xpresso_weights/humanMedian_trainepoch.11-0.426.h5"
    run = readme("--weights", **{"--weights humanMedian_trainepoch.11-0.426.h5": f"--weights {weights}", "promoters.fa": "golden.fa"})
    assert run.status == 0 and run.processes("COMPLETED") == {"APPLY_SEQUENCE", "WRITE_PARAMETERS"}, run.text
    _, *rows = [line.split("\t") for line in gzip.decompress((run.results / "predictions/sequences.tsv.gz").read_bytes()).decode().splitlines() if line[0] != "#"]  # fmt: skip
    predicted = {row[0]: float(row[2]) for row in rows}
    assert max(abs(predicted[row["gene"]] - float(row["kipoi_prediction"])) for row in golden) < 1e-5 and len(predicted) == 9


def test_own_networks_predict_promoters_sites_and_a_locus(trained, pipeline, tmp_path):
    models, genome = trained.results / "models", ROOT.parent / "shared/data/genome/derived_hg38_mini_masked.fa.gz"
    run = pipeline(tmp_path, "--apply", models, "--sequences", trained.results / "reference/promoters.fa.gz")
    assert run.status == 0 and (run.results / "predictions/sequences.tsv.gz").stat().st_size > 1000, run.text
    with gzip.open(SEQUENCE / "xpresso_golden.tsv.gz", "rt") as file:
        gene = next(row for row in csv.DictReader(file, delimiter="\t") if row["strand"] == "+")
    tss = int(gene["start"]) + 7_000
    (tmp_path / "tss.bed").write_text(f"{gene['chrom']}\t{tss}\t{tss + 1}\t{gene['gene']}\t0\t+\n")
    base = gene["sequence_10500"][6_990]
    other = "ACGT"["ACGT".index(base) - 1]
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO", ""]
    for name, alleles in (("right", f"{base}\t{other}"), ("wrong", f"{other}\t{base}")):
        lines[-1] = f"{gene['chrom']}\t{tss - 9}\tv\t{alleles}\t.\t.\t."
        (tmp_path / f"{name}.vcf").write_text("\n".join(lines) + "\n")
    sites = ["--apply", models, "--sites", tmp_path / "tss.bed", "--fasta", genome]
    run = pipeline(tmp_path, *sites, "--locus", "chr21:17510001-17511000", outdir="along")
    assert run.status == 0 and {path.name for path in (run.results / "tracks").iterdir()} == {"plus.bw", "minus.bw"}, run.text
    run = pipeline(tmp_path, *sites, "--variants", tmp_path / "right.vcf", outdir="alleles")
    assert run.status == 0 and (run.results / "predictions/variants.tsv.gz").is_file(), run.text
    wrong = pipeline(tmp_path, *sites, "--variants", tmp_path / "wrong.vcf", outdir="refused")
    expect_refused(wrong, f"apply_sequence.py: error: wrong.vcf line 3: .*{other}.*{base}.*")


def test_networks_and_sequence_that_do_not_fit_are_said_before_any_task(trained, pipeline, tmp_path):
    models = trained.results / "models"
    expect_refused(pipeline(tmp_path, "--apply", models, "--locus", "chr21:1-1000"), "--locus: --fasta, the genome, is needed")
    (tmp_path / "x.fa").write_text(">x\nACGT\n")
    run = pipeline(tmp_path, "--sequences", tmp_path / "x.fa", "--folds", "3")
    expect_refused(run, "--folds: has no effect beside --sequences", "--sequences: networks are needed; give --apply .* or --weights")
    run = pipeline(tmp_path, "--apply", models, "--sequences", tmp_path / "x.fa")
    expect_refused(run, "apply_sequence.py: error: x.fa: record x has 4 .*")


def test_xpressos_files_bring_their_own_split(pipeline, toy, tmp_path):
    rng = np.random.default_rng(3)
    for name, genes in (("train", range(40)), ("valid", range(40, 50)), ("test", range(50, 60))):
        data = rng.normal(size=(len(genes), 8))
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["promoter"] = np.eye(4, dtype=bool)[rng.integers(0, 4, (len(genes), 60))]
            file["data"], file["label"], file["geneName"] = data, data[:, 0], [f"G{gene}".encode() for gene in genes]
    run = pipeline(tmp_path, "--promoters", tmp_path, "--hold_out", "genes", "--families", "none")
    assert run.status == 0, run.text
    assert (run.results / "reference/labels.tsv.gz").is_file() and (run.results / "report.html").is_file()
    assert run.processes("COMPLETED") >= {"IMPORT_PROMOTERS", "GROUP_PARALOGS"} and "ASSEMBLE_DATASET" not in run.processes("COMPLETED")
    (tmp_path / "valid.h5").unlink()
    expect_refused(
        pipeline(tmp_path, "--promoters", tmp_path / "train.h5", "--hold_out", "genes", "--families", toy, outdir="second"),
        "--promoters: file not found: .*valid.h5",
    )


def test_what_does_not_fit_genes_alone_is_said_before_any_task(pipeline, tables, toy, tmp_path):
    run = pipeline(tmp_path, *words(tables, "atac_cis", hold_out="samples"))
    expect_refused(
        run,
        "--hold_out samples: there are no samples; give --hold_out genes",
        "--families atac_cis: reads open chromatin, and there are no samples; .*",
    )
    run = pipeline(tmp_path, *words(tables, toy, fasta=tables / "promoters.tsv", label_columns="it's"))
    expect_refused(
        run, "--fasta, --promoters: give only one of files, --promoters, .*", "--label_columns it's: not possible; it should look like .*"
    )
    run = pipeline(tmp_path, "--simulate", "--families", toy, "--halflife", tables / "folds.csv")
    expect_refused(
        run,
        "--hold_out samples: --families toy_genes has one example a gene; give --hold_out genes",
        "--halflife: has no effect without --promoters or --gtf or --gene_table",
    )
    assert "Submitted" not in run.text


def test_a_broken_table_ends_in_the_line_of_its_task(pipeline, tables, toy, tmp_path):
    text = (tables / "promoters.tsv").read_text().rstrip("\n")
    (tmp_path / "cut.tsv").write_text(text[:-5] + "\n")
    run = pipeline(tmp_path, *words(tables, toy, promoters=tmp_path / "cut.tsv"))
    expect_refused(
        run, "import_promoters.py: error: cut.tsv line 151: gene ENSG.*: from start to end are 2,048 bp, the sequence has 2,043; .*"
    )


def test_real_annotation_and_cage_start_sites(pipeline, tmp_path):
    """Five megabases of chromosome 21: six genes have a published CAGE start site there, the others keep the annotation's."""
    genome = ROOT.parent / "shared/data/genome"
    rows = gzip.decompress((genome / "derived_ensembl_GRCh38_chr21.gtf.gz").read_bytes()).decode().splitlines()
    rows = [row.split("\t") for row in rows if row[0] != "#"]
    inside = {gene_of(row) for row in rows if row[2] == "gene" and 15_000_000 < int(row[3]) and int(row[4]) < 19_990_000}
    (tmp_path / "piece.gtf").write_text("".join("\t".join(row) + "\n" for row in rows if gene_of(row) in inside))
    windows = gzip.decompress((genome / "Xpresso_hg38_promoters_cage_corrected.bed.gz").read_bytes()).decode().splitlines()
    windows = [row for row in map(str.split, windows) if row[0] == "chr21" and row[3] in inside]
    sites = {row[3]: int(row[1]) + 10_000 for row in windows}
    peaks = [f"chr21\t{sites[row[3]]}\t{sites[row[3]] + 1}\t{row[3]}\t0\t{row[5]}" for row in windows]
    (tmp_path / "cage.bed").write_text("\n".join(peaks) + "\n")
    files = {"gtf": tmp_path / "piece.gtf", "fasta": genome / "derived_hg38_mini_masked.fa.gz", "cage": tmp_path / "cage.bed"}
    files["labels"] = SEQUENCE / "labels_gtex_v10.tsv.gz"
    words = ["--families", "none", "--label_columns", "Liver_TPM,Testis_TPM", "--label_unit", "tpm"]
    run = pipeline(tmp_path, *words, *(word for name, path in files.items() for word in (f"--{name}", path)))
    assert run.status == 0, run.text
    with (run.results / "reference/tss.tsv").open() as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    assert {row["gene"]: int(row["position"]) for row in found if row["source"] == "cage"} == sites and len(sites) == 6
    assert {row["gene"] for row in found} == inside and len(inside) == 67
    assert "sample" not in (run.results / "report.html").read_text().split("Versions, parameters, code</h2>")[0].split("</style>")[1]


def gene_of(row: list[str]) -> str:
    """Return the gene of a GTF's row."""
    return re.search('gene_id "([^"]+)"', row[8])[1]


@pytest.fixture(scope="module")
def annotated(pipeline, tmp_path_factory):
    """Run on a simulated annotation and genome, with CAGE peaks 40 bp downstream of every second gene's start site, and three labels."""
    folder = tmp_path_factory.mktemp("annotated")
    sizes = ("--samples", "8", "--genes", "40", "--reads", "0", "--seed", "1")
    subprocess.run([sys.executable, ROOT / "bin/simulate_cohort.py", *sizes, "--out", folder / "cohort"], check=True, timeout=300)
    with (folder / "cohort/genes.tsv").open() as file:
        genes = [row | {"tss": int(row["tss"])} for row in csv.DictReader(file, delimiter="\t")]
    moved = {gene["symbol"]: gene["tss"] + (40 if gene["strand"] == "+" else -40) for gene in genes[::2]}
    peaks = [f"{g['chrom']}\t{moved[g['symbol']]}\t{moved[g['symbol']] + 1}\tp1@{g['symbol']}\t9\t{g['strand']}" for g in genes[::2]]
    (folder / "cage.bed").write_text("\n".join(peaks) + "\n")
    roles = [f"{gene['id'].split('.')[0]},{PARTS.get(gene['chrom'], 'train')}" for gene in genes]
    (folder / "folds.csv").write_text("\n".join(["id,fold_1", *roles]) + "\n")
    files = {"gtf": "cohort/annotation.gtf.gz", "fasta": "cohort/genome.fa.gz", "cage": "cage.bed", "labels": "cohort/expression.tsv.gz"}
    labels = ["CT01_D1_R1", "CT01_D1_R2", "CT01_D2_R1"]
    words = [word for name, file in files.items() for word in (f"--{name}", folder / file)]
    words += ["--families", "xpresso:quick", "--hold_out", "genes", "--fold_table", folder / "folds.csv"]
    words += [
        "--attribution_method",
        "deeplift",
        "--label_columns",
        ",".join(labels),
        "--label_unit",
        "rpkm",
        "--upstream_bp",
        "300",
        "--downstream_bp",
        "100",
    ]
    run = pipeline(folder, *words)
    assert run.status == 0, run.text
    return run, genes, moved, labels


def test_predictions_are_shared_out_by_deeplift(annotated):
    run = annotated[0]
    with h5py.File(run.results / "attributions/xpresso.fold0.seed1.h5") as file:
        assert file.attrs["method"] == "DeepLIFT" and np.abs(file["shares/window"][:]).max() > 0
        assert file["completeness_error"][:].max() < 0.01
    assert "by DeepLIFT (Shrikumar et al. 2017" in (run.results / "report.html").read_text()


def test_promoters_and_features_come_from_annotation_and_cage_moves_start_sites(annotated):
    run, genes, moved, labels = annotated
    dataset = Dataset(run.results / "dataset.h5")
    assert dataset.samples == [] and dataset.text("labels/name") == labels and dataset.unit("labels/value") == "log10_rpkm"
    assert str(dataset.file["promoters/halflife"].attrs["scale"]) == "measured"
    coding = ~np.isnan(dataset.array("promoters/halflife")).any(axis=1)
    assert 20 < coding.sum() < 40, "genes without a coding sequence stay, without features"
    with gzip.open(run.results / "reference/promoters.fa.gz", "rt") as file:
        places = {line[1:].split(".")[0].split()[0]: line.split()[1] for line in file if line.startswith(">")}
    for gene in genes:
        tss = moved.get(gene["symbol"], gene["tss"])
        start = tss - 300 if gene["strand"] == "+" else tss - 99
        assert places[gene["id"].split(".")[0]] == f"{gene['chrom']}:{start}-{start + 400}({gene['strand']})"


def test_several_labels_have_scores_of_their_own_and_a_page_that_speaks_of_genes(annotated):
    run, _, _, labels = annotated
    with (run.results / "tables/sample_scores.tsv").open() as file:
        scored = [row["sample"] for row in csv.DictReader(file, delimiter="\t") if row["predictor"] == "model"]
    assert scored == labels
    page = (run.results / "report.html").read_text()
    for said in (
        "3 labels × 40 genes",
        "r_gene label by label",
        "Promoters were cut out of genome.fa.gz, 300 bp upstream",
        "strongest CAGE peak",
    ):
        assert said in page, said
    assert "<td>CT01_D2_R1" in page.replace('<th scope="row">', "<td>") and "samples:" not in page
