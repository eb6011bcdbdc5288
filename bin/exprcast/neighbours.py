"""Baselines that look at which training members resemble a new one: the nearest ones' values, and kernel ridge regression.

Members are what examples lie on: samples, genes, or for pairs both. A sample of pairs is described by its features around up to
2,000 training genes, as deviations from the mean training sample; a gene by its features averaged over up to 32 training samples.
The kernel is Gaussian, its width the median distance of training members. Of many members 2,000 are landmarks (Nyström's
approximation; with fewer it is exact). The penalty is chosen on validation.
"""

import numpy as np

from exprcast.family import Examples
from exprcast.means import Fitted, blocks, nan_mean, patterns, predict_mean, residual, target_matrix

PROFILE_GENES = 2_000  # genes whose features make a sample's profile, drawn with seed 0 from those in training
GENES_AT_ONCE, MEMBERS_AT_ONCE = 50, 1_024
NEIGHBOURS = 10  # are asked, one after the other, for a value that was measured
PROFILE_SAMPLES = 32
LANDMARKS = 2_000
PENALTIES = np.logspace(-3, 1, 9)  # in units of the kernel's mean diagonal, which is 1


def fit_nearest(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray, chosen: Fitted | None = None) -> Fitted:
    """Return what every member copies from its nearest training member; where that one was not measured, from the next one that was.

    Of samples it is the mean over as many as the family asks for, then those at the smallest Euclidean distance. Else similarity is the
    correlation of profiles as deviations from the training mean, or the cosine of whole genomes; a training member is never its own neighbour.
    Nothing is chosen on validation.
    """
    matrix = target_matrix(axes, examples, train)
    if axes == "genes":
        return {"copied": copy_values(matrix.T, most_similar(all_features(examples), train), mean["output"]).T}
    alike = {}
    if axes == "samples×genes" and not mean["seen"].all():
        rows, columns = trained(matrix)
        alike = {"alike": most_similar(gene_profiles(examples, rows), columns)[:, 0]}  # of each gene its most similar training gene
    return extend_nearest(axes, examples, mean, alike, train)


def extend_nearest(axes: str, examples: Examples, mean: Fitted, nearest: Fitted, train: np.ndarray) -> Fitted:
    """Return what every sample copies, also those that were not there when genes were compared with genes (`alike`)."""
    matrix = target_matrix(axes, examples, train)
    if axes == "samples":
        most = getattr(examples, "neighbours", 0)
        near = most_similar(all_features(examples), train, by_distance=most > 0)
        return {"copied": copy_values(matrix, near, mean["output"], most or 1).astype(np.float32)}
    rows, columns = trained(matrix)
    copied = copy_values(matrix, most_correlated(profile_gram(examples, columns, rows), rows), mean["output"])
    alike = {key: nearest[key] for key in ("alike",) if key in nearest}
    if alike:
        similar = np.where(np.isnan(matrix), copied, matrix)[:, alike["alike"]]  # in the same sample, else in its neighbour
        copied = np.where(mean["seen"], copied, similar)
    return {"copied": copied.astype(np.float32), **alike}


def copy_values(values: np.ndarray, nearest: np.ndarray, otherwise: np.ndarray, most: int = 1) -> np.ndarray:
    """Return (members, outputs): of (training) values (members, outputs) the mean of the `most` nearest members that have one; nearest (members, few)."""
    shape = len(nearest), values.shape[1]
    total, count = np.zeros(shape, values.dtype), np.zeros(shape, np.uint8)
    for other in nearest.T:
        found = values[other]
        used = ~np.isnan(found) & (count < most)
        np.add(total, found, out=total, where=used)
        count += used
        if count.min(initial=most) == most:
            break
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)


def predict_nearest(axes: str, examples: Examples, mean: Fitted, nearest: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the training values of the nearest member, or their mean over several."""
    copied = nearest["copied"]
    if axes == "samples":
        return copied[index]
    return copied[:, index].T if axes == "genes" else copied.ravel()[index][:, None]


def fit_kernel(axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray, chosen: Fitted | None = None) -> Fitted:
    """Return what the kernel needs to predict; for pairs the change in every sample, and where tested genes are unseen their level.

    Penalties are chosen on validation, or are those of an earlier fit.
    """
    if axes != "samples×genes":
        return fit_kernel_on_members(axes, examples, mean, train, valid, chosen)
    matrix = target_matrix(axes, examples, train)
    rows, columns = trained(matrix)
    kernel = sample_kernel(examples, rows, columns)
    change = matrix - mean["output"]
    if chosen is None:  # no loss where tested genes are new: no change is used
        judge = kernel, (target_matrix(axes, examples, valid) - mean["output"])[:, columns]
    else:
        judge = chosen["penalty"]
    fitted = solve_kernel(kernel[rows], kernel[rows], change[np.ix_(rows, columns)], judge)
    weights = np.zeros((len(rows), len(examples.columns)), dtype=np.float32)
    weights[:, columns] = fitted["weights"]
    fitted |= {"row": kernel.astype(np.float32), "weights": weights}
    if not mean["seen"].all():
        fitted |= gene_levels(examples, rows, columns, mean, chosen)
    return fitted


def extend_kernel(axes: str, examples: Examples, mean: Fitted, kernel: Fitted, train: np.ndarray) -> Fitted:
    """Return the same fit with the kernel of samples that were not there when it was made."""
    if axes != "samples×genes":
        return kernel  # reads the features of what it predicts
    rows, columns = trained(target_matrix(axes, examples, train))
    return kernel | {"row": sample_kernel(examples, rows, columns).astype(np.float32)}


def sample_kernel(examples: Examples, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return (samples, training samples): the kernel of whole samples, described around training genes or by their genomes."""
    return gaussian(squared_distances(profile_gram(examples, columns, rows))[:, rows], rows)


def predict_kernel(axes: str, examples: Examples, mean: Fitted, kernel: Fitted, index: np.ndarray) -> np.ndarray:
    """Return the mean (or the level read from a gene's profile) plus the change that the kernel sees."""
    if axes != "samples×genes":
        near = gaussian_to(examples.features(index), kernel)
        return predict_mean(axes, examples, mean, index, "base") + near @ kernel["weights"]
    row, column = np.divmod(index, len(examples.columns))
    rows, place = np.unique(row, return_inverse=True)
    level = kernel["level"] if "level" in kernel else mean["output"]
    return (level[column] + (kernel["row"][rows] @ kernel["weights"])[place, column])[:, None]


def fit_kernel_on_members(
    axes: str, examples: Examples, mean: Fitted, train: np.ndarray, valid: np.ndarray, chosen: Fitted | None
) -> Fitted:
    """Fit examples that are samples or genes themselves."""
    fitted = make_landmarks(examples.features(train))

    def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kernel = np.concatenate([gaussian_to(examples.features(part), fitted) for part in blocks(index)])
        return kernel, residual(axes, examples, mean, index)

    return fitted | solve_kernel(landmark_kernel(fitted), *read(train), read(valid) if chosen is None else chosen["penalty"])


def gene_levels(examples: Examples, rows: np.ndarray, columns: np.ndarray, mean: Fitted, chosen: Fitted | None) -> Fitted:
    """Return `level` (columns,): a gene's training mean, or for a gene never seen what its profile says, and the penalty behind it.

    Every tenth gene validates, unless the penalty of an earlier fit is taken: then all are learnt from.
    """
    profiles = gene_profiles(examples, rows)
    judged = columns[::10] if chosen is None else columns[:0]
    learnt = np.setdiff1d(columns, judged)
    fitted = make_landmarks(profiles[learnt])
    kernel, y = gaussian_to(profiles, fitted), (mean["output"] - mean["base"])[:, None]
    judge = (kernel[judged], y[judged]) if chosen is None else chosen["level_penalty"]
    solved = solve_kernel(landmark_kernel(fitted), kernel[learnt], y[learnt], judge)
    level = mean["base"] + (kernel @ solved["weights"])[:, 0]
    level[columns] = mean["output"][columns]
    return {"level": level, "level_penalty": solved["penalty"]}


def solve_kernel(square: np.ndarray, train: np.ndarray, y: np.ndarray, judge: tuple[np.ndarray, np.ndarray] | np.ndarray) -> Fitted:
    """Return weights (landmarks, outputs) of the penalty that is best on validation: its kernel and targets, or of a given one.

    Kernels: square (landmarks, landmarks), others (members, landmarks); targets (members, outputs), NaN = not measured. The
    predictions of one penalty are in memory at a time.
    """
    values, vectors = np.linalg.eigh(square)
    kept = values > 1e-6 * values[-1]
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    parts = []
    for rows, columns in patterns(~np.isnan(y)):
        features = train[rows] @ whiten
        values, vectors = np.linalg.eigh(features.T @ features)
        parts.append((columns, np.maximum(values, 0)[:, None], vectors, vectors.T @ (features.T @ np.nan_to_num(y[np.ix_(rows, columns)]))))

    def combine(left: np.ndarray, penalty: float) -> np.ndarray:
        """Return left @ weights, one column an output."""
        combined = np.zeros((len(left), y.shape[1]))
        for columns, values, vectors, moment in parts:
            combined[:, columns] = left @ (vectors @ (moment / (values + penalty)))
        return combined

    if isinstance(judge, tuple):
        near = judge[0] @ whiten
        losses = np.array([nan_mean((judge[1] - combine(near, penalty)) ** 2) for penalty in PENALTIES])
        chosen = {"penalty": PENALTIES[[np.argmin(np.nan_to_num(losses))]], "valid_loss": losses}
    else:
        chosen = {"penalty": judge}
    return {"weights": combine(whiten, chosen["penalty"][0]).astype(np.float32), **chosen}


def make_landmarks(features: np.ndarray) -> Fitted:
    """Return standardised features of up to 2,000 members, how to standardise others, and the kernel's width."""
    centre, sd = features.mean(axis=0), features.std(axis=0)
    scale = np.where(sd > 1e-6, sd, np.inf)
    chosen = np.sort(np.random.default_rng(0).choice(len(features), min(LANDMARKS, len(features)), replace=False))
    landmarks = (features[chosen] - centre) / scale
    scale = np.where(np.isinf(scale), 1.0, scale)
    few = landmarks[:200]
    distances = squared_distances(few @ few.T)
    return {"landmarks": landmarks, "centre": centre, "scale": scale, "width": np.array([median_positive(distances)])}


def gaussian_to(features: np.ndarray, fitted: Fitted) -> np.ndarray:
    """Return (members, landmarks) kernel values of members given by their features."""
    x, landmarks = (features - fitted["centre"]) / fitted["scale"], fitted["landmarks"]
    distances = (x**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1)[None, :] - 2 * x @ landmarks.T
    return np.exp(-np.maximum(distances, 0) / fitted["width"])


def landmark_kernel(fitted: Fitted) -> np.ndarray:
    """Return (landmarks, landmarks) kernel values."""
    return np.exp(-squared_distances(fitted["landmarks"] @ fitted["landmarks"].T) / fitted["width"])


def gaussian(distances: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the kernel of squared distances (members, training members)."""
    return np.exp(-distances / median_positive(distances[train]))


def median_positive(distances: np.ndarray) -> float:
    """Return the median of what is above 0, 1 if nothing is."""
    positive = distances[distances > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def squared_distances(gram: np.ndarray) -> np.ndarray:
    """Return squared distances of profiles from their inner products."""
    size = np.diag(gram)
    return np.maximum(size[:, None] + size[None, :] - 2 * gram, 0)


def trained(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and the columns that have a training target."""
    measured = ~np.isnan(matrix)
    return np.flatnonzero(measured.any(axis=1)), np.flatnonzero(measured.any(axis=0))


def all_features(examples: Examples) -> np.ndarray:
    """Return (examples, features)."""
    return np.concatenate([examples.features(part) for part in blocks(np.arange(len(examples)))])


def most_similar(profiles: np.ndarray, train: np.ndarray, by_distance: bool = False) -> np.ndarray:
    """Return (members, few): for each profile (members, features) the training members that correlate best with it, or are nearest; not itself."""
    centred = profiles - profiles[train].mean(axis=0)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    half = norm[train, 0] ** 2 / 2 if by_distance else 0.0  # |a − b|² = |a|² − 2 (a·b − |b|² / 2)
    centred = centred if by_distance else centred / np.where(norm > 0, norm, 1)
    parts = np.array_split(np.arange(len(profiles)), -(-len(profiles) // MEMBERS_AT_ONCE))
    return np.concatenate([best_first(centred[part] @ centred[train].T - half, part, train) for part in parts])


def most_correlated(gram: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the same from the inner products of profiles."""
    norm = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1))
    return best_first((gram / norm[:, None] / norm[None, :])[:, train], np.arange(len(gram)), train)


def best_first(similarity: np.ndarray, members: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return (members, few) training members by falling similarity (members, training members); a member itself comes last."""
    similarity = np.where(members[:, None] == train[None, :], -np.inf, similarity)
    few = min(NEIGHBOURS, len(train))
    top = np.sort(np.argpartition(-similarity, few - 1, axis=1)[:, :few], axis=1)
    order = np.argsort(-np.take_along_axis(similarity, top, axis=1), axis=1, kind="stable")
    return train[np.take_along_axis(top, order, axis=1)]


def profile_gram(examples: Examples, genes: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return (samples, samples) inner products of the samples' profiles: the family's own, of the whole genome, or around training genes.

    Around genes the mean training sample is taken away.
    """
    if hasattr(examples, "sample_gram"):
        return examples.sample_gram
    chosen = np.sort(np.random.default_rng(0).choice(genes, min(PROFILE_GENES, len(genes)), replace=False))
    count, width = len(examples.rows), len(examples.columns)
    gram = np.zeros((count, count))
    for part in np.array_split(chosen, -(-len(chosen) // GENES_AT_ONCE)):
        profiles = np.stack([examples.features(row * width + part).ravel() for row in range(count)])
        profiles = profiles - profiles[train].mean(axis=0)
        gram += profiles @ profiles.T
    return gram


def gene_profiles(examples: Examples, samples: np.ndarray) -> np.ndarray:
    """Return (genes, features): a gene is described by its features averaged over up to 32 training samples."""
    chosen = samples[np.linspace(0, len(samples) - 1, min(PROFILE_SAMPLES, len(samples))).astype(int)]
    width = len(examples.columns)
    return sum(examples.features(row * width + np.arange(width)) for row in chosen) / len(chosen)
