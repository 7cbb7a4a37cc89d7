"""MAML++: how to train your MAML."""

from __future__ import annotations

from moml._support import checks
from moml.bilevel import Unrolled
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class MAMLPlusPlus(MetaMethod):
    """MAML with multi-step losses, a learnt rate per tensor and step, and norms per step.

    Antoniou, Edwards & Storkey, `How to train your MAML <https://arxiv.org/abs/1810.09502>`_, ICLR
    2019. Derivatives are of second order from the first step: the paper's first-order phase saves
    time, which the engine does in other ways. Scales and shifts of normalisation layers are per
    step and not adapted. Batch normalisation goes by the batch's own statistics unless
    ``step_statistics`` is on: the paper keeps running statistics per step, its released code
    gathers them and always normalises by the batch.

    Args:
        multi_step: Share of the meta-steps over which the objectives look at all lower steps, the
            earlier ones less and less.
        step_norms: Keep normalisation layers' scales and shifts per lower step.
        step_statistics: In evaluation, normalise by running statistics kept per lower step
            (`moml.few_shot.StepStatistics`): queries then do not see each other. The network needs
            layers with running statistics, which moml's own encoders do not have.
    """

    paper = "Antoniou et al., How to train your MAML, ICLR 2019"

    def __init__(
        self, *, multi_step: float = 0.15, step_norms: bool = True, step_statistics: bool = False
    ) -> None:
        checks.number("multi_step", multi_step, least=0, most=1)
        self.multi_step, self.step_norms = multi_step, step_norms
        self.step_statistics = step_statistics

    def compose(self, setup: Setup) -> FewShotComposition:
        """All of it at once."""
        return by_gradient(
            setup,
            Unrolled(),
            rates="layer_step",
            multi_step=round(self.multi_step * setup.steps),
            step_norms=self.step_norms,
            statistics="per_step" if self.step_statistics else "batch",
        )
