"""Auto-Lambda: task weights that lower the primary tasks' losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from moml.bilevel import Alternate, Bilevel, FiniteDifference, VirtualStep
from moml.bilevel_mtl.method._base import Composition, Method, Setting
from moml.bilevel_mtl.method._two_levels import (
    check_rate,
    check_share,
    no_weighting,
    two_level_stream,
)
from moml.bilevel_mtl.task_weights import TaskWeights
from moml.bilevel_mtl.weight_form import FreeWeights
from moml.optim import GradientStep
from moml.weighting import EW


class AutoLambda(Method):
    r"""Learns a free weight per task by a finite-difference hypergradient.

    Liu, James, Davison & Johns, `Auto-Lambda: Disentangling Dynamic Task Relationships
    <https://arxiv.org/abs/2202.03091>`_, TMLR 2022: one virtual step on the training loss, the sum
    of the primary tasks' held-out losses after it, its derivative with respect to the weights by
    two more training gradients, one step of Adam on the weights, then the network's own step. The
    virtual step has the rate, momentum and weight decay of the network's optimizer at that moment
    (`moml.bilevel.VirtualStep`); a weight below zero counts as zero.

    Args:
        primary: Tasks whose losses count; all unless given, the others are auxiliary.
        start: Every task's weight at the start.
        upper_rate: Rate of Adam on the weights.
        held_out: Share of the training split that upper losses are computed on.
        reuse: The network's own steps see the whole training split.
    """

    paper = "Liu et al., Auto-Lambda: Disentangling Dynamic Task Relationships, TMLR 2022"

    def __init__(
        self,
        primary: Sequence[str] | None = None,
        *,
        start: float = 0.1,
        upper_rate: float = 1e-4,
        held_out: float = 0.2,
        reuse: bool = True,
    ) -> None:
        check_rate("upper_rate", upper_rate)
        self.primary, self.form, self.upper_rate = primary, FreeWeights(start), upper_rate
        self.held_out, self.reuse = check_share(held_out), reuse

    def compose(self, setting: Setting) -> Composition:
        """Task weights, one virtual step, and alternating real ones."""
        no_weighting(setting, "AutoLambda", "It adds up the primary tasks' losses.")
        problem = TaskWeights(setting.problem, form=self.form, objectives=self.primary)
        real = Alternate(
            setting.optimizer,
            first=1 if self.reuse else 0,
            scheduler=setting.scheduler,
            clip_norm=setting.clip_norm,
        )
        upper = torch.optim.Adam(problem.upper_parameters().values(), self.upper_rate)
        return Composition(
            problem,
            Bilevel(VirtualStep(real), FiniteDifference(), alternate=real),
            EW(),
            GradientStep(upper),
            two_level_stream(setting, self.held_out, whole=self.reuse),
        )
