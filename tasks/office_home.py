"""Office-Home: which object is it, in art, as clip art, in a shop or in the real world?

H. Venkateswara, J. Eusebio, S. Chakraborty, S. Panchanathan, "Deep hashing network for unsupervised
domain adaptation", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from moml.backbone import LinearHead, ResNet
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._files.layout import Found
from tasks._office_files import check_domains, find_office, office_items, office_source

CLASSES = 65
DOMAINS = {"Art": "Art", "Clipart": "Clipart", "Product": "Product", "Real_World": "Real*World"}


class OfficeHome(Suite):
    """65 kinds of everyday objects in four domains, a task with pictures of its own for each.

    Layouts: list files ``DOMAIN_{train,val,test}.txt`` of lines ``path class`` (those of LibMTL:
    1,435, 2,596, 2,635 and 2,586 pictures for training), or a folder per class, of which three
    fifths are for training. Inputs are ``(3, size, size)``, with ImageNet's mean and deviation as
    pretrained networks expect them. Accuracy: higher is better.

    Args:
        root: Folder with the data.
        domains: The domains, hence tasks, in order.
        size: Height and width that pictures are resized to.
        normalize: ImageNet's mean and deviation; pictures in [0, 1] without, as attacks want them.
        seed: Seed of the split of class folders.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    defaults = Defaults(steps=8_200, batch_size=64, learning_rate=1e-4, schedule="constant",
                        eval_every=205, learning_rates=(3e-5, 1e-4, 3e-4))  # fmt: skip

    def __init__(
        self,
        root: Path,
        *,
        domains: Sequence[str] = tuple(DOMAINS),
        size: int = 224,
        normalize: bool = True,
        seed: int = 0,
    ) -> None:
        self.domains, self.size = check_domains(domains, DOMAINS), size
        self.normalize, self.found = normalize, self.discover(root, domains=domains)
        patterns = {domain: DOMAINS[domain] for domain in self.domains}
        self._items = office_items(
            "Office-Home", Path(root), self.found, patterns, classes=CLASSES, seed=seed
        )

    @staticmethod
    def discover(root: Path, *, domains: Sequence[str] = tuple(DOMAINS)) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find_office("Office-Home", root, {d: DOMAINS[d] for d in domains}, "office-home")

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One classification task per domain."""
        return dict.fromkeys(self.domains, classification(CLASSES))

    def sources(self, split: Split) -> Mapping[str, Source]:
        """A source per domain, read from disk when a batch asks for it."""
        return {
            domain: office_source(domain, items[split], self.size, normalize=self.normalize)
            for domain, items in self._items.items()
        }

    def encoder(self) -> nn.Module:
        """A ResNet-18 from scratch; published results start from ImageNet's weights."""
        return ResNet(18)

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, CLASSES)
