"""Differentiable architecture search as a bi-level problem with any number of upper objectives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter

from moml.attack import Ball, Bounds, check_bounds, inside
from moml.bilevel import BilevelProblem, Params
from moml.data import Batch, BilevelBatch
from moml.losses import Loss
from moml.nas.arch_parameters import ArchParameters
from moml.nas.eager import eager
from moml.nas.objective import SearchObjective, View
from moml.nas.relaxation import Moment, Relaxation
from moml.nas.supernet import SuperNet
from moml.problem import Losses

CURVES = 10  # edges up to which each gets a chart of its own


class RobustSearch(BilevelProblem):
    r"""Architecture parameters above, a supernet's weights below.

    :math:`\min_\alpha (F_1, \dots, F_m)(\theta(\alpha), \alpha)` with
    :math:`\theta(\alpha) \in \arg\min_\theta f(\theta, \alpha)`. The virtual steps of the lower
    level, which hypergradients look at, are on clean samples; the steps that are really taken are
    on samples perturbed by the fast gradient sign method if a ball is given. E2RNAS (Yue, Lin,
    Huang & Zhang, `Effective, Efficient and Robust Neural Architecture Search
    <https://arxiv.org/abs/2011.09820>`_, 2020) is one choice of objectives, DARTS another.

    Within a step all losses are functions of their arguments: random draws go by the step's number.

    Args:
        supernet: All networks of a space.
        arch: Architecture parameters and what they mean.
        objectives: Upper objectives by name, in order.
        loss: Of predictions and labels.
        task: Name of the labels in batches.
        steps: Steps of the search.
        ball: Perturbations of training samples, and of those of adversarial objectives.
        adversarial_training: Train on perturbed samples; needs a ball.
        bounds: Smallest and largest value of the data.
        lower_relaxation: Another relaxation for the lower level.
        eager_lower: Take lower gradients at once and keep their direction for the attack of the
            real step, which saves a forward and a backward pass; not with hypergradients that
            differentiate the lower step (`Unrolled` and the like).
        seed: Seed of random draws.

    Raises:
        ValueError: If there is no objective, or no ball where one is needed.
    """

    def __init__(
        self,
        supernet: SuperNet,
        arch: ArchParameters,
        objectives: Mapping[str, SearchObjective],
        *,
        loss: Loss,
        task: str,
        steps: int,
        ball: Ball | None = None,
        adversarial_training: bool = False,
        bounds: Bounds | None = (0.0, 1.0),
        lower_relaxation: Relaxation | None = None,
        eager_lower: bool = False,
        seed: int = 0,
    ) -> None:
        if not objectives:
            raise ValueError("`objectives` should hold at least one objective, found none.")
        self.looks_at_input_gradients = any(o.needs_input_gradient for o in objectives.values())
        if ball is None and (adversarial_training or self.looks_at_input_gradients):
            raise ValueError("`ball` should be given where samples are perturbed, found None.")
        self.supernet, self.arch, self.space = supernet, arch, supernet.space
        self.objectives, self._loss, self.task = dict(objectives), loss, task
        self.steps, self.ball, self.bounds, self.seed = steps, ball, bounds, seed
        self.adversarial_training = adversarial_training
        self.lower_relaxation, self.eager_lower = lower_relaxation, eager_lower
        self._module = _Levels(supernet, arch)
        self._direction: tuple[Batch, Tensor] | None = None  # within one step

    # What the engine asks for ------------------------------------------------------------------

    @property
    def tasks(self) -> tuple[str, ...]:
        """The upper objectives."""
        return tuple(self.objectives)

    @property
    def module(self) -> nn.Module:
        """Supernet, architecture parameters, and the number of steps done."""
        return self._module

    def upper_parameters(self) -> dict[str, Parameter]:
        """The architecture parameters."""
        return self.arch.named()

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: BilevelBatch, previous: Params | None
    ) -> Params:
        """Where the weights were left; at first, the supernet's."""
        if previous is not None:
            return previous
        return {name: p.detach() for name, p in self.supernet.named_parameters()}

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean loss of clean samples: what virtual steps go down."""
        x = self.inputs(batch)
        if not self.eager_lower:
            return self.loss(theta, self.lower_weights(omega), x, batch)
        x = x.detach().requires_grad_(self.adversarial_training)
        total = self.loss(theta, self.lower_weights(omega), x, batch)
        beside = [x] if self.adversarial_training else []
        known, directions = eager(total, [*theta.values(), *omega.values()], beside=beside)
        if directions and self._direction is None:  # at the weights before the virtual step
            self._direction = (batch, directions[0])
        return known

    def training_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean loss of the samples of a step that is really taken: perturbed ones, if asked for."""
        x = self.inputs(batch)
        weights = {name: w.detach() for name, w in self.lower_weights(omega).items()}
        if self.adversarial_training:
            x = self.shifted(x, self._training_direction(theta, weights, x, batch))
        return self.loss(theta, weights, x, batch)

    def upper_losses(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Losses:
        """The objectives that are active."""
        view = View(self, theta, omega, batch)
        found = {name: objective(view) for name, objective in self.objectives.items()}
        active = {name: loss for name, loss in found.items() if loss is not None}
        if not active:
            raise ValueError(
                "At least one of `objectives` should be active in every step, found that all are "
                f"satisfied constraints: {', '.join(found)}. Add the validation loss."
            )
        return active

    def commit(self, theta: Params) -> None:
        """Write the weights into the supernet."""
        parameters = dict(self.supernet.named_parameters())
        with torch.no_grad():
            for name, value in theta.items():
                parameters[name].copy_(value)

    def advance(self) -> None:
        """One step is done."""
        self._module.step += 1
        self._direction = None

    @torch.no_grad()
    def curves(self) -> dict[str, dict[str, float]]:
        """Expected size; probabilities of operations: of every edge, or of all edges of a cell."""
        probabilities = self.arch.probabilities()
        exact = {name: p.to(torch.float64) for name, p in probabilities.items()}
        charts = {"Expected size": {"parameters": float(self.space.expected_parameters(exact))}}
        for name, cell in self.space.spec.cells:
            rows = probabilities[name].tolist()
            if len(cell.edges) <= CURVES:
                for (source, target), row in zip(cell.edges, rows, strict=True):
                    charts[f"{name}: edge {source} → {target}"] = dict(
                        zip(cell.ops, row, strict=True)
                    )
            else:
                means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
                charts[f"{name}: mean of all edges"] = dict(zip(cell.ops, means, strict=True))
        return charts

    # What objectives ask for -------------------------------------------------------------------

    def upper_weights(self, omega: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mixture in this step, for the objectives."""
        return self.arch.weights(self._moment(), omega=omega)

    def lower_weights(self, omega: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mixture in this step, for the weights."""
        return self.arch.weights(self._moment(), omega=omega, relaxation=self.lower_relaxation)

    def inputs(self, batch: Batch) -> Tensor:
        """The inputs of a batch."""
        return batch.inputs_of(self.task)

    def loss(self, theta: Params, weights: Mapping[str, Tensor], x: Tensor, batch: Batch) -> Tensor:
        """Mean loss of a mixture at these inputs."""
        return self._loss(
            functional_call(self.supernet, theta, (x, weights)), batch.targets[self.task]
        )

    def shifted(self, x: Tensor, gradient: Tensor) -> Tensor:
        """One step to the surface of the ball, within the bounds.

        Raises:
            ValueError: If the samples themselves leave the bounds.
        """
        assert self.ball is not None
        check_bounds(x, self.bounds)
        moved = torch.add(x, self.ball.steepest(gradient), alpha=self.ball.eps)
        return inside(moved, x, ball=self.ball, bounds=self.bounds)

    def _training_direction(
        self, theta: Params, weights: Mapping[str, Tensor], x: Tensor, batch: Batch
    ) -> Tensor:
        """Where the clean loss rises: known from a virtual step on this batch, or computed."""
        if self._direction is not None and self._direction[0] is batch:
            return self._direction[1]
        x = x.detach().requires_grad_()
        fixed = {name: t.detach() for name, t in theta.items()}
        total = self.loss(fixed, weights, x, batch)
        if not total.requires_grad:  # a path that does not connect input and output
            return torch.zeros_like(x)
        return torch.autograd.grad(total, x)[0]

    def _moment(self) -> Moment:
        step = int(self._module.step)
        return Moment(step, self.steps, 7919 * (self.seed + 1) + step)


class _Levels(nn.Module):
    """What a checkpoint stores."""

    step: Tensor

    def __init__(self, supernet: SuperNet, arch: ArchParameters) -> None:
        super().__init__()
        self.supernet, self.arch = supernet, arch
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
