"""Random views of an image: turned, scaled, sheared, moved, warped, and noisy.

The smooth warp is that of P. Simard, D. Steinkraus, J. Platt, "Best practices for convolutional
neural networks applied to visual document analysis", ICDAR 2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

KNOTS = 5  # of the warp along each side


@dataclass(frozen=True)
class Distortion:
    """How far views go; a draw per image, uniform unless said otherwise.

    Attributes:
        angle: Largest angle, in degrees.
        scale: Largest change of size, as a share, of each axis.
        shear: Largest shear.
        shift: Largest move, in pixels.
        warp: Standard deviation of the warp at its knots, in pixels (normal).
        noise: Standard deviation of the noise of a pixel (normal).
    """

    angle: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    warp: float = 0.0
    noise: float = 0.0

    def times(self, factor: float) -> Distortion:
        """Everything that much stronger."""
        return Distortion(**{name: factor * value for name, value in vars(self).items()})

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A view of each image ``(B, C, H, W)`` in [0, 1]; what is drawn in is zero."""
        count, side = len(images), images.shape[-1]

        def uniform(*shape: int) -> Tensor:
            return 2 * torch.rand(count, *shape, generator=generator) - 1

        angle, shear = math.radians(self.angle) * uniform(), self.shear * uniform()
        scale = 1 + self.scale * uniform(2)
        turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1)
        skew = torch.stack([torch.ones(count), shear, torch.zeros(count), torch.ones(count)], -1)
        linear = turn.view(-1, 2, 2) @ skew.view(-1, 2, 2) / scale[:, None]
        maps = torch.cat([linear, 2 / side * self.shift * uniform(2, 1)], dim=-1)  # (B, 2, 3)
        grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
        knots = torch.randn(count, 2, KNOTS, KNOTS, generator=generator)
        warp = functional.interpolate(knots, images.shape[-2:], mode="bicubic", align_corners=True)
        grid = grid + 2 / side * self.warp * warp.movedim(1, -1)
        views = functional.grid_sample(images, grid, align_corners=False)
        noise = torch.randn(views.shape, generator=generator)
        return (views + self.noise * noise).clamp(0, 1)
