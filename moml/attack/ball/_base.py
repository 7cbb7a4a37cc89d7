"""A norm ball around zero, as an attack sees it: three operations, one ball per sample."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from moml.attack.ball._plane import UNBOUNDED


class Ball(ABC):
    r"""Perturbations of norm at most ``eps``; dimension 0 of every tensor counts samples.

    A radius may differ between entries and between samples: the ball is then
    :math:`\{\epsilon\, s \odot u : \|u\| \le 1\}` with the radii
    :math:`\epsilon\, s` of the entries,
    and norms are those of :math:`\delta / s`. Entries of radius zero never change.

    An attack clamps to the bounds of the data afterwards, which never leaves the ball, since the
    clean sample lies within them.

    Args:
        eps: Radius in the units of the data: a number, or a tensor that broadcasts with the
            inputs ``(B, ...)``, as ``(C, 1, 1)`` for a radius per channel and ``(B, 1, 1, 1)`` for
            one per sample. The attribute is the largest one.
        mutable: Entries that may change, bools that broadcast likewise; all unless given.

    Raises:
        ValueError: If a radius is negative, infinite or NaN.
    """

    sparse: ClassVar[bool] = False
    """Whether steps move few entries, so that it matters which of them still can."""

    def __init__(self, eps: float | Tensor, *, mutable: Tensor | None = None) -> None:
        radii = torch.as_tensor(eps, dtype=torch.float64)
        if not bool((radii.isfinite() & (radii >= 0)).all()):
            found = eps if not isinstance(eps, Tensor) else f"{radii.min():g} to {radii.max():g}"
            raise ValueError(f"`eps` should be a finite number, at least 0, found {found}.")
        self.eps = float(radii.max()) if radii.numel() else 0.0
        self.scale: Tensor | None = None  # radii of the entries over the largest one
        if radii.dim():
            self.scale = radii / (self.eps or 1.0)
        if mutable is not None:
            self.scale = (1.0 if self.scale is None else self.scale) * mutable.to(radii)

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if v is not None}
        if self.scale is not None:
            shown["scale"] = tuple(self.scale.shape)
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in shown.items())})"

    def resized(self, eps: float) -> Self:
        """The same ball with another (largest) radius."""
        other = copy.copy(self)
        other.eps = eps
        return other

    def plain(self) -> Self:
        """The same ball with the same radius for all entries and samples."""
        other = copy.copy(self)
        other.scale = None
        return other

    def among(self, x: Tensor, kept: Tensor) -> Self:
        """The same for the samples of ``x`` at ``kept``."""
        if self.scale is None or not per_sample(self.scale, x):
            return self
        other = copy.copy(self)
        other.scale = self.scale[kept.to(self.scale.device)]
        return other

    def check(self, x: Tensor, *, samples: bool = True) -> None:
        """Whether the radii fit these inputs.

        Args:
            x: Inputs ``(B, ...)``.
            samples: Whether every sample may have a radius of its own.

        Raises:
            ValueError: If they do not.
        """
        if self.scale is None:
            return
        whole = x if samples else x[:1]
        if not broadcasts(self.scale, whole):
            raise ValueError(
                f"`eps` and `mutable` should broadcast with inputs {tuple(whole.shape)}, "
                f"found {tuple(self.scale.shape)}."
            )

    def scaled(self, u: Tensor) -> Tensor:
        """Entries times their radius over the largest one."""
        return u if self.scale is None else u * self.scale.to(u)

    def unscaled(self, delta: Tensor) -> Tensor:
        """Entries over their relative radius; infinite if one of radius zero has moved."""
        if self.scale is None:
            return delta
        return torch.where(delta == 0, 0, delta / self.scale.to(delta))

    def changing(self, x: Tensor) -> Tensor:
        """Entries with a radius above zero, as ones among zeros, shaped like ``x``."""
        if self.scale is None:
            return torch.ones_like(x)
        return (self.scale > 0).to(x).expand(x.shape)

    @abstractmethod
    def norm(self, delta: Tensor) -> Tensor:
        """Norm of every sample's perturbation, ``(B,)``; at most ``eps`` inside the ball."""

    @abstractmethod
    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Perturbations uniform in the ball, shaped like ``x``.

        They are drawn on the generator's device: a CPU generator gives the same on every device.
        """

    @abstractmethod
    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The nearest point of the ball, in the Euclidean sense.

        Args:
            delta: ``(B, ...)``.
            box: Smallest and largest value of every entry, at most and at least zero; the point is
                then the nearest one within both. Only `sparse` balls look at it.
        """

    @abstractmethod
    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """Direction of norm 1 that raises the loss most, zero where the gradient is zero.

        Args:
            gradient: ``(B, ...)``, finite.
            movable: Entries that may still move along the gradient before they meet a bound of the
                data, a mask ``(B, ...)``. Only `sparse` balls look at it.
        """

    def to_plane(
        self, gradient: Tensor, amount: Tensor, box: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The smallest perturbation along which a linear function changes by ``amount``.

        Where the box is too small for that, the one that changes it most.

        Args:
            gradient: Of the function, ``(B, ...)``.
            amount: Wanted change, of either sign, ``(B,)``.
            box: Smallest and largest value of every entry, at most and at least zero.
        """
        upwards = over(torch.where(amount < 0, -1.0, 1.0).to(gradient), gradient) * gradient
        slopes = rows(upwards).abs().double()
        room = torch.full_like(slopes, UNBOUNDED)
        if box is not None:
            room = rows(torch.where(upwards > 0, box[1], -box[0])).double().clamp(min=0)
        scale = rows(self.scaled(torch.ones_like(gradient))).to(slopes)
        moved = self._distances(slopes, scale, room, amount.abs().double()[:, None])
        return (rows(upwards).sign() * moved).reshape(gradient.shape).to(gradient.dtype)

    @abstractmethod
    def _distances(self, slopes: Tensor, scale: Tensor, room: Tensor, amount: Tensor) -> Tensor:
        """How far each entry moves; see `to_plane`. All are at least zero, ``(B, D)``."""


def broadcasts(values: Tensor, x: Tensor) -> bool:
    """Whether a tensor broadcasts to the shape of ``x``."""
    pairs = zip(reversed(values.shape), reversed(x.shape), strict=False)
    return values.dim() <= x.dim() and all(size in (1, whole) for size, whole in pairs)


def per_sample(values: Tensor, x: Tensor) -> bool:
    """Whether a tensor that broadcasts with ``x`` differs between its samples."""
    return values.dim() == x.dim() and len(values) > 1


def rows(x: Tensor) -> Tensor:
    """One row a sample, ``(B, D)``."""
    return x.reshape(len(x), -1)


def over(values: Tensor, x: Tensor) -> Tensor:
    """One value a sample, ``(B,)``, shaped to broadcast over ``x``."""
    return values.reshape(-1, *[1] * (x.dim() - 1))


def normal(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, shaped like ``x``."""
    draw = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)


def uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers uniform in [0, 1), shaped like ``x``."""
    draw = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)
