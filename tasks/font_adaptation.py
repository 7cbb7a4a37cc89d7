"""From one typeface to another with a few labels: semi-supervised domain adaptation.

The setting of K. Saito, D. Kim, S. Sclaroff, T. Darrell, K. Saenko, "Semi-supervised domain
adaptation via minimax entropy", ICCV 2019, on the images of `FontDomains`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moml.backbone import Conv4
from moml.data import Batch, BatchLoader, Loader, MultiLoader, TaskSpec, TensorSource
from moml.data.suite import Split
from moml.losses import CrossEntropy
from tasks._font_images import CHARACTERS, VIEWS, check_domains, views

if TYPE_CHECKING:
    from torchmetrics import Metric


class FontAdaptation:
    """A labelled source domain, a few labelled target images per class, many without a label.

    A training batch is multi-input: ``source`` and ``target_labelled`` have inputs and targets,
    ``target_unlabelled`` has inputs only. All target images for training that are not labelled are
    the unlabelled pool. Validation and test batches are target images with targets ``class``, of
    faces that were not seen in training: 94 and 188 images of 47 classes.

    Args:
        source: Domain with labels (see `FontDomains`).
        target: Domain to adapt to.
        shots: Labelled target images per class.
        seed: Seed of the split, the views and the choice of labelled images.

    Raises:
        ValueError: If the domains are unknown or the same, or too many labels are asked for.
    """

    classes = len(CHARACTERS)

    def __init__(
        self, *, source: str = "sans", target: str = "stix", shots: int = 1, seed: int = 0
    ) -> None:
        check_domains("`source` and `target`", (source, target))
        images = 2 * VIEWS["train"][target]
        if not 1 <= shots < images:
            raise ValueError(
                f"`shots` should be between 1 and {images - 1}, for '{target}' has {images} "
                f"training images of a class, found {shots}."
            )
        self.source, self.target, self.shots, self.seed = source, target, shots, seed

    @property
    def task(self) -> TaskSpec:
        """Which character it is: loss, and metrics on the target domain."""
        return TaskSpec(CrossEntropy(self.classes), _metrics, main="accuracy")

    def sources(self) -> dict[str, TensorSource]:
        """The three sets of training images."""
        images, labels = views(self.source, "train", self.seed)
        target_images, target_labels = views(self.target, "train", self.seed)
        known = self._labelled(target_labels)
        return {
            "source": TensorSource(images, {"source": labels}),
            "target_labelled": TensorSource(
                target_images[known], {"target_labelled": target_labels[known]}
            ),
            "target_unlabelled": TensorSource(target_images[~known], {}),
        }

    def loader(self, split: Split, *, batch_size: int = 32, seed: int = 0) -> BatchLoader[Batch]:
        """Training batches of all three sets, each cycling at its own length; or target images."""
        if split == "train":
            return MultiLoader(
                {
                    name: Loader(one, batch_size, shuffle=True, drop_last=True, seed=seed + 101 * i)
                    for i, (name, one) in enumerate(self.sources().items())
                }
            )
        images, labels = views(self.target, split, self.seed)
        return Loader(TensorSource(images, {"class": labels}), batch_size)

    def encoder(self) -> nn.Module:
        """Four convolutional blocks, each image normalised by itself."""
        return Conv4(norm="group")

    def _labelled(self, labels: Tensor) -> Tensor:
        """Which target images keep their label: ``shots`` of each class, ``(N,)`` bool."""
        scores = torch.rand(len(labels), generator=torch.Generator().manual_seed(self.seed))
        by_class = scores.view(self.classes, -1)  # images come class by class
        chosen = torch.zeros_like(by_class, dtype=torch.bool)
        chosen.scatter_(1, by_class.topk(self.shots).indices, True)
        return chosen.flatten()


def _metrics() -> dict[str, Metric]:
    from torchmetrics.classification import MulticlassAccuracy

    return {"accuracy": MulticlassAccuracy(len(CHARACTERS), average="micro", validate_args=False)}
