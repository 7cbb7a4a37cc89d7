"""How the lower level is solved: T steps of a differentiable update rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moml._support import checks
from moml.bilevel._lower import LowerLevel, Tensors
from moml.bilevel._problem import Params

Projection = Callable[[Params], Params]


@dataclass(frozen=True)
class InnerState:
    """Where the lower level is after some steps.

    Attributes:
        theta: Lower variables.
        slots: What the update rule remembers (momentum, second moments), any nesting of tensors.
        step: Number of steps done.
    """

    theta: Tensors
    slots: Any
    step: int


class InnerSolver(ABC):
    """A number of lower steps, each a pure function of the state before it.

    Args:
        steps: Number of steps; 0 leaves the lower variables where they start.
        project: Maps lower variables back to where they may lie, after each step.
    """

    def __init__(self, *, steps: int, project: Projection | None = None) -> None:
        checks.whole("steps", steps, least=0)
        self.steps, self.project = steps, project

    @abstractmethod
    def begin(self, lower: LowerLevel, theta: Tensors) -> InnerState:
        """The state before the first step."""

    @abstractmethod
    def advance(self, lower: LowerLevel, state: InnerState, *, create_graph: bool) -> InnerState:
        """The state one step on; differentiable if ``create_graph``."""

    def walk(
        self,
        lower: LowerLevel,
        state: InnerState,
        steps: int,
        *,
        create_graph: bool,
        look: Callable[[InnerState], None] | None = None,
    ) -> InnerState:
        """Several steps on; without a graph, states are detached leaves.

        Args:
            lower: The lower level.
            state: Where to start from.
            steps: How many steps.
            create_graph: Keep the graph through all of them.
            look: Called with every state after a step.
        """
        if not create_graph:
            lower = lower.detached()
        for _ in range(steps):
            if not create_graph:
                state = InnerState(
                    [t.detach().requires_grad_() for t in state.theta], state.slots, state.step
                )
            state = self.advance(lower, state, create_graph=create_graph)
            if look is not None:
                look(state)
        return state

    def _projected(self, lower: LowerLevel, theta: Tensors) -> Tensors:
        if self.project is None:
            return theta
        return list(self.project(lower.named(theta)).values())


class UpdateRule(InnerSolver):
    """A solver that looks at the gradient of the lower loss: all first-order optimizers.

    Args:
        lr: Learning rate, where the problem learns none.
        steps: Number of steps.
        weight_decay: Multiple of the variables added to the gradient.
        project: Maps lower variables back to where they may lie, after each step.
        clip_norm: Largest norm of the lower loss's gradient, of each independent lower level.
    """

    def __init__(
        self,
        lr: float,
        *,
        steps: int,
        weight_decay: float = 0.0,
        project: Projection | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(steps=steps, project=project)
        if clip_norm is not None:
            checks.number("clip_norm", clip_norm, above=0, infinite=True)
        checks.number("lr", lr, least=0)
        checks.number("weight_decay", weight_decay, least=0)
        self.lr, self.weight_decay, self.clip_norm = lr, weight_decay, clip_norm

    def begin(self, lower: LowerLevel, theta: Tensors) -> InnerState:
        """The state before the first step: zero slots."""
        return InnerState(theta, self._slots(theta), 0)

    def advance(self, lower: LowerLevel, state: InnerState, *, create_graph: bool) -> InnerState:
        """One step on the gradient of the lower loss."""
        gradient = lower.gradient(state.theta, state.step, create_graph=create_graph)
        rates = self.rates(lower, state)
        with torch.set_grad_enabled(create_graph):
            if self.clip_norm is not None:
                gradient = _clipped(gradient, self.clip_norm, lower.blocks)
            if self.weight_decay:
                gradient = self._decayed(gradient, state.theta)
            theta, slots = self._update(gradient, state, rates)
            return InnerState(self._projected(lower, theta), slots, state.step + 1)

    def rates(self, lower: LowerLevel, state: InnerState) -> Sequence[Tensor | float]:
        """Learning rates of the variables: learnt ones, or the solver's own."""
        return lower.rates(state.step) or [self.lr] * len(state.theta)

    def _decayed(self, gradient: Tensors, theta: Tensors) -> Tensors:
        return [g.add(t, alpha=self.weight_decay) for g, t in zip(gradient, theta, strict=True)]

    def _slots(self, theta: Tensors) -> Any:
        """What the rule remembers before the first step."""
        return ()

    @abstractmethod
    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        """New variables and slots."""


def _clipped(gradient: Tensors, largest: float, blocks: int) -> Tensors:
    """The gradient scaled down to a norm, block by block, as `torch.nn.utils.clip_grad_norm_`."""
    rows = [g.reshape(blocks, -1) for g in gradient]
    squares = torch.stack([row.square().sum(1) for row in rows]).sum(0)  # (E,)
    factor = (largest / (safe_sqrt(squares) + 1e-6)).clamp(max=1.0)[:, None]
    return [(row * factor).reshape(g.shape) for row, g in zip(rows, gradient, strict=True)]


def zeros(theta: Tensors) -> Tensors:
    """Zeros like the variables."""
    return [torch.zeros_like(t) for t in theta]


def safe_sqrt(x: Tensor) -> Tensor:
    """Square root whose derivative at zero is zero.

    A gradient that is exactly zero (a bias before a normalisation) has a zero second moment; the
    derivative of a plain square root is infinite there and turns hypergradients into NaN.
    """
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)


def check_decay(name: str, *values: float) -> None:
    """Whether decay factors lie in [0, 1).

    Raises:
        ValueError: If not.
    """
    for value in values:
        checks.number(name, value)
    if not all(0 <= value < 1 for value in values):
        raise ValueError(f"`{name}` should lie in [0, 1), found {values}.")
