"""Reptile: move the start towards where adaptation ends."""

from __future__ import annotations

from moml.bilevel import FirstOrder
from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup, by_gradient
from moml.few_shot.objectives import Clean, Distance


class Reptile(MetaMethod):
    """The start moves towards the adapted parameters; no query is looked at in training.

    Nichol, Achiam & Schulman, `On First-Order Meta-Learning Algorithms
    <https://arxiv.org/abs/1803.02999>`_, 2018. Its one objective is the distance, so it cannot
    trade several off. It needs two lower steps or more: with one it is training on all episodes
    together. Query sets are kept for evaluation; the paper's sampling of larger support sets while
    training is a matter of the suite.
    """

    paper = "Nichol et al., On First-Order Meta-Learning Algorithms, 2018"

    def compose(self, setup: Setup) -> FewShotComposition:
        """The distance to the adapted parameters, which count as constants.

        Raises:
            ValueError: If there is another objective than the clean loss it stands for, or only one
                lower step.
        """
        others = [n for n, o in setup.objectives.items() if not isinstance(o, Clean)]
        if others:
            raise ValueError(
                f"`objectives` should be [clean] with Reptile, found {', '.join(others)} too. "
                "It minimises a distance and looks at no query; use FOMAML for several objectives."
            )
        if setup.inner_steps < 2:
            raise ValueError(
                f"`inner_steps` should be at least 2 with Reptile, found {setup.inner_steps}. "
                "With one step it learns nothing about adaptation."
            )
        return by_gradient(setup, FirstOrder(), objectives={"distance": Distance()})
