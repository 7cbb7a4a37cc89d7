"""First-order MAML."""

from __future__ import annotations

from moml.bilevel import FirstOrder
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class FOMAML(MetaMethod):
    """MAML without second derivatives: the lower steps count as a constant.

    Finn, Abbeel & Levine, ICML 2017, section 5.2; Nichol, Achiam & Schulman, `On First-Order
    Meta-Learning Algorithms <https://arxiv.org/abs/1803.02999>`_, 2018.
    """

    paper = "Nichol et al., On First-Order Meta-Learning Algorithms, 2018"

    def compose(self, setup: Setup) -> FewShotComposition:
        """Every parameter is adapted; gradients of the adapted parameters move the start."""
        return by_gradient(setup, FirstOrder())
