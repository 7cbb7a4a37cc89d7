"""ANIL: almost no inner loop."""

from __future__ import annotations

from moml.bilevel import Unrolled
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class ANIL(MetaMethod):
    """MAML that adapts the head only: the encoder's features are reused.

    Raghu, Raghu, Bengio & Vinyals, `Rapid Learning or Feature Reuse?
    <https://arxiv.org/abs/1909.09157>`_, ICLR 2020.
    """

    paper = "Raghu et al., Rapid Learning or Feature Reuse?, ICLR 2020"

    def compose(self, setup: Setup) -> FewShotComposition:
        """Lower steps move the child ``head``; the rest is learnt by the upper level."""
        return by_gradient(setup, Unrolled(), adapt="head")
