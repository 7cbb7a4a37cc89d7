"""``moml meta`` as a user types it; a real kill in a process of its own."""

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

SMALL = ["--suite", "Sinusoid", "--objectives", "[clean, robust]", "--meta_batch_size", "2",
         "--val_episodes", "4", "--test_episodes", "6", "--eval_every", "6", "--log_every", "2",
         "--attack_steps", "2", "--eval_attack_steps", "2"]  # fmt: skip


def meta(folder, *options):
    return main(["meta", *SMALL, "--steps", "12", "--run_dir", str(folder), *options])


def same_weights(a, b, name="weights.safetensors"):
    left, right = load_file(a / name), load_file(b / name)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_a_run_folder_holds_what_it_should(tmp_path, capsys):
    folder = tmp_path / "run"
    assert meta(folder, "--weighting", "MGDA", "--method", "MetaSGD", "--seed", "5") == 0
    assert {
        "config.yaml", "versions.json", "metrics.jsonl", "results.json", "report.html",
        "weights.safetensors", "best.safetensors", "checkpoints", "tensorboard",
    } <= {p.name for p in folder.iterdir()}  # fmt: skip
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["method"]["class_path"] == "moml.few_shot.method.MetaSGD"
    assert config["objectives"] == ["clean", "robust"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if x["kind"] == "train"] == [2, 4, 6, 8, 10, 12]
    assert sum(lines[0]["weights"].values()) == pytest.approx(1)
    assert "cosines" in lines[0]
    page = (folder / "report.html").read_text()
    for text in ("MetaSGD", "clean × robust", "95 % interval over episodes", "Task weights"):
        assert text in page
    out = capsys.readouterr().out
    assert "test robust: mse" in out
    assert " ± " in out


def test_a_single_objective_has_no_conflicts_to_show(tmp_path):
    folder = tmp_path / "run"
    assert meta(folder, "--objectives", "[clean]") == 0
    assert "Gradient conflicts" not in (folder / "report.html").read_text()


@pytest.mark.parametrize("method", ["MetaSGD", "Reptile"])
def test_a_loaded_run_scores_what_it_said(method, tmp_path, capsys):
    folder = tmp_path / "run"
    options = ["--objectives", "[clean]", "--inner_steps", "2"] if method == "Reptile" else []
    assert meta(folder, "--method", method, *options) == 0
    run = moml.load_run(folder)
    assert not run.model.training
    assert run.evaluate("test").metrics == run.results["test"]
    assert run.evaluate("test").intervals == run.results["test_intervals"]
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--split", "val"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["metrics"] == run.results["val"]
    assert printed["intervals"] == run.results["val_intervals"]
    assert main(["evaluate", str(folder), "--split", "train"]) == 2
    assert "`split` should be 'val' or 'test'" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_compare_by_method_and_weighting(tmp_path):
    for weighting in ("EW", "MGDA"):
        meta(tmp_path / weighting, "--weighting", weighting)
    runs = [str(tmp_path / weighting) for weighting in ("EW", "MGDA")]
    assert main(["report", *runs, "--output", str(tmp_path / "pages")]) == 0
    page = (tmp_path / "pages" / "comparison.html").read_text()
    assert "MAML, EW" in page
    assert "MAML, MGDA" in page


@pytest.mark.slow
def test_killed_and_resumed_is_the_unbroken_run(tmp_path):
    """SIGKILL at whatever step it happens to be; the folder ends up the same to the byte."""
    options = ["--weighting", "RLW", "--seed", "5", "--steps", "40", "--checkpoint_every", "3"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(["meta", *SMALL, *options, "--run_dir", str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "moml", "meta", *SMALL, *options, "--run_dir", str(broken)],
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
    assert main(["meta", "--resume", str(broken)]) == 0
    assert same_weights(whole, broken)
    assert same_weights(whole, broken, "best.safetensors")
    assert (whole / "metrics.jsonl").read_bytes() == (broken / "metrics.jsonl").read_bytes()
    results = [json.loads((d / "results.json").read_text()) for d in (whole, broken)]
    for result in results:
        del result["cpu_seconds"]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "MALM"], "Did you mean 'MAML'?"),
        (["--suite", "Sinusoids"], "Did you mean 'Sinusoid'?"),
        (["--weighting", "MGAD"], "Did you mean 'MGDA'?"),
        (["--objectives", "[clean, robst]"], "Did you mean 'robust'?"),
        (["--inner_stpes", "3"], "There is no option `inner_stpes`. Did you mean 'inner_steps'?"),
        (["--inner_steps", "many"], "`inner_steps` should be an integer, found 'many'."),
        (["--norm", "Linfty"], "found 'Linfty'."),
        (["--eps", "-1"], "found -1"),
        (["--optimizer.lr", "0.3"], "Use `learning_rate`."),
        (["--method", "Reptile"], "`objectives` should be [clean] with Reptile"),
        (["--config", "meta_sinusoids"], "Did you mean 'meta_sinusoid'?"),
    ],
)
def test_bad_options_get_one_sentence(options, message, tmp_path, capsys):
    assert meta(tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_an_occupied_folder_and_another_command_s_run(tmp_path, capsys):
    folder = tmp_path / "run"
    meta(folder)
    assert meta(folder) == 2
    assert f"`moml meta --resume {folder}`" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder)]) == 2
    assert f"Continue it with `moml meta --resume {folder}`" in capsys.readouterr().err
    assert main(["robustness", str(folder), "--eps", "0.1"]) == 2
    assert "should be a multi-task run" in capsys.readouterr().err
    assert main(["meta"]) == 2
    assert "`suite` should be given: one of CIFARFS, Glyphs, " in capsys.readouterr().err


def test_print_config_and_recipes_are_configs(tmp_path, capsys):
    for options in (["--method", "IMAML", "--method.proximal", "0.5"], ["--config", "meta_glyphs"]):
        with pytest.raises(SystemExit):
            main(["meta", *SMALL, *options, "--print_config"])
        text = capsys.readouterr().out
        assert yaml.safe_load(text)["objectives"] == ["clean", "robust"]
    file = tmp_path / "config.yaml"
    with pytest.raises(SystemExit):
        main(["meta", *SMALL, "--steps", "2", "--print_config"])
    file.write_text(capsys.readouterr().out)
    assert main(["meta", "--config", str(file), "--run_dir", str(tmp_path / "run")]) == 0


def test_list(capsys):
    assert main(["list", "meta_methods"]) == 0
    out = capsys.readouterr().out
    assert "MAMLPlusPlus" in out
    assert "Composition" not in out
