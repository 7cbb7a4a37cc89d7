"""Gates as upper variables: exact for the look-ahead, and trained by held-out losses alone."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from moml.architecture import HPS, LTB, CrossStitch, SafeMTL
from moml.bilevel import Bilevel, InnerSGD, Unrolled
from moml.bilevel_mtl import SharingStructure
from moml.data import BilevelBatch
from tests.helpers import batch, problem

TASKS = ("a", "b")
RATE = 0.1


def layer():
    made = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
    made.example_input = torch.zeros(1, 6)
    return made


def model(kind=SafeMTL, **options):
    torch.manual_seed(0)
    return kind(layer(), {task: nn.Linear(4, 3) for task in TASKS}, **options).double()


def data():
    return BilevelBatch([batch(TASKS, seed=1)], batch(TASKS, seed=2))


def looked_ahead(architecture, omega):
    """The sum of held-out losses after one step on the training losses, written out."""
    tasks, both = problem(architecture), data()
    theta = {n: p.detach() for n, p in architecture.named_parameters() if n not in omega}
    theta = {n: t.requires_grad_() for n, t in theta.items()}

    def loss(theta, part):
        predictions = functional_call(architecture, {**theta, **omega}, (part.inputs,))
        return sum(tasks.task_losses[t](predictions[t], part.targets[t]) for t in TASKS)

    grads = torch.autograd.grad(loss(theta, both.lower[0]), list(theta.values()))
    moved = {n: t - RATE * g for (n, t), g in zip(theta.items(), grads, strict=True)}
    return float(loss(moved, both.upper).detach())


@pytest.mark.parametrize("kind", [SafeMTL, CrossStitch])
def test_the_gradient_of_gates_goes_through_the_look_ahead(kind):
    """Against central differences of the loss after the step."""
    architecture = model(kind)
    search = SharingStructure(problem(architecture))
    evaluation = Bilevel(InnerSGD(RATE), Unrolled())(search, data())
    found = evaluation.pullback(torch.ones(2, dtype=torch.float64))
    omega = {n: p.detach().clone() for n, p in search.upper_parameters().items()}
    numeric = []
    for value in omega.values():
        for i in range(value.numel()):
            ends = []
            for side in (1e-5, -1e-5):
                value.view(-1)[i] += side
                ends.append(looked_ahead(architecture, omega))
                value.view(-1)[i] -= side
            numeric.append((ends[0] - ends[1]) / 2e-5)
    torch.testing.assert_close(found, torch.tensor(numeric).double(), rtol=1e-5, atol=1e-8)


def test_what_has_a_structure_says_so():
    assert len(model().structure()) == 2
    assert [p.shape for p in model(LTB).structure()] == [(2, 2)]
    with pytest.raises(ValueError, match="should have a structure to learn, found none in HPS"):
        SharingStructure(problem(model(HPS)))


def test_only_the_structure_is_the_upper_levels():
    search = SharingStructure(problem(model()))
    assert {name for name, _ in search.trainable()} == {"gates.a.logits", "gates.b.logits"}
