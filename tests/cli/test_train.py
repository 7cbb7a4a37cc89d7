"""The commands as a user types them; real kills in processes of their own."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file

import moml
from moml.__main__ import main

SMALL = ["--suite", "TwoDigits", "--batch_size", "32", "--eval_every", "6", "--log_every", "2"]


def train(folder, *options):
    return main(["train", *SMALL, "--steps", "12", "--run_dir", str(folder), *options])


def same_weights(a, b, name="weights.safetensors"):
    left, right = load_file(a / name), load_file(b / name)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_a_run_folder_holds_what_it_should(tmp_path, capsys):
    folder = tmp_path / "run"
    assert train(folder, "--weighting", "MGDA", "--seed", "5") == 0
    assert {
        "config.yaml", "versions.json", "metrics.jsonl", "results.json", "report.html",
        "weights.safetensors", "best.safetensors", "checkpoints", "tensorboard",
    } <= {p.name for p in folder.iterdir()}  # fmt: skip
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"last.pt", "best.pt"}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["seed"] == 5
    assert config["weighting"]["class_path"] == "moml.weighting.MGDA"
    assert "run_dir" not in config
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if x["kind"] == "train"] == [2, 4, 6, 8, 10, 12]
    assert [x["step"] for x in lines if x["kind"] == "eval" and x["split"] == "val"] == [6, 12]
    assert lines[0]["weights"]["left"] + lines[0]["weights"]["right"] == pytest.approx(1)
    assert "cosines" in lines[0]
    out = capsys.readouterr().out
    assert "test left: accuracy" in out
    assert "report.html" in out


def test_a_loaded_run_scores_what_it_said(tmp_path, capsys):
    folder = tmp_path / "run"
    train(folder)
    run = moml.load_run(folder)
    assert not run.model.training
    assert run.evaluate("test").metrics == run.results["test"]
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--split", "val"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == run.results["val"]
    last = moml.load_run(folder, weights="last")
    stored = load_file(folder / "weights.safetensors")
    assert all(torch.equal(stored[k], v) for k, v in last.model.state_dict().items() if k in stored)


def test_the_same_seed_gives_the_same_folder(tmp_path):
    for name in ("one", "two"):
        train(tmp_path / name, "--weighting", "RLW", "--seed", "3")
    one, two = tmp_path / "one", tmp_path / "two"
    assert same_weights(one, two)
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    train(tmp_path / "three", "--weighting", "RLW", "--seed", "4")
    assert not same_weights(one, tmp_path / "three")


@pytest.mark.slow
def test_the_seed_reaches_random_weightings(tmp_path):
    drawn = []
    for seed in ("1", "2"):
        train(tmp_path / seed, "--weighting", "RLW", "--seed", seed)
        first = json.loads((tmp_path / seed / "metrics.jsonl").read_text().splitlines()[0])
        drawn.append(first["weights"]["left"])
    assert drawn[0] != drawn[1]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "weighting", ["UW", pytest.param("RLW", marks=SLOW), pytest.param("UPGrad", marks=SLOW)]
)
def test_killed_and_resumed_is_the_unbroken_run(weighting, tmp_path):
    """SIGKILL at whatever step it happens to be; the folder ends up the same to the byte."""
    options = ["--weighting", weighting, "--seed", "5", "--steps", "40", "--checkpoint_every", "3"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["train", *SMALL, *options, "--run_dir", str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "moml", "train", *SMALL, *options, "--run_dir", str(broken)],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (broken / "checkpoints" / "previous.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (broken / "results.json").exists()
    assert main(["train", "--resume", str(broken)]) == 0
    assert same_weights(whole, broken)
    assert same_weights(whole, broken, "best.safetensors")
    assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()
    results = [json.loads((d / "results.json").read_text()) for d in (whole, broken)]
    for result in results:
        del result["cpu_seconds"]
    assert results[0] == results[1]


def test_sigterm_saves_and_says_how_to_go_on(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "moml", "train", *SMALL, "--steps", "100000", "--checkpoint_every",
         "5", "--run_dir", str(folder)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / "last.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"continue with `moml train --resume {folder}`" in out
    assert out.strip().splitlines()[-1].startswith("Stopped by SIGTERM after step")


def test_an_occupied_folder_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "run"
    train(folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert train(folder) == 2
    assert "should be a new or empty folder" in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_a_finished_run_can_be_resumed_without_harm(tmp_path):
    folder = tmp_path / "run"
    train(folder)
    before = (folder / "metrics.jsonl").read_bytes()
    assert main(["train", "--resume", str(folder)]) == 0
    assert (folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weighting", "MGAD"], "Did you mean 'MGDA'?"),
        (["--suite", "TwoDigit"], "Did you mean 'TwoDigits'?"),
        (["--architecture", "HSP"], "Did you mean 'HPS'?"),
        (["--wieghting", "EW"], "There is no option `wieghting`. Did you mean 'weighting'?"),
        (["--steps", "many"], "`steps` should be an integer, found 'many'."),
        (["--learning_rate", "fast"], "`learning_rate` should be a number, found 'fast'."),
        (["--steps", "0"], "`steps` should be at least 1, found 0."),
        (["--batch_size", "-3"], "`batch_size` should be at least 1, found -3."),
        (["--threads", "0"], "`threads` should be at least 1, found 0."),
        (["--device", "gpu7"], "`device` should be a device of this machine, found 'gpu7'."),
        (["--heads", "both"], "`heads` should be 'unit' or 'weighted', found 'both'."),
        (["--gradients", "both"], "found 'both'."),
        (["--tasks", "[top]"], "`tasks` should be among ['left', 'right'], found ['top']."),
        (["--reference", "no.json"], "`reference` should be a results file made by `moml single`"),
        (["--optimizer.lr", "0.3"], "Use `learning_rate`."),
        (["--weighting", "CAGrad", "--weighting.c", "lots"], "lots"),
        (["--weighting", "no.such.Class"], "no.such.Class"),
        (["--config", "two_digit"], "Did you mean 'two_digits'?"),
        (["--config", "no.yaml"], "`config` should be a readable file, found 'no.yaml'"),
    ],
)
def test_bad_options_get_one_sentence(options, message, tmp_path, capsys):
    assert train(tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train"],
            "`suite` should be given: one of CelebA,",
        ),
        (["trian"], "unknown command 'trian'. Did you mean 'train'?"),
        (["list", "weighting"], "Did you mean 'weightings'?"),
        (["train", "--resume", "nowhere"], "found no config.yaml in 'nowhere'"),
        (["evaluate", "nowhere"], "found no config.yaml in 'nowhere'"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_bad_commands_get_one_sentence(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert train(tmp_path / "file" / "run") == 2
    assert "should be a writable folder" in capsys.readouterr().err


def test_a_damaged_config_file(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("steps: [1,\n")
    assert main(["train", "--config", str(file)]) == 2
    assert "`config` should be YAML" in capsys.readouterr().err
    file.write_text("weighting:\n  class_path: CAGrd\n")
    assert main(["train", "--config", str(file)]) == 2
    assert "Did you mean 'CAGrad'?" in capsys.readouterr().err


def test_print_config_is_a_config(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", *SMALL, "--weighting", "CAGrad", "--weighting.c", "0.3", "--print_config"])
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["weighting"]["init_args"]["c"] == 0.3
    file = tmp_path / "config.yaml"
    file.write_text(text)
    folder = tmp_path / "run"
    assert main(["train", "--config", str(file), "--steps", "2", "--run_dir", str(folder)]) == 0


OWN = '''
import torch
from moml.data import TensorSource, Suite, TaskSpec
from moml.losses import MeanSquaredError
from moml.weighting import LossWeighting


class Halves(LossWeighting):
    """Half of everything."""

    def __init__(self, *, factor: float = 0.5):
        super().__init__()
        self.factor = factor

    def weights(self, losses, *, tasks=None):
        return torch.full_like(losses, self.factor)


def metrics():
    from torchmetrics import MeanAbsoluteError
    return {"mae": MeanAbsoluteError()}


class Sums(Suite):
    """Sum and difference of two numbers."""

    tasks = {t: TaskSpec(MeanSquaredError(), metrics, main="mae") for t in ("sum", "difference")}

    def __init__(self, *, labels: bool = True, samples: int = 64):
        self.labels, self.samples = labels, samples

    def sources(self, split):
        x = torch.rand(self.samples, 2, generator=torch.Generator().manual_seed(len(split)))
        targets = {"sum": x.sum(1), "difference": x[:, 0] - x[:, 1]}
        present = None if self.labels else {"sum": torch.zeros(len(x), dtype=torch.bool)}
        return TensorSource(x, targets, present)

    def encoder(self):
        layer = torch.nn.Linear(2, 4)
        return layer

    def head(self, task, in_features):
        return torch.nn.Sequential(torch.nn.Linear(in_features, 1), torch.nn.Flatten(0))
'''


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_project.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_project", None)


def test_a_suite_and_a_weighting_of_ones_own_by_class_path(own_module):
    folder = own_module / "run"
    arguments = ["--suite", "my_project.Sums", "--weighting", "my_project.Halves"]
    assert main(["train", *arguments, "--weighting.factor", "0.25", "--steps", "20",
                 "--batch_size", "8", "--run_dir", str(folder)]) == 0  # fmt: skip
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert first["weights"] == {"sum": 0.25, "difference": 0.25}
    assert moml.load_run(folder).results["suite"] == "Sums"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--suite.labels", "false"], "Task 'sum' should have at least one label"),
        (["--suite.samples", "0"], "at least one sample, found an empty data set"),
    ],
)
def test_data_without_labels_or_samples(own_module, option, message, capsys):
    arguments = ["--suite", "my_project.Sums", *option, "--run_dir", str(own_module / "run")]
    assert main(["train", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_label_out_of_range(own_module, capsys):
    (own_module / "my_project.py").write_text(
        OWN.replace("MeanSquaredError()", "CrossEntropy(3)")
        .replace("import MeanSquaredError", "import CrossEntropy")
        .replace("x.sum(1)", "torch.full((len(x),), 7)")
        .replace("x[:, 0] - x[:, 1]", "torch.zeros(len(x), dtype=torch.long)")
    )
    assert main(["train", "--suite", "my_project.Sums", "--run_dir", str(own_module / "r")]) == 2
    assert "Targets of task 'sum' should be labels in 0..2, found 7..7." in capsys.readouterr().err


def test_a_loss_that_diverges_names_task_and_step_and_keeps_what_was_written(own_module, capsys):
    folder = own_module / "run"
    arguments = ["--suite", "my_project.Sums", "--optimizer", "SGD", "--learning_rate", "1e30"]
    assert main(["train", *arguments, "--steps", "50", "--run_dir", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "Step " in error
    assert "loss of task 'sum'" in error
    assert (folder / "checkpoints" / "last.pt").exists()


def test_wrappers_by_option(tmp_path):
    folder = tmp_path / "run"
    train(folder, "--weighting", "MGDA", "--weight_sum", "tasks", "--normalize", "loss+",
          "--update_every", "3", "--gradients", "representation", "--heads", "unit")  # fmt: skip
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    weights = [x["weights"] for x in lines if x["kind"] == "train"]
    assert all(w["left"] + w["right"] == pytest.approx(2) for w in weights)
    with_cosines = [x["step"] for x in lines if "cosines" in x]
    assert with_cosines == [2, 4, 8, 10]  # the Gramian exists in steps 1, 4, 7, 10; lines are even


@pytest.mark.slow
def test_conflicts_on_request_for_methods_that_see_losses_only(tmp_path):
    folder = tmp_path / "run"
    train(folder, "--conflicts_every", "4")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any("cosines" in line for line in lines)
    train(tmp_path / "without")
    assert "cosines" not in (tmp_path / "without" / "metrics.jsonl").read_text()


def test_partly_labelled_multi_input_data(tmp_path):
    assert train(tmp_path / "run", "--suite.multi_input", "true", "--suite.missing", "0.5",
                 "--weighting", "PCGrad") == 0  # fmt: skip


@pytest.mark.slow
def test_compare_and_report(tmp_path, capsys):
    folder = tmp_path / "compare"
    arguments = ["compare", *SMALL, "--steps", "6", "--weightings", "[EW, MGDA]", "--seeds",
                 "[0, 1]", "--learning_rates", "[1e-3, 1e-2]", "--references", "true",
                 "--jobs", "1", "--output", str(folder)]  # fmt: skip
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "Learning rates: EW" in out
    rows = json.loads((folder / "comparison.json").read_text())
    assert [(r["label"], r["seed"]) for r in rows] == [
        ("EW", 0), ("EW", 1), ("MGDA", 0), ("MGDA", 1),
    ]  # fmt: skip
    assert all(isinstance(r["delta_percent"], float) for r in rows)
    for name in ("comparison.html", "comparison.md", "comparison.png", "reference.json"):
        assert (folder / name).exists()
    tuned = {r["label"]: r["learning_rate"] for r in rows}
    for label, rate in tuned.items():
        scores = {
            lr: json.loads((folder / f"{label}-lr{lr:g}-seed0" / "results.json").read_text())
            for lr in (1e-3, 1e-2)
        }
        assert scores[rate]["val_score"] == max(s["val_score"] for s in scores.values())
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("results.json")}
    assert main(arguments) == 0  # nothing is done twice
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("results.json")} == before
    runs = [str(folder / f"EW-lr{tuned['EW']:g}-seed{s}") for s in (0, 1)]
    assert main(["report", *runs, "--output", str(tmp_path / "pages")]) == 0
    assert (tmp_path / "pages" / "comparison.html").exists()


@pytest.mark.parametrize(
    "kind", ["weightings", "architectures", "suites", "few_shot_suites", "recipes"]
)
def test_list(kind, capsys):
    assert main(["list", kind]) == 0
    out = capsys.readouterr().out
    expected = {"weightings": "UPGrad", "architectures": "HPS", "suites": "Rooms"}
    expected["few_shot_suites"] = "Glyphs"
    assert expected.get(kind, "two_digits") in out


def test_listed_weightings_say_what_they_need_and_what_is_proven(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["list", "weightings"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "summary", "needs", "traits", "paper"]
    line = next(line for line in lines if line.startswith("UPGrad"))
    assert "Gramian" in line
    assert "non conflicting" in line
