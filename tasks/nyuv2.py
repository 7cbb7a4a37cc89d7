"""NYUv2: what is every pixel of an indoor scene, how far away, and which way does it face?

N. Silberman, D. Hoiem, P. Kohli, R. Fergus, "Indoor segmentation and support inference from RGBD
images", ECCV 2012; 13 classes after C. Couprie et al., ICLR 2013; scenes, splits and augmentation
of S. Liu, E. Johns, A. Davison, "End-to-end multi-task learning with attention", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import nn

from moml.backbone.heads import Output
from moml.data import Defaults, TaskSpec
from moml.losses import CosineDistance, CrossEntropy, MaskedL1
from tasks._dense_files import (
    read_classes,
    read_map,
    read_scene_image,
    stems,
)
from tasks._dense_metrics import depth_metrics, normal_metrics, segmentation_metrics
from tasks._dense_networks import Network, dense_head
from tasks._dense_scenes import DenseScenes
from tasks._files.layout import Found, Layout, find
from tasks._files.source import Sample
from tasks._references import references

CLASSES = 13
CHANNELS = {"segmentation": CLASSES, "depth": 1, "normals": 3}
OUTPUTS: dict[str, Output] = {"segmentation": "real", "depth": "positive", "normals": "direction"}
TYPICAL_DEPTH = 2.5  # metres
KINDS = ("image", "label", "depth", "normal")
LAYOUTS = [
    Layout(
        "MTAN's numpy files",
        tuple(f"{split}/{kind}/*.npy" for split in ("train", "val") for kind in KINDS),
        inside=("nyuv2", "nyu", "NYUv2"),
    )
]


class NYUv2(DenseScenes):
    """Indoor scenes: 13-class segmentation, depth and normals of each of 1,449 photographs.

    Layout: MTAN's numpy files, ``{train,val}/{image,label,depth,normal}/{i}.npy``; its ``val`` is
    the test split of the literature (654 scenes), its ``train`` (795) is divided into training and
    validation here, because selection on test data is no selection. Inputs are ``(3, 288, 384)`` in
    [0, 1], depth is in metres, normals are vectors of any length. Undefined are label -1, depth 0
    and normals of three zeros.

    Metrics are accumulated over all pixels of a set, not averaged over batches. Higher is better:
    mIoU, pixel accuracy, share of normals within 11.25, 22.5 and 30 degrees. Lower is better:
    absolute and relative depth error, mean and median angle.

    Args:
        root: Folder with the data.
        network: ``unet`` (small), ``segnet`` (MTAN's) or ``deeplab`` (a dilated ResNet-50 with
            atrous pyramids, LibMTL's; `encoder` takes one with pretrained weights).
        held_out: Share of the published training split for validation. The literature trains on
            all of it: 0 does that too, and then validation scores are of training data.
        augment: Random zoom and mirror images in training, as in MTAN.
        seed: Seed of the held-out part.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    defaults = Defaults(
        steps=20_000, batch_size=8, learning_rate=1e-4, schedule="constant", eval_every=500,
        learning_rates=(3e-5, 1e-4, 3e-4),
    )  # fmt: skip
    bounds = (0.0, 1.0)
    references = references("nyuv2")

    def __init__(
        self,
        root: Path,
        *,
        network: Network = "unet",
        held_out: float = 0.2,
        augment: bool = True,
        seed: int = 688,
    ) -> None:
        self.found = self.discover(root)
        super().__init__(network, held_out=held_out, augment=augment, seed=seed)
        self._stems = {
            split: stems("NYUv2", self.found.folder / split, KINDS) for split in ("train", "val")
        }

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find("NYUv2", root, LAYOUTS)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Segmentation, depth and normals, with the losses of MTAN."""
        return {
            "segmentation": TaskSpec(
                CrossEntropy(CLASSES), segmentation_metrics(CLASSES), main="mIoU"
            ),
            "depth": TaskSpec(MaskedL1(), depth_metrics, main="abs_err", unit="m"),
            "normals": TaskSpec(
                CosineDistance(), normal_metrics, main="mean", unit="degrees", scale=60.0
            ),
        }

    def scenes(self, published: str) -> tuple[int, Callable[[int], Sample]]:
        """Number of scenes in a published split, and how one of them is read."""
        names = self._stems[published]
        return len(names), partial(self._read, self.found.folder / published, names)

    def head(self, task: str, in_features: int) -> nn.Module:
        """The head of the chosen network."""
        return dense_head(
            self.network, in_features, CHANNELS[task], output=OUTPUTS[task], typical=TYPICAL_DEPTH
        )

    @staticmethod
    def _read(folder: Path, names: list[str], i: int) -> Sample:
        file = f"{names[i]}.npy"
        image = read_scene_image(folder / "image" / file)
        size = torch.Size(image.shape[-2:])
        return image, {
            "segmentation": read_classes(folder / "label" / file, size, CLASSES),
            "depth": read_map(folder / "depth" / file, size, 1),
            "normals": read_map(folder / "normal" / file, size, 3),
        }
