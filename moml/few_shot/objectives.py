"""What a few-shot learner should be good at after adaptation."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from moml.attack import Attack
from moml.few_shot.query import Query


class QueryObjective(ABC):
    """A scalar of an adapted network and its query set."""

    @abstractmethod
    def __call__(self, query: Query) -> Tensor:
        """The mean over queries, a scalar."""

    def generators(self) -> list[torch.Generator]:
        """Generators it draws from, stored in checkpoints."""
        return []


class Clean(QueryObjective):
    """The suite's loss of the clean queries: the objective of MAML."""

    def __call__(self, query: Query) -> Tensor:
        """Mean loss."""
        return query.loss(query.prediction, query.targets)


class Robust(QueryObjective):
    """The loss of queries that an attack has perturbed against the adapted network.

    As in adversarial querying (Goldblum, Fowl & Goldstein, `Adversarially Robust Few-Shot Learning
    <https://arxiv.org/abs/1910.00982>`_, NeurIPS 2020): support sets stay clean. The perturbation
    counts as a constant; each step of the attack costs one forward and backward pass of the
    queries.

    Args:
        attack: `moml.attack.FGSM`, `moml.attack.PGD`, …, with the suite's bounds.
    """

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    def __call__(self, query: Query) -> Tensor:
        """Mean loss of the perturbed queries."""
        worst = self.perturbed(query)
        return query.loss(query.predict(worst), query.targets)

    def perturbed(self, query: Query) -> Tensor:
        """The perturbed queries, detached.

        Where adaptation has diverged there is nothing to climb: the queries as they are, whose loss
        then says so.
        """
        try:
            return self.attack.perturb(
                lambda x: query.loss.per_sample(query.frozen(x), query.targets), query.inputs
            )
        except ValueError:
            if torch.isfinite(query.loss(query.prediction, query.targets)):
                raise
            return query.inputs

    def generators(self) -> list[torch.Generator]:
        """The attack's."""
        return [self.attack.generator]


class Calibration(QueryObjective):
    """The Brier score of the clean queries: squared distance of probabilities to the labels.

    Brier, `Verification of forecasts expressed in terms of probability
    <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>`_, 1950. A proper score:
    its expectation is calibration error plus a term for sharpness, and it has a useful gradient
    where binned calibration errors have none. Classification only.
    """

    def __call__(self, query: Query) -> Tensor:
        """Mean squared distance, between 0 and 2."""
        logits = query.prediction
        if logits.dim() != 2 or query.targets.is_floating_point():
            raise ValueError(
                "`Calibration` should be used with class logits and labels, found predictions of "
                f"shape {tuple(logits.shape)} and targets of {query.targets.dtype}."
            )
        labels = functional.one_hot(query.targets, logits.shape[1])
        scores = (logits.softmax(1) - labels).square().sum(1)
        if query.weights is None:
            return scores.mean()
        return (scores * query.weights).sum() / query.weights.sum()


class Distance(QueryObjective):
    r"""Half the squared distance of the start to the adapted parameters: the objective of Reptile.

    Its gradient with the adapted parameters held fixed is Reptile's direction
    :math:`\theta_0 - \theta_T` (Nichol, Achiam & Schulman, `On First-Order Meta-Learning Algorithms
    <https://arxiv.org/abs/1803.02999>`_, 2018), averaged over episodes. Looks at no query.
    """

    def __call__(self, query: Query) -> Tensor:
        """Mean over episodes."""
        total = torch.zeros((), dtype=query.inputs.dtype, device=query.inputs.device)
        for name, start in query.start.items():
            gap = (start - query.theta[name].detach()).square()
            total = total + gap.sum() / (len(gap) if gap.dim() > start.dim() else 1)
        return total / 2
