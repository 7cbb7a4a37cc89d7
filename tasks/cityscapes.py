"""Cityscapes: what is every pixel of a street, and how near is it?

M. Cordts et al., "The Cityscapes dataset for semantic urban scene understanding", CVPR 2016; the
two-task benchmark of S. Liu, E. Johns, A. Davison, "End-to-end multi-task learning with attention",
CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from moml.data import Defaults, TaskSpec
from moml.losses import CrossEntropy, MaskedL1
from tasks._cityscapes_raw import RAW, raw_names, read_raw
from tasks._dense_files import (
    read_classes,
    read_map,
    read_scene_image,
    stems,
)
from tasks._dense_metrics import depth_metrics, segmentation_metrics
from tasks._dense_networks import Network, dense_head
from tasks._dense_scenes import DenseScenes
from tasks._files.layout import Found, Layout, find
from tasks._files.source import Sample
from tasks._references import references

INSIDE = ("cityscapes", "Cityscapes", "cityscapes2")
CLASSES = (2, 7, 19)
PUBLISHED_CLASSES = 7  # of the single-task results
TYPICAL_INVERSE_DEPTH = 0.05


class Cityscapes(DenseScenes):
    """Streets: segmentation into 2, 7 or 19 classes, and inverse depth.

    Layouts: MTAN's numpy files, ``{train,val}/{image,depth,label_7}/{i}.npy`` (``label_2``,
    ``label_19``; a folder called ``label`` holds 7 or, said by the files themselves, another
    number of classes), or Cityscapes as published. The published ``val`` is the test split of the
    literature (500 pictures); its ``train`` (2,975) is divided into training and validation here.
    Inputs are ``(3, H, W)`` in [0, 1]. Depth is *inverse* depth, in the units of the files. Label
    -1 and depth 0 are undefined.

    Metrics are accumulated over all pixels of a set. Higher is better: mIoU, pixel accuracy. Lower
    is better: absolute and relative error of the inverse depth.

    Args:
        root: Folder with the data.
        network: ``unet`` (small), ``segnet`` (MTAN's) or ``deeplab`` (a dilated ResNet-50 with
            atrous pyramids; `encoder` takes one with pretrained weights).
        classes: 2 (background and foreground), 7 (categories) or 19.
        size: Height and width that published pictures are resized to; numpy files have their own.
        held_out: Share of the published training split for validation. The literature trains on
            all of it: 0 does that too, and then validation scores are of training data.
        augment: Random zoom and mirror images in training, as in MTAN.
        seed: Seed of the held-out part.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    defaults = Defaults(
        steps=60_000, batch_size=8, learning_rate=1e-4, schedule="constant", eval_every=1000,
        learning_rates=(3e-5, 1e-4, 3e-4),
    )  # fmt: skip
    bounds = (0.0, 1.0)
    references = references("cityscapes")

    def __init__(
        self,
        root: Path,
        *,
        network: Network = "unet",
        classes: Literal[2, 7, 19] = 7,
        size: tuple[int, int] = (128, 256),
        held_out: float = 0.2,
        augment: bool = True,
        seed: int = 688,
    ) -> None:
        if classes not in CLASSES:
            raise ValueError(f"`classes` should be 2, 7 or 19, found {classes}.")
        if min(size) < 16 or any(side % 2 for side in size):
            raise ValueError(f"`size` should be two even numbers of at least 16, found {size}.")
        self.found, self.classes = self.discover(root, classes=classes), classes
        if classes != PUBLISHED_CLASSES:
            self.references = {}
        self.size = (size[0], size[1])
        super().__init__(network, held_out=held_out, augment=augment, seed=seed)
        self._names = {split: self._scenes(split) for split in ("train", "val")}

    @staticmethod
    def discover(root: Path, *, classes: int = 7) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        kinds = ("image", "depth")
        mtan = [
            Layout(
                f"MTAN's numpy files, {label}",
                tuple(f"{s}/{kind}/*.npy" for s in ("train", "val") for kind in (*kinds, label)),
                inside=INSIDE,
            )
            for label in (f"label_{classes}", "label")
        ]
        return find(f"Cityscapes with {classes} classes", root, [*mtan, RAW])

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Segmentation and inverse depth, with the losses of MTAN."""
        return {
            "segmentation": TaskSpec(
                CrossEntropy(self.classes), segmentation_metrics(self.classes), main="mIoU"
            ),
            "depth": TaskSpec(MaskedL1(), depth_metrics, main="abs_err", scale=0.1),
        }

    def scenes(self, published: str) -> tuple[int, Callable[[int], Sample]]:
        """Number of pictures in a published split, and how one of them is read."""
        names, folder = self._names[published], self.found.folder
        if self._raw:
            return len(names), partial(read_raw, folder, published, names, self.classes, self.size)
        return len(names), partial(self._read, folder / published, names)

    def head(self, task: str, in_features: int) -> nn.Module:
        """The head of the chosen network."""
        if task == "segmentation":
            return dense_head(self.network, in_features, self.classes)
        return dense_head(
            self.network, in_features, 1, output="positive", typical=TYPICAL_INVERSE_DEPTH
        )

    @property
    def _raw(self) -> bool:
        return self.found.layout == RAW.name

    @property
    def _label(self) -> str:
        return self.found.layout.rsplit(" ", 1)[-1]

    def _scenes(self, split: str) -> list[str]:
        if self._raw:
            return raw_names(self.found.folder, split)
        return stems("Cityscapes", self.found.folder / split, ("image", "depth", self._label))

    def _read(self, folder: Path, names: list[str], i: int) -> Sample:
        file = f"{names[i]}.npy"
        image = read_scene_image(folder / "image" / file)
        size = torch.Size(image.shape[-2:])
        return image, {
            "segmentation": read_classes(folder / self._label / file, size, self.classes),
            "depth": read_map(folder / "depth" / file, size, 1),
        }
