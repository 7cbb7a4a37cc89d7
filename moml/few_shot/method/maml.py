"""MAML: learn where to start."""

from __future__ import annotations

from moml.bilevel import Unrolled
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient


class MAML(MetaMethod):
    """An initialisation from which few gradient steps suffice, differentiated exactly.

    Finn, Abbeel & Levine, `Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks
    <https://arxiv.org/abs/1703.03400>`_, ICML 2017.
    """

    paper = "Finn et al., Model-Agnostic Meta-Learning, ICML 2017"

    def compose(self, setup: Setup) -> FewShotComposition:
        """Every parameter is adapted; backpropagation through all lower steps."""
        return by_gradient(setup, Unrolled())
