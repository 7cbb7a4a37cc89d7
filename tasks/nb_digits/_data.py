"""Images the networks of the tables are trained, selected and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tasks._digit_images import digits

TRAIN, VAL = 1000, 397  # of 1,797 digits; the other 400 are for testing


@dataclass(frozen=True)
class Images:
    """Images ``(N, 1, H, W)`` in [0, 1] and labels ``(N,)`` of three splits."""

    train: tuple[Tensor, Tensor]
    val: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def digit_images() -> Images:
    """scikit-learn's digits, in an order drawn once: 1,000, 397 and 400."""
    images, labels = digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    parts = order.split([TRAIN, VAL, len(order) - TRAIN - VAL])
    train, val, test = ((images[rows, None], labels[rows]) for rows in parts)
    return Images(train, val, test)
