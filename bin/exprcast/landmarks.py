"""Landmark genes → all other genes: which genes are which, the scales that both are read in, and the landmarks that go with a target.

Values in a linear unit are read as log2(unit + 1), others as they are. A sample whose unit is not that of the main matrix (RNA-seq beside
arrays) is put on the training samples' scale by rank: the reference is the mean of their sorted values, and a value takes the place in it
that its rank among the sample's unique values has among these (as Chen et al. 2016, Bioinformatics 32:1832, map RNA-seq onto arrays).
Landmarks and targets have a reference each, so that nothing of what is to be predicted reaches the inputs.
"""

from collections import Counter

import numpy as np
import torch
from scipy.sparse import csc_matrix

from exprcast.dataset import Dataset
from exprcast.folds import GROUP_COLUMNS, deal, group_samples
from exprcast.tables import RAW_UNITS

TARGET = "expression/gene"
INPUTS = (TARGET, "lists/landmark", "lists/target")
QUANTILE = ("none", "all", "other")  # which samples are mapped by rank
LEAST_SD = 1e-3  # is added to each standard deviation
SAMPLES_AT_ONCE = 1_024
NEAR = 20  # landmarks that tell a target's level by the simple rule
PARTS = 5  # of the training samples, each left out once to choose a penalty
LEAST_SERIES = 3  # samples, for a standard deviation of their own


def listed(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the landmarks and of the targets among the dataset's genes."""
    landmarks, targets = (np.flatnonzero(dataset.array(entry)) for entry in INPUTS[1:])
    return landmarks, targets


def read_unit(unit: str) -> str:
    """Return the unit that values of a unit are read in."""
    return f"log2({unit} + 1)" if unit in RAW_UNITS else unit


def blocks(samples: np.ndarray) -> list[np.ndarray]:
    """Cut sample numbers into blocks of at most 1,024."""
    return np.array_split(samples, max(1, -(-len(samples) // SAMPLES_AT_ONCE)))


class Reader:
    """The expression of some genes, read sample by sample: logarithms, and on the scale of a reference where one is set."""

    def __init__(self, dataset: Dataset, genes: np.ndarray, quantile: str) -> None:
        self.dataset, self.genes, self.reference = dataset, genes, None
        main, count = dataset.unit(TARGET), len(dataset.samples)
        units = dataset.text("samples/unit") if dataset.has("samples/unit") else [""] * count
        self.linear = np.array([(unit or main) in RAW_UNITS for unit in units])  # (samples,)
        other = np.array([(unit or main) != main for unit in units])
        self.mapped = {"none": np.zeros(count, dtype=bool), "all": np.ones(count, dtype=bool), "other": other}[quantile]
        self.is_main = ~other

    def logged(self, samples: np.ndarray) -> np.ndarray:
        """Return (samples, genes) float64 logarithms, NaN where not measured."""
        values = self.dataset.rows(TARGET, samples)[:, self.genes].astype(np.float64)
        linear = self.linear[samples]
        values[linear] = np.log2(values[linear] + 1)
        return values

    def read(self, samples: np.ndarray) -> np.ndarray:
        """Return the same, with the samples that are mapped by rank on the reference's scale."""
        values = self.logged(samples)
        for row in np.flatnonzero(self.mapped[samples]):
            values[row] = map_by_rank(values[row], self.reference)
        return values

    def learn_reference(self, samples: np.ndarray) -> np.ndarray:
        """Set and return (genes,) the mean of the sorted values of samples in the main unit; what one has not measured is interpolated."""
        own = samples[self.is_main[samples]] if self.is_main[samples].any() else samples
        total, count = np.zeros(len(self.genes)), 0
        for part in blocks(own):
            for row in self.logged(part):
                known = np.sort(row[~np.isnan(row)])
                if len(known):
                    total, count = total + stretch(known, len(total)), count + 1
        self.reference = total / max(count, 1)
        return self.reference

    def learn_scale(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (genes,) means, standard deviations + 0.001 and numbers of measured values; mean 0 where there is none."""
        sums, squares, count = (np.zeros(len(self.genes)) for _ in range(3))
        for part in blocks(samples):
            values = self.read(part)
            count += (~np.isnan(values)).sum(axis=0)
            sums += np.nansum(values, axis=0)
            squares += np.nansum(values**2, axis=0)
        mean = sums / np.maximum(count, 1)
        return mean, np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0)) + LEAST_SD, count


def stretch(ordered: np.ndarray, length: int) -> np.ndarray:
    """Return sorted values as so many quantiles."""
    if len(ordered) == length:
        return ordered
    return np.interp((np.arange(length) + 0.5) / length, (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)


def map_by_rank(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return (genes,) values of a sample as those of the sorted reference in their place; NaN stay.

    The r-th of u unique values (from 1) takes place r · n / u of the reference's n, rounded down, the first at least; ties share it.
    """
    mapped = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    unique, rank = np.unique(values[known], return_inverse=True)
    place = (rank + 1) * len(reference) // max(len(unique), 1) - 1
    mapped[known] = reference[np.maximum(place, 0)]
    return mapped


def sample_groups(dataset: Dataset) -> list[str]:
    """Return one name a sample: samples that share a series, a donor or replicates have the same."""
    columns = {name: dataset.text(f"samples/{name}") for name in GROUP_COLUMNS if dataset.has(f"samples/{name}")}
    return group_samples(columns) if columns else list(dataset.samples)


def series_of(dataset: Dataset) -> np.ndarray:
    """Return (samples,) the number of each sample's series: its evaluation set, else its batch; without either all are one."""
    names = [""] * len(dataset.samples)
    for column in ("set", "batch"):
        if dataset.has(f"samples/{column}"):
            names = [name or other and f"{column} {other}" for name, other in zip(names, dataset.text(f"samples/{column}"), strict=True)]
    return np.unique(names, return_inverse=True)[1]


class LandmarkExamples:
    """All samples: z-scores of landmarks → values of targets."""

    input_names = explained = ["landmarks"]
    neighbours = 10

    def __init__(
        self, dataset: Dataset, extracted: dict[str, np.ndarray], unit: str, scale: np.ndarray, components: int, elastic_net: bool
    ) -> None:
        landmarks, targets = ([dataset.genes[gene] for gene in genes] for genes in listed(dataset))
        self.rows, self.columns, self.unit, self.names = dataset.samples, targets, unit, {"landmarks": landmarks}
        self.landmarks, self.values = extracted["landmarks"], extracted["targets"]  # (samples, landmarks), (samples, targets)
        self.sizes = {"landmarks": len(landmarks), "targets": len(targets), "components": components}
        self.scale, self.elastic_net = scale, elastic_net  # (targets,); whether this baseline is asked for
        self.groups = sample_groups(dataset)

    def __len__(self) -> int:
        return len(self.rows)

    def inputs(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return (index, landmarks) z-scores; 0, the training mean, where not measured."""
        return (torch.from_numpy(self.landmarks[index]),)

    def reference(self, index: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the mean training sample."""
        return (torch.zeros(len(index), len(self.names["landmarks"])),)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """Return (index, targets)."""
        return torch.from_numpy(self.values[index])

    def features(self, index: np.ndarray) -> np.ndarray:
        """Return (index, landmarks)."""
        return self.landmarks[index]


class Targets:
    """Targets of training samples in standard deviations + 0.001 from their training means; 0 where not measured."""

    def __init__(self, examples: LandmarkExamples, train: np.ndarray) -> None:
        self.examples, self.train = examples, train
        sums, squares, count = (np.zeros(len(examples.columns)) for _ in range(3))
        for part in blocks(train):
            values = examples.targets(part).numpy().astype(np.float64)
            count += (~np.isnan(values)).sum(axis=0)
            sums, squares = sums + np.nansum(values, axis=0), squares + np.nansum(values**2, axis=0)
        self.count = count
        self.mean = np.where(count > 0, sums / np.maximum(count, 1), sums.sum() / max(count.sum(), 1))
        variance = squares / np.maximum(count, 1) - self.mean**2
        self.scale = np.sqrt(np.where(count > 0, np.maximum(variance, 0), 0)) + LEAST_SD

    def read(self, samples: np.ndarray, columns: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return (samples, columns) float32."""
        z = (self.examples.targets(samples).numpy()[:, columns] - self.mean[columns]) / self.scale[columns]
        return np.nan_to_num(z).astype(np.float32)

    def products(self, samples: np.ndarray, columns: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return (landmarks, columns) float64 sums of landmark × target over samples."""
        return sum((self.examples.landmarks[part].T @ self.read(part, columns)).astype(np.float64) for part in blocks(samples))


def nearest_landmarks(examples: LandmarkExamples, train: np.ndarray) -> dict[str, np.ndarray]:
    """Return each target's 20 landmarks that correlate most with it over training samples: the nearest, if both are taken as z-scores."""
    targets = Targets(examples, train)
    squares = sum((examples.landmarks[part].astype(np.float64) ** 2).sum(axis=0) for part in blocks(train))
    sd = np.sqrt(np.where(squares > 0, squares / len(train), 1))  # around 0, the training mean
    correlation = targets.products(train) / sd[:, None]  # × what is the same for all of a target
    few = min(NEAR, len(correlation))
    near = np.sort(np.argpartition(-correlation, few - 1, axis=0)[:few], axis=0).T  # (targets, few)
    return {"near": near.astype(np.int32), "sd": sd, "mean": targets.mean, "scale": targets.scale}


def mean_of_nearest(examples: LandmarkExamples, fitted: dict[str, np.ndarray], index: np.ndarray) -> np.ndarray:
    """Return (index, targets): a target's z-score is the mean of those of its landmarks."""
    targets, few = fitted["near"].shape
    shape = (len(examples.names["landmarks"]), targets)
    near = fitted["near"].ravel()
    weights = csc_matrix((1 / (few * fitted["sd"][near]), near, np.arange(0, targets * few + 1, few)), shape=shape)
    return fitted["mean"] + fitted["scale"] * (weights.T @ examples.features(index).T.astype(np.float64)).T


def deal_parts(groups: list[str]) -> np.ndarray:
    """Return (samples,) the number of the part, of five, that each sample's group is dealt into; a single group is cut into samples."""
    if len(set(groups)) < 2:
        return np.arange(len(groups)) % PARTS
    sizes = Counter(groups)
    hands = deal(sizes, min(PARTS, len(sizes)), np.random.default_rng(0))
    part = {name: number for number, hand in enumerate(hands) for name in hand}
    return np.array([part[name] for name in groups])
