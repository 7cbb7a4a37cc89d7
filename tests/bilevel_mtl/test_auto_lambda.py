"""Auto-Lambda's scheme as a plain loop, and virtual steps that follow an optimizer."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from moml import fit
from moml.bilevel import Alternate, Bilevel, FiniteDifference, InnerSGD, Unrolled, VirtualStep
from moml.bilevel_mtl import FreeWeights, TaskWeights
from moml.data import BilevelBatch
from moml.weighting import EW
from tests.bilevel_mtl.test_task_weights import levels
from tests.helpers import TASKS, batch, network, problem

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.2, momentum=0.9, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, 0.02, weight_decay=0.05),
}
PRIMARY = ("a", "b")


def schedule(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)


def reference(model, data, *, optimizer, steps, upper_rate):
    """Virtual step with the optimizer's present rate, momentum and decay; two more gradients."""
    ce = nn.functional.cross_entropy
    weights = torch.full((3,), 0.1, dtype=torch.float64, requires_grad=True)
    upper = torch.optim.SGD([weights], upper_rate)  # unlike Adam, it shows sizes
    lower = optimizer(model.parameters())
    rates = schedule(lower)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def training_losses(theta, draw):
        out = functional_call(model, dict(zip(names, theta, strict=True)), (draw.inputs,))
        return torch.stack([ce(out[t], draw.targets[t]) for t in TASKS])

    for step in range(steps):
        train, val = data[step % len(data)].lower[0], data[step % len(data)].upper
        group = lower.param_groups[0]
        rate = group["lr"]
        grads = torch.autograd.grad(
            (weights.detach() * training_losses(parameters, train)).sum(), parameters
        )
        virtual = []
        for p, g in zip(parameters, grads, strict=True):
            velocity = lower.state[p].get("momentum_buffer", 0.0) * group.get("momentum", 0.0)
            moved = p - rate * (velocity + g + group["weight_decay"] * p)
            virtual.append(moved.detach().requires_grad_())
        out = functional_call(model, dict(zip(names, virtual, strict=True)), (val.inputs,))
        held_out = sum(ce(out[t], val.targets[t]) for t in PRIMARY)
        v = torch.autograd.grad(held_out, virtual, allow_unused=True, materialize_grads=True)
        eps = 0.01 / torch.cat([x.flatten() for x in v]).norm()
        ahead, behind = (
            training_losses([p + sign * eps * x for p, x in zip(parameters, v, strict=True)], train)
            for sign in (1, -1)
        )
        weights.grad = (-rate * (ahead - behind) / (2 * eps)).detach()
        upper.step()
        lower.zero_grad()
        (weights.detach() * training_losses(parameters, train)).sum().backward()
        lower.step()
        rates.step()
    return weights.detach()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_scheme_as_a_plain_loop(name):
    data = [levels(seed) for seed in range(3)]
    plain, mine = network(), network()
    expected = reference(plain, data, optimizer=OPTIMIZERS[name], steps=10, upper_rate=0.3)
    weights = TaskWeights(problem(mine), form=FreeWeights(0.1), objectives=PRIMARY)
    real = Alternate(OPTIMIZERS[name], scheduler=schedule)
    oracle = Bilevel(VirtualStep(real), FiniteDifference(), alternate=real)
    upper = torch.optim.SGD([weights.module.omega], 0.3)
    fit(weights, oracle, EW(), upper, data, steps=10)
    assert (expected - 0.1).abs().max() > 1e-3
    torch.testing.assert_close(weights.module.omega.detach(), expected, rtol=0, atol=1e-9)
    for a, b in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def rows(inner, real, hypergradient):
    weights = TaskWeights(problem(network()), form=FreeWeights(0.5))
    evaluation = Bilevel(inner, hypergradient, alternate=real)(weights, levels())
    return evaluation.jacobian


def test_without_velocity_it_is_gradient_descent_at_the_present_rate():
    def halved(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)

    real = Alternate(OPTIMIZERS["sgd"], scheduler=halved)
    plain = Alternate(OPTIMIZERS["sgd"])
    expected = rows(InnerSGD(0.1, weight_decay=0.05), plain, Unrolled())
    torch.testing.assert_close(rows(VirtualStep(real), real, Unrolled()), expected)
    near = rows(VirtualStep(real), real, FiniteDifference(1e-3))
    torch.testing.assert_close(near, expected, rtol=1e-5, atol=1e-7)


def test_groups_keep_their_rates():
    def grouped(parameters):
        first, *others = parameters
        return torch.optim.SGD([{"params": [first], "lr": 0.0}, {"params": others}], 0.1)

    real = Alternate(grouped)
    oracle = Bilevel(VirtualStep(real), Unrolled(), alternate=real)
    oracle(TaskWeights(problem(network())), levels())
    start, end = real.previous(), oracle._solutions[0].theta
    moved = [not torch.equal(a, b) for a, b in zip(start.values(), end, strict=True)]
    assert moved == [False, *[True] * (len(moved) - 1)]


def test_a_rate_of_zero_gives_a_zero_row():
    def warm_up(optimizer):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 2)

    real = Alternate(OPTIMIZERS["sgd"], scheduler=warm_up)
    weights = TaskWeights(problem(network()))
    oracle = Bilevel(VirtualStep(real), FiniteDifference(), alternate=real)
    sizes = []
    for _ in range(2):
        sizes.append(oracle(weights, BilevelBatch((batch(),), batch(seed=1))).jacobian.abs().max())
        oracle.advance(weights)
    assert sizes[0] == 0
    assert sizes[1] > 0
