"""Gradients with respect to the representation: the upper bound of MGDA-UB, for any weighting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from moml.gradients.features import Features
from moml.gradients.layouts import Found
from moml.gradients.live import Live, RepresentationRows
from moml.gradients.task_gradients import Heads
from moml.oracle._backpropagation import Backpropagation
from moml.problem import FactoredProblem, Losses, Problem


class Representation(Backpropagation):
    """Gradients with respect to the representation: one encoder pass, however many tasks.

    Sener & Koltun, `Multi-Task Learning as Multi-Objective Optimization
    <https://arxiv.org/abs/1810.04650>`_ (NeurIPS 2018). The weights come from gradients flattened
    over batch and features; the norm of the parameter direction is bounded by that of the
    representation direction times the encoder's Jacobian norm. Stationary points and descent carry
    over if that Jacobian has full row rank. For multi-input batches every task has a representation
    of its own, hence an orthogonal gradient: then weights follow from norms alone.

    Args:
        heads: As for `moml.oracle.Direct`.
    """

    def __call__(self, problem: Problem, batch: Any) -> Live:
        """Compute the losses of the batch.

        Raises:
            ValueError: If the problem has no representation, or it needs no gradient.
        """
        if not isinstance(problem, FactoredProblem):
            raise ValueError(
                f"`problem` should be a FactoredProblem, found {type(problem).__name__}. "
                "Representation gradients need `features` and `losses_from`; use `Direct`."
            )
        return super().__call__(problem, batch)

    def _evaluated(self, problem: Problem, losses: Losses, features: Features) -> Live:
        if not features.outputs and any(p.requires_grad for p in problem.shared_parameters()):
            raise ValueError(
                "`problem` should divide its network into an encoder and heads, found nothing "
                "trainable below its representation. Declare them, as by "
                "`moml.architecture.HPS(encoder, heads)`, or use `Direct`."
            )
        return super()._evaluated(problem, losses, features)

    def _find(self, problem: Problem, losses: Losses, features: Features) -> Found:
        found = super()._find(problem, losses, features)
        if found.layout.aside:
            raise ValueError(
                "`features` should hold something that every task sees, found nothing for "
                f"{', '.join(found.layout.aside)}: shared layers follow layers of the task's own. "
                "Its gradient would count as zero; use `Direct`."
            )
        return found

    def _evaluation(
        self,
        losses: Losses,
        features: Features,
        find: Callable[[], Found],
        tasks: Tensor,
        *,
        heads: Heads,
    ) -> RepresentationRows:
        if not features.outputs:
            raise ValueError(
                "`features` should depend on a trainable parameter, found none that does. "
                "Unfreeze the encoder, or use `Direct`."
            )
        return RepresentationRows(losses, features, find, tasks, heads=heads)
