"""Linear regression adapted by gradient descent, with its meta-gradient in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml.bilevel import BilevelProblem, Params
from moml.data import BilevelBatch
from tasks._upper import Upper

_D = torch.float64


class LinearMAML(BilevelProblem):
    r"""Linear regression adapted by gradient descent from a learnt start.

    The derivative of T steps is :math:`(I - \eta X^\top X / n)^T`, whatever the objective.

    Args:
        objectives: Upper objectives, a regression each.
        size: Number of weights.
        seed: Seed of the data and of the start.
    """

    def __init__(self, objectives: int = 2, *, size: int = 5, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=_D)

        self.inputs, self.answers = draw(8, size), draw(8)
        self.queries, self.expected = draw(objectives, 6, size), draw(objectives, 6)
        self.upper = Upper(w=draw(size))

    @property
    def tasks(self) -> tuple[str, ...]:
        """``q0``, ``q1`` and so on."""
        return tuple(f"q{k}" for k in range(len(self.queries)))

    @property
    def module(self) -> nn.Module:
        """Holds the start."""
        return self.upper

    def upper_parameters(self) -> dict[str, Parameter]:
        """The start."""
        return dict(self.upper.values.items())

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: BilevelBatch, previous: Params | None
    ) -> Params:
        """The learnt start."""
        return {"w": omega["w"]}

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Tensor:
        """Half the mean squared error."""
        return (self.inputs @ theta["w"] - self.answers).square().mean() / 2

    def upper_losses(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Any
    ) -> dict[str, Tensor]:
        """Half the mean squared error of each query set."""
        errors = self.queries @ theta["w"] - self.expected
        return {name: errors[k].square().mean() / 2 for k, name in enumerate(self.tasks)}

    def derivative(self, steps: int, rate: float) -> Tensor:
        """Of the adapted weights with respect to the start, ``(p, p)``."""
        hessian = self.inputs.T @ self.inputs / len(self.inputs)
        return torch.linalg.matrix_power(torch.eye(len(hessian), dtype=_D) - rate * hessian, steps)

    def hypergradients(self, steps: int, rate: float) -> Tensor:
        """After gradient descent from the start, ``(m, p)``."""
        hessian = self.inputs.T @ self.inputs / len(self.inputs)
        power = self.derivative(steps, rate)
        optimum = torch.linalg.solve(hessian, self.inputs.T @ self.answers / len(self.inputs))
        adapted = optimum + power @ (self.upper.values["w"].detach() - optimum)
        errors = self.queries @ adapted - self.expected
        return (errors[:, :, None] * self.queries).mean(1) @ power
