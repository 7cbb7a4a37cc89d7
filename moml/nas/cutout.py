"""Cutout: a square of every image is erased."""

from __future__ import annotations

import torch
from torch import Tensor


def cutout(x: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Images with a square of zeros around a random pixel, cut off at the border.

    DeVries, Taylor, `Improved regularization of convolutional neural networks with cutout
    <https://arxiv.org/abs/1708.04552>`_, 2017.

    Args:
        x: Images ``(B, C, H, W)``.
        side: Of the square, in pixels.
        generator: Where the pixels come from.
    """
    rows, columns = (_covered(len(x), size, side, generator) for size in x.shape[2:])
    erased = rows[:, None, :, None] & columns[:, None, None, :]
    return x.masked_fill(erased.to(x.device), 0.0)


def _covered(number: int, size: int, side: int, generator: torch.Generator) -> Tensor:
    """Which places a random interval covers, ``(number, size)``."""
    start = torch.randint(size, (number, 1), generator=generator) - side // 2
    place = torch.arange(size)
    return (place >= start) & (place < start + side)
