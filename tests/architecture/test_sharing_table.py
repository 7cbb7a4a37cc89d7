"""Sharing tables: hard sharing, branches, separate networks and early exits."""

import pytest
import torch
from torch import nn

from moml.architecture import HPS, SharingTable
from moml.architecture._stages import Stages
from tests.small_networks import TASKS, cnn, count, digits, linear_heads


def test_tables_make_hard_sharing_branches_and_separate_networks():
    x = digits()
    size, heads = count(cnn()), count(*linear_heads().values())
    shared = SharingTable(cnn(), linear_heads(), table={task: [0, 0, 0, 0] for task in TASKS})
    wanted = HPS(cnn(), linear_heads())(x)
    assert all(torch.equal(y, wanted[task]) for task, y in shared(x).items())
    assert count(shared) == size + heads
    apart = {task: [i] * 4 for i, task in enumerate(TASKS)}
    separate = SharingTable(cnn(), linear_heads(), table=apart)
    assert count(separate) == 3 * size + heads
    assert not separate.shared_parameters()
    last = count(Stages.of(cnn()).pieces[-1])
    assert count(SharingTable(cnn(), linear_heads())) == size + 2 * last + heads


def test_a_task_may_leave_early():
    heads = {"a": nn.Linear(12, 3), "b": nn.Sequential(nn.Flatten(), nn.Linear(8 * 16, 3))}
    model = SharingTable(cnn(), heads, table={"a": [0, 0, 0, 0], "b": [0]})
    loss = model(digits())["b"].sum()
    reached = torch.autograd.grad(loss, list(model.stages[1].parameters()), allow_unused=True)
    assert all(gradient is None for gradient in reached)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [0], "b": [0]}, r"`table` should have the tasks \['a', 'b', 'c'\]"),
        ({"a": [0], "b": [0], "c": [-1]}, r"`table` should number copies from 0, found \[-1\]"),
        ({"a": [0] * 9, "b": [0], "c": [0]}, "`table` should have 1 to 4 stages per task"),
    ],
)
def test_wrong_tables_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        SharingTable(cnn(), linear_heads(), table=table)
