"""A family whose last two rectifiers are off: the report is written and says COLLAPSED, and then the run fails, in one line."""

import h5py
import pytest

DEAD = '''

class TwoUnits(nn.Module):
    """A last layer of two rectifiers that are off for every input: only the bias of the output is left to learn."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.relu, self.out = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)
        nn.init.constant_(self.hidden.bias, -1e6)
        nn.init.constant_(self.out.bias, 0.005055092)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.relu(self.hidden(x)))


class Model(Model):
    def __init__(self, config: Config, sizes: dict[str, int]) -> None:
        super().__init__(config, sizes)
        self.last = TwoUnits()

    def forward(self, window: torch.Tensor, mean_window: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        return self.last(super().forward(window, mean_window, level))
'''


@pytest.fixture
def dead_family(project):
    """Put a family `dead` into the project's copy, for one test."""
    path = project / "bin/exprcast/families/dead.py"
    path.write_text((path.parent / "atac_cis.py").read_text() + DEAD)
    yield path
    path.unlink()


def test_a_collapse_is_reported_and_then_fails_the_run(pipeline, dead_family, base, tmp_path):
    words = ["--families", "dead:quick", "--attribution_genes", 0, "--dataset", base.results / "dataset.h5"]
    run = pipeline(tmp_path, "-profile", "test", "--simulate", "false", *words)
    assert run.status == 1
    assert run.text.strip().splitlines()[-1] == (
        "check_trained.py: error: COLLAPSED: 2 of 2 networks predict the same for every input, after all restarts: dead fold 0 seed 1, "
        "dead fold 1 seed 1; the report is written and says so; try another preset, a lower learning rate or more data"
    )
    report = (run.results / "report.html").read_text()
    assert "COLLAPSED in 2 of 2 trainings" in report
    with h5py.File(run.results / "predictions/dead.h5") as file:
        assert set(file["status"].asstr()[:].ravel()) == {"collapsed"}
    history = (run.results / "tables/histories/dead.fold0.seed1.history.tsv").read_text()
    assert len({line.split("\t")[1] for line in history.splitlines()[1:]}) == 4, "it was trained again from three more seeds"
