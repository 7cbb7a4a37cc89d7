"""`moml train` in several processes, as `torchrun` starts it."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from moml.__main__ import main
from moml._support.launch import Launch
from moml.architecture import HPS
from moml.jobs.multitask import MultiTaskJob
from tasks import TwoDigits

SMALL = [
    "train", "--suite", "TwoDigits", "--weighting", "MGDA", "--batch_size", "32",
    "--eval_every", "6", "--log_every", "2", "--checkpoint_every", "4",
]  # fmt: skip


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*command, "--nproc-per-node", "2", "-m", "moml", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finished(*arguments):
    """What it printed, to the end."""
    process = torchrun(*arguments)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    return out


@pytest.fixture
def one_of(monkeypatch):
    """Says that this is one of several processes."""

    def pretend(rank, count):
        values = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank}
        for name, value in {"TORCHELASTIC_RUN_ID": "x", **values}.items():
            monkeypatch.setenv(name, str(value))

    return pretend


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_two_processes_train_as_one_does(tmp_path):
    out = finished(*SMALL, "--steps", "12", "--run_dir", tmp_path / "two")
    assert out.count("Best at step") == 1  # the other process says nothing
    assert main([*SMALL, "--steps", "12", "--run_dir", str(tmp_path / "one")]) == 0
    two, one = (load_file(tmp_path / name / "weights.safetensors") for name in ("two", "one"))
    for key, weight in one.items():
        torch.testing.assert_close(two[key], weight, rtol=1e-3, atol=1e-3)
    two, one = results(tmp_path / "two"), results(tmp_path / "one")
    assert two["val_score"] == pytest.approx(one["val_score"], abs=0.02)
    assert (tmp_path / "two" / "report.html").exists()


@pytest.mark.slow
def test_a_signal_stops_all_and_the_run_resumes_to_the_same_bits(tmp_path):
    finished(*SMALL, "--steps", "60", "--run_dir", tmp_path / "whole")
    broken = torchrun(*SMALL, "--steps", "60", "--run_dir", tmp_path / "broken")
    while not (tmp_path / "broken" / "checkpoints" / "last.pt").exists():
        assert broken.poll() is None
        time.sleep(0.05)
    broken.send_signal(signal.SIGTERM)
    out, _ = broken.communicate(timeout=60)
    assert "Stopped by" in out and not (tmp_path / "broken" / "results.json").exists()
    finished("train", "--resume", tmp_path / "broken")
    a, b = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "broken"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_other_commands_are_refused(one_of, capsys):
    one_of(1, 2)
    assert Launch.current() == Launch(1, 2, 1) and not Launch.current().first
    assert Launch.current().device("cuda") == "cuda:1" and Launch.current().device("cpu") == "cpu"
    assert main(["compare", "--suite", "TwoDigits"]) == 2
    assert "`torchrun` should start `moml train`" in capsys.readouterr().err


def test_a_batch_has_a_sample_for_every_process(one_of):
    one_of(0, 64)
    trainer = MultiTaskJob(TwoDigits(), None, HPS, batch_size=32)
    with pytest.raises(ValueError, match=r"at least the number of processes \(64\), found 32"):
        trainer.loader("train")


def test_methods_with_two_levels_are_refused_before_anything_is_written(one_of, tmp_path, capsys):
    one_of(0, 2)
    folder = tmp_path / "run"
    command = ["train", "--suite", "TwoDigits", "--method", "MOML", "--run_dir", str(folder)]
    assert main(command) == 2
    assert "`method` should be left out in several processes, found MOML" in capsys.readouterr().err
    assert not folder.exists()


def test_processes_read_parts_of_the_same_batches(one_of):
    whole = MultiTaskJob(TwoDigits(), None, HPS, batch_size=32).loader("train").batch(3)
    parts = []
    for rank in range(3):
        one_of(rank, 3)
        parts.append(MultiTaskJob(TwoDigits(), None, HPS, batch_size=32).loader("train").batch(3))
    assert [len(part.inputs) for part in parts] == [11, 11, 10]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([p.targets["left"] for p in parts]), whole.targets["left"])
