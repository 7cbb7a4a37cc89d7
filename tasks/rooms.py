"""Rendered rooms: what is every pixel, how far away is it, and which way does it face?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import nan

import numpy as np
import torch
from torch import nn

from moml.backbone import DenseEncoder, DenseHead
from moml.backbone.heads import Output
from moml.data import Defaults, Source, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from moml.losses import CrossEntropy, MaskedL1
from tasks._dense_metrics import depth_metrics, normal_metrics, segmentation_metrics
from tasks._raycast import CLASSES, render
from tasks._scenes import random_scene
from tasks._symmetry import SymmetricSource

NOISE = 0.01
CHANNELS = {"segmentation": len(CLASSES), "depth": 1, "normals": 3}
OUTPUTS: dict[str, Output] = {"segmentation": "real", "depth": "positive", "normals": "direction"}
TYPICAL_DEPTH = 3.0  # metres


class Rooms(Suite):
    """Rendered rooms with exact segmentation, depth and normals: dense prediction as on NYUv2.

    Source: an own ray-caster; nothing here is a photograph. A room has a floor, a ceiling, walls
    and up to six spheres, boxes or cylinders (6 classes), with random sizes, colours, light and
    viewpoint, and a little sensor noise. Every image is a scene of its own, so splits by image are
    splits by scene: 320 for training (which also come mirrored and with colour channels exchanged),
    48 for validation, 64 for testing.
    Inputs are ``(3, H, W)`` in [0, 1]; depth is in metres along the optical axis; normals are unit
    vectors in camera coordinates (x right, y down, z forward).

    Metrics are NYUv2's. Higher is better: mIoU, pixel accuracy, share of normals within 11.25, 22.5
    and 30 degrees. Lower is better: absolute and relative depth error, mean and median angle.

    Args:
        size: Height and width of the images, even numbers. (32, 48) will do for a smoke run.
        train: Number of training scenes.
        val: Number of validation scenes.
        test: Number of test scenes.
        seed: Seed of all scenes. The first scenes of a split do not depend on how many follow.
    """

    defaults = Defaults(
        steps=2100, batch_size=8, learning_rate=3e-3, eval_every=100, learning_rates=(1e-3, 3e-3)
    )
    bounds = (0.0, 1.0)

    def __init__(
        self,
        *,
        size: tuple[int, int] = (64, 96),
        train: int = 320,
        val: int = 48,
        test: int = 64,
        seed: int = 0,
    ) -> None:
        if len(size) != 2 or any(side < 16 or side % 2 for side in size):
            raise ValueError(f"`size` should be two even numbers of at least 16, found {size}.")
        self.size, self.seed = (size[0], size[1]), seed
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        for name, count in self.counts.items():
            if count < 1:
                raise ValueError(f"`{name}` should be at least 1, found {count}.")

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Segmentation, depth and normals; scales are the errors of a constant prediction."""
        return {
            "segmentation": TaskSpec(
                CrossEntropy(len(CLASSES)), segmentation_metrics(len(CLASSES)), main="mIoU"
            ),
            "depth": TaskSpec(MaskedL1(), depth_metrics, main="abs_err", unit="m", scale=1.0),
            # Absolute errors of unit vectors grow with the angle itself. The cosine's grow with its
            # square, and a wall that is seven degrees off would hardly count.
            "normals": TaskSpec(
                MaskedL1(undefined=nan), normal_metrics, main="mean", unit="degrees", scale=60.0
            ),
        }

    def sources(self, split: Split) -> Source:
        """The scenes of this split, rendered once per process."""
        scenes = _rendered(split, self.counts[split], self.size, self.seed)
        return SymmetricSource(scenes) if split == "train" else scenes

    def encoder(self) -> nn.Module:
        """A small U-Net."""
        return DenseEncoder(3)

    def head(self, task: str, in_features: int) -> nn.Module:
        """Two convolutions and upsampling; depth is positive, normals have length one."""
        output, typical = OUTPUTS[task], TYPICAL_DEPTH
        return DenseHead(in_features, CHANNELS[task], output=output, typical=typical)


@cache
def _rendered(split: Split, count: int, size: tuple[int, int], seed: int) -> TensorSource:
    images = np.empty((count, 3, *size), dtype=np.float32)
    classes = np.empty((count, *size), dtype=np.int64)
    depth = np.empty((count, 1, *size), dtype=np.float32)
    normals = np.empty((count, 3, *size), dtype=np.float32)
    for i in range(count):
        rng = np.random.default_rng([seed, ("train", "val", "test").index(split), i])
        view = render(random_scene(rng), size)
        images[i] = np.clip(view.image + NOISE * rng.standard_normal(view.image.shape), 0, 1)
        classes[i], depth[i, 0], normals[i] = view.classes, view.depth, view.normals
    targets = {"segmentation": classes, "depth": depth, "normals": normals}
    return TensorSource(
        torch.from_numpy(images), {task: torch.from_numpy(y) for task, y in targets.items()}
    )
