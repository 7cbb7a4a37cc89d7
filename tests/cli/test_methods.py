"""``--method``: what is more than a weighting, as a user types it."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

import moml
from moml.__main__ import main
from moml.logging import MetricsLog
from tests.small_suite import Small

SMALL = [
    "--suite", "tests.small_suite.Small", "--batch_size", "16", "--eval_every", "6",
    "--log_every", "2",
]  # fmt: skip
METHODS = {
    "MOML": ["--method", "MOML"],
    "MOML with CAGrad": ["--method", "MOML", "--weighting", "CAGrad", "--weight_sum", "one"],
    "MOML unrolled": ["--method", "MOML", "--method.hypergradient", "Unrolled",
                      "--method.inner_steps", "2", "--method.reuse", "false"],
    "MOML implicit": ["--method", "MOML", "--method.hypergradient", "Neumann",
                      "--method.hypergradient.terms", "3",
                      "--method.hypergradient.on_invalid", "ignore"],
    "AutoLambda": ["--method", "AutoLambda", "--method.primary", "[left]"],
    "FORUM": ["--method", "FORUM", "--method.inner_steps", "2", "--method.rho", "5.0",
              "--clip_norm", "5.0"],
    "BilevelSharing": ["--method", "BilevelSharing", "--architecture", "SafeMTL"],
}  # fmt: skip


def train(folder, *options):
    return main(["train", *SMALL, "--steps", "12", "--run_dir", str(folder), *options])


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_resumes_to_the_same_bits(name, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = [*METHODS[name], "--checkpoint_every", "3", "--seed", "4"]
    assert train(whole, *options) == 0
    after_step = MetricsLog.after_step

    class PowerCut(BaseException):  # as a kill, no error of a user
        pass

    def cut(self, training):
        if training.step == 8:
            raise PowerCut
        after_step(self, training)

    monkeypatch.setattr(MetricsLog, "after_step", cut)
    with pytest.raises(PowerCut):
        train(broken, *options)
    monkeypatch.setattr(MetricsLog, "after_step", after_step)
    assert not (broken / "results.json").exists()
    assert main(["train", "--resume", str(broken)]) == 0
    for file in ("weights.safetensors", "best.safetensors"):
        left, right = load_file(whole / file), load_file(broken / file)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[k], right[k]) for k in left)
    assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["MOML", "AutoLambda", "FORUM"])
def test_learnt_weights_are_on_the_page(name, tmp_path, capsys):
    folder = tmp_path / "run"
    assert train(folder, *METHODS[name]) == 0
    train_lines = [x for x in lines_of(folder) if x["kind"] == "train"]
    learnt = [x["curves"]["Learnt task weights"] for x in train_lines]
    assert [set(w) for w in learnt] == [{"left", "right"}] * 6
    assert learnt[0] != learnt[-1]
    page = (folder / "report.html").read_text()
    assert "<h2>Learnt task weights</h2>" in page
    assert "Weights of the upper objectives" in page
    assert f"Small with {name}" in page
    results = json.loads((folder / "results.json").read_text())
    assert results["method"] == name
    assert yaml.safe_load((folder / "config.yaml").read_text()).get("weighting") is None
    run = moml.load_run(folder)
    assert run.evaluate("test").metrics == results["test"]


def test_weightings_are_recorded_as_before(tmp_path):
    assert train(tmp_path / "run") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["method"], results["weighting"]) == (None, "EW")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["weighting"]["class_path"] == "moml.weighting.EW"
    assert "curves" not in (tmp_path / "run" / "metrics.jsonl").read_text()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<h2>Task weights</h2>" in page


def test_partly_labelled_multi_input_data(tmp_path):
    for name in ("MOML", "AutoLambda", "FORUM"):
        assert train(tmp_path / name, *METHODS[name], "--suite.multi_input", "true",
                     "--suite.missing", "0.5") == 0  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "MOLM"],
         "`method` should be among AutoLambda, BilevelSharing, FORUM, MOML, or a class path, "
         "found 'MOLM'. Did you mean 'MOML'?"),
        (["--method", "FORUM", "--weighting", "MGDA"],
         "`weighting` should be left out with FORUM, found MGDA."),
        (["--method", "AutoLambda", "--weighting", "EW"],
         "`weighting` should be left out with AutoLambda, found EW."),
        (["--method", "MOML", "--gradients", "representation"],
         "`gradients` should be left out with a method, found 'representation'."),
        (["--method", "MOML", "--heads", "unit"], "`heads` should be left out with a method"),
        (["--method", "MOML", "--normalize", "l2"],
         "`normalize` should come with `weighting` where there is a method"),
        (["--method", "MOML", "--method.held_out", "1.5"], "`held_out` should be above 0"),
        (["--method", "FORUM", "--method.upper_rate", "0"], "`upper_rate` should be positive"),
        (["--method", "AutoLambda", "--method.primary", "[top]"],
         "`objectives` should be among ['left', 'right'], found ['top']"),
        (["--method", "MOML", "--method.inner_steps", "3"], "should be one step of InnerSGD"),
        (["--method", "MOML", "--method.held_outt", "0.3"], "Did you mean 'held_out'?"),
        (["--method", "MOML", "--method.hypergradient", "Unroled"], "Unroled"),
        (["--weighting", "CAGrad", "--weighting.c=-1"], "`c` should not be negative"),
    ],
)  # fmt: skip
def test_bad_options_get_one_sentence(options, message, tmp_path, capsys):
    assert train(tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_method_from_a_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "method:\n  class_path: moml.bilevel_mtl.method.MOML\n  init_args:\n    upper_rate: 0.1\n"
        "    hypergradient: {class_path: moml.bilevel.Truncated, init_args: {k: 1}}\n"
    )
    assert train(tmp_path / "run", "--config", str(file)) == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["method"]["init_args"]["hypergradient"]["init_args"] == {"k": 1}


@pytest.mark.slow
def test_methods_in_a_comparison(tmp_path, capsys):
    folder = tmp_path / "compare"
    assert main(
        ["compare", *SMALL, "--steps", "6", "--weightings", "[EW]", "--methods",
         "[MOML, {class_path: FORUM, init_args: {inner_steps: 2}, label: FORUM-2}]",
         "--seeds", "[0]", "--tune", "none", "--output", str(folder)]
    ) == 0  # fmt: skip
    rows = json.loads((folder / "comparison.json").read_text())
    assert [(r["label"], r["method"], r["weighting"]) for r in rows] == [
        ("EW", None, "EW"), ("MOML", "MOML", None), ("FORUM-2", "FORUM", None),
    ]  # fmt: skip
    assert len({r["steps"] for r in rows}) == 1
    assert {r["learning_rate"] for r in rows} == {Small().defaults.learning_rate}
    assert "FORUM-2" in (folder / "comparison.html").read_text()
    assert main(["compare", *SMALL, "--tune", "none", "--learning_rates", "[1e-3, 1e-2]"]) == 2
    assert "`learning_rates` should hold one rate with --tune none" in capsys.readouterr().err
    assert main(["compare", *SMALL, "--methods", "[MOLM]"]) == 2
    assert "Did you mean 'MOML'?" in capsys.readouterr().err


def test_list_methods(capsys):
    assert main(["list", "methods"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("MOML", "AutoLambda", "FORUM"))
