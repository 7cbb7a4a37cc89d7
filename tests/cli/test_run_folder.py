"""A run folder says everything: options, command, state, and whose it is."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml

import moml
from moml.__main__ import main
from moml.jobs.config import command_of
from moml.jobs.lock import locked

SMALL = ["--suite", "tests.small_suite.Small", "--batch_size", "32", "--log_every", "5"]
SINE = ["--suite", "Sinusoid", "--meta_batch_size", "2", "--val_episodes", "4",
        "--test_episodes", "6", "--log_every", "5"]  # fmt: skip


def train(folder, *options, steps=12):
    return main(["train", *SMALL, "--steps", str(steps), "--run_dir", str(folder), *options])


def resume(folder, *options, command="train"):
    return main([command, "--resume", str(folder), *options])


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def config(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert train(folder, "--optimizer", "SGD") == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_the_config_holds_every_option_with_the_value_used(run):
    found = config(run)
    assert found["command"] == "train"
    assert found["learning_rate"] == 1e-3  # of the suite
    assert "lr" not in found["optimizer"]["init_args"]  # SGD's default, which is not used
    assert (found["schedule"], found["eval_every"], found["epochs"]) == ("cosine", 100, None)
    for name in ("method", "encoder", "clip_norm", "tasks", "conflicts_every", "reference"):
        assert found[name] is None


def test_the_config_of_a_run_makes_the_same_run(run, tmp_path):
    again = tmp_path / "again"
    assert main(["train", "--config", str(run / "config.yaml"), "--run_dir", str(again)]) == 0
    assert (again / "config.yaml").read_text() == (run / "config.yaml").read_text()
    assert (again / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


@pytest.mark.supported
def test_a_few_shot_run_without_objectives_is_resumed_evaluated_and_loaded(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["meta", *SINE, "--steps", "7", "--run_dir", str(folder)]) == 0
    assert config(folder)["objectives"] == ["clean"]
    assert resume(folder, command="meta") == 0
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == moml.load_run(folder).results["test"]


@pytest.mark.parametrize(
    ("options", "command"),
    [({"val_episodes": 150}, "meta"), ({"space": "x"}, "search"), ({"steps": 3}, "train"),
     ({"space": "x", "genotype": "y"}, "retrain"), ({"command": "attack"}, "attack")],
)  # fmt: skip
def test_folders_of_earlier_versions_are_known_by_their_options(options, command, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(options))
    assert command_of(tmp_path / "config.yaml") == command


@pytest.mark.supported
def test_a_finished_run_is_resumed_and_nothing_changes(run, capsys):
    kept = ("metrics.jsonl", "results.json", "best.safetensors", "weights.safetensors")
    before = {name: (run / name).read_bytes() for name in kept}
    assert resume(run) == 0
    assert "is finished" in capsys.readouterr().out
    assert {name: (run / name).read_bytes() for name in kept} == before


@pytest.mark.supported
def test_a_finished_run_is_trained_longer(run, capsys):
    before = (run / "metrics.jsonl").read_bytes()
    seconds = json.loads((run / "results.json").read_text())["cpu_seconds"]
    assert resume(run, "--steps", "20") == 0
    assert (run / "metrics.jsonl").read_bytes().startswith(before)  # no line is lost
    trained = [line for line in lines(run) if line["kind"] == "train"]
    assert [line["step"] for line in trained] == [5, 10, 12, 15, 20]
    assert trained[-2]["learning_rate"] == pytest.approx(1.4644661e-4)  # cosine over 20 steps
    assert json.loads((run / "results.json").read_text())["steps"] == 20
    assert json.loads((run / "results.json").read_text())["cpu_seconds"] > seconds
    assert json.loads((run / "results-12.json").read_text())["steps"] == 12
    assert config(run)["steps"] == 20
    assert resume(run, "--steps", "19") == 2
    assert "`steps` should be at least the run's 20, found 19." in capsys.readouterr().err


@pytest.mark.supported
def test_a_run_stopped_after_its_last_step_is_resumed(run):
    """Steps are no multiple of the interval of lines, and the results are not there yet."""
    before = (run / "metrics.jsonl").read_bytes()
    (run / "results.json").unlink()
    assert resume(run) == 0
    assert (run / "metrics.jsonl").read_bytes() == before


@pytest.mark.refused("its state is lost: starting anew would overwrite its log")
def test_a_run_whose_checkpoints_are_gone_is_resumed(run, capsys):
    before = (run / "metrics.jsonl").read_bytes()
    shutil.rmtree(run / "checkpoints")
    (run / "results.json").unlink()
    assert resume(run) == 2
    assert "should hold the state of the run, which has logged 12 steps" in capsys.readouterr().err
    assert (run / "metrics.jsonl").read_bytes() == before


@pytest.mark.refused("a resumed run keeps its own settings, besides a larger number of steps")
def test_a_resumed_run_with_another_option(run, capsys):
    assert resume(run, "--seed", "3") == 2
    assert "`resume` should be the only option, besides `steps`" in capsys.readouterr().err


OTHER = """
import sys
from pathlib import Path
from moml.jobs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.refused("two processes in one run folder would both write")
def test_a_run_is_resumed_twice_at_once(run, capsys):
    other = [sys.executable, "-c", OTHER, str(run)]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        assert resume(run) == 2
        assert f"found process {process.pid} on" in capsys.readouterr().err
        process.kill()
    assert (run / ".lock").exists()  # left behind by a process that is gone
    assert resume(run) == 0
    assert not (run / ".lock").exists()


def test_a_lock_is_taken_again_within_itself_and_kept_to_its_thread(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def enter():
        with locked(tmp_path):
            return True

    with locked(tmp_path):
        assert enter()
        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(ValueError, match="one process at a time"),
        ):
            pool.submit(enter).result()
    assert not (tmp_path / ".lock").exists()


@pytest.mark.supported
def test_a_first_attempt_that_fails_leaves_the_folder_free(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(moml.jobs.multitask, "check_labels", lambda suite: 1 / 0)
        assert train(folder) == 2
    assert not folder.exists()
    assert train(folder, steps=2) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--learning_rate", "-1"], "`learning_rate` should be a number above 0, found -1.0."),
        (["--learning_rate", ".inf"], "`learning_rate` should be a number above 0, found inf."),
        (["--epochs", "1"], "`epochs` should be left out where `steps` is given, found both."),
        (["--schedule", "cosine", "--scheduler", "StepLR", "--scheduler.step_size", "3"],
         "`schedule` should be left out where `scheduler` is given, found both."),
        (["--accumulate", "33"], "`accumulate` should be at most the 32 samples of a batch"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_get_one_sentence(options, message, tmp_path, capsys):
    assert train(tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
