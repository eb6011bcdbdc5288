"""The methods text: what ran is named with its version and cited, what did not run is not."""

import h5py
import pytest

from exprcast.dataset import Dataset
from exprcast.methods import genes_text, methods_section
from exprcast.page import Section
from exprcast.results import read_predictions, read_shares
from test_dataset import edit, plant_transcripts
from test_locus import write_attributions
from test_report import write_predictions
from tiny import tiny_dataset

TABLES = {"expression_unit": "tpm", "bin_bp": 200}


def write_up(section: Section) -> tuple[str, list[str]]:
    """Return the paragraphs as one text, and the first authors cited."""
    *texts, sources = section.blocks
    return " ".join(block.text for block in texts), [reference.split(" ")[0] for reference, _ in sources.entries]


@pytest.mark.parametrize(
    "versions, parameters, cited, said",
    [
        ({}, TABLES, ["Di"], "Expression came as a table in tpm. ATAC-seq peaks were laid on genomic bins of 200 bp"),
        ({}, TABLES | {"expression_unit": "counts"}, ["Di"], "a table in counts, made counts per million."),
        ({"kallisto": ["0.48.0"]}, TABLES, ["Bray", "Di"], "RNA reads of 3 samples were pseudoaligned to the transcripts and quantified by kallisto 0.48.0 (Bray et al. 2016);"),
        ({"kallisto": ["0.48.0"]}, TABLES | {"bootstraps": 30}, ["Bray", "Di"], "(Bray et al. 2016) with 30 bootstraps;"),
        ({"pybedtools": ["0.12.0"]}, TABLES, ["Quinlan", "Di"], "dropped with BEDTools (Quinlan & Hall 2010) through pybedtools 0.12.0."),
        ({"pyBigWig": ["0.3.24"]}, TABLES, ["Di"], "its signal is the mean coverage of a bigWig (pyBigWig 0.3.24)."),
        ({"python": ["3.11.7", "3.12.1"]}, {"dataset": "a.h5", "bin_bp": 200}, ["Di"], "The dataset was assembled before this run"),
        ({}, TABLES | {"simulate": True, "simulate_samples": 8, "simulate_genes": 40, "simulate_noise": 1.0, "seed": 7}, ["Di"], "simulated: 8 samples and 40 genes"),
    ],
)  # fmt: skip
def test_what_ran_is_said_and_cited_and_nothing_else(versions, parameters, cited, said):
    text, authors = write_up(methods_section(versions, parameters, None, [], [], 3))
    assert said in text and authors == cited
    assert "Family" not in text and "attributed" not in text and "None" not in text


@pytest.mark.parametrize(
    "parameters, said",
    [
        (
            {"matrix_unit": "tpm"},
            "read from t.tsv.gz (tpm); a gene's level is the sum of its transcripts. 3 transcripts are isoforms to be predicted",
        ),
        ({"matrix_unit": "counts"}, "read from t.tsv.gz, counts made counts per million; a gene's"),
        (
            {"samples": "s.csv", "matrix_unit": "tpm", "expression": "e.tsv", "bin_bp": 200},
            "(tpm); the levels of genes from e.tsv. ATAC-seq peaks were",
        ),
    ],
)
def test_transcripts_are_told(parameters, said, tmp_path):
    dataset = Dataset(edit(tiny_dataset(tmp_path / "dataset.h5"), lambda file: plant_transcripts(file, isoform=(1, 1, 1))))
    text, _ = write_up(methods_section({}, {"transcripts": "/x/t.tsv.gz"} | parameters, dataset, [], [], 0))
    assert said in text and "(of a gene with several, with a median above 1 TPM); 1 genes are listed as splicing factors." in text
    assert ("ATAC" in text) == ("samples" in parameters) and "Expression came as a table" not in text


OF_GENES = {
    "bin_bp": 200,
    "expression_unit": "tpm",
    "labels": "/x/levels.tsv, more.tsv",
    "label_unit": "rpkm",
    "upstream_bp": 7000,
    "downstream_bp": 3500,
}


@pytest.mark.parametrize(
    "parameters, said",
    [
        ({"promoters": "/x/p.tsv.gz"}, "Promoters were read from p.tsv.gz. Levels of genes (labels) came from levels.tsv and more.tsv, in rpkm."),
        ({"promoters": "/x/ready/", "halflife": "h.tsv"}, "read from ready. Half-life features (lengths and G+C of UTRs, coding sequence and introns) were read from h.tsv."),
        ({"gtf": "a.gtf", "fasta": "/x/g.fa"}, "cut out of g.fa, 7,000 bp upstream to 3,500 bp downstream of each gene's start site (the annotation's). Levels of"),
        ({"gtf": "/x/a.gtf", "fasta": "g.fa", "cage": "c.bed"}, "(that of its strongest CAGE peak, else the annotation's). Levels of"),
    ],
)  # fmt: skip
def test_genes_alone_are_told_without_samples(parameters, said):
    text, _ = write_up(methods_section({}, OF_GENES | parameters, None, [], [], 0))
    assert said in text and "ATAC" not in text and "Expression" not in text and "None" not in text


def test_features_of_the_gtf_are_told_where_there_are_any(tmp_path):
    given = OF_GENES | {"gtf": "/x/a.gtf", "fasta": "g.fa"}
    text = " ".join(genes_text(given, Dataset(tiny_dataset(tmp_path / "dataset.h5"))))
    assert "were computed from a.gtf." in text and "computed" not in " ".join(genes_text(given, None))


def test_a_track_of_shares_is_no_coverage(tmp_path):
    dataset = Dataset(tiny_dataset(tmp_path / "dataset.h5"))
    text, _ = write_up(methods_section({"pyBigWig": ["0.3.24"]}, TABLES, dataset, [], [], 0))
    assert "its signal is the largest of its peaks'." in text


def test_bins_and_tables_of_a_given_dataset_are_not_told():
    text, _ = write_up(methods_section({"python": ["3.11.7", "3.12.1"]}, {"dataset": "a.h5", "bin_bp": 200}, None, [], [], 0))
    assert "bins of" not in text and "came as a table" not in text and "Python 3.11.7 and 3.12.1." in text


def test_models_are_told_with_the_numbers_of_the_run(tmp_path):
    ids = [f"S{i}" for i in range(8)]
    dataset = Dataset(tiny_dataset(tmp_path / "dataset.h5", hold_out="both"))
    families = [read_predictions(write_predictions(tmp_path / "toy.h5", ids))]
    shares = [read_shares(write_attributions(tmp_path / "a.h5", 1))]
    text, authors = write_up(methods_section({"torch": ["2.13.0"], "captum": ["0.9.0"]}, TABLES, dataset, families, shares, 0))
    for said in (
        "The dataset holds 8 samples and 12 genes (assembly tiny), expression in tpm.",
        f"In each of {dataset.n_folds} folds other samples and genes were held out for testing",
        "genes of one chromosome stayed together.",
        "Family toy (preset default) was trained with PyTorch 2.13.0 (Paszke et al. 2019) to predict log2(tpm + 1): 1 fold, 2 networks a fold (seeds 1, 2),",
        "24 held-out predictions were attributed to their inputs by integrated gradients (Sundararajan et al. 2017; Captum 0.9.0).",
    ):
        assert said in text, said
    assert authors == ["Paszke", "Sundararajan", "Di"]


@pytest.mark.parametrize(
    "scheme, said",
    [
        ("samples; samples by donor+biosample", "for validation; samples that share a donor or biosample stayed together."),
        ("genes; genes by paralogs", "for validation; genes that are paralogs or have similar promoters stayed together."),
        ("samples; samples at random", "for validation. The samples were split at random."),
        ("genes; genes by the table my_folds.csv", "held out for testing. The genes were split by the table my_folds.csv."),
    ],
)
def test_the_split_is_told(tmp_path, scheme, said):
    path = tiny_dataset(tmp_path / "dataset.h5", hold_out=scheme.split(";")[0])
    with h5py.File(path, "a") as file:
        file["folds/sample_role"].attrs["scheme"] = scheme
    assert said in write_up(methods_section({}, TABLES, Dataset(path), [], [], 0))[0]
