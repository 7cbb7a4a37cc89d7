import time

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moml.logging import MetricsLog, TensorBoardLog, read_metrics
from moml.loop import fit
from moml.oracle import Direct
from moml.training.checkpoint import Checkpoint
from moml.weighting import MGDA


def run(problem, batches, callbacks, checkpoint=None):
    optimizer = torch.optim.SGD(problem.module.parameters(), lr=0.01)
    fit(
        problem, Direct(), MGDA(), optimizer, batches,
        steps=20, callbacks=callbacks, checkpoint=checkpoint,
    )  # fmt: skip


def events(folder):
    accumulator = EventAccumulator(str(folder)).Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def test_events_equal_the_metrics_file(tmp_path, pull, batches):
    log = TensorBoardLog(tmp_path / "tensorboard", every=5)
    run(pull(), batches, [MetricsLog(tmp_path / "metrics.jsonl", every=5), log])
    log.write(
        {
            "kind": "eval", "split": "test", "step": 20, "losses": {"up": 0.5},
            "metrics": {"up": {"accuracy": 0.25}}, "score": None, "best": True,
        }
    )  # fmt: skip
    found = events(tmp_path / "tensorboard")
    lines = read_metrics(tmp_path)
    for name, key in (("loss", "losses"), ("weight", "weights")):
        for task in ("up", "down"):
            expected = [(line["step"], line[key][task]) for line in lines]
            assert found[f"{name}/{task}"] == [(s, pytest.approx(v)) for s, v in expected]
    assert [step for step, _ in found["cosine/up_down"]] == [5, 15]
    assert found["test/up/accuracy"] == [(20, 0.25)]
    assert found["test/up/loss"] == [(20, 0.5)]
    assert "test/score" not in found


def test_events_after_the_checkpoint_are_purged(tmp_path, pull, batches, kill):
    def callbacks(step):
        return [TensorBoardLog(tmp_path / "tensorboard", every=2), kill(step)]

    with pytest.raises(KeyboardInterrupt):
        checkpoint = Checkpoint(tmp_path / "checkpoints", every=8)
        run(pull(), batches, callbacks(15), checkpoint)
    time.sleep(1.1)  # event files are read in the order of their names, which count seconds
    run(
        pull(), batches, callbacks(99),
        Checkpoint(tmp_path / "checkpoints", every=8, resume=True),
    )  # fmt: skip
    steps = [step for step, _ in events(tmp_path / "tensorboard")["loss/up"]]
    assert steps == list(range(2, 21, 2))
