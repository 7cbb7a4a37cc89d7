"""Forward-mode differentiation: the derivative is carried along with the lower steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import (
    Hypergradient,
    LowerSolution,
    flat,
    require_plain_look,
    solved,
    unflat,
)
from moml.bilevel.inner import InnerSolver, InnerState
from moml.gradients.rows import Plan, Row, form_rows

_LARGEST = 4096


class ForwardMode(Hypergradient):
    r"""The exact derivative of T lower steps, carried forwards, for few upper parameters.

    :math:`Z_{t+1} = \partial_\theta\Phi\, Z_t + \partial_\omega\Phi`, one column per upper
    parameter (Franceschi et al., `Forward and Reverse Gradient-Based Hyperparameter Optimization
    <https://arxiv.org/abs/1703.01785>`_, ICML 2017). The same numbers as `Unrolled`. Time and
    memory grow with the number n of upper parameters and not with T: right for learning rates, task
    weights and the like, refused above 4096.
    """

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        require_plain_look(lower, inner, "ForwardMode")
        omega = list(lower.omega.values())
        n = sum(x.numel() for x in omega)
        if n > _LARGEST:
            raise ValueError(
                f"`upper_parameters` should hold at most {_LARGEST} numbers with ForwardMode, "
                f"found {n}. Use Unrolled or Checkpointed."
            )
        basis = unflat(torch.eye(n, dtype=omega[0].dtype, device=omega[0].device), omega)
        state = inner.begin(lower, fresh(start))
        blank: Row = [None] * len(_parts(state))
        tangents: list[Row] = [
            [*row, *blank[len(row) :]] for row in _push(start, omega, basis, like=start)
        ]
        for _ in range(inner.steps):
            state, tangents = _step(inner, lower, state, tangents, basis)
        ends = [row[: len(start)] for row in tangents]
        found = any(g is not None for row in ends for g in row)
        columns = flat(ends, state.theta) if found else None  # (n, p)
        return solved(lower, start, state.theta, inner.steps, trace=columns)

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Products of the cotangents with the derivative that was carried along."""
        if solution.trace is None:
            return [[None] * len(solution.omega) for _ in cotangents]
        return unflat(flat(cotangents, solution.theta) @ solution.trace.T, solution.omega)


def _parts(state: InnerState) -> list[Tensor]:
    """Everything a step depends on that depends on the upper parameters."""
    slots = [x for x in pytree.tree_leaves(state.slots) if isinstance(x, Tensor)]
    return [*state.theta, *slots]


def _step(
    inner: InnerSolver,
    lower: LowerLevel,
    state: InnerState,
    tangents: list[Row],
    basis: list[Row],
) -> tuple[InnerState, list[Row]]:
    """The next state and its derivative."""
    theta = fresh(state.theta)
    leaves, spec = pytree.tree_flatten(state.slots)
    leaves = [x.detach().requires_grad_() if isinstance(x, Tensor) else x for x in leaves]
    before = InnerState(theta, pytree.tree_unflatten(leaves, spec), state.step)
    inputs = [*_parts(before), *lower.omega.values()]
    after = inner.advance(lower, before, create_graph=True)
    directions = [[*row, *unit] for row, unit in zip(tangents, basis, strict=True)]
    moved = _push(_parts(after), inputs, directions, like=_parts(after))
    detached = [x.detach() if isinstance(x, Tensor) else x for x in pytree.tree_leaves(after.slots)]
    slots = pytree.tree_unflatten(detached, pytree.tree_structure(after.slots))
    return InnerState([t.detach() for t in after.theta], slots, after.step), moved


def _push(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    tangents: Sequence[Row],
    *,
    like: Sequence[Tensor],
) -> list[Row]:
    r"""Products of the derivative with tangents, by differentiating a vector-Jacobian product.

    :math:`u \\mapsto J^\\top u` is linear, so its derivative along :math:`t` is :math:`J t`.
    """
    live = [i for i, output in enumerate(outputs) if output.requires_grad]
    rows: list[Row] = [[None] * len(like) for _ in tangents]
    if not live:
        return rows
    seeds = [torch.zeros_like(outputs[i]).requires_grad_() for i in live]
    linear = torch.autograd.grad(
        [outputs[i] for i in live], inputs, seeds, create_graph=True, allow_unused=True
    )
    known = [(g, k) for k, g in enumerate(linear) if g is not None and g.requires_grad]
    if not known:
        return rows
    cotangents = [[row[k] for _, k in known] for row in tangents]
    pushed = form_rows([g for g, _ in known], seeds, cotangents, Plan(len(tangents)))
    for row, values in zip(rows, pushed, strict=True):
        for i, value in zip(live, values, strict=True):
            row[i] = value
    return rows
