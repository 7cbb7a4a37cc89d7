"""Windows of images, one a sample, and the bumps that Square puts into them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of the share, of 10,000 queries


def area_share(first: float, query: int, queries: int) -> float:
    """Share of the positions that a window covers at this query."""
    at = query * 10_000 // queries
    return first / 2 ** sum(at > turn for turn in HALVINGS)


@dataclass(frozen=True)
class Windows:
    """A window of one size in every sample of ``(B, C, H, W)``.

    Attributes:
        top: First row of each, ``(B,)``.
        left: First column of each.
        height: Rows.
        width: Columns.
    """

    top: Tensor
    left: Tensor
    height: int
    width: int

    @classmethod
    def drawn(cls, x: Tensor, size: tuple[int, int], generator: torch.Generator) -> Windows:
        """Windows anywhere within the samples."""
        ends = (x.shape[2] - size[0] + 1, x.shape[3] - size[1] + 1)
        top, left = (torch.randint(end, (len(x),), generator=generator) for end in ends)
        return cls(top.to(x.device), left.to(x.device), *size)

    def select(self, kept: Tensor) -> Windows:
        """Those of some of the samples."""
        return Windows(self.top[kept], self.left[kept], self.height, self.width)

    def mask(self, x: Tensor) -> Tensor:
        """Positions inside, bools ``(B, 1, H, W)``."""
        row = torch.arange(x.shape[2], device=x.device) - self.top[:, None]  # (B, H)
        column = torch.arange(x.shape[3], device=x.device) - self.left[:, None]  # (B, W)
        inside = ((row >= 0) & (row < self.height))[:, :, None]
        return (inside & ((column >= 0) & (column < self.width))[:, None])[:, None]

    def index(self, x: Tensor) -> tuple[Tensor, ...]:
        """What picks ``(B, C, height, width)`` out of the samples."""
        device = x.device
        sample = torch.arange(len(x), device=device)[:, None, None, None]
        channel = torch.arange(x.shape[1], device=device)[:, None, None]
        row = self.top[:, None] + torch.arange(self.height, device=device)
        column = self.left[:, None] + torch.arange(self.width, device=device)
        return sample, channel, row[:, None, :, None], column[:, None, None, :]


def window_size(x: Tensor, share: float, *, least: int, odd: bool) -> tuple[int, int]:
    """Height and width of a square of this share of the positions, flat where images are."""
    height, width = x.shape[2:]
    side = max(round(math.sqrt(share * height * width)), least)
    side += odd and side % 2 == 0
    if side <= min(height, width):
        return side, side
    short = min(height, width)
    long = min(max(round(share * height * width / short), least), max(height, width))
    return (short, long) if height <= width else (long, short)


def bumps(height: int, width: int, across: bool) -> Tensor:
    """Two halves of opposite sign, each falling from its middle; of Euclidean length 1.

    Args:
        height: Rows.
        width: Columns.
        across: Whether the halves lie side by side, not one above the other.
    """
    if (width if across else height) < 2:
        across = not across
    if across:
        return bumps(width, height, False).T if width > 1 else torch.ones(height, width)
    half = height // 2
    both = torch.cat([_bump(half, width), -_bump(height - half, width)])
    return both / both.norm()


def _bump(height: int, width: int) -> Tensor:
    """Rings around the middle, each higher by the inverse square of its number from there."""
    row = (torch.arange(height) - height // 2).abs()[:, None]
    column = (torch.arange(width) - width // 2).abs()
    last = max(height, width) // 2 + 1
    rings = 1 / torch.arange(1, last + 1) ** 2
    heights = torch.cat([rings.flip(0).cumsum(0).flip(0), torch.zeros(1)])
    bump = heights[torch.maximum(row, column)]
    return bump / bump.norm()
