"""The same characters in five typefaces of four faces each, split by (face, character)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from moml.data.suite import Split
from tasks._distortion import Distortion
from tasks._glyph_images import stacked

# The 47 classes that can be told apart without context, those of EMNIST "balanced": G. Cohen,
# S. Afshar, J. Tapson, A. van Schaik, "EMNIST: extending MNIST to handwritten letters", IJCNN 2017.
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"
FACES: dict[str, tuple[str, ...]] = {
    "sans": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    "serif": ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    "mono": (
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSansMono-BoldOblique",
    ),
    "stix": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    "tex": ("cmr10", "cmb10", "cmti10", "cmss10"),
}
DOMAINS = tuple(FACES)
# Views of each item; domains are of unequal size for training, as in Office-31.
VIEWS: dict[Split, dict[str, int]] = {
    "train": {"sans": 10, "serif": 8, "mono": 6, "stix": 6, "tex": 4},
    "val": dict.fromkeys(FACES, 2),
    "test": dict.fromkeys(FACES, 4),
}
RANDOM = Distortion(angle=10, scale=0.15, shear=0.15, shift=2, warp=0.5, noise=0.1)
_PLACES: dict[Split, slice] = {"train": slice(0, 2), "val": slice(2, 3), "test": slice(3, 4)}


def items(domain: str, split: Split, seed: int) -> Tensor:
    """Which of the domain's faces show each character in this split, ``(47, 2 or 1)``.

    Of a character's four faces two are for training, one for validation and one for testing, drawn
    for every character anew.
    """
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + DOMAINS.index(domain))
    order = torch.rand(len(CHARACTERS), 4, generator=generator).argsort(1)
    return order[:, _PLACES[split]]


@cache
def views(domain: str, split: Split, seed: int) -> tuple[Tensor, Tensor]:
    """Images ``(N, 1, 28, 28)`` and labels ``(N,)`` of a domain, views of an item in a row."""
    printed = stacked(FACES[domain], CHARACTERS)  # (47, 4, 28, 28)
    chosen, copies = items(domain, split, seed), VIEWS[split][domain]
    labels = torch.arange(len(CHARACTERS))
    images = printed[labels[:, None], chosen].flatten(0, 1)  # (47 * faces, 28, 28)
    number = 3 * DOMAINS.index(domain) + ("train", "val", "test").index(split)
    generator = torch.Generator().manual_seed(7_919 * (seed + 1) + number)
    seen = RANDOM(images[:, None].repeat_interleave(copies, 0), generator)
    return seen, labels.repeat_interleave(chosen.shape[1] * copies)


def check_domains(name: str, domains: tuple[str, ...]) -> None:
    """Raise unless the domains are known and distinct."""
    if not domains or len(set(domains)) < len(domains) or not set(domains) <= set(DOMAINS):
        raise ValueError(
            f"{name} should be distinct and among {list(DOMAINS)}, found {list(domains)}."
        )
