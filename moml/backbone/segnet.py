"""SegNet, in the size that multi-task papers use on NYUv2 and Cityscapes.

V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet", TPAMI 2017; the division into levels is that of
S. Liu, E. Johns, A. J. Davison, "End-to-end multi-task learning with attention", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.backbone.staged import Leveled


class SegNet(Leveled):
    """Five levels down with max-pooling and five up with unpooling, 24.9 million parameters.

    A level down is a convolution to its width and one or two more; a level up unpools to the places
    the maxima came from, and convolves as often. Features are as large as the image.

    Args:
        in_channels: Channels of the image.
        widths: Channels of the levels.
    """

    def __init__(
        self, in_channels: int = 3, *, widths: Sequence[int] = (64, 128, 256, 512, 512)
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"`widths` should name at least two levels, found {tuple(widths)}.")
        self.out_features = widths[0]
        self.example_input = torch.zeros(1, in_channels, *[2 ** len(widths)] * 2)
        self.turns = frozenset({len(widths)})
        narrower = (widths[0], *widths[:-1])
        before = (in_channels, *widths[:-1])
        self.down = nn.ModuleList(_conv(a, b) for a, b in zip(before, widths, strict=True))
        self.down_more = nn.ModuleList(_more(w, k) for k, w in enumerate(widths))
        self.up = nn.ModuleList(_conv(b, a) for a, b in zip(narrower, widths, strict=True))
        self.up_more = nn.ModuleList(_more(w, k) for k, w in enumerate(narrower))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier's weights, no biases."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def levels(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Maps at the image's size and below, down and up again."""
        found, x = [], inputs
        places: list[tuple[Tensor, torch.Size]] = []
        for first, more in zip(self.down, self.down_more, strict=True):
            start = first(x)
            end = more(start)
            found.append((start, end))
            x, where = functional.max_pool2d(end, 2, return_indices=True)
            places.append((where, end.shape[2:]))
        for first, more in zip(reversed(self.up), reversed(self.up_more), strict=True):
            where, size = places.pop()
            start = functional.max_unpool2d(x, where, [2, 2], output_size=size)
            x = more(first(start))
            found.append((start, x))
        return found


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _more(width: int, level: int) -> nn.Sequential:
    return nn.Sequential(*(_conv(width, width) for _ in range(1 if level < 2 else 2)))
