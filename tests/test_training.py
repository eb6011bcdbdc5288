"""The loop finds a linear rule, repeats itself to the byte, stops early, and calls a dead network collapsed."""

import numpy as np
import pytest
import torch
from torch import nn

from exprcast.checkpoint import load_checkpoint, save_checkpoint
from exprcast.cli import InputError
from exprcast.training import RESTARTS, Settings, fit, make_fabric, masked_mse, predict

FABRIC = make_fabric("cpu", "32-true")


class Line:
    """y = x · (1, −2) with gaps."""

    sizes: dict = {}

    def __init__(self, n=400):
        rng = np.random.default_rng(0)
        self.x = torch.from_numpy(rng.normal(size=(n, 2)).astype(np.float32))
        self.y = self.x @ torch.tensor([[1.0], [-2.0]])
        self.y[::7] = torch.nan

    def inputs(self, index):
        return (self.x[index],)

    def targets(self, index):
        return self.y[index]


class Linear(nn.Module):
    def __init__(self, config, sizes):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x):
        return self.linear(x)


class Dead(nn.Module):
    """Two ReLU units that are off for every input: only the output bias learns."""

    def __init__(self, config, sizes):
        super().__init__()
        self.hidden, self.relu, self.out = nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)
        nn.init.constant_(self.hidden.bias, -1e6)

    def forward(self, x):
        return self.out(self.relu(self.hidden(x)))


CONFIG = Settings(epochs=60, learning_rate=0.05, batch_size=64)
TRAIN, VALID = np.arange(300), np.arange(300, 400)


def test_finds_a_linear_rule_and_repeats_itself():
    first, again = (fit(Linear, Line(), TRAIN, VALID, CONFIG, 3, FABRIC) for _ in range(2))
    assert first.status == "trained" and first.seed == 3
    assert first.weights["linear.weight"].flatten().tolist() == pytest.approx([1, -2], abs=0.02)
    assert all(torch.equal(value, again.weights[name]) for name, value in first.weights.items())
    assert first.history == again.history
    other = fit(Linear, Line(), TRAIN, VALID, CONFIG, 4, FABRIC)
    assert not torch.equal(first.weights["linear.weight"], other.weights["linear.weight"])


def test_held_out_rows_change_nothing():
    changed = Line()
    changed.x[350:], changed.y[350:] = 9.0, -9.0
    first, second = (fit(Linear, data, TRAIN, np.arange(300, 350), CONFIG, 3, FABRIC) for data in (Line(), changed))
    assert all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())


def test_stops_early_and_keeps_the_best_epoch():
    result = fit(Linear, Line(), TRAIN, VALID, Settings(epochs=500, patience=3, learning_rate=0.05), 1, FABRIC)
    losses = [row["valid_loss"] for row in result.history]
    assert len(losses) < 500 and np.argmin(losses) == len(losses) - 4
    model = Linear(None, None)
    model.load_state_dict(result.weights)
    loss = masked_mse(predict(model, Line(), VALID, 64, FABRIC), Line().targets(VALID))
    assert float(loss) == pytest.approx(min(losses), rel=1e-5)


def test_dead_units_are_a_collapse(caplog):
    result = fit(Dead, Line(), TRAIN, VALID, Settings(epochs=20), 1, FABRIC)
    assert result.status == "collapsed" and result.seed == 1 + 1000 * RESTARTS
    assert caplog.text.count("COLLAPSED") == RESTARTS + 1


class HalfDead(nn.Module):
    """A layer that is off for every input, beside a path that learns: the predictions vary, and still a layer is lost."""

    def __init__(self, config, sizes):
        super().__init__()
        self.dead, self.line = Dead(config, sizes), nn.Linear(2, 1)

    def forward(self, x):
        return self.line(x) + self.dead(x)


def test_a_layer_that_is_off_is_a_collapse_though_predictions_vary(caplog):
    result = fit(HalfDead, Line(), TRAIN, VALID, Settings(epochs=20, learning_rate=0.05), 1, FABRIC, restarts=0)
    assert result.status == "collapsed" and result.history[-1]["silent"] == 1 and result.history[-1]["spread"] > 0.01
    assert "seed 1: COLLAPSED, 1 layer(s) of rectifiers are off for every example" in caplog.text
    assert fit(Linear, Line(), TRAIN, VALID, Settings(epochs=2), 1, FABRIC).history[-1]["silent"] == 0


class PassesOn(nn.Module):
    """Adds a constant to a known offset, which stands in the first input: it has learnt nothing."""

    def __init__(self, config, sizes):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, :1] + self.bias


def test_a_known_offset_that_is_passed_on_hides_no_collapse():
    lines = Line()
    offset = lines.x[VALID, :1].numpy()
    assert fit(PassesOn, lines, TRAIN, VALID, Settings(epochs=6), 1, FABRIC, restarts=0).status == "trained", (
        "without the offset it cannot be seen"
    )
    assert fit(PassesOn, lines, TRAIN, VALID, Settings(epochs=6), 1, FABRIC, restarts=0, offset=offset).status == "collapsed"


class Unused(Linear):
    """Has a layer of rectifiers that no example enters."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.relu = nn.ReLU()


def test_a_layer_that_does_not_run_is_not_off():
    assert fit(Unused, Line(), TRAIN, VALID, Settings(epochs=3), 1, FABRIC).history[-1]["silent"] == 0


def test_the_weights_that_are_kept_are_judged():
    """A network that dies after a good epoch keeps that epoch's weights; one whose best epoch is dead has collapsed."""

    class Dies(Linear):
        epochs = 0

        def train(self, mode=True):
            Dies.epochs += mode
            return super().train(mode)

        def forward(self, x):
            return super().forward(x) if Dies.epochs < 4 else self.linear.bias + 100 + 0 * x[:, :1]

    result = fit(Dies, Line(), TRAIN, VALID, Settings(epochs=20, learning_rate=0.05), 1, FABRIC, restarts=0)
    assert result.history[-1]["spread"] < 1e-3 and result.status == "trained"
    assert result.history[-1]["epoch"] <= 3 + Settings().patience, "patience ends it"


def test_constant_targets_are_no_collapse():
    flat = Line()
    flat.y = torch.full_like(flat.y, 3.0)
    result = fit(Linear, flat, TRAIN, VALID, Settings(epochs=8), 1, FABRIC)
    assert result.status == "trained" and np.isnan(result.history[-1]["spread"])


def test_collapse_of_one_seed_starts_again():
    made = []

    def sometimes(config, sizes):
        made.append(1)
        return (Dead if len(made) == 1 else Linear)(config, sizes)

    result = fit(sometimes, Line(), TRAIN, VALID, Settings(epochs=20, learning_rate=0.05), 1, FABRIC)
    assert (result.status, result.seed, len(made)) == ("trained", 1001, 2)
    assert [row["seed"] for row in result.history[:6]] == [1, 1, 1, 1, 1, 1001], "the learning curve shows the first try, too"


def test_divergence_is_no_success():
    broken = Line()
    broken.x[0] = torch.inf
    assert fit(Linear, broken, TRAIN, VALID, Settings(epochs=6), 1, FABRIC).status == "collapsed"


def test_cuda_without_gpu_says_so():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="--device cuda: this machine shows no GPU"):
        make_fabric("cuda", "32-true")


CONTENT = dict(family="toy", preset="default", sizes={"a": 1}, state={"mean": torch.ones(2)}, weights={"w": torch.zeros(1)}, rows=["S1"], columns=["G1"],
               unit="tpm", fold=0, seed=1, trained_seed=1, status="trained", control="", code="x")  # fmt: skip


def test_checkpoint_round_trip_same_bytes(tmp_path):
    for name in ("a.pt", "b.pt"):
        save_checkpoint(tmp_path / name, CONFIG, **CONTENT)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    content = load_checkpoint(tmp_path / "a.pt")
    assert content["config"]["epochs"] == 60 and torch.equal(content["state"]["mean"], torch.ones(2))


def test_damaged_and_hostile_checkpoints(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONFIG, **CONTENT)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="a.pt: not a checkpoint that can be read safely"):
        load_checkpoint(path)

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("owned").touch, ())

    torch.save({"format": "exprcast-checkpoint", "evil": Evil()}, path)
    with pytest.raises(InputError, match="not a checkpoint that can be read safely"):
        load_checkpoint(path)
    assert not (tmp_path / "owned").exists()
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not an exprcast checkpoint"):
        load_checkpoint(path)
    torch.save({"format": "exprcast-checkpoint", "format_version": 0}, path)
    with pytest.raises(InputError, match="checkpoint version 0, this code reads 2; train again"):
        load_checkpoint(path)
