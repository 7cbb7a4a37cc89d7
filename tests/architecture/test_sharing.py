"""What holds for every architecture: who owns what, what may be asked for, what is refused."""

import copy

import pytest
import torch

from moml.architecture import (
    CGC,
    HPS,
    LTB,
    MTAN,
    NDDR,
    PLE,
    CrossStitch,
    DenseExchange,
    DSelectK,
    MMoE,
    SafeMTL,
    SharingTable,
)
from moml.data import TaskInputs
from moml.gradients.graph import reach
from tests.small_networks import TASKS, cnn, digits, linear_heads

EVERY = (
    CGC, HPS, LTB, MTAN, NDDR, PLE, CrossStitch, DenseExchange, DSelectK, MMoE, SafeMTL,
    SharingTable,
)  # fmt: skip


@pytest.mark.parametrize("kind", EVERY)
def test_no_loss_reaches_what_belongs_to_another_task(kind):
    model = kind(cnn(), linear_heads())
    loss = model(digits())["a"].square().sum()
    for other in ("b", "c"):
        private = model.private_parameters(other)
        assert private
        found = torch.autograd.grad(loss, private, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in found)
    owned = [*model.shared_parameters(), *(p for t in TASKS for p in model.private_parameters(t))]
    assert len(owned) == len(set(owned)) == len(list(model.parameters()))


@pytest.mark.parametrize("kind", EVERY)
def test_what_is_declared_private_is_what_one_loss_alone_reaches(kind):
    model = kind(cnn(), linear_heads())
    masks = reach([y.sum() for y in model(digits()).values()]).leaves
    for i, task in enumerate(TASKS):
        alone = {p for p in model.parameters() if masks[p] == 1 << i}
        assert alone == set(model.private_parameters(task))


@pytest.mark.parametrize("kind", EVERY)
def test_tasks_can_be_asked_for_and_may_have_inputs_of_their_own(kind):
    """What is predicted for an input depends neither on who else asks nor on how it came."""
    model = kind(cnn(), linear_heads()).eval()
    x = digits()
    alone, together = model(x, ["b"]), model(x)
    assert list(alone) == ["b"]
    assert list(together) == list(TASKS)
    separate = model(TaskInputs({"a": x, "b": x}))
    assert list(separate) == ["a", "b"]
    for task, prediction in (alone | separate).items():
        torch.testing.assert_close(prediction, together[task], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", EVERY)
def test_a_single_task_is_a_network_like_any_other(kind):
    model = kind(cnn(), linear_heads(["a"]))
    assert model(digits())["a"].shape == (4, 3)


def test_an_architecture_can_be_copied():
    for kind in EVERY:
        model = kind(cnn(), linear_heads()).eval()
        twin = copy.deepcopy(model)
        assert all(torch.equal(y, twin(digits())[task]) for task, y in model(digits()).items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda e, h: MMoE(e, h, experts=0), "`experts` should be at least 1, found 0"),
        (lambda e, h: MMoE(e, h, stem=2), "`stem` should be at least 1 and leave a stage"),
        (lambda e, h: DSelectK(e, h, experts=6), "`experts` should be a power of two, found 6"),
        (lambda e, h: DSelectK(e, h, selected=9), "`selected` should be from 1 to 4, found 9"),
        (lambda e, h: CrossStitch(e, h, own=2.0), "`own` should be between 0 and 1, found 2.0"),
        (lambda e, h: CrossStitch(e, h, stages=0), "`stages` should be at least 1, found 0"),
        (
            lambda e, h: SafeMTL(e, h, gate="firm"),
            "`gate` should be 'soft' or 'hard', found 'firm'",
        ),
        (
            lambda e, h: LTB(e, h, final_temperature=0.0),
            "`final_temperature` should be positive, found 0.0",
        ),
        (lambda e, h: HPS(e, {}), "`heads` should hold at least one task"),
        (lambda e, h: DenseExchange(e, h, scale=0), "`scale` should be at least 1, found 0"),
        (
            lambda e, h: DenseExchange(e, h, intermediate=-1.0),
            "`intermediate` should not be negative, found -1.0",
        ),
        (lambda e, h: PLE(e, h, own=0), "`own` should be at least 1, found 0"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(cnn(), linear_heads())
