"""Upper objectives of a search, as functions of what a supernet does on one batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moml.data import Batch
from moml.nas.eager import eager

if TYPE_CHECKING:
    from moml.bilevel import Params
    from moml.nas.robust_search import RobustSearch


class View:
    """A supernet at given weights and architecture parameters, on one batch; forwards are shared.

    Args:
        search: The problem.
        theta: Weights of the supernet.
        omega: Architecture parameters.
        batch: Data.
    """

    def __init__(
        self, search: RobustSearch, theta: Params, omega: Mapping[str, Tensor], batch: Batch
    ) -> None:
        self.search, self.theta, self.omega, self.batch = search, theta, omega, batch
        self.weights = search.upper_weights(omega)

    @property
    def inputs(self) -> Tensor:
        """Clean inputs."""
        return self.search.inputs(self.batch)

    def loss(self, x: Tensor) -> Tensor:
        """Mean loss at these inputs."""
        return self.search.loss(self.theta, self.weights, x, self.batch)

    @cached_property
    def _clean(self) -> tuple[Tensor, Tensor]:
        """The clean loss, and its gradient with respect to the inputs from the same pass."""
        x = self.inputs.detach().requires_grad_()
        known, (gradient,) = eager(self.loss(x), self._variables, beside=[x])
        return known, gradient

    @property
    def _variables(self) -> Sequence[Tensor]:
        return [*self.theta.values(), *self.omega.values()]

    @cached_property
    def clean_loss(self) -> Tensor:
        """Mean loss at the clean inputs."""
        return self._clean[0] if self.search.looks_at_input_gradients else self.loss(self.inputs)

    @property
    def input_gradient(self) -> Tensor:
        """Of the clean loss."""
        return self._clean[1]

    @cached_property
    def probabilities(self) -> dict[str, Tensor]:
        """Probability of every operation on every edge, float64, differentiable."""
        found = self.search.arch.probabilities(self.omega)
        return {name: p.to(torch.float64) for name, p in found.items()}

    @cached_property
    def expected_parameters(self) -> Tensor:
        """Expected number of parameters, differentiable."""
        return self.search.space.expected_parameters(self.probabilities)


class SearchObjective(ABC):
    """One upper objective."""

    needs_input_gradient: bool = False
    """Whether it looks at the gradient of the clean loss with respect to inputs."""

    @abstractmethod
    def __call__(self, view: View) -> Tensor | None:
        """A scalar; ``None`` for a constraint that is satisfied, which then has no row at all."""
