"""Pictures, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tasks._files.arrays import reason

Mode = Literal["RGB", "L", "I"]
# Channel means and deviations of ImageNet's pictures in [0, 1], as pretrained networks expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def read_image(
    path: Path, *, size: tuple[int, int] | None = None, mode: Mode = "RGB", exact: bool = False
) -> np.ndarray:
    """A picture as ``(H, W, 3)`` or ``(H, W)``.

    Args:
        path: The file.
        size: Height and width to resize to; as it is unless given.
        mode: Colours, grey, or integers (labels, 16-bit disparities).
        exact: Resize by the nearest pixel, which makes up no new values; bilinear otherwise.

    Raises:
        ValueError: If the file is cut short or no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened if mode == "I" else opened.convert(mode)
            if size is not None and image.size != size[::-1]:
                how = Image.Resampling.NEAREST if exact else Image.Resampling.BILINEAR
                image = image.resize(size[::-1], how)
            return np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"`root` should hold whole pictures, found '{path}': {reason(error)}."
        ) from error


def read_colours(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """A picture as ``(3, H, W)`` in [0, 1]."""
    return torch.from_numpy(read_image(path, size=size)).permute(2, 0, 1).float() / 255


def normalized(image: Tensor) -> Tensor:
    """A picture ``(..., 3, H, W)`` in [0, 1] with ImageNet's mean and deviation taken out."""
    mean, std = (torch.tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std


def colour_bounds(*, normalize: bool) -> tuple[Tensor | float, Tensor | float]:
    """The interval of valid pictures: [0, 1], or per channel what `normalized` makes of it."""
    if not normalize:
        return 0.0, 1.0
    return normalized(torch.zeros(3, 1, 1)), normalized(torch.ones(3, 1, 1))


class Pictures:
    """Pictures of one size, gathered like a tensor; each is decoded once, and kept as bytes.

    Indexed by ``(B,)`` integers it gives ``(B, C, side, side)`` in [0, 1].

    Args:
        paths: The files.
        side: Height and width to resize to.
        grey: One channel instead of three.
        negative: White becomes black: ink is 1.
    """

    def __init__(
        self, paths: Sequence[Path], side: int, *, grey: bool = False, negative: bool = False
    ) -> None:
        self.paths, self.side = list(paths), side
        self.grey, self.negative = grey, negative
        # Memory of zeros is not taken before something is written there.
        self.bytes = np.zeros((len(paths), 1 if grey else 3, side, side), np.uint8)
        self.decoded = np.zeros(len(paths), bool)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: Tensor) -> Tensor:
        chosen = indices.numpy()
        for i in np.unique(chosen[~self.decoded[chosen]]):
            mode: Mode = "L" if self.grey else "RGB"
            image = read_image(self.paths[i], size=(self.side, self.side), mode=mode)
            self.bytes[i] = image[None] if self.grey else image.transpose(2, 0, 1)
            self.decoded[i] = True
        values = torch.from_numpy(self.bytes[chosen]).float() / 255
        return 1 - values if self.negative else values
