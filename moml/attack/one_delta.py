"""One perturbation for all tasks: a trade-off between their gradients for every sample.

The direction that raises the worst task most in a ball follows from duality:
``max_{|d| <= 1} min_t g_t·d = min_{w in simplex} |sum_t w_t g_t|`` with the dual norm on the right,
and ``d`` is the steepest direction of the minimiser. For L2 it is MGDA's; for L-infinity the L1
norm is to be minimised, and the L2 solution is not the one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.attack._ascent import Ascent, input_gradient
from moml.attack.ball import L2, Ball, Linf
from moml.weighting import Weighting, batched_min_norm
from moml.weighting.wrappers import GoalMask

_ITERATIONS = 6  # of reweighted least squares for the L1 norm


class OneDelta(Ascent):
    """Weighs the tasks' gradients for every sample; for `PGD` and every other attack on many tasks.

    Without a weighting it is the max-min direction of the ball (see above), for all samples at once
    on their device. The goal mask is the idea of TA-MOO (Bui et al., TMLR 2023): fooled tasks of a
    sample drop out, and it is what matters most. It needs an objective with a goal. A fooled task
    that has no say at all is soon lost again, so it keeps a share of the weight that the others
    have on average.

    Args:
        weighting: Any `LossWeighting` or `GramianWeighting`; the max-min direction unless given.
        ball: The attack's own ball, whose geometry is followed.
        unit: Scale each task's gradient to dual norm 1 first: how much a step in the ball can raise
            its loss.
        goal_mask: Whether a sample's tasks that are fooled drop out.
        hold: What fooled tasks keep, a share of the others' mean weight; 0 for a hard mask.

    Raises:
        ValueError: If there is no weighting and the ball is neither `Linf` nor `L2`, or ``hold`` is
            not in [0, 1].
    """

    def __init__(
        self,
        weighting: Weighting | None = None,
        *,
        ball: Ball,
        unit: bool = True,
        goal_mask: bool = True,
        hold: float = 0.25,
    ) -> None:
        checks.number("hold", hold, least=0, most=1)
        if weighting is None and not isinstance(ball, (Linf, L2)):
            raise ValueError(
                f"`ball` should be Linf or L2 for the max-min direction, found {ball}. "
                "Pass a weighting, such as EW()."
            )
        if weighting is not None and not isinstance(weighting, GoalMask):
            weighting = GoalMask(weighting)  # what can weigh every sample
        self.weighting, self.ball = weighting, ball
        self.unit, self.goal_mask, self.hold = unit, goal_mask, hold

    def __repr__(self) -> str:
        inner = None if self.weighting is None else type(self.weighting.weighting).__name__
        shown = ("ball", "unit", "goal_mask", "hold")
        return f"OneDelta({inner}, {', '.join(f'{k}={getattr(self, k)}' for k in shown)})"

    def gradient(self, losses: Tensor, reached: Tensor | None, x: Tensor) -> Tensor:
        """The weighted sum of the tasks' gradients, sample by sample; a backward pass per task."""
        self.ball.check(x, samples=False)
        gradients = [input_gradient(loss.sum(), x, retain_graph=True) for loss in losses.unbind(1)]
        rows = torch.stack([self.ball.scaled(g) for g in gradients], dim=1).flatten(2)  # (B, T, D)
        weights = self._weights(rows, losses.detach(), self._open(losses, reached))
        combined = weights.to(rows)[:, None] @ torch.stack(gradients, dim=1).flatten(2)
        return combined[:, 0].reshape(x.shape)

    def _open(self, losses: Tensor, reached: Tensor | None) -> Tensor:
        """Tasks that take part, bools ``(B, T)``; all of them where all are fooled."""
        if reached is None or not self.goal_mask:
            return torch.ones_like(losses, dtype=torch.bool)
        return ~reached | reached.all(1, keepdim=True)

    def _weights(self, rows: Tensor, losses: Tensor, open_: Tensor) -> Tensor:
        """How much every task counts, ``(B, T)``."""
        lengths = rows.new_ones(rows.shape[:2])
        if self.unit:
            flat = rows.flatten(0, 1)  # (B T, D)
            sizes = (flat * self.ball.plain().steepest(flat)).sum(1)  # dual norms
            lengths = torch.where(sizes > 0, sizes, 1).reshape(rows.shape[:2])
            rows = rows / lengths[..., None]
        if self.weighting is None:
            weights = max_min_weights(rows, self.ball, active=open_)
        else:
            wide = rows.double()  # inner products in double precision
            weights = self.weighting.sample_weights(wide @ wide.mT, losses, reached=~open_)
        mean = weights.sum(1, keepdim=True) / open_.sum(1, keepdim=True)  # (B, 1)
        return torch.where(open_, weights, self.hold * mean) / lengths


def max_min_weights(rows: Tensor, ball: Ball, *, active: Tensor | None = None) -> Tensor:
    """Weights whose combination is shortest in the ball's dual norm, ``(B, T)``.

    Exact for L2. For L-infinity the L1 norm is majorised by weighted squares whose minimum is
    exact, a few times over; it never grows.

    Args:
        rows: Gradients ``(B, T, D)``.
        ball: `Linf` or `L2`.
        active: Tasks that take part, bools ``(B, T)``.
    """
    rows = rows.double()
    best = batched_min_norm(rows @ rows.mT, active=active)
    if isinstance(ball, L2):
        return best
    total = (best[:, None] @ rows)[:, 0]  # (B, D)
    length = total.abs().sum(1)
    for _ in range(_ITERATIONS):
        floor = 1e-3 * total.abs().mean(1, keepdim=True) + 1e-300
        scaled = rows / total.abs().maximum(floor).sqrt()[:, None]
        weights = batched_min_norm(scaled @ scaled.mT, active=active)
        total = (weights[:, None] @ rows)[:, 0]
        better = total.abs().sum(1) < length
        best = torch.where(better[:, None], weights, best)
        length = torch.where(better, total.abs().sum(1), length)
    return best
