"""MOML for multi-task learning: task weights as upper variables, any weighting on top."""

from __future__ import annotations

import torch

from moml.bilevel import Alternate, Bilevel, Hypergradient, InnerSGD
from moml.bilevel_mtl.method._base import Composition, Method, Setting
from moml.bilevel_mtl.method._two_levels import check_rate, check_share, two_level_stream
from moml.bilevel_mtl.one_step_gramian import OneStepGramian
from moml.bilevel_mtl.task_weights import TaskWeights
from moml.optim import GradientStep
from moml.weighting import MGDA, GradientNormalization, Normalization


class MOML(Method):
    r"""Learns softmax task weights so that held-out losses fall together.

    Ye, Lin, Yue, Guo, Xiao & Zhang, `Multi-Objective Meta Learning
    <https://arxiv.org/abs/2102.07121>`_, NeurIPS 2021, as in the released multi-task code: in each
    step a virtual step of plain gradient descent on a training batch, the gradients of the held-out
    losses after it with respect to the weights' logits, MGDA of those, one step of Adam on the
    logits, and then the network's own step with the new weights. Weights leave the simplex's centre
    by at most the upper rate times the number of steps, in logits.

    With one virtual step the hypergradient is exact for that step, not for the lower level's
    optimum: on a convex quadratic the scheme ends off the Pareto set. More virtual steps with
    `moml.bilevel.Unrolled`, or an implicit method (`moml.bilevel.BlockConjugateGradient`,
    `moml.bilevel.Neumann`), which take the alternating steps as a warm start, come nearer.

    `--weighting` chooses the upper level's weighting; normalised MGDA unless given.

    Args:
        hypergradient: `moml.bilevel_mtl.OneStepGramian` unless given: exact, no second derivatives.
        inner_steps: Virtual steps.
        inner_rate: Their rate; the network's learning rate at the start unless given.
        upper_rate: Rate of Adam on the logits; 1e-3 for Office data and 1e-4 for NYUv2 in the
            released code.
        normalize: What divides the upper gradients before MGDA: ``l2`` norm (Office) or ``loss``
            (NYUv2).
        held_out: Share of the training split that upper losses are computed on.
        reuse: The network's own steps see the whole training split, as in the released code, not
            only what is not held out.
    """

    paper = "Ye et al., Multi-Objective Meta Learning, NeurIPS 2021"

    def __init__(
        self,
        hypergradient: Hypergradient | None = None,
        *,
        inner_steps: int = 1,
        inner_rate: float | None = None,
        upper_rate: float = 1e-3,
        normalize: Normalization = "l2",
        held_out: float = 0.2,
        reuse: bool = True,
    ) -> None:
        self.hypergradient = OneStepGramian() if hypergradient is None else hypergradient
        self.inner_steps, self.inner_rate = inner_steps, check_rate("inner_rate", inner_rate)
        self.upper_rate, self.normalize = upper_rate, normalize
        self.held_out, self.reuse = check_share(held_out), reuse
        check_rate("upper_rate", upper_rate)

    def compose(self, setting: Setting) -> Composition:
        """Task weights, virtual steps, and alternating real ones."""
        problem = TaskWeights(setting.problem)
        inner = InnerSGD(self.inner_rate or setting.learning_rate, steps=self.inner_steps)
        real = Alternate(
            setting.optimizer,
            first=1 if self.reuse else 0,
            scheduler=setting.scheduler,
            clip_norm=setting.clip_norm,
        )
        weighting = setting.weighting or GradientNormalization(MGDA(), by=self.normalize)
        upper = torch.optim.Adam(problem.upper_parameters().values(), self.upper_rate)
        return Composition(
            problem,
            Bilevel(inner, self.hypergradient, alternate=real),
            weighting,
            GradientStep(upper),
            two_level_stream(setting, self.held_out, whole=self.reuse),
        )
