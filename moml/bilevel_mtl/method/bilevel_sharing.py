"""What tasks share, learnt on held-out data."""

from __future__ import annotations

import torch

from moml.bilevel import Alternate, Bilevel, Hypergradient, InnerSGD, Unrolled
from moml.bilevel_mtl.method._base import Composition, Method, Setting
from moml.bilevel_mtl.method._two_levels import check_rate, check_share, two_level_stream
from moml.bilevel_mtl.sharing_structure import SharingStructure
from moml.optim import GradientStep
from moml.weighting import EW


class BilevelSharing(Method):
    r"""Learns an architecture's gates, branches or units on data that its weights do not see.

    Guo, Ye, Zhang, `Safe Multi-Task Learning <https://arxiv.org/abs/2111.10601>`_, 2021, trains its
    gates so: a virtual step of plain gradient descent on a training batch, the gradient of the
    held-out losses after it with respect to the gates, through the step; one step of Adam on the
    gates; then the network's own step. Takes `moml.architecture.SafeMTL`, `LTB` and `CrossStitch`.

    Costs about three training steps a step, and the held-out part of the data. `--weighting` trades
    held-out losses off; their sum unless given. Gates of `SafeMTL` are each task's own, so there it
    matters only through the look-ahead.

    Args:
        hypergradient: `moml.bilevel.Unrolled` unless given.
        inner_steps: Virtual steps.
        inner_rate: Their rate; the network's learning rate at the start unless given.
        upper_rate: Rate of Adam on the structure.
        held_out: Share of the training split that upper losses are computed on.
    """

    paper = "Guo et al., Safe Multi-Task Learning, arXiv:2111.10601, 2021"

    def __init__(
        self,
        hypergradient: Hypergradient | None = None,
        *,
        inner_steps: int = 1,
        inner_rate: float | None = None,
        upper_rate: float = 1e-3,
        held_out: float = 0.2,
    ) -> None:
        self.hypergradient = Unrolled() if hypergradient is None else hypergradient
        self.inner_steps, self.inner_rate = inner_steps, check_rate("inner_rate", inner_rate)
        self.held_out, self.upper_rate = check_share(held_out), upper_rate
        check_rate("upper_rate", upper_rate)

    def compose(self, setting: Setting) -> Composition:
        """The structure above, virtual steps, and alternating real ones."""
        problem = SharingStructure(setting.problem)
        inner = InnerSGD(self.inner_rate or setting.learning_rate, steps=self.inner_steps)
        real = Alternate(
            setting.optimizer, first=0, scheduler=setting.scheduler, clip_norm=setting.clip_norm
        )
        upper = torch.optim.Adam(problem.upper_parameters().values(), self.upper_rate)
        return Composition(
            problem,
            Bilevel(inner, self.hypergradient, alternate=real),
            setting.weighting or EW(),
            GradientStep(upper),
            two_level_stream(setting, self.held_out),
        )
