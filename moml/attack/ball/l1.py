"""The sum of absolute values: a budget that a few entries can use up.

Projection onto the ball and the box of the data together: F. Croce, M. Hein, "Mind the box:
l1-APGD for sparse adversarial attacks on image classifiers", ICML 2021; a projection onto the ball
followed by clamping is not the nearest point and wastes much of the budget. Steps: F. Tramèr, D.
Boneh, "Adversarial training and robustness for multiple perturbations", NeurIPS 2019 (SLIDE).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moml._support import checks
from moml.attack.ball._base import Ball, rows, uniform
from moml.attack.ball._plane import one_by_one


class L1(Ball):
    r"""Perturbations with :math:`\sum_i |\delta_i| \le \epsilon`.

    The steepest step moves a single entry, which soon meets a bound of the data. As in SLIDE the
    step is spread evenly over the entries of largest gradient that can still move.

    Args:
        eps: Radius in the units of the data; or radii, see `Ball`: entries are then weighed by
            their inverse.
        mutable: Entries that may change; all unless given.
        share: Share of the entries that one step moves, rounded up; SLIDE's 1 % unless given.
            Larger shares were much weaker on images (``scripts/attack_defaults.py``). `APGD`
            chooses it itself.

    Raises:
        ValueError: If ``eps`` is no radius or ``share`` is not in (0, 1].
    """

    sparse = True

    def __init__(
        self, eps: float | Tensor, *, mutable: Tensor | None = None, share: float = 0.01
    ) -> None:
        super().__init__(eps, mutable=mutable)
        checks.number("share", share, above=0, most=1)
        self.share = share

    def norm(self, delta: Tensor) -> Tensor:
        """Sum of absolute entries."""
        return rows(self.unscaled(delta)).abs().sum(1)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Spacings of exponential draws, with random signs: uniform in the ball."""
        flat = rows(x)  # (B, D)
        draws = uniform(flat.new_empty(len(x), flat.shape[1] + 1), generator)
        draws = -torch.log1p(-draws)  # (B, D + 1) exponential
        draws[:, :-1] *= rows(self.changing(x))
        sizes = (draws / draws.sum(1, keepdim=True).clamp(min=1e-30))[:, :-1]
        signs = torch.where(uniform(flat, generator) < 0.5, -1.0, 1.0)
        return self.scaled((self.eps * sizes * signs).reshape(x.shape).to(x.dtype))

    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Soft thresholding within the box, at the threshold that leaves a sum of ``eps``.

        The sum falls piecewise linearly with the threshold: an entry shrinks from where it leaves
        its room until it is zero.
        """
        if self.scale is not None:
            return self._weighted(delta, box)
        flat = rows(delta)  # (B, D)
        sizes = flat.abs()
        room = sizes if box is None else rows(torch.where(delta > 0, box[1], -box[0])).clamp(min=0)
        limited = torch.minimum(sizes, room)
        ends = torch.cat([sizes - limited, sizes], dim=1)
        turns, order = ends.sort(1)  # (B, 2 D) thresholds where an entry starts or stops to shrink
        shrinking = torch.where(order < flat.shape[1], 1.0, -1.0).double().cumsum(1)
        widths = torch.diff(turns.double(), dim=1, prepend=turns.new_zeros(len(turns), 1).double())
        speed = torch.nn.functional.pad(shrinking[:, :-1], (1, 0))  # before each turn
        excess = limited.double().sum(1, keepdim=True) - self.eps - (speed * widths).cumsum(1)
        at = (excess > 0).sum(1, keepdim=True).clamp(max=excess.shape[1] - 1)  # first turn below
        back = excess.gather(1, at) / speed.gather(1, at).clamp(min=1)
        threshold = (turns.gather(1, at) + back).clamp(min=0).to(delta.dtype)
        kept = torch.minimum((sizes - threshold).clamp(min=0), room)
        return (flat.sign() * kept).reshape(delta.shape)

    def _weighted(self, delta: Tensor, box: tuple[Tensor, Tensor] | None) -> Tensor:
        """The same where an entry counts, and shrinks, by the inverse of its relative radius."""
        assert self.scale is not None
        flat = rows(delta).double()
        scale = rows(self.scale.to(flat).expand(delta.shape))
        weights = torch.where(scale > 0, 1 / scale, 0)
        sizes = torch.where(scale > 0, flat.abs(), 0)
        room = sizes if box is None else rows(torch.where(delta > 0, box[1], -box[0])).to(sizes)
        limited = torch.minimum(sizes, room.clamp(min=0))
        turns, order = torch.cat([(sizes - limited) * scale, sizes * scale], dim=1).sort(1)
        changes = torch.cat([weights**2, -(weights**2)], dim=1).gather(1, order)
        speed = torch.nn.functional.pad(changes.cumsum(1)[:, :-1], (1, 0))  # before each turn
        widths = torch.diff(turns, dim=1, prepend=turns.new_zeros(len(turns), 1))
        excess = (weights * limited).sum(1, keepdim=True) - self.eps - (speed * widths).cumsum(1)
        at = (excess > 0).sum(1, keepdim=True).clamp(max=excess.shape[1] - 1)  # first turn below
        slope = speed.gather(1, at)
        back = excess.gather(1, at) / torch.where(slope > 0, slope, 1)
        threshold = (turns.gather(1, at) + back).clamp(min=0)
        kept = torch.minimum((sizes - threshold * weights).clamp(min=0), limited)
        return (flat.sign() * kept).reshape(delta.shape).to(delta.dtype)

    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """Equal steps of the entries with the largest gradients, of sum 1."""
        usable = self.scaled(gradient) if movable is None else self.scaled(gradient) * movable
        flat = rows(usable)  # (B, D)
        chosen = flat.abs().topk(math.ceil(self.share * flat.shape[1]), dim=1).indices
        step = torch.zeros_like(flat).scatter(1, chosen, flat.gather(1, chosen).sign())
        unit = (step / step.abs().sum(1, keepdim=True).clamp(min=1)).reshape(gradient.shape)
        return self.scaled(unit)

    def _distances(self, slopes: Tensor, scale: Tensor, room: Tensor, amount: Tensor) -> Tensor:
        return one_by_one(scale * slopes, slopes, torch.where(scale > 0, room, 0), amount)


def sparse_step(gradient: Tensor, counts: Tensor) -> Tensor:
    """Equal steps of each sample's own number of entries, those of largest gradient; of sum 1.

    Args:
        gradient: ``(B, ...)``.
        counts: How many entries move, ``(B,)``.
    """
    flat = rows(gradient)  # (B, D)
    ordered = flat.abs().sort(1, descending=True).values
    last = counts.long().clamp(1, flat.shape[1])[:, None] - 1
    step = flat.sign() * (flat.abs() >= ordered.gather(1, last))
    return (step / step.abs().sum(1, keepdim=True).clamp(min=1)).reshape(gradient.shape)
