"""Dynamic restrained uncertainty weighting: `RRUW` plus `DWA`."""

from __future__ import annotations

from torch import Tensor

from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import LossWeighting
from moml.weighting._capture import Capture
from moml.weighting.dwa import DWA
from moml.weighting.rruw import RRUW


class DRUW(LossWeighting):
    r"""Weights from restrained uncertainties plus the rate at which losses fall.

    Song et al., `Dynamic Restrained Uncertainty Weighting Loss for Multitask Learning of Vocal
    Expression <https://arxiv.org/abs/2206.11049>`_, 2022: :math:`w_i = \lambda_i(t) + 1 / (K
    \alpha_i^2)` with the weights :math:`\lambda` of `DWA` and the uncertainties of `RRUW`. In the
    authors' script the uncertainties are not in the optimizer and stay constant; here they train.

    Args:
        restraint: As for `RRUW`.
        temperature: As for `DWA`; 10 in the authors' code.
        window: As for `DWA`; 1 is the authors' code, which compares steps rather than epochs.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Song et al., Dynamic Restrained Uncertainty Weighting Loss, ICML ExVo 2022"

    def __init__(
        self, *, restraint: float = 1.0, temperature: float = 10.0, window: int | None = None
    ) -> None:
        super().__init__()
        self.rruw = RRUW(restraint=restraint)
        self.dwa = DWA(temperature=temperature, window=window)

    def _allocate(self, num_tasks: int) -> None:
        self.rruw.setup(self.names)
        self.dwa.setup(self.names)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Sum of both weights, ``(m,)``."""
        self._check_bound()
        return self.rruw.weights(losses, tasks=tasks) + self.dwa.weights(losses, tasks=tasks)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply the sum, and let `DWA` see the losses."""
        dynamic = Capture.weights_of(self.dwa, evaluation)
        weights = dynamic + self.rruw.weights(evaluation.losses, tasks=evaluation.tasks)
        evaluation.apply(weights)
        return weights

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """That of `RRUW`."""
        return self.rruw.penalty(losses, tasks=tasks)
