"""Random loss weighting and random gradient weighting."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import LossWeighting, Randomized

Distribution = Literal[
    "normal", "uniform", "dirichlet", "random_normal", "bernoulli", "bernoulli_one"
]
Level = Literal["loss", "gradient"]


class RLW(Randomized, LossWeighting):
    r"""Weights drawn at random in every step.

    Lin et al., `Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning
    <https://arxiv.org/abs/2111.10603>`_, TMLR 2022. A sanity check: a method that does not beat it
    does not use the losses or gradients it looks at.

    Weights sum to 1 on average where `EW` sums to the number of tasks, a K times smaller step for
    plain SGD: wrap in ``WeightSum(RLW(), total="tasks")`` for the same scale. The two Bernoulli
    distributions are not normalised, as in the paper.

    Args:
        distribution: ``normal`` (softmax of standard normals), ``uniform`` (softmax of uniforms),
            ``dirichlet`` (uniform on the simplex), ``random_normal`` (softmax of normals whose mean
            and deviation are drawn once per run), ``bernoulli`` (each task with probability 1/2, at
            least one), ``bernoulli_one`` (exactly ``ones`` tasks).
        level: ``loss`` scales each task's loss, private parameters included; ``gradient`` scales
            shared gradients only (the paper's random gradient weighting, RGW).
        ones: Number of tasks that ``bernoulli_one`` picks; at most those present.
        seed: Of the generator; PyTorch's global seed unless given.

    LibMTL name: ``RLW`` (``normal`` only); TorchJD: ``Random`` (``normal`` only).
    """

    traits = frozenset({"scale_invariant", "linear_under_scaling"})
    paper = "Lin et al., Reasonable Effectiveness of Random Weighting, TMLR 2022"
    means: Tensor
    deviations: Tensor

    def __init__(
        self,
        *,
        distribution: Distribution = "normal",
        level: Level = "loss",
        ones: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.distribution = checks.choice("distribution", distribution, get_args(Distribution))
        self.level = checks.choice("level", level, get_args(Level))
        self.ones = checks.whole("ones", ones, least=1)

    def _allocate(self, num_tasks: int) -> None:
        if self.distribution == "random_normal":
            self.register_buffer("means", self._uniform(num_tasks))
            self.register_buffer("deviations", self._uniform(num_tasks))

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """A fresh draw, ``(m,)``."""
        m = len(losses)
        match self.distribution:
            case "normal":
                return self._normal(m).softmax(0)
            case "uniform":
                return self._uniform(m).softmax(0)
            case "dirichlet":
                parts = -torch.log1p(-self._uniform(m))  # exponential: normalised, uniform on Δ
                return parts / parts.sum()
            case "random_normal":
                return self._random_normal(m, tasks).softmax(0)
            case "bernoulli":
                return self._bernoulli(m)
            case _:
                order = torch.randperm(m, generator=self.generator)
                return (order < self.ones).double()

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply the weighted losses, or the weighted shared gradients and unweighted heads."""
        weights = self.weights(evaluation.losses, tasks=evaluation.tasks)
        evaluation.apply(weights, heads="unit" if self.level == "gradient" else None)
        return weights

    def _random_normal(self, m: int, tasks: Tensor | None) -> Tensor:
        self._check_bound()
        rows = slice(None) if tasks is None else tasks
        return self.means[rows] + self.deviations[rows] * self._normal(m)

    def _bernoulli(self, m: int) -> Tensor:
        while True:
            draw = (self._uniform(m) < 0.5).double()
            if draw.any():
                return draw

    def _normal(self, m: int) -> Tensor:
        return torch.randn(m, generator=self.generator, dtype=torch.float64)

    def _uniform(self, m: int) -> Tensor:
        return torch.rand(m, generator=self.generator, dtype=torch.float64)
