"""BOIL: the body only in the inner loop."""

from __future__ import annotations

from moml.bilevel import Unrolled
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class BOIL(MetaMethod):
    """MAML that adapts everything but the head: features change, the classifier stays.

    Oh, Yoo, Kim & Yun, `BOIL: Towards Representation Change for Few-shot Learning
    <https://arxiv.org/abs/2008.08882>`_, ICLR 2021.
    """

    paper = "Oh et al., BOIL, ICLR 2021"

    def compose(self, setup: Setup) -> FewShotComposition:
        """Lower steps move all but the child ``head``."""
        return by_gradient(setup, Unrolled(), adapt="body")
