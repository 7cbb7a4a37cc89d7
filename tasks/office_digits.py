"""The same ten classes in several domains: which digit is it, wherever it comes from?

The setting of Office-31 (K. Saenko, B. Kulis, M. Fritz, T. Darrell, "Adapting visual category
models to new domains", ECCV 2010), where every domain is a task with images of its own, in a size
that needs no download. It is a small stand-in, not Office-31.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.backbone import LinearHead, SmallCNN
from moml.data import Defaults, Source, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._digit_images import digits, enlarged, items, patches

# Renderings of each training digit: domains are of unequal size, as in Office-31.
COPIES = {"plain": 1, "photo": 3, "turned": 2, "noisy": 2, "edges": 1}
DOMAINS = tuple(COPIES)


class OfficeDigits(Suite):
    """Handwritten digits in up to five domains, a task each: classification as on Office-31.

    Domains: ``plain`` (as scanned), ``photo`` (light strokes on patches of two photographs),
    ``turned`` (inverted, rotated by up to 30 degrees), ``noisy`` (faint strokes under noise) and
    ``edges`` (outlines). Every task has images of its own (multi-input) and its own victim in
    attacks. A digit of one split occurs in no other split, in whatever domain; nor does a pixel of
    the photographs. 1,200 digits for training (one to three renderings each), 100 for validation,
    497 for testing. Inputs are ``(1, size, size)`` in [0, 1]. Accuracy: higher is better.

    Args:
        domains: The domains, hence tasks, in order.
        size: Height and width of the images.
        seed: Seed of the split and of all renderings.

    Raises:
        ValueError: If a domain is unknown or named twice, or images would be smaller than a digit.
    """

    defaults = Defaults(steps=600, batch_size=64, learning_rate=1e-3, eval_every=100)
    bounds = (0.0, 1.0)

    def __init__(
        self,
        *,
        domains: Sequence[str] = ("plain", "photo", "turned"),
        size: int = 16,
        seed: int = 0,
    ) -> None:
        known = set(domains) <= set(DOMAINS) and len(set(domains)) == len(domains) > 0
        if not known:
            raise ValueError(
                f"`domains` should be distinct and among {list(DOMAINS)}, found {list(domains)}."
            )
        if not 8 <= size <= 24:
            raise ValueError(f"`size` should be between 8 and 24 pixels, found {size}.")
        self.domains, self.size, self.seed = tuple(domains), size, seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One classification task per domain."""
        return dict.fromkeys(self.domains, classification(10))

    def sources(self, split: Split) -> Mapping[str, Source]:
        """A source per domain, rendered once per process."""
        return {domain: _rendered(domain, split, self.size, self.seed) for domain in self.domains}

    def encoder(self) -> nn.Module:
        """A small convolutional network."""
        return SmallCNN((self.size, self.size))

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, 10)


@cache
def _rendered(domain: str, split: Split, size: int, seed: int) -> TensorSource:
    number = 3 * DOMAINS.index(domain) + ("train", "val", "test").index(split)
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + number)
    images, labels = digits()
    chosen = items(split, seed).repeat(COPIES[domain] if split == "train" else 1)
    strokes = enlarged(images[chosen], size)  # (N, size, size)
    match domain:
        case "photo":
            which = torch.randint(2, (len(chosen),), generator=generator)
            background = patches(which, size, split, generator)
            strokes = torch.maximum(strokes, 0.6 * background)
        case "turned":
            strokes = 1 - _rotated(strokes, generator)
        case "noisy":
            noise = torch.randn(strokes.shape, generator=generator)
            strokes = 0.25 + 0.5 * strokes + 0.1 * noise
        case "edges":
            strokes = _outlines(strokes)
    return TensorSource(strokes.clamp(0, 1)[:, None], {domain: labels[chosen]})


def _rotated(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images turned by an angle of their own, uniform in ±30 degrees."""
    angles = (2 * torch.rand(len(images), generator=generator) - 1) * torch.pi / 6
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    maps = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).reshape(-1, 2, 3)
    grid = functional.affine_grid(maps, [len(images), 1, *images.shape[1:]], align_corners=False)
    return functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def _outlines(images: Tensor) -> Tensor:
    """Length of the brightness gradient (central differences)."""
    padded = functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    return (across**2 + down**2).sqrt()
