"""The handwritten digits that scikit-learn carries, and the two photographs beside them.

Digits: 1,797 images of 8x8 pixels from the test part of "Optical Recognition of Handwritten Digits"
(E. Alpaydin, C. Kaynak, UCI, CC BY 4.0). Photographs: a temple ("china.jpg") and a flower.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from moml.data.suite import Split

ITEMS: dict[Split, slice] = {
    "train": slice(0, 1200),
    "val": slice(1200, 1300),
    "test": slice(1300, 1797),
}
# Columns of the photographs a split may show, as shares of their width: no pixel is in two splits.
BANDS: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.6),
    "val": (0.6, 0.75),
    "test": (0.75, 1.0),
}
SHRINK = 4  # photographs at a quarter of their resolution: structure within a small patch


@cache
def digits() -> tuple[Tensor, Tensor]:
    """All digits: images ``(1797, 8, 8)`` in [0, 1] and labels ``(1797,)``."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32) / 16
    return images, torch.tensor(bunch.target, dtype=torch.long)


def items(split: Split, seed: int) -> Tensor:
    """Indices of a split's digits: 1,200 for training, 100 for validation, 497 for testing."""
    order = torch.randperm(len(digits()[0]), generator=torch.Generator().manual_seed(seed))
    return order[ITEMS[split]]


def enlarged(images: Tensor, size: int) -> Tensor:
    """Digits ``(N, 8, 8)`` at ``size`` pixels a side, ``(N, size, size)`` in [0, 1]."""
    scaled = functional.interpolate(images[:, None], size=size, mode="bicubic", align_corners=False)
    return scaled[:, 0].clamp(0, 1)


@cache
def photographs() -> tuple[Tensor, ...]:
    """Both photographs in grey, ``(H, W)`` in [0, 1]."""
    from sklearn.datasets import load_sample_images

    grey = [
        torch.tensor(p, dtype=torch.float32).mean(-1) / 255 for p in load_sample_images().images
    ]
    return tuple(functional.avg_pool2d(image[None], SHRINK)[0] for image in grey)


def patches(which: Tensor, size: int, split: Split, generator: torch.Generator) -> Tensor:
    """A random patch of each photograph named, from the split's band, ``(N, size, size)``."""
    photos, (low, high) = torch.stack(photographs()), BANDS[split]
    height, width = photos.shape[1:]
    left, right = round(low * width), round(high * width) - size
    rows = torch.randint(height - size + 1, (len(which),), generator=generator)
    columns = torch.randint(left, right + 1, (len(which),), generator=generator)
    offsets = torch.arange(size)
    return photos[
        which[:, None, None],
        (rows[:, None] + offsets)[:, :, None],
        (columns[:, None] + offsets)[:, None, :],
    ]
