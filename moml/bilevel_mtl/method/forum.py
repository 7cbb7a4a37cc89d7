"""FORUM: task weights and network move at once, first derivatives only."""

from __future__ import annotations

import torch

from moml.bilevel import Along, Bilevel, ConstrainedMGDA, InnerSGD, ValueFunction
from moml.bilevel_mtl.method._base import Composition, Method, Setting
from moml.bilevel_mtl.method._two_levels import (
    check_rate,
    check_share,
    no_weighting,
    two_level_stream,
)
from moml.bilevel_mtl.task_weights import TaskWeights
from moml.optim import GradientStep


class FORUM(Method):
    r"""Learns softmax task weights under the value-function constraint of the lower level.

    Ye, Zhang et al., `A First-Order Multi-Gradient Algorithm for Multi-Objective Bi-Level
    Optimization <https://arxiv.org/abs/2401.09257>`_, ECAI 2024; `moml.bilevel.ValueFunction` has
    the direction and `moml.bilevel.ConstrainedMGDA` the weights. The network moves along its part
    of the joint direction by its own optimizer, the logits along theirs by Adam. The held-out
    losses drive the network too: all of the training split is learnt from. The logits see the
    constraint only, so they rest while the network's direction lowers the training loss fast
    enough by itself.

    Args:
        rho: How fast the constraint should fall.
        inner_steps: Steps towards the lower optimum, from the current network.
        inner_rate: Their rate.
        upper_rate: Rate of Adam on the logits.
        normalize: Held-out gradients are divided by their norms, as in the released code.
        held_out: Share of the training split that upper losses are computed on.
    """

    paper = "Ye et al., A First-Order Multi-Gradient Algorithm for MOBLO (FORUM), ECAI 2024"

    def __init__(
        self,
        *,
        rho: float = 0.1,
        inner_steps: int = 5,
        inner_rate: float = 0.1,
        upper_rate: float = 1e-3,
        normalize: bool = True,
        held_out: float = 0.2,
    ) -> None:
        check_rate("inner_rate", inner_rate)
        check_rate("upper_rate", upper_rate)
        self.hypergradient = ValueFunction(rho)
        self.inner = InnerSGD(inner_rate, steps=inner_steps)
        self.upper_rate, self.normalize = upper_rate, normalize
        self.held_out = check_share(held_out)

    def compose(self, setting: Setting) -> Composition:
        """Task weights, steps to compare with, and a joint move."""
        no_weighting(setting, "FORUM", "Its weights respect the lower level's constraint.")
        problem = TaskWeights(setting.problem)
        joint = Along(setting.optimizer, scheduler=setting.scheduler, clip_norm=setting.clip_norm)
        upper = torch.optim.Adam(problem.upper_parameters().values(), self.upper_rate)
        return Composition(
            problem,
            Bilevel(self.inner, self.hypergradient, alternate=joint),
            ConstrainedMGDA(normalize=self.normalize),
            GradientStep(upper),
            two_level_stream(setting, self.held_out),
        )
