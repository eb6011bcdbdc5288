"""The loop finds a linear rule, repeats itself to the byte, stops early or not at all, fits again, and calls a dead network collapsed."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exprcast.checkpoint import load_checkpoint, save_checkpoint
from exprcast.cli import InputError
from exprcast.learning_rates import LEAST_RATE, FallOnRise, make_optimizer
from exprcast.training import RATE_ROWS, RESTARTS, Settings, Training, fit, fitting_batch, make_fabric, masked_mse, predict, refit, scale_of
from tiny import BIN, run_script, tiny_dataset

TOYS = Path(__file__).parent / "families"
FABRIC = make_fabric("cpu", "32-true")


class Line:
    """y = x · (1, −2) with gaps."""

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
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x):
        return self.linear(x)


class Dead(nn.Module):
    """Two ReLU units that are off for every input: only the output bias learns."""

    def __init__(self):
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
    model = Linear()
    model.load_state_dict(result.weights)
    loss = masked_mse(predict(model, Line(), VALID, 64, FABRIC), Line().targets(VALID))
    assert float(loss) == pytest.approx(min(losses), rel=1e-5)


PLAIN = Settings(
    epochs=7, patience=0, batch_size=0, optimizer="sgd", schedule="constant", learning_rate=0.1, weight_decay=0.0, clip_norm=0.0
)


def test_plain_gradient_descent_is_what_a_loop_by_hand_does():
    """All examples in one step in ascending order, a constant rate, nothing clipped, the last weights kept."""
    data, seen = Line(), []
    read = data.inputs
    data.inputs = lambda index: (seen.append(index), read(index))[1]
    result = fit(Linear, data, TRAIN[::-1], VALID, PLAIN, 3, FABRIC)
    torch.manual_seed(3)
    model = Linear()
    x, y = Line().x[TRAIN], Line().y[TRAIN]
    for _ in range(PLAIN.epochs):
        loss = masked_mse(model(x), y)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), gradients, strict=True):
                weight -= PLAIN.learning_rate * gradient
    for name, value in result.weights.items():  # where memory lies decides how sums are rounded
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert [list(index) for index in seen[::2]] == [list(TRAIN)] * PLAIN.epochs
    assert result.epochs == len(result.history) == PLAIN.epochs


def test_momentum_schedule_and_clipping_do_what_they_say():
    def rates_and_weights(**changes):
        training = Training(Linear, Line(), TRAIN, replace(PLAIN, **changes), 3, FABRIC)
        rates = []
        for _ in range(PLAIN.epochs):
            rates.append(training.schedule.get_last_lr()[0])
            training.epoch()
        return rates, training.weights()["linear.weight"]

    plain, cosine = rates_and_weights(), rates_and_weights(schedule="cosine")
    assert plain[0] == [0.1] * 7 and cosine[0][0] == 0.1 and cosine[0] == sorted(cosine[0], reverse=True) and cosine[0][-1] < 0.01
    cycle = rates_and_weights(schedule="one-cycle")[0]
    assert max(cycle[1:-1]) == max(cycle) and cycle[0] < 0.1 * max(cycle) and cycle[-1] < cycle[0]
    others = [cosine, rates_and_weights(momentum=0.9), rates_and_weights(clip_norm=0.01), rates_and_weights(optimizer="adamw")]
    assert not any(torch.equal(plain[1], other[1]) for other in others)


def test_averaged_weights_are_kept_and_judged():
    """They start as the first step's and follow slower from step to step, a tenth of the difference at least."""
    training, steps = Training(Linear, Line(), TRAIN, replace(PLAIN, average=0.9), 3, FABRIC), []
    for _ in range(PLAIN.epochs):
        training.epoch()
        steps.append({name: value.clone() for name, value in training.model.module.state_dict().items()})
    expected = steps[0]
    for number, step in enumerate(steps[1:], 1):
        share = max(0.1, 9 / (10 + number))
        expected = {name: (1 - share) * value + share * step[name] for name, value in expected.items()}
    assert all(torch.allclose(value, expected[name], atol=1e-6) for name, value in training.weights().items())
    assert not torch.allclose(training.weights()["linear.weight"], steps[-1]["linear.weight"], atol=1e-4)
    result = fit(Linear, Line(), TRAIN, VALID, replace(PLAIN, average=0.9), 3, FABRIC)
    assert all(torch.equal(value, training.weights()[name]) for name, value in result.weights.items())
    loss = masked_mse(predict(training.judged, Line(), VALID, 0, FABRIC), Line().targets(VALID))
    assert result.history[-1]["valid_loss"] == pytest.approx(float(loss), rel=1e-6)


def test_errors_count_in_units_of_each_outputs_own_scale():
    prediction, target = torch.tensor([[1.0, 100.0]]), torch.tensor([[3.0, 300.0]])
    assert float(masked_mse(prediction, target, torch.tensor([2.0, 200.0]))) == 1.0
    scaled = Linear()
    scaled.scale = torch.tensor([4.0])
    assert float(masked_mse(prediction, target, scale_of(scaled))) == float(masked_mse(prediction, target)) / 16
    assert scale_of(Linear()) == 1.0


def test_loss_is_the_mean_of_squares_or_their_sum_over_outputs_averaged_over_examples():
    """Squares 1, 4, 9 and 16, 0, one not measured: 30 / 5 cells, and 30 / 2 examples; in units of (1, 2, 3): 1 + 1 + 1 and 16 + 0."""
    prediction, target = torch.zeros(2, 3), torch.tensor([[1.0, -2.0, 3.0], [4.0, 0.0, torch.nan]])
    prediction.requires_grad_()
    assert masked_mse(prediction, target).item() == 6.0 and masked_mse(prediction, target, loss="sum").item() == 15.0
    assert masked_mse(prediction, target, torch.tensor([1.0, 2.0, 3.0]), "sum").item() == 9.5
    masked_mse(prediction, target, loss="sum").backward()
    assert prediction.grad.tolist() == [[-1.0, 2.0, -3.0], [-4.0, 0.0, 0.0]], "2 · error / 2 examples; nothing where nothing was measured"
    assert float(masked_mse(torch.ones(1, 2), torch.full((1, 2), torch.nan))) == 0.0
    summed = Training(Linear, Line(), TRAIN, replace(PLAIN, loss="sum"), 3, FABRIC)
    assert float(summed.step(np.array([0, 1, 2, 3]))) == pytest.approx(
        float((Line().y[1:4] - Training(Linear, Line(), TRAIN, PLAIN, 3, FABRIC).network(Line().x[1:4])).square().sum()) / 4
    )


def test_the_rate_falls_after_a_rise_of_the_error_down_to_a_floor_and_never_rises():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 1.2e-5}, {"params": weights[1:], "lr": 3.6e-5}])
    rule, rates = FallOnRise(optimizer, 1.2e-5), []
    for error in (0.5, 0.4, 0.41, 0.41, 0.3, 0.31, 0.32, 0.33, 0.1):
        rule.note(error)
        rates.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(3 * rates[-1])
    assert rates == pytest.approx([1.2e-5, 1.2e-5, 1.08e-5, 1.08e-5, 1.08e-5, 1e-5, 1e-5, 1e-5, 1e-5]) and LEAST_RATE == 1e-5
    below = FallOnRise(torch.optim.SGD(weights, lr=1e-6), 1e-6)
    for error in (1, 2):
        below.note(error)
    assert below.optimizer.param_groups[0]["lr"] == 1e-6, "a rate below the floor is not raised to it"


def test_the_rate_follows_the_error_on_fixed_training_examples_without_dropout():
    """With a rate at which training diverges, every epoch but the first is followed by a fall."""

    class Dropping(Linear):
        def forward(self, x):
            assert self.training or len(x) == len(TRAIN), "all training examples, being fewer than the most that are looked at"
            return super().forward(x)

    training, rates = Training(Dropping, Line(), TRAIN, replace(PLAIN, schedule="on-rise", learning_rate=1.5), 3, FABRIC), []
    for _ in range(4):
        training.epoch()
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1.5, 1.35, 1.215, 1.0935]) and RATE_ROWS == 5_000
    calm = Training(Linear, Line(), TRAIN, replace(PLAIN, schedule="on-rise"), 3, FABRIC)
    for _ in range(4):
        calm.epoch()
    assert calm.optimizer.param_groups[0]["lr"] == PLAIN.learning_rate


class TwoLines(nn.Module):
    """x → a · x + b → c · (…) + d, all 1."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)
        for parameter in self.parameters():
            nn.init.ones_(parameter)

    def forward(self, x):
        return self.second(self.first(x))


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_weights_behind_the_first_layer_learn_faster_biases_do_not(factor):
    """x = 1, y = 0: the prediction is 3, its gradient 6; a, b and d have the gradient 6, c that times 2."""
    model = TwoLines()
    optimizer = make_optimizer(model, replace(PLAIN, learning_rate=0.01, later_rate=factor))
    masked_mse(model(torch.ones(1, 1)), torch.zeros(1, 1)).backward()
    optimizer.step()
    moved = {name: 1 - float(value.detach()) for name, value in model.named_parameters()}
    assert moved == pytest.approx({"first.weight": 0.06, "first.bias": 0.06, "second.weight": 0.12 * factor, "second.bias": 0.06})


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_accumulated_batches_are_one_large_batch(loss):
    """Also where one of them has more gaps than another, and where the last step is a smaller one."""
    config = replace(PLAIN, loss=loss, learning_rate=0.003, clip_norm=0.5)
    large, small = (replace(config, batch_size=size, accumulate=count) for size, count in ((128, 1), (32, 4)))
    gaps = Line()
    gaps.y[:200:2] = torch.nan
    first, second, other = (Training(Linear, gaps, TRAIN, one, 3, FABRIC) for one in (large, small, replace(large, batch_size=32)))
    losses = [[training.epoch() for _ in range(3)] for training in (first, second, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert all(torch.allclose(value, second.weights()[name], atol=1e-6) for name, value in first.weights().items())
    assert not torch.allclose(first.weights()["linear.weight"], other.weights()["linear.weight"], atol=1e-4)
    assert first.schedule.last_epoch == second.schedule.last_epoch == 9, "300 examples, three epochs of three steps"


def test_a_compiled_network_learns_the_same_and_its_weights_keep_their_names():
    plain, fast = (fit(Linear, Line(), TRAIN, VALID, replace(PLAIN, epochs=2, compile=compile), 3, FABRIC) for compile in (False, True))
    assert fast.weights.keys() == {"linear.weight", "linear.bias"}
    assert all(torch.allclose(value, fast.weights[name], atol=1e-5) for name, value in plain.weights.items())


def test_without_a_compiler_a_compiled_network_is_refused(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda _: fail)
    with pytest.raises(
        InputError, match=r"compile: PyTorch cannot compile on this machine \(No working.*\); install g\+\+, or leave it out"
    ):
        Training(Linear, Line(), TRAIN, replace(CONFIG, compile=True), 3, FABRIC)


def test_without_patience_the_last_epoch_counts_and_is_judged(caplog):
    rises = fit(Linear, Line(), TRAIN, VALID, replace(PLAIN, learning_rate=1.5, epochs=4), 1, FABRIC, restarts=0)
    losses = [row["valid_loss"] for row in rises.history]
    assert losses[0] < losses[-1], "training diverges"
    model = Linear()
    model.load_state_dict(rises.weights)
    assert float(masked_mse(predict(model, Line(), VALID, 0, FABRIC), Line().targets(VALID))) == pytest.approx(losses[-1], rel=1e-5)
    dead = fit(Dead, Line(), TRAIN, VALID, replace(PLAIN, epochs=12), 1, FABRIC, restarts=0)
    assert dead.status == "collapsed" and len(dead.history) == 12, "nothing ends it early"


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"optimizer": "adagrad"}, "optimizer 'adagrad': there are adamw, adam, sgd"),
        ({"schedule": "linear"}, "schedule 'linear': there are cosine, one-cycle, constant, on-rise"),
        ({"loss": "mae"}, "loss 'mae': there are mean, sum"),
        ({"later_rate": 0.0}, "later_rate 0.0: a factor above 0 is needed"),
        ({"accumulate": 0}, "accumulate 0: 1 at least is needed"),
        ({"accumulate": 2, "batch_size": 0}, "accumulate 2: batch_size 0 takes all examples at once; give a batch_size"),
        ({"average": 1.0}, "average 1.0: from 0, below 1"),
        ({"epochs": 0}, "epochs 0: 1 at least is needed"),
        ({"batch_size": -1}, "batch_size -1: 0 at least is needed"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_a_second_fit_takes_seed_and_epochs_of_the_first():
    """On the same examples, all in one step, it must end in the same weights; with validation among them in others, near the truth."""
    config = replace(CONFIG, batch_size=0, learning_rate=0.3, patience=3)
    first = fit(Linear, Line(), TRAIN, VALID, config, 3, FABRIC)
    assert first.epochs == 1 + np.argmin([row["valid_loss"] for row in first.history])
    again, joined = (refit(Training(Linear, Line(), part, config, first.seed, FABRIC), first.epochs) for part in (TRAIN, np.arange(400)))
    assert all(torch.equal(value, again[name]) for name, value in first.weights.items())
    assert not torch.equal(joined["linear.weight"], again["linear.weight"])


def test_dead_units_are_a_collapse(caplog):
    result = fit(Dead, Line(), TRAIN, VALID, Settings(epochs=20), 1, FABRIC)
    assert result.status == "collapsed" and result.seed == 1 + 1000 * RESTARTS
    assert caplog.text.count("COLLAPSED") == RESTARTS + 1


class HalfDead(nn.Module):
    """A layer that is off for every input, beside a path that learns: the predictions vary, and still a layer is lost."""

    def __init__(self):
        super().__init__()
        self.dead, self.line = Dead(), nn.Linear(2, 1)

    def forward(self, x):
        return self.line(x) + self.dead(x)


def test_a_layer_that_is_off_is_a_collapse_though_predictions_vary(caplog):
    result = fit(HalfDead, Line(), TRAIN, VALID, Settings(epochs=20, learning_rate=0.05), 1, FABRIC, restarts=0)
    assert result.status == "collapsed" and result.history[-1]["silent"] == 1 and result.history[-1]["spread"] > 0.01
    assert "seed 1: COLLAPSED, 1 layer(s) of rectifiers are off for every example" in caplog.text
    assert fit(Linear, Line(), TRAIN, VALID, Settings(epochs=2), 1, FABRIC).history[-1]["silent"] == 0


class PassesOn(nn.Module):
    """Adds a constant to a known offset, which stands in the first input: it has learnt nothing."""

    def __init__(self):
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

    def __init__(self):
        super().__init__()
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

    def sometimes():
        made.append(1)
        return (Dead if len(made) == 1 else Linear)()

    result = fit(sometimes, Line(), TRAIN, VALID, Settings(epochs=20, learning_rate=0.05), 1, FABRIC)
    assert (result.status, result.seed, len(made)) == ("trained", 1001, 2)
    assert [row["seed"] for row in result.history[:6]] == [1, 1, 1, 1, 1, 1001], "the learning curve shows the first try, too"


def test_divergence_is_no_success():
    broken = Line()
    broken.x[0] = torch.inf
    assert fit(Linear, broken, TRAIN, VALID, Settings(epochs=6), 1, FABRIC).status == "collapsed"


def test_two_processes_learn_what_one_does(tmp_path):
    """By the command itself: 6 examples in batches of 5 and 1, so that the second process has none of the last one; both fits."""
    groups = [f"g{i // 3}" for i in range(12)]
    dataset = tiny_dataset(tmp_path / "dataset.h5", samples=12, genes=30, groups=groups)
    config = '{"epochs": 3, "batch_size": 5, "accumulate": 2, "schedule": "on-rise", "average": 0.5}'
    of, data = ["--families-dir", TOYS], ["--dataset", dataset]
    run_script("prepare", "--family", "toy_samples", *of, "--config", config, "--fold", 0, "--refit", *data, "--out", tmp_path / "prepared")
    made, told = [], []
    for devices in (1, 2):
        out = [word for name in ("history-out", "task-out", "out") for word in (f"--{name}", tmp_path / f"{devices}.{name}")]
        command = [BIN / "train.py", "--prepared", tmp_path / "prepared", *of, "--device", "cpu", "--devices", devices, *data, *out]
        told.append(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=240).stderr)
        made.append(load_checkpoint(out[-1]))
    assert "MEMBER: 2/2" in told[1] and told[1].count("examples to train on") == told[0].count("examples to train on") == 1
    for one, both in (made, [content["selection"] for content in made]):
        assert one["weights"].keys() == both["weights"].keys()
        assert all(torch.allclose(value, both["weights"][name], rtol=0, atol=1e-5) for name, value in one["weights"].items())
    losses = [np.loadtxt(tmp_path / f"{devices}.history-out", skiprows=1)[:, 2:4] for devices in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and (tmp_path / "2.task-out").is_file()


def test_more_gpus_than_there_are_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="--devices 4: this machine shows 2 GPUs to PyTorch; ask for as many"):
        make_fabric("auto", "32-true", 4)


def test_cuda_without_gpu_says_so():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="--device cuda: this machine shows no GPU"):
        make_fabric("cuda", "32-true")


CONTENT = dict(family="toy", preset="default", sizes={"a": 1}, state={"mean": torch.ones(2)}, weights={"w": torch.zeros(1)}, rows=["S1"], columns=["G1"],
               unit="tpm", fold=0, seed=1, trained_seed=1, status="trained", control="", code="x", selection=None)  # fmt: skip


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
    with pytest.raises(InputError, match="checkpoint version 0, this code reads 3; train again"):
        load_checkpoint(path)


@pytest.mark.parametrize(("inputs", "batch"), [(100, 4_096), (20_000, 104), (3_000_000, 1)])
def test_fewer_examples_with_many_inputs_are_predicted_at_once(inputs, batch):
    class Wide:
        def __len__(self):
            return 3

        def inputs(self, index):
            return torch.zeros(len(index), inputs - 8, dtype=torch.uint8), torch.zeros(len(index), 8)

    assert fitting_batch(Wide()) == batch
