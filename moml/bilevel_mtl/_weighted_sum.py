"""Lower losses that are a weighted sum of terms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moml.bilevel import BilevelProblem, Params
from moml.errors import NonFiniteError
from moml.problem import Losses


class WeightedSum(BilevelProblem):
    r""":math:`f(\theta, \omega) = \sum_j c_j(\omega) L_j(\theta) + R(\theta)`: weights of tasks.

    The upper parameters enter through the weights alone.
    """

    @abstractmethod
    def lower_terms(self, theta: Params, batch: Any) -> Losses:
        """The terms that are present in a batch, by name."""

    @abstractmethod
    def term_weights(self, omega: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weight of every term, a scalar each."""

    def regulariser(self, theta: Params) -> Tensor | None:
        """What no weight scales, asked for when the terms are known; ``None`` if nothing."""
        return None

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Tensor:
        """The weighted sum over the terms present, and the regulariser."""
        return self.weighted(self.lower_terms(theta, batch), theta, omega)

    def weighted(self, terms: Losses, theta: Params, omega: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum and the regulariser.

        Raises:
            NonFiniteError: If a term is not finite.
            ValueError: If there is no term.
        """
        check_terms(terms)
        weights = self.term_weights(omega)
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        besides = self.regulariser(theta)
        return total if besides is None else total + besides


def check_terms(terms: Losses) -> None:
    """Whether there are terms, and finite ones.

    Raises:
        NonFiniteError: If a term is not finite.
        ValueError: If there is no term.
    """
    if not terms:
        raise ValueError("`batch` should carry a label of at least one task, found none.")
    bad = [name for name, term in terms.items() if not bool(torch.isfinite(term))]
    if bad:
        raise NonFiniteError("lower-level loss", bad)
