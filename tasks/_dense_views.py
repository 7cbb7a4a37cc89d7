"""Random views of a picture with dense labels: zoomed in, mirrored.

The augmentation of S. Liu, E. Johns, A. Davison, "End-to-end multi-task learning with attention",
CVPR 2019, as its public code has it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tasks._files.source import Sample

ZOOMS = (1.0, 1.2, 1.5)


def zoomed_or_mirrored(sample: Sample, generator: torch.Generator) -> Sample:
    """A crop by a random factor at a random place, resized, then mirrored every other time.

    What is twice as near looks twice as large, so depth is divided by the factor. A mirror turns
    the sideways component of a normal round. Labels and depth are resized by the nearest pixel;
    normals bilinearly, which leaves the direction of a defined normal beside an undefined one, a
    vector of zeros, as it is.
    """
    image, targets = sample
    height, width = image.shape[-2:]
    zoom = ZOOMS[_below(len(ZOOMS), generator)]
    h, w = int(height / zoom), int(width / zoom)
    top, left = _below(height - h + 1, generator), _below(width - w + 1, generator)
    mirrored = _below(2, generator) == 1

    def seen(maps: Tensor, *, smooth: bool) -> Tensor:
        part = maps[None, ..., top : top + h, left : left + w]
        options = {"mode": "bilinear", "align_corners": True} if smooth else {"mode": "nearest"}
        grown = functional.interpolate(part, size=(height, width), **options)[0]
        return grown.flip(-1) if mirrored else grown

    views = {"segmentation": seen(targets["segmentation"][None].float(), smooth=False)[0].long()}
    if "depth" in targets:
        views["depth"] = seen(targets["depth"], smooth=False) / zoom
    if "normals" in targets:
        normals = seen(targets["normals"], smooth=True)
        if mirrored:
            normals[0] *= -1
        views["normals"] = normals
    return seen(image, smooth=True), views


def mirrored(sample: Sample, generator: torch.Generator) -> Sample:
    """Mirrored every other time; for targets without a direction."""
    image, targets = sample
    if _below(2, generator) == 0:
        return sample
    return image.flip(-1), {task: y.flip(-1) for task, y in targets.items()}


def _below(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
