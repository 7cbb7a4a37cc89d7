"""Where the samples of a batch may go: into a ball around each, within the bounds of the data."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from moml.attack.ball import Ball, broadcasts, per_sample
from moml.data import Bounds

_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Region:
    """Clean samples with their ball and bounds.

    Attributes:
        x: Clean samples ``(B, ...)``, within the bounds.
        ball: Where perturbations may lie.
        bounds: Smallest and largest value of the data: numbers, or tensors of ``x``'s type that
            broadcast with it; ``None`` for unbounded data.
    """

    x: Tensor
    ball: Ball
    bounds: Bounds | None

    @classmethod
    def around(cls, x: Tensor, ball: Ball, bounds: Bounds | None) -> Region:
        """The region of a batch; bounds are brought to its type and device."""
        return cls(x, ball, like(x, bounds))

    def select(self, kept: Tensor) -> Region:
        """The samples at ``kept`` only."""
        bounds = self.bounds
        if bounds is not None:
            low, high = (_among(end, self.x, kept) for end in bounds)
            bounds = (low, high)
        return Region(self.x[kept], self.ball.among(self.x, kept), bounds)

    def resized(self, factor: float) -> Region:
        """The same with a ball ``factor`` times as large."""
        return Region(self.x, self.ball.resized(factor * self.ball.eps), self.bounds)

    def clamped(self, x_adv: Tensor) -> Tensor:
        """Within the bounds."""
        return x_adv if self.bounds is None else x_adv.clamp(*self.bounds)  # type: ignore[arg-type]

    def inside(self, x_adv: Tensor) -> Tensor:
        """Into the ball, then into the bounds, which lie no further away."""
        x, bounds = self.x, self.bounds
        if bounds is None:
            return x + self.ball.project(x_adv - x)
        box = self.box() if self.ball.sparse else None
        moved = x + self.ball.project(x_adv - x, box=box)
        return moved.clamp_(*bounds)  # type: ignore[arg-type]

    def box(self) -> tuple[Tensor, Tensor] | None:
        """Smallest and largest perturbation of every entry."""
        if self.bounds is None:
            return None
        low, high = self.bounds
        return low - self.x, high - self.x

    def start(self, generator: torch.Generator) -> Tensor:
        """A random point."""
        return self.clamped(self.x + self.ball.sample(self.x, generator))

    def direction(self, gradient: Tensor, x_adv: Tensor) -> Tensor:
        """Steepest ascent from ``x_adv``, ``(B, ...)``."""
        if self.bounds is None or not self.ball.sparse:
            return self.ball.steepest(gradient)
        low, high = self.bounds
        movable = ((gradient > 0) & (x_adv < high)) | ((gradient < 0) & (x_adv > low))
        return self.ball.steepest(gradient, movable=movable)


def inside(x_adv: Tensor, x: Tensor, *, ball: Ball, bounds: Bounds | None) -> Tensor:
    """Into the ball around ``x``, then into the bounds.

    Raises:
        ValueError: If ``x`` itself leaves the bounds, or radii do not fit it.
    """
    check_bounds(x, bounds)
    ball.check(x)
    return Region.around(x, ball, bounds).inside(x_adv)


def check_tensor(x: object) -> None:
    """Whether inputs are one tensor, which a perturbation can be added to.

    Raises:
        ValueError: If not.
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"`x` should be one tensor, found {type(x).__name__}. Attack one of the inputs and "
            "close over the others: `lambda x: loss(model(x, others))`."
        )


def check_interval(bounds: Bounds | None) -> None:
    """Whether bounds are an interval.

    Raises:
        ValueError: If not.
    """
    if bounds is None:
        return
    low, high = (torch.as_tensor(end) for end in bounds)
    if not bool((low < high.to(low.device)).all()):
        raise ValueError(
            f"`bounds` should be (low, high) with low < high, found {shown_bounds(bounds)}."
        )


def check_bounds(x: Tensor, bounds: Bounds | None) -> None:
    """Whether all values are finite and, up to rounding, within the bounds.

    Raises:
        ValueError: If not, or the bounds do not fit the shape.
    """
    check_tensor(x)
    x = x.detach()
    if x.numel() == 0:
        return
    low, high = like(x, bounds) or (-_LARGEST, _LARGEST)
    if isinstance(low, Tensor) and isinstance(high, Tensor):
        if not (broadcasts(low, x) and broadcasts(high, x)):
            raise ValueError(
                f"`bounds` should broadcast with inputs {tuple(x.shape)}, "
                f"found {tuple(low.shape)} and {tuple(high.shape)}."
            )
        room = _slack(x) * (high - low)
        if bool(((x >= low - room) & (x <= high + room)).all()):  # not where they are NaN
            return
    smallest, largest = (float(v) for v in torch.aminmax(x))
    if not isinstance(low, Tensor):
        slack = 0.0 if bounds is None else _slack(x) * (high - low)
        if low - slack <= smallest and largest <= high + slack:  # not where they are NaN
            return
    raise ValueError(
        f"`x` should be finite and lie within its bounds {shown_bounds(bounds)}, "
        f"found values from {smallest:g} to {largest:g}. Give the data before normalisation "
        "(a `Victim` normalises inside), or pass the right `bounds`."
    )


def same_bounds(one: Bounds | None, other: Bounds | None) -> bool:
    """Whether two bounds are the same numbers."""
    if one is None or other is None:
        return one is other
    return all(_same(a, b) for a, b in zip(one, other, strict=True))


def shown_bounds(bounds: Bounds | None) -> str:
    """Bounds as a message says them; of tensors the outermost numbers."""
    if bounds is None or not any(isinstance(end, Tensor) for end in bounds):
        return str(bounds)
    low, high = (torch.as_tensor(end) for end in bounds)
    return f"of shape {tuple(torch.broadcast_shapes(low.shape, high.shape))}, " + (
        f"{float(low.min()):g} to {float(high.max()):g}"
    )


def like(x: Tensor, bounds: Bounds | None) -> Bounds | None:
    """Two numbers, or two tensors of the type of ``x``."""
    if bounds is None or not any(isinstance(end, Tensor) for end in bounds):
        return bounds
    low, high = (torch.as_tensor(end).to(x) for end in bounds)
    return low, high


def _slack(x: Tensor) -> float:
    """Rounding of a conversion, relative to the interval."""
    return max(1e-6, torch.finfo(x.dtype).eps) if x.is_floating_point() else 0.0


def _same(one: float | Tensor, other: float | Tensor) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or (one.shape == other.shape and bool((one == other.to(one)).all()))
    return not isinstance(one, Tensor) and not isinstance(other, Tensor) and one == other


def _among(end: float | Tensor, x: Tensor, kept: Tensor) -> float | Tensor:
    return end[kept] if isinstance(end, Tensor) and per_sample(end, x) else end
