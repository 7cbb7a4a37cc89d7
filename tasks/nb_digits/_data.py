"""Images the networks of the tables are trained, selected and tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tasks._digit_images import digits
from tasks._distortion import Distortion
from tasks._glyph_images import STYLES, stacked

TRAIN, VAL = 1000, 397  # of 1,797 digits; the other 400 are for testing
LETTERS = "ABEHKMRSTX"
VIEWS = Distortion(angle=8, scale=0.1, shear=0.1, shift=1, warp=0.5, noise=0.05)
MARGIN, GLYPH_SIDE = 4, 8  # what is cut off the 28 pixels around, and what is left of the rest
GLYPH_VAL = ("DejaVuSans-BoldOblique", "DejaVuSerif-Italic")
GLYPH_TEST = ("DejaVuSerif-BoldItalic", "DejaVuSansMono-Oblique")


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


def glyph_images() -> Images:
    """Ten capital letters: 960, 400 and 400 random views at 8×8 pixels.

    Eight of the twelve DejaVu styles are for training, two for validation, two for testing.
    """
    generator = torch.Generator().manual_seed(0)

    def views(styles: Sequence[str], number: int) -> tuple[Tensor, Tensor]:
        printed = stacked(styles, LETTERS).flatten(0, 1)[:, None]  # (letters · styles, 1, 28, 28)
        labels = torch.arange(len(LETTERS)).repeat_interleave(len(styles))
        images = VIEWS(printed.repeat(number, 1, 1, 1), generator)
        small = functional.adaptive_avg_pool2d(
            images[..., MARGIN:-MARGIN, MARGIN:-MARGIN], GLYPH_SIDE
        )
        return small / small.amax((2, 3), keepdim=True), labels.repeat(number)

    held = (*GLYPH_VAL, *GLYPH_TEST)
    return Images(
        train=views([style for style in STYLES if style not in held], 12),
        val=views(GLYPH_VAL, 20),
        test=views(GLYPH_TEST, 20),
    )
