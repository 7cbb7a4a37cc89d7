import json
import math

import numpy as np
import pytest
import torch

from moml.logging import Conflicts, MetricsLog, TensorBoardLog, read_metrics
from moml.logging._means import cosines
from moml.loop import fit
from moml.oracle import Direct
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA


def train(problem, batches, callbacks, *, steps=23, weighting=None, checkpoint=None):
    optimizer = torch.optim.SGD(problem.module.parameters(), lr=0.01)
    weighting = MGDA() if weighting is None else weighting
    return fit(
        problem, Direct(), weighting, optimizer, batches,
        steps=steps, callbacks=callbacks, checkpoint=checkpoint,
    )  # fmt: skip


def test_lines_hold_means_since_the_last_line(tmp_path, pull, batches, spy):
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl", every=5)
    train(pull(), batches, [spy, log], steps=23)
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 23]
    assert [line["epoch"] for line in lines] == [0, 0, 1, 1, 2]
    for line, start in zip(lines, range(0, 23, 5), strict=True):
        part = spy.records[start : line["step"]]
        assert list(line["losses"]) == ["up", "down"]
        for task in ("up", "down"):
            present = [record for record in part if task in record.losses]
            assert line["losses"][task] == pytest.approx(
                np.mean([record.losses[task] for record in present]), rel=1e-12
            )
            assert line["weights"][task] == pytest.approx(
                np.mean([record.weights[task] for record in present]), rel=1e-12
            )
        assert line["learning_rate"] == 0.01


def test_no_times_so_equal_seeds_write_equal_bytes(tmp_path, pull, batches):
    for name in ("a", "b"):
        train(pull(), batches, [MetricsLog(tmp_path / name, every=4)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_cosines_of_a_hand_made_gramian():
    rows = torch.tensor([[3.0, 4.0], [4.0, 3.0], [-6.0, -8.0], [0.0, 0.0]], dtype=torch.float64)
    found = cosines(rows @ rows.T)
    assert found == [
        [1.0, 0.96, -1.0, None],
        [0.96, 1.0, -0.96, None],
        [-1.0, -0.96, 1.0, None],
        [None, None, None, None],
    ]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_cosines_do_not_depend_on_scale(scale):
    rows = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=-1)
    torch.testing.assert_close(
        torch.tensor(cosines((scale * rows) @ (scale * rows).T), dtype=torch.float64),
        expected, atol=1e-6, rtol=0,
    )  # fmt: skip


def test_cosines_come_free_with_gramian_methods(tmp_path, pull, batches, spy):
    train(pull(), batches, [spy, MetricsLog(tmp_path / "log", every=5)])
    for line in read_metrics(tmp_path / "log"):
        present = ["up", "down"] if (line["step"] - 1) % 2 == 0 else ["up"]
        assert line["tasks"] == present
        assert line["cosines"] == cosines(spy.gramians[line["step"]])


def test_loss_only_methods_have_cosines_only_where_asked_for(tmp_path, pull, batches):
    train(pull(), batches, [MetricsLog(tmp_path / "log", every=5)], weighting=EW())
    assert not any("cosines" in line for line in read_metrics(tmp_path / "log"))
    callbacks = [Conflicts(every=10), MetricsLog(tmp_path / "log", every=5)]
    train(pull(), batches, callbacks, weighting=EW())
    assert [line["step"] for line in read_metrics(tmp_path / "log") if "cosines" in line] == [
        10, 20,
    ]  # fmt: skip


def test_conflicts_do_not_change_what_is_trained(pull, batches):
    plain, looked_at = pull(), pull()
    train(plain, batches, [], weighting=EW())
    train(looked_at, batches, [Conflicts(every=3)], weighting=EW())
    torch.testing.assert_close(plain.net.weight, looked_at.net.weight)


@pytest.mark.parametrize("step", [1, 4, 7, 9, 12, 19, 23])
@pytest.mark.parametrize("weighting", [MGDA, EW])
def test_a_killed_and_resumed_run_writes_the_same_bytes(
    tmp_path, pull, batches, kill, step, weighting
):
    def callbacks(folder):
        log = MetricsLog(folder / "metrics.jsonl", every=5)
        return [Conflicts(every=4), log, TensorBoardLog(folder / "tensorboard", every=5)]

    train(pull(), batches, callbacks(tmp_path / "whole"), weighting=weighting())
    folder, saves = tmp_path / "broken", {"every": 3}
    with pytest.raises(KeyboardInterrupt):
        train(
            pull(), batches, [*callbacks(folder), kill(step)], weighting=weighting(),
            checkpoint=Checkpoint(folder / "checkpoints", **saves),
        )  # fmt: skip
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "train", "step": 2')  # a line cut off
    train(
        pull(), batches, [*callbacks(folder), kill(99)], weighting=weighting(),
        checkpoint=Checkpoint(folder / "checkpoints", resume=True, **saves),
    )  # fmt: skip
    expected = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (folder / "metrics.jsonl").read_bytes() == expected


@pytest.mark.supported
@pytest.mark.parametrize("left", [None, b"", b'{"kind": "train", "step": 2}\n{"kind": "tr'])
def test_a_run_whose_metrics_file_was_lost_goes_on(tmp_path, pull, batches, kill, left):
    log = tmp_path / "metrics.jsonl"
    with pytest.raises(KeyboardInterrupt):
        train(
            pull(), batches, [MetricsLog(log, every=2), kill(9)],
            checkpoint=Checkpoint(tmp_path / "checkpoints", every=3),
        )  # fmt: skip
    log.unlink()
    if left is not None:
        log.write_bytes(left)
    with pytest.warns(UserWarning, match="as at the checkpoint, found .* Continuing after step 6"):
        train(
            pull(), batches, [MetricsLog(log, every=2), kill(99)],
            checkpoint=Checkpoint(tmp_path / "checkpoints", every=3, resume=True),
        )  # fmt: skip
    before = [2] if left else []
    assert [x["step"] for x in read_metrics(log)] == [*before, *range(8, 23, 2), 23]


@pytest.mark.supported
def test_a_run_killed_after_its_last_step_is_resumed(tmp_path, pull, batches):
    """The last interval is shorter than the others: its line is there before the checkpoint."""

    def once(**options):
        logs = [MetricsLog(tmp_path / "log", every=5), TensorBoardLog(tmp_path / "tb", every=5)]
        train(pull(), batches, logs, checkpoint=Checkpoint(tmp_path / "saved", **options))

    once()
    before = (tmp_path / "log").read_bytes()
    once(resume=True)
    assert (tmp_path / "log").read_bytes() == before


def test_written_records_are_lines_too_and_always_valid_json(tmp_path, pull, batches):
    log = MetricsLog(tmp_path / "log", every=5)
    train(pull(), batches, [log], steps=5)
    log.write({"kind": "eval", "step": 5, "metrics": {"up": {"a": math.nan, "b": math.inf}}})
    *_, last = (tmp_path / "log").read_text().splitlines()
    assert json.loads(last)["metrics"] == {"up": {"a": None, "b": None}}


def test_reading_leaves_out_a_line_cut_off_but_not_damage_before(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"ste')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    path.write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_metrics(path)
    path.write_bytes(b"")
    assert read_metrics(path) == []
    with pytest.raises(ValueError, match=r"should be a metrics\.jsonl, found nothing"):
        read_metrics(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "make",
    [lambda n: MetricsLog("x", every=n), lambda n: TensorBoardLog("x", every=n), Conflicts],
)
def test_intervals_are_positive(make):
    with pytest.raises(ValueError, match="`every` should be at least 1, found 0"):
        make(0)
