"""Published weights of Xpresso: the same network as in Keras, and no other file passes for it."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from exprcast.cli import InputError
from exprcast.families.xpresso import Model
from exprcast.published import read_published
from exprcast.sequence import ONE_HOT
from exprcast.tables import read_table
from exprcast.windows import encode

SEQUENCE = Path(__file__).parents[2] / "shared" / "data" / "sequence"
SHAPES = {
    "conv1d_1": (6, 4, 128), "conv1d_2": (9, 128, 32), "dense_1": (1128, 64), "dense_2": (64, 2), "dense_3": (2, 1),
}  # fmt: skip


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def write_keras(path: Path, features: int = 8, names: dict[str, str] | None = None, **changed: object) -> Path:
    """Write random weights as Keras does; `changed` replaces a layer's kernel, `names` renames layers."""
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        layers = ["promoter", "conv1d_1", "conv1d_2", "flatten_1", "dense_1", "dense_2", "dense_3"]
        for layer in layers:
            name = (names or {}).get(layer, layer)
            made = group.create_group(name)
            made.attrs["weight_names"] = [f"{name}/{one}:0".encode() for one in ("kernel", "bias") if layer in SHAPES]
            if layer in SHAPES:
                shape = (1120 + features, 64) if layer == "dense_1" else SHAPES[layer]
                made[f"{name}/kernel:0"] = changed.get(layer, rng.normal(0, 0.1, shape).astype(np.float32))
                made[f"{name}/bias:0"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
        group.attrs["layer_names"] = [(names or {}).get(layer, layer).encode() for layer in layers]
    return path


def keras_forward(path: Path, codes: np.ndarray, halflife: np.ndarray) -> float:
    """Return what Keras computes of one window's (bases,) codes, in NumPy and in double precision, kernels as the file holds them."""
    with h5py.File(path) as file:
        weights = {name: [file[f"model_weights/{name}/{name}/{one}:0"][:].astype(float) for one in ("kernel", "bias")] for name in SHAPES}
    x = ONE_HOT[codes].astype(float)  # (bases, 4)
    for layer, pool in (("conv1d_1", 30), ("conv1d_2", 10)):
        kernel, bias = weights[layer]
        left = (len(kernel) - 1) // 2
        padded = np.pad(x, ((left, len(kernel) - 1 - left), (0, 0)))
        x = np.maximum(sum(padded[i : i + len(x)] @ kernel[i] for i in range(len(kernel))) + bias, 0)
        x = x[: len(x) // pool * pool].reshape(-1, pool, x.shape[1]).max(axis=1)
    x = np.concatenate([x.ravel(), halflife])
    for layer in ("dense_1", "dense_2"):
        x = np.maximum(x @ weights[layer][0] + weights[layer][1], 0)
    return float((x @ weights["dense_3"][0] + weights["dense_3"][1])[0])


def load(path: Path) -> Model:
    config, sizes, weights = read_published(path)
    model = Model(config, sizes)
    model.load_state_dict(weights)
    return model.eval()


def forward(model: Model, codes: np.ndarray, halflife: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(codes), torch.from_numpy(halflife.astype(np.float32)))[:, 0].numpy()


@pytest.mark.parametrize("features", [6, 8])
def test_prediction_equals_that_of_keras(tmp_path, features):
    rng = np.random.default_rng(2)
    codes, halflife = rng.choice(5, (3, 10_500), p=[0.24, 0.24, 0.24, 0.24, 0.04]).astype(np.uint8), rng.normal(size=(3, features))
    path = write_keras(tmp_path / "w.h5", features)
    with h5py.File(path, "a") as file:  # both rectifiers of the last hidden layer on
        file["model_weights/dense_2/dense_2/bias:0"][:] = 5
    expected = np.array([keras_forward(path, *one) for one in zip(codes, halflife, strict=True)])
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(forward(load(path), codes, halflife), expected, atol=1e-5)


def test_network_of_eight_features_has_its_number_of_weights(tmp_path):
    weights = read_published(write_keras(tmp_path / "w.h5"))[2]
    assert sum(value.numel() for name, value in weights.items() if name not in ("mean", "scale")) == 112_485


def test_layers_are_found_by_their_order_not_their_numbers(tmp_path):
    plain, renamed = (
        write_keras(tmp_path / "a.h5"),
        write_keras(tmp_path / "b.h5", names={"conv1d_1": "z", "conv1d_2": "a", "dense_1": "q"}),
    )
    codes, halflife = np.random.default_rng(3).integers(0, 4, (2, 10_500)).astype(np.uint8), np.zeros((2, 8))
    assert (forward(load(plain), codes, halflife) == forward(load(renamed), codes, halflife)).all()


def nan(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


@pytest.mark.parametrize(
    ("features", "changed", "message"),
    [
        (7, {}, r"weights of another network: \(1127, 64\) where Xpresso's has \(1126, 64\) \(10,500 bases, 6 or 8 half-life features\)"),
        (8, {"conv1d_1": np.zeros((5, 4, 128), np.float32)}, r"another network: \(5, 4, 128\) where Xpresso's has \(6, 4, 128\)"),
        (8, {"dense_1": np.zeros((3, 64), np.float32)}, r"another network: \(3, 64\) where"),
        (8, {"dense_2": np.zeros((64, 2))}, "holds float64; the published weights are float32"),
        (8, {"dense_3": nan((2, 1))}, "dense_3/kernel:0 holds values that are no numbers"),
        (8, {"dense_1": np.float32(0)}, "another network|no weights as Keras"),
    ],
)
def test_other_weights_end_in_one_line(tmp_path, features, changed, message):
    with pytest.raises(InputError, match=rf"^w\.h5: .*{message}|^w\.h5: {message}"):
        read_published(write_keras(tmp_path / "w.h5", features, **changed))


def test_forged_files_end_in_one_line(tmp_path):
    path = tmp_path / "w.h5"
    for damage in ("soft", "external", "storage", "attribute", "missing", "text", "cut"):
        write_keras(path)
        if damage == "text":
            path.write_text("no HDF5")
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:5_000])
        else:
            with h5py.File(path, "a") as file:
                layer = file["model_weights/dense_3/dense_3"]
                del layer["kernel:0"]
                if damage == "soft":
                    layer["kernel:0"] = h5py.SoftLink("/model_weights/dense_2/dense_2/kernel:0")
                elif damage == "external":
                    layer["kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")
                elif damage == "storage":
                    layer.create_dataset("kernel:0", (2, 1), "f4", external=[("/etc/passwd", 0, 8)])
                elif damage == "attribute":
                    file["model_weights"].attrs["layer_names"] = 3
        with pytest.raises(InputError, match=r"^w\.h5: .*(leads out of the file|no weights as Keras|no HDF5|cut short)"):
            read_published(path)


def test_real_weights_predict_as_in_keras():
    path = needs(SEQUENCE / "xpresso_weights" / "mESC_trainepoch.10-0.3867.h5")
    codes, halflife = np.random.default_rng(4).integers(0, 4, (2, 10_500)).astype(np.uint8), np.random.default_rng(5).normal(size=(2, 6))
    expected = [keras_forward(path, *one) for one in zip(codes, halflife, strict=True)]
    np.testing.assert_allclose(forward(load(path), codes, halflife), expected, atol=1e-5)


def test_real_golden_predictions():
    model = load(needs(SEQUENCE / "xpresso_weights" / "humanMedian_trainepoch.11-0.426.h5"))
    rows = [row for _, row in read_table(needs(SEQUENCE / "xpresso_golden.tsv.gz"), ("sequence_10500", "kipoi_prediction"))]
    codes = np.stack([encode(row["sequence_10500"].encode()) for row in rows])
    expected = [float(row["kipoi_prediction"]) for row in rows]
    assert len(rows) == 9
    np.testing.assert_allclose(forward(model, codes, np.zeros((9, 6))), expected, atol=1e-5)
    assert len(list((SEQUENCE / "xpresso_weights").glob("*.h5"))) == 5 and all(
        map(read_published, (SEQUENCE / "xpresso_weights").glob("*.h5"))
    )
