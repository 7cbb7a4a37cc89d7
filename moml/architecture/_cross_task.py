"""What one task's features find in another's: DenseMTL's cross-task attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class CrossTask(nn.Module):
    """What one task reads from another (xTAM).

    Args:
        width: Channels of both.
        scale: Pooling before attention.
        attention: Whether with attention across positions, or the source's own alone.
    """

    def __init__(self, width: int, *, scale: int = 4, attention: bool = True) -> None:
        super().__init__()
        self.scale, half = scale, max(width // 2, 1)
        self.extract = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.value, self.mask = (nn.Conv2d(width, half, 3, padding=1) for _ in range(2))
        self.maps = nn.ModuleList(
            projection(width, width) for _ in range(3 if attention else 0)
        )  # to queries, keys, values
        self.fade = nn.Parameter(torch.zeros(width)) if attention else None
        self.join = projection(half + (width if attention else 0), width)

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)`` of two tasks to what the target makes of the source."""
        source = self.extract(source)
        parts = [self.mask(source).sigmoid() * self.value(source)]
        if self.fade is not None:
            parts.append(self.fade[:, None, None] * self._attended(target, source))
        return self.join(torch.cat(parts, 1))

    def _attended(self, target: Tensor, source: Tensor) -> Tensor:
        size = target.shape[2:]
        small = functional.max_pool2d(source, [min(self.scale, side) for side in size])
        asked = functional.interpolate(target, size=small.shape[2:], mode="nearest")
        to_query, to_key, to_value = self.maps
        q, k, v = (m.flatten(2).mT for m in (to_query(asked), to_key(small), to_value(small)))
        found = functional.scaled_dot_product_attention(q, k, v).mT.unflatten(2, small.shape[2:])
        return functional.interpolate(found, size=size, mode="nearest")


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution, normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
