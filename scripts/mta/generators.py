"""What attacks: one generator for all tasks, one a task, and small ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mta.protocol import MATCHED, SEPARATE
from torch import nn

from moml.architecture import HPS, Architecture
from moml.attack.generator import GAP, ImageDecoder, ImageEncoder


def shared(tasks: Sequence[str], *, width: int = 8) -> HPS:
    """One encoder, a decoder per task."""
    encoder = ImageEncoder(1, width=width)
    return HPS(encoder, {task: ImageDecoder(encoder.out_features) for task in tasks})


def separate(tasks: Sequence[str], *, width: int = 8, blocks: int = 2) -> GAP:
    """An encoder and a decoder per task."""
    return GAP(
        tasks, encoder=lambda: ImageEncoder(1, width=width, blocks=blocks), decoder=ImageDecoder
    )


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def architecture(method: str, tasks: Sequence[str]) -> Architecture:
    """The network of a method."""
    if method == SEPARATE:
        return separate(tasks)
    if method == MATCHED:
        # One block less is the strongest way to be small on the validation seed: mean fooling 61 %,
        # against 40 % for two blocks of fewer channels and 43 % for no block and more channels.
        sizes = [partial(separate, tasks, width=width, blocks=1) for width in range(2, 9)]
        return GAP.matched(count(shared(tasks)), sizes)
    return shared(tasks)
