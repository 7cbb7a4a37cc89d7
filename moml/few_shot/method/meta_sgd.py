"""Meta-SGD: learn where to start, in which direction to go, and how fast."""

from __future__ import annotations

from moml.bilevel import Unrolled
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class MetaSGD(MetaMethod):
    """MAML with a learnt learning rate for every single number.

    Li, Zhou, Chen & Li, `Meta-SGD: Learning to Learn Quickly for Few-Shot Learning
    <https://arxiv.org/abs/1707.09835>`_, 2017. Rates start at the inner learning rate and may
    become negative. Unlike in the paper they all start equal, and there may be several steps.
    """

    paper = "Li et al., Meta-SGD, 2017"

    def compose(self, setup: Setup) -> FewShotComposition:
        """Rates are upper parameters beside the start."""
        return by_gradient(setup, Unrolled(), rates="variable")
