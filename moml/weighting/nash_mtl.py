"""Multi-task learning as a bargaining game: the Nash bargaining solution."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._fair import fair_weights
from moml.weighting._gramian import checked, solve_each


class NashMTL(GramianWeighting):
    r"""Weights of the Nash bargaining solution: a compromise indifferent to the losses' scales.

    :math:`\alpha_i = 1 / (G \alpha)_i` with the Gramian :math:`G`.

    Navon et al., `Multi-Task Learning as a Bargaining Game <https://arxiv.org/abs/2202.01017>`_,
    ICML 2022. Multiplying one loss by a constant leaves the direction as it is. The direction's
    norm is always :math:`\sqrt K`, so with ``max_norm`` below that every update has norm
    ``max_norm``, whatever the gradients: the learning rate alone sets the step. The norm falls only
    where zero lies in the hull of the gradients (Pareto stationary), where no solution exists and a
    small ridge keeps weights finite. The paper warns against gradients of the representation.

    Solved by Newton's method rather than the authors' sequence of convex programs, which does not
    converge for gradients far from norm 1 or of very different norms.

    Args:
        max_norm: Weights are scaled down until the combined gradient's norm is at most this, heads
            included if the oracle weights them (the authors clip shared parameters only); ``None``
            leaves :math:`\sqrt K`. To renew weights every n steps: ``Every(NashMTL(), n=n)``.

    LibMTL name: ``Nash_MTL``; TorchJD: ``NashMTL``.
    """

    traits = frozenset({"permutation", "scale_invariant", "task_scale_invariant", "descent"})
    paper = "Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022"

    def __init__(self, *, max_norm: float | None = 1.0) -> None:
        super().__init__()
        self.max_norm = (
            None
            if max_norm is None
            else checks.number("max_norm", max_norm, above=0.0, infinite=True)
        )

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """The bargaining solution, scaled to at most ``max_norm``, ``(*b, m)``."""
        gramian = checked(gramian)
        weights = solve_each(fair_weights, gramian, power=1.0)
        if self.max_norm is None:
            return weights
        products = (gramian @ weights[..., None]).squeeze(-1)
        norm = (weights * products).sum(-1, keepdim=True).clamp_min(0.0).sqrt()
        return weights * (self.max_norm / norm.clamp_min(self.max_norm))
