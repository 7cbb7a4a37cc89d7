"""Exchange between decoders: attention by its formula, what only it can do, early predictions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from moml import MultiTask
from moml.architecture import DenseExchange
from moml.architecture._cross_task import CrossTask
from moml.data import Batch
from moml.gradients.graph import reach
from moml.losses import CrossEntropy
from moml.report.anatomy import anatomy
from tests.small_networks import TASKS, dense, set_to


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (9, 7)])
def test_cross_task_attention_is_scaled_dot_product_attention(size):
    """Against the formula, written out: softmax over the source's positions."""
    torch.manual_seed(0)
    block = CrossTask(6, scale=2).double()
    target, source = torch.randn(2, 2, 6, *size, dtype=torch.float64)
    y = functional.max_pool2d(block.extract(source), 2)
    asked = functional.interpolate(target, size=y.shape[2:])
    q, k, v = (m(z).flatten(2) for m, z in zip(block.maps, (asked, y, y), strict=True))
    attention = (torch.einsum("bcn,bcm->bnm", q, k) / 6**0.5).softmax(2)
    found = torch.einsum("bnm,bcm->bcn", attention, v).view_as(y)
    wanted = functional.interpolate(found, size=size)
    torch.testing.assert_close(block._attended(target, block.extract(source)), wanted)


def test_the_exchange_trains_once_the_attention_has_faded_in():
    encoder, heads, x = dense()
    model = DenseExchange(encoder, heads, scale=2)
    assert all(not pair.fade.any() for r in model.exchange.values() for pair in r.pairs.values())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(y.square().mean() for y in model(x).values()).backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in model.exchange["a"].parameters())


def test_only_attention_moves_what_lies_elsewhere():
    """A label that is the source's value at a shuffled place, told by a code on every place."""

    def error(attention):
        torch.manual_seed(0)
        block, readout = CrossTask(8, scale=1, attention=attention), nn.Conv2d(8, 1, 1)
        optimizer = torch.optim.Adam([*block.parameters(), *readout.parameters()], lr=2e-2)
        where, codes = torch.randperm(9), torch.randn(1, 6, 9).expand(16, -1, -1)
        losses = []
        for _ in range(120):
            value = torch.randn(16, 2, 9)
            source = torch.cat([codes, value], 1).unflatten(2, (3, 3))
            target = torch.cat([codes[:, :, where], 0 * value], 1).unflatten(2, (3, 3))
            found = readout(block(target, source)).flatten(1)
            loss = (found - value[:, 0, where]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return sum(losses[-20:]) / 20

    assert error(True) < 0.5 * error(False)


def distilled():
    encoder, heads, x = dense()
    model = DenseExchange(encoder, heads, attention=False, intermediate=0.5)
    targets = {task: torch.randint(2, (len(x), *x.shape[2:])) for task in TASKS}
    return MultiTask(model, {t: CrossEntropy(2) for t in TASKS}), Batch(x, targets)


def test_early_predictions_are_judged_in_training_and_absent_in_evaluation():
    problem, batch = distilled()
    model, losses = problem.architecture, problem.losses(batch)
    model.eval()
    assert model.auxiliary(model.features(batch.inputs)) == {}
    assert list(problem.losses(batch)) == list(TASKS)
    model.train()
    features = model.features(batch.inputs)
    for task, target in batch.targets.items():
        last = model.decode(features, [task])[task]
        early = model.early_heads[task](features[task])
        wanted = functional.cross_entropy(last, target) + 0.5 * functional.cross_entropy(
            early, target
        )
        torch.testing.assert_close(losses[task], wanted)
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    torch.testing.assert_close(problem.losses_at(state, batch, ["b"])["b"], losses["b"])


def test_an_early_head_is_its_tasks_own_and_is_described_so():
    problem, batch = distilled()
    model = problem.architecture
    masks = reach(list(problem.losses(batch).values())).leaves
    for i, task in enumerate(TASKS):
        alone = {p for p in model.parameters() if masks[p] == 1 << i}
        assert alone == set(model.private_parameters(task))
        assert {*model.early_heads[task].parameters()} <= alone
    found = {block.name: block.tasks for block in anatomy(model, batch.inputs).blocks}
    assert [found[f"early_heads.{task}"] for task in TASKS] == [(task,) for task in TASKS]


def test_early_predictions_teach_the_decoders_what_the_task_knows():
    """With the exchange silenced, only they tell a task's decoder of its targets."""
    problem, batch = distilled()
    model = problem.architecture
    for head in model.heads.values():
        for parameter in head.parameters():
            set_to(parameter, 0.0)
    loss = problem.losses(batch)["a"]
    gradients = torch.autograd.grad(loss, list(model.decoders["a"].parameters()))
    assert all(g.abs().sum() > 0 for g in gradients[:1])
