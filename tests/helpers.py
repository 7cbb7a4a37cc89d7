"""Small problems with known structure."""

import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch, TaskInputs
from moml.losses import CrossEntropy

TASKS = ("a", "b", "c")


def network(tasks=TASKS, *, width=8, classes=3, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
    encoder.out_features = width
    return HPS(encoder, {task: nn.Linear(width, classes) for task in tasks}).to(dtype)


def batch(tasks=TASKS, *, size=12, classes=3, multi_input=False, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def draw():
        return torch.randn(size, 6, generator=generator, dtype=dtype)

    inputs = TaskInputs({task: draw() for task in tasks}) if multi_input else draw()
    targets = {t: torch.randint(classes, (size,), generator=generator) for t in tasks}
    return Batch(inputs, targets)


def problem(model, classes=3):
    return moml.MultiTask(model, {task: CrossEntropy(classes) for task in model.tasks})


def flat_gradients(loss, parameters):
    """One loss's gradient by plain autograd, zeros where it does not reach."""
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [torch.zeros(p.numel(), dtype=p.dtype) if g is None else g.flatten()
         for g, p in zip(grads, parameters, strict=True)]
    )  # fmt: skip


def flat_grad(parameters):
    """What is in ``.grad``, zeros for ``None``."""
    return torch.cat(
        [torch.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.flatten()
         for p in parameters]
    )  # fmt: skip
