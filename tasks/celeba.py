"""CelebA: which of forty attributes has the face?

Z. Liu, P. Luo, X. Wang, X. Tang, "Deep learning face attributes in the wild", ICCV 2015; a task per
attribute since O. Sener, V. Koltun, "Multi-task learning as multi-objective optimization", NeurIPS
2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from moml.backbone import LinearHead, ResNet
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from moml.losses import BinaryCrossEntropy
from tasks._celeba_files import LAYOUTS, picture_files, read_lists
from tasks._files.images import read_colours
from tasks._files.layout import Found, find
from tasks._files.source import FileSource, Sample

if TYPE_CHECKING:
    from torchmetrics import Metric


class CelebA(Suite):
    """202,599 faces with forty attributes each, a yes-or-no task for every attribute.

    Layouts: ``Anno/list_attr_celeba.txt``, ``Eval/list_eval_partition.txt`` and
    ``Img/img_align_celeba/*.jpg`` (or ``…_png/*.png``) as published, torchvision's flat folder, or
    comma-separated tables. Splits are the published ones: 162,770 faces for training, 19,867 for
    validation, 19,962 for testing. Inputs are ``(3, size, size)`` in [0, 1]. F1 (of the answer yes)
    and accuracy: higher is better.

    Args:
        root: Folder with the data.
        attributes: Names of the attributes, hence tasks; all forty if not given.
        size: Height and width that pictures are resized to.

    Raises:
        ValueError: If data are missing, incomplete or damaged, or an attribute is unknown.
    """

    defaults = Defaults(
        steps=9_540, batch_size=256, learning_rate=3e-4, schedule="constant", eval_every=636,
        learning_rates=(1e-4, 3e-4, 1e-3),
    )  # fmt: skip
    bounds = (0.0, 1.0)

    def __init__(
        self, root: Path, *, attributes: Sequence[str] | None = None, size: int = 64
    ) -> None:
        self.found, self.size = self.discover(root), size
        known, self._parts, self._answers = read_lists(self.found)
        self._files = picture_files(self.found, self._parts)
        self.attributes = tuple(known if attributes is None else attributes)
        unknown = [name for name in self.attributes if name not in known]
        if unknown or not self.attributes:
            raise ValueError(
                f"`attributes` should be among {', '.join(known)}, "
                f"found {', '.join(unknown) or 'none'}."
            )
        self._columns = [known.index(name) for name in self.attributes]

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find("CelebA", root, LAYOUTS)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One yes-or-no task per attribute."""
        return dict.fromkeys(self.attributes, TaskSpec(BinaryCrossEntropy(), _metrics, main="F1"))

    def sources(self, split: Split) -> Source:
        """The faces of this split, read from disk when a batch asks for them."""
        names = self._parts[split]
        if not names:
            raise ValueError(f"The list of splits should name faces for '{split}', found none.")
        return FileSource(len(names), partial(self._read, names))

    def encoder(self) -> nn.Module:
        """A ResNet-18."""
        return ResNet(18)

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear layer to one logit."""
        return LinearHead(in_features, 1)

    def _read(self, names: list[str], i: int) -> Sample:
        image = read_colours(self._files[names[i]], (self.size, self.size))
        answers = torch.from_numpy(self._answers[names[i]][self._columns]).float()
        return image, dict(zip(self.attributes, answers, strict=True))


def _metrics() -> dict[str, Metric]:
    from moml.metrics import BinaryAccuracy, BinaryF1

    return {"F1": BinaryF1(), "accuracy": BinaryAccuracy()}
