"""The hypergradient of weights in closed form: inner products of first derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moml.bilevel import (
    Hypergradient,
    InnerSGD,
    InnerSolver,
    LowerLevel,
    LowerSolution,
    Tensors,
    fresh,
)
from moml.bilevel.hypergradient import require_plain_look, solved
from moml.bilevel_mtl._weighted_sum import WeightedSum, check_terms
from moml.gradients.rows import Row, add_rows, combine_rows


class OneStepGramian(Hypergradient):
    r"""The exact derivative of one gradient step on a weighted sum, without second derivatives.

    With :math:`f = \sum_j c_j(\omega) L_j(\theta) + R(\theta)` and one step
    :math:`\theta' = \theta - \eta \nabla_\theta f`,

    .. math:: \frac{dF_k(\theta')}{d\omega} = -\eta \sum_j \langle \nabla F_k(\theta'), \nabla
       L_j(\theta) \rangle \, \frac{\partial c_j}{\partial \omega}:

    as many inner products as there are objectives times terms. Equal to `Unrolled` with one step
    of plain gradient descent; the identity behind the multi-task MOML of Ye et al.'s FORUM code.

    Cost: one gradient per term, no graph of the step. It belongs to problems whose upper
    parameters are weights (`TaskWeights`), hence lives with them.

    Raises:
        ValueError: When used with another lower problem, solver or number of steps.
    """

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        require_plain_look(lower, inner, "OneStepGramian")
        problem = lower.problem
        if not isinstance(problem, WeightedSum):
            raise ValueError(
                "`problem` should have a lower loss that is a weighted sum for OneStepGramian "
                f"(TaskWeights), found {type(problem).__name__}. Use Unrolled."
            )
        sgd = inner if isinstance(inner, InnerSGD) else None
        if (
            sgd is None
            or sgd.steps != 1
            or sgd.momentum
            or sgd.project is not None
            or sgd.clip_norm is not None
        ):
            raise ValueError(
                "`inner` should be one step of InnerSGD without momentum, projection or clipping "
                f"for OneStepGramian, found {type(inner).__name__} with {inner.steps} steps. "
                "Use Unrolled."
            )
        theta = fresh(start)
        terms = problem.lower_terms(lower.named(theta), lower.batches[0])
        check_terms(terms)
        rows: list[Row] = [
            list(torch.autograd.grad(term, theta, retain_graph=True, allow_unused=True))
            for term in terms.values()
        ]
        weights = problem.term_weights(lower.omega)
        chosen = torch.stack([weights[name] for name in terms])  # (j,) with a graph to omega
        step = combine_rows(rows, chosen.detach())
        if (besides := problem.regulariser(lower.named(theta))) is not None:
            step = add_rows(step, list(torch.autograd.grad(besides, theta, allow_unused=True)))
        moved = []
        for t, g in zip(theta, step, strict=True):
            gradient = torch.zeros_like(t) if g is None else g
            gradient = gradient.add(t.detach(), alpha=sgd.weight_decay)
            moved.append(t.detach().add(gradient, alpha=-sgd.lr))
        return solved(lower, start, moved, inner.steps, trace=(rows, chosen, sgd.lr))

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Inner products, then the weights' own derivative."""
        rows, chosen, rate = solution.trace
        products = torch.stack(
            [torch.stack([_inner(v, g, chosen) for g in rows]) for v in cotangents]
        )  # (K, j)
        seeds = [[-rate * row] for row in products]
        return self._back([chosen], solution.omega, seeds)


def _inner(first: Row, second: Row, like: Tensor) -> Tensor:
    """Inner product of two rows, summed in float64."""
    pairs = zip(first, second, strict=True)
    products = [
        torch.dot(a.flatten(), b.flatten()) for a, b in pairs if a is not None and b is not None
    ]
    if not products:
        return like.new_zeros(())
    return torch.stack(products).double().sum().to(like)
