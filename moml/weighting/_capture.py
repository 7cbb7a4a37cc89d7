"""Weights of a method without applying them."""

from __future__ import annotations

from torch import Tensor

from moml.gradients.task_gradients import Evaluation, Heads, Reweighted
from moml.weighting._base import Weighting


class Capture(Reweighted):
    """A step that remembers the weights a method would apply, and applies nothing."""

    def __init__(self, base: Evaluation, weighting: Weighting) -> None:
        super().__init__(base, lambda weights: weights)
        self.method = type(weighting).__name__
        self.applied: Tensor | None = None
        self.heads: Heads | None = None

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Keep the weights.

        Raises:
            ValueError: If some were applied already.
        """
        if self.applied is not None:
            raise ValueError(self._complaint("weights twice"))
        self.applied, self.heads = weights.detach().double().cpu(), heads

    def assign(self, direction: Tensor) -> None:
        """Refuse: there are no weights to keep.

        Raises:
            ValueError: Always.
        """
        raise ValueError(self._complaint("a direction"))

    def select(self, rows: Tensor) -> Evaluation:
        """Refuse: weights of some tasks are not those of all.

        Raises:
            ValueError: Always.
        """
        raise ValueError(self._complaint("weights to some of the tasks"))

    def weights(self) -> Tensor:
        """The weights the method would have applied, ``(m,)``.

        Raises:
            ValueError: If it applied nothing.
        """
        if self.applied is None:
            raise ValueError(self._complaint("nothing"))
        return self.applied

    @classmethod
    def of(cls, weighting: Weighting, evaluation: Evaluation) -> Capture:
        """One step of a method, whose state moves on."""
        step = cls(evaluation, weighting)
        weighting.update(step)
        return step

    @classmethod
    def weights_of(cls, weighting: Weighting, evaluation: Evaluation) -> Tensor:
        """The weights of one step of a method, whose state moves on, ``(m,)``."""
        return cls.of(weighting, evaluation).weights()

    def _complaint(self, found: str) -> str:
        return (
            f"A method that another one builds on should apply weights, found {self.method}, which "
            f"applies {found}. Use one that has one weight per task."
        )
