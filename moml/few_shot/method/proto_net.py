"""Prototypical networks, the baseline without a lower level."""

from __future__ import annotations

from torch import nn

from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup
from moml.few_shot.prototypes import Prototypes
from moml.losses import CrossEntropy
from moml.oracle import Direct


class ProtoNet(MetaMethod):
    """The class whose mean embedding is nearest: only an encoder is learnt.

    Snell, Swersky & Zemel, `Prototypical Networks for Few-shot Learning
    <https://arxiv.org/abs/1703.05175>`_, NeurIPS 2017. Classification only; inner steps and rates
    mean nothing here.
    """

    paper = "Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017"

    def compose(self, setup: Setup) -> FewShotComposition:
        """An ordinary problem, differentiated directly.

        Raises:
            ValueError: If the suite is not one of classes.
        """
        if not isinstance(setup.loss, CrossEntropy):
            raise ValueError(
                f"`method` should not be ProtoNet where the loss is {type(setup.loss).__name__}, "
                "found it. Prototypes are of classes."
            )
        encoder = setup.network.get_submodule("encoder")
        assert isinstance(encoder, nn.Module)
        problem = Prototypes(encoder, setup.loss, objectives=setup.objectives, target=setup.target)
        return FewShotComposition(problem, Direct(), problem.queries)
