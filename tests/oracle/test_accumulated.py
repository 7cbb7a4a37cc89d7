"""A batch in parts: the same numbers as the whole, with every level of weighting."""

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.oracle import Accumulated, Direct
from moml.weighting import EW, FAMO, GLS, MGDA, UW, GradDrop, PCGrad
from tests.helpers import TASKS, batch, flat_grad, network, problem

WEIGHTS = torch.tensor([0.2, 0.0, 1.7], dtype=torch.float64)


def partly(data):
    generator = torch.Generator().manual_seed(3)
    present = {"a": torch.rand(12, generator=generator) < 0.5, "b": torch.arange(12) < 3}
    return Batch(data.inputs, data.targets, present)


def half(data):
    """No label in the second half."""
    return Batch(data.inputs, data.targets, dict.fromkeys(TASKS, torch.arange(12) < 6))


DATA = {
    "single input": batch,
    "half without labels": lambda: half(batch()),
    "multi input": lambda: batch(multi_input=True),
    "partly labelled": lambda: partly(batch()),
}


@pytest.mark.parametrize("parts", [1, 3, 5, 20])
@pytest.mark.parametrize("kind", DATA)
def test_everything_equals_the_undivided_batch(kind, parts):
    task_problem, data = problem(network()), DATA[kind]()
    whole = Direct()(task_problem, data)
    cut = Accumulated(Direct(), parts=parts)(task_problem, data)
    torch.testing.assert_close(cut.losses, whole.losses)
    torch.testing.assert_close(cut.pullback(WEIGHTS), whole.pullback(WEIGHTS))
    assert not cut.formed
    torch.testing.assert_close(cut.gramian, whole.gramian)
    torch.testing.assert_close(cut.jacobian, whole.jacobian)
    torch.testing.assert_close(cut.pullback(WEIGHTS), whole.pullback(WEIGHTS))
    first = torch.tensor([2, 0])
    torch.testing.assert_close(cut.select(first).jacobian, whole.select(first).jacobian)


@pytest.mark.parametrize("heads", ["unit", "weighted"])
@pytest.mark.parametrize("formed", [False, True])
def test_apply_writes_the_gradient_of_the_undivided_batch(heads, formed):
    model, data = network(), partly(batch())
    Direct(heads=heads)(problem(model), data).apply(WEIGHTS)
    expected = flat_grad(model.parameters())
    model.zero_grad()
    cut = Accumulated(Direct(heads=heads), parts=4)(problem(model), data)
    if formed:
        assert cut.gramian.shape == (3, 3)
    cut.apply(WEIGHTS)
    torch.testing.assert_close(flat_grad(model.parameters()), expected)


@pytest.mark.parametrize("make", [EW, GLS, UW, MGDA, PCGrad, GradDrop, FAMO])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_training_is_that_of_the_undivided_batch(make, clip):
    ends = []
    for oracle in (Direct(), Accumulated(Direct(), parts=3)):
        model, weighting = network(), make()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        updater = moml.optim.GradientStep(optimizer, clip_norm=clip)
        moml.fit(problem(model), oracle, weighting, updater, [batch()], steps=4)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(ends[1], ends[0])


class Noisy(nn.Module):
    out_features = 8

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Tanh())

    def forward(self, x):
        return self.body(x)


def test_both_passes_draw_the_same_and_running_statistics_move_once_per_part():
    def step(oracle):
        torch.manual_seed(0)
        model = HPS(Noisy(), {task: nn.Linear(8, 3) for task in TASKS}).double()
        evaluation = oracle(problem(model), batch())
        assert evaluation.losses.isfinite().all()
        evaluation.pullback(WEIGHTS)
        evaluation.apply(WEIGHTS)
        return flat_grad(model.parameters()), model.encoder.body[1], torch.get_rng_state()

    expected, norm, state = step(Direct())
    found, same, after = step(Accumulated(Direct(), parts=1))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(same.running_var, norm.running_var)
    assert torch.equal(after, state)
    assert step(Accumulated(Direct(), parts=3))[1].num_batches_tracked == 3


def test_bad_number_of_parts():
    with pytest.raises(ValueError, match="`parts` should be at least 1, found 0"):
        Accumulated(Direct(), parts=0)
