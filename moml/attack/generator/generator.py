"""A network that perturbs inputs for several tasks, within a ball and the bounds of the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moml._support import checks
from moml.architecture import Architecture
from moml.attack._base import Bounds
from moml.attack._region import Region, check_bounds, check_interval, check_tensor
from moml.attack._rounded import HALF, towards
from moml.attack.ball import Ball
from moml.attack.generator._into_ball import into_ball
from moml.data.inputs import Inputs, TaskInputs


class Generator(nn.Module):
    """Perturbed inputs for every task in one forward pass, instead of steps of gradient descent.

    Per instance the architecture sees the inputs; a universal generator sees a fixed noise, so that
    one perturbation per task fits all inputs. What the architecture decodes is brought into the
    ball, added, and clamped to the bounds of the data, which never leaves the ball.

    Args:
        architecture: From inputs to a raw perturbation per task, at least as large as the inputs
            (what is too much is cut off): `HPS` of an `ImageEncoder` and a decoder per task for
            MTA, `GAP` for separate generators, or any other.
        ball: Where perturbations lie, in the units of the data.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        universal: Shape of one input, ``(C, H, W)``, for one perturbation that fits all inputs;
            per instance unless given.
        seed: Seed of the fixed noise.

    Raises:
        ValueError: If the bounds are not an interval.
    """

    noise: Tensor | None

    def __init__(
        self,
        architecture: Architecture,
        *,
        ball: Ball,
        bounds: Bounds | None = (0.0, 1.0),
        universal: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_interval(bounds)
        self.architecture, self.ball, self.bounds = architecture, ball, bounds
        noise = None
        if universal is not None:
            draw = torch.Generator().manual_seed(checks.seed(seed))
            noise = torch.rand(1, *universal, generator=draw)
        self.register_buffer("noise", noise)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks it perturbs for."""
        return self.architecture.tasks

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What the architecture makes of the inputs, or of the fixed noise (once for all tasks)."""
        return self.architecture.features(inputs if self.noise is None else self.noise, tasks)

    def perturbed(
        self, features: dict[str, Tensor], inputs: Inputs, tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Perturbed inputs per task.

        Raises:
            ValueError: If a raw perturbation is smaller than its input, or inputs leave the bounds.
        """
        raw = self.architecture.decode(features, tasks)
        return {
            task: add_inside(
                raw[task],
                inputs[task] if isinstance(inputs, TaskInputs) else inputs,
                self.ball,
                self.bounds,
            )
            for task in self.architecture.select(tasks)
            if not isinstance(inputs, TaskInputs) or task in inputs
        }

    def forward(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Perturbed inputs per task, each shaped like its input."""
        return self.perturbed(self.features(inputs, tasks), inputs, tasks)


def add_inside(raw: Tensor, x: Tensor, ball: Ball, bounds: Bounds | None) -> Tensor:
    """Inputs plus a raw perturbation, brought into the ball and the bounds.

    Raises:
        ValueError: If the perturbation is smaller than the input in some dimension, or the input
            leaves the bounds: to clamp it would move it by more than the ball allows.
    """
    check_tensor(x)
    ball.check(x)
    check_bounds(x, bounds)
    for dim in range(2, x.dim()):
        if raw.shape[dim] < x.shape[dim]:
            raise ValueError(
                "`decode` should give perturbations at least as large as the inputs "
                f"{tuple(x.shape)}, found {tuple(raw.shape)}. "
                "Is the decoder's `doublings` the encoder's `halvings`?"
            )
        raw = raw.narrow(dim, 0, x.shape[dim])
    wide = x.float() if x.dtype in HALF else x
    x_adv = Region.around(wide, ball, bounds).clamped(wide + into_ball(raw.to(wide.dtype), ball))
    return towards(x_adv, x) if x.dtype in HALF else x_adv
