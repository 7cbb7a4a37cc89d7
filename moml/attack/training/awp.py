"""Adversarial weight perturbation: losses where the weights, too, are moved for the worse."""

from __future__ import annotations

from typing import Any

import torch

from moml._support import checks
from moml._support.substitution import substituted
from moml.problem import AroundProblem, Losses, Problem


class AWP(AroundProblem):
    r"""The losses of another problem at :math:`\theta + v`, with :math:`v` raising their sum.

    Wu, Xia & Wang, `Adversarial Weight Perturbation Helps Robust Generalization
    <https://arxiv.org/abs/2004.05884>`_, NeurIPS 2020. Per weight matrix
    :math:`v = \gamma \|\theta\| g / \|g\|` with the gradient :math:`g` at :math:`\theta`; biases
    and norms stay. One extra forward and backward pass per step; perturbed inputs are made anew for
    the second pass if the problem inside makes any. Gradients are those at the perturbed weights.

    Args:
        problem: Usually `Adversarial` or `TRADES`.
        gamma: Size of the perturbation relative to each weight's norm.
    """

    def __init__(self, problem: Problem, *, gamma: float = 5e-3) -> None:
        checks.number("gamma", gamma, least=0)
        super().__init__(problem)
        self.gamma = gamma

    def losses(self, batch: Any) -> Losses:
        """Losses at the perturbed weights, differentiable with respect to the weights."""
        module = self.problem.module
        weights = {n: p for n, p in module.named_parameters() if p.requires_grad and p.dim() > 1}
        with substituted(module, {}):  # running statistics move in the second pass only
            total = torch.stack(list(self.problem.losses(batch).values())).sum()
            gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
        moved = {
            name: weight + self.gamma * weight.detach().norm() * g / g.norm().clamp(min=1e-12)
            for (name, weight), g in zip(weights.items(), gradients, strict=True)
            if g is not None
        }
        with substituted(module, moved, isolated=False):
            return self.problem.losses(batch)
