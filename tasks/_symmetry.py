"""More scenes for nothing: mirror images and exchanged colour channels of rendered rooms."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from moml.data import Batch, Source, TensorSource

CHANNEL_ORDERS = torch.tensor(list(permutations(range(3))))  # (6, 3)
COPIES = 2 * len(CHANNEL_ORDERS)


class SymmetricSource(Source):
    """Every scene twelve times: as it is or mirrored, with its colour channels in any order.

    Rooms are as likely as their mirror images, and albedos are drawn alike for red, green and blue
    under white light. Each copy therefore is a scene that could have been drawn itself. Sample
    ``k * N + i`` is copy ``k`` of scene ``i``; copy 0 is the scene.

    Args:
        scenes: The ``N`` scenes as rendered, with normals in camera coordinates.
    """

    def __init__(self, scenes: TensorSource) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return COPIES * len(self.scenes)

    def batch(self, indices: Tensor) -> Batch:
        """Gather the scenes, then exchange channels and sides."""
        copy, scene = indices // len(self.scenes), indices % len(self.scenes)
        batch = self.scenes.batch(scene)
        assert isinstance(batch.inputs, Tensor)
        order, mirrored = CHANNEL_ORDERS[copy // 2], copy % 2 == 1
        images = batch.inputs[torch.arange(len(indices))[:, None], order]  # (B, 3, H, W)
        targets = {task: _mirror(y, mirrored) for task, y in batch.targets.items()}
        targets["normals"][mirrored, 0] *= -1
        return Batch(_mirror(images, mirrored), targets)


def _mirror(maps: Tensor, chosen: Tensor) -> Tensor:
    """Exchange left and right of the chosen maps, ``(B, ..., W)``; always a copy."""
    maps = maps.clone()
    maps[chosen] = maps[chosen].flip(-1)
    return maps
