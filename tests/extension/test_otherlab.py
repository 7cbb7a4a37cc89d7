"""A package of somebody else's, installed, and used end to end: public names are enough."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "package"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Runs a command where the package is installed."""
    place = tmp_path_factory.mktemp("installed")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([sys.executable, *install, "--target", place, PACKAGE], check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(place), str(Path.cwd())])}

    def run(*words, folder):
        done = subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.supported
def test_suite_architecture_and_weighting_of_another_package_train(lab, tmp_path):
    lab("-m", "moml", "train", "--suite", "otherlab.TwoQuestions", "--architecture",
        "otherlab.GatedHeads", "--weighting", "otherlab.Softened", "--run_dir", "run",
        folder=tmp_path)  # fmt: skip
    found = results(tmp_path / "run")
    assert found["architecture"] == "GatedHeads"
    assert found["test"]["digit"]["accuracy"] > 0.5
    code = "import moml; print(type(moml.load_run('run').model).__module__)"
    assert lab("-c", code, folder=tmp_path).strip() == "otherlab.architecture"


@pytest.mark.supported
@pytest.mark.slow
def test_a_search_method_of_another_package_searches(lab, tmp_path):
    lab("-m", "moml", "search", "--space", "NBDigits", "--space.channels", "4", "--method",
        "otherlab.SmallestFirst", "--budget", "2", "--epochs", "1", "--run_dir", "found",
        folder=tmp_path)  # fmt: skip
    found = results(tmp_path / "found")
    assert (found["method"], found["trained"]) == ("SmallestFirst", 2)


SCRIPT = """
import moml, torch
from otherlab import Consistent, GatedHeads, RandomCorners, TwoQuestions
from moml.attack import Linf, Victim
from moml.weighting import PCGrad

suite = TwoQuestions()
torch.manual_seed(0)
encoder = suite.encoder()
model = GatedHeads(encoder, suite.heads(32))
losses = {task: spec.loss for task, spec in suite.tasks.items()}
problem = Consistent(moml.MultiTask(model, losses), weight=1.0)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
loader = suite.loader("train", batch_size=32)
moml.fit(problem, moml.oracle.Direct(), PCGrad(), optimizer, loader, steps=60)
batch = next(iter(suite.loader("test")))
x, y, victim = batch.inputs, batch.targets["digit"], Victim(model)
wrong = lambda x: torch.nn.functional.cross_entropy(victim(x)["digit"], y, reduction="none")
attacked = RandomCorners(Linf(0.1)).perturb(wrong, x)
assert (attacked - x).abs().max() <= 0.1 + 1e-6
print(problem.disagreement.item() < 0.1, bool((wrong(attacked) > wrong(x)).all()))
"""


@pytest.mark.supported
def test_an_auxiliary_loss_and_an_attack_of_another_package(lab, tmp_path):
    assert lab("-c", SCRIPT, folder=tmp_path).split() == ["True", "True"]


def test_the_package_imports_public_names_only():
    for file in (PACKAGE / "otherlab").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not any(p.startswith("_") for p in node.module.split(".")), node.module
                assert not any(alias.name.startswith("_") for alias in node.names)
