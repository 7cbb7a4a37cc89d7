"""Few-shot methods: a problem, how it is differentiated, and how episodes are adapted to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import nn

from moml.bilevel import Bilevel, Hypergradient, InnerSGD
from moml.data import EpisodeBatch
from moml.few_shot.adaptation import adapted
from moml.few_shot.few_shot import FewShot
from moml.few_shot.objectives import QueryObjective
from moml.few_shot.query import Query
from moml.losses import Loss
from moml.oracle import Oracle
from moml.problem import Objectives


@dataclass(frozen=True)
class Setup:
    """What a method is given.

    Attributes:
        network: Network with children ``encoder`` and ``head``.
        loss: The suite's loss.
        target: Name of the target in the batches.
        objectives: What the learner should be good at, by name.
        inner_lr: Rate of the lower steps.
        inner_steps: Number of lower steps while training.
        eval_inner_steps: Number of lower steps on validation and test episodes.
        steps: Number of meta-steps.
        stacked: Whether episodes are solved together; decided by the network unless given.
    """

    network: nn.Module
    loss: Loss
    target: str
    objectives: Mapping[str, QueryObjective]
    inner_lr: float
    inner_steps: int
    eval_inner_steps: int
    steps: int
    stacked: bool | None = None


@dataclass(frozen=True)
class FewShotComposition:
    """What a method makes of it.

    Attributes:
        problem: What is minimised.
        oracle: How it is differentiated.
        adapt: Gives the adapted networks in front of the queries of a batch, for evaluation.
    """

    problem: Objectives
    oracle: Oracle
    adapt: Callable[[EpisodeBatch], Iterable[Query]]


class MetaMethod(ABC):
    """A few-shot learner by name: settings of a problem and its oracle, never a loop of its own."""

    paper: ClassVar[str]

    @abstractmethod
    def compose(self, setup: Setup) -> FewShotComposition:
        """The problem, the oracle and the adaptation."""


def by_gradient(setup: Setup, hypergradient: Hypergradient, **options: Any) -> FewShotComposition:
    """Gradient descent on the support loss.

    Args:
        setup: What the method is given.
        hypergradient: How its solution is differentiated.
        options: Of `FewShot`.
    """
    problem = FewShot(
        setup.network,
        setup.loss,
        target=setup.target,
        inner_lr=setup.inner_lr,
        inner_steps=setup.inner_steps,
        **{"objectives": setup.objectives, "stacked": setup.stacked, **options},
    )
    inner = InnerSGD(setup.inner_lr, steps=setup.inner_steps)
    evaluation = InnerSGD(setup.inner_lr, steps=setup.eval_inner_steps)
    return FewShotComposition(
        problem, Bilevel(inner, hypergradient), partial(adapted, problem, evaluation)
    )
