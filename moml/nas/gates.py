"""What every operation is worth on every edge, as a by-product of training one supernet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml.attack import Ball, Bounds, check_bounds, inside
from moml.data import Batch
from moml.losses import Loss
from moml.nas.eager import eager
from moml.nas.genotype import Genotype
from moml.nas.relaxation import Moment, RandomMixtures
from moml.nas.supernet import SuperNet
from moml.problem import Losses, Problem


class GateGradients(Problem):
    r"""Trains a supernet on random mixtures and averages the losses' gradients on their weights.

    In every step the weights w of the mixture are drawn from a Dirichlet distribution, the samples
    are perturbed by the fast gradient sign method, and the supernet goes down the loss there. The
    two backward passes that this takes also give :math:`\partial F / \partial w` of the clean and
    of the adversarial loss F, at no further pass. The score of an architecture is the sum of its
    operations' means: lower is better, and all architectures are scored for free.

    On tables of 59 and 302 cells of digits the scores ranked robustness with a Spearman correlation
    of about 0.76 after 70 steps of 64 samples, and hardly at all after 8 (docs/nas.md).

    Args:
        supernet: All networks of a space.
        loss: Of logits and labels.
        task: Name of the labels in batches.
        ball: Where perturbations lie.
        bounds: Smallest and largest value of the data.
        concentration: Of the Dirichlet distribution.
        seed: Seed of the mixtures.
    """

    def __init__(
        self,
        supernet: SuperNet,
        *,
        loss: Loss,
        task: str,
        ball: Ball,
        bounds: Bounds | None,
        concentration: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.supernet, self.loss, self.task = supernet, loss, task
        self.ball, self.bounds, self.seed = ball, bounds, seed
        self.mixtures = RandomMixtures(concentration)
        self._module = _Gates(supernet)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The loss that the weights go down."""
        return ("adversarial",)

    @property
    def module(self) -> nn.Module:
        """Supernet, and sums of gradients."""
        return self._module

    def shared_parameters(self) -> Iterable[Parameter]:
        """The supernet's weights."""
        return self.supernet.parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None."""
        return ()

    def losses(self, batch: Batch) -> Losses:
        """The adversarial loss; gradients on the mixture are added up on the way."""
        x = batch.inputs_of(self.task)
        check_bounds(x, self.bounds)
        labels = batch.targets[self.task]
        weights = self._draw()
        gates = [w.requires_grad_() for w in weights.values()]
        x = x.detach().requires_grad_()
        clean = self.loss(self.supernet(x, weights), labels)
        direction, *clean_gates = torch.autograd.grad(clean, [x, *gates])
        moved = torch.add(x.detach(), self.ball.steepest(direction), alpha=self.ball.eps)
        x_adv = inside(moved, x.detach(), ball=self.ball, bounds=self.bounds)
        adversarial = self.loss(self.supernet(x_adv, weights), labels)
        parameters = list(self.supernet.parameters())
        known, adversarial_gates = eager(adversarial, parameters, beside=gates)
        self._module.add(weights, clean_gates, adversarial_gates)
        return {"adversarial": known}

    def scores(self, genotype: Genotype) -> tuple[float, float]:
        """Sum of the mean gradients of a genotype's operations: clean and adversarial loss."""
        totals = [0.0, 0.0]
        for name, cell in self.supernet.space.spec.cells:
            means = self._module.mean(name)
            for edge, op in cell.live(genotype.by_name[name]):
                e, o = cell.edges.index(edge), cell.ops.index(op)
                totals = [t + float(m[e, o]) for t, m in zip(totals, means, strict=True)]
        return totals[0], totals[1]

    def _draw(self) -> dict[str, Tensor]:
        """The mixture of this step."""
        step = int(self._module.step)
        moment = Moment(step, step + 1, 7919 * (self.seed + 1) + step)
        like = next(self.supernet.parameters())
        found = {}
        for number, (name, cell) in enumerate(self.supernet.space.spec.cells):
            shape = {"ops": like.new_zeros(len(cell.edges), len(cell.ops))}
            found[name] = self.mixtures.weights(cell, shape, moment.apart(number))
        return found


class _Gates(nn.Module):
    step: Tensor

    def __init__(self, supernet: SuperNet) -> None:
        super().__init__()
        self.supernet = supernet
        self.register_buffer("step", torch.zeros((), dtype=torch.long))
        for name, cell in supernet.space.spec.cells:
            for kind in ("clean", "adversarial"):
                sums = torch.zeros(len(cell.edges), len(cell.ops), dtype=torch.float64)
                self.register_buffer(f"{kind}_{name}", sums)

    def add(
        self, weights: Mapping[str, Tensor], clean: Sequence[Tensor], adversarial: Sequence[Tensor]
    ) -> None:
        """One step's gradients."""
        for name, a, b in zip(weights, clean, adversarial, strict=True):
            self.get_buffer(f"clean_{name}").add_(a)
            self.get_buffer(f"adversarial_{name}").add_(b)
        self.step += 1

    def mean(self, name: str) -> tuple[Tensor, Tensor]:
        """Means over the steps of a cell's gradients."""
        steps = max(int(self.step), 1)
        return self.get_buffer(f"clean_{name}") / steps, (
            self.get_buffer(f"adversarial_{name}") / steps
        )
