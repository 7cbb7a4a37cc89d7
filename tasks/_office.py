"""Pictures of the same objects in several domains: what the two Office suites have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from torch import nn

from moml.backbone import LinearHead, ResNet
from moml.data import Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._files.images import colour_bounds
from tasks._files.layout import Found
from tasks._office_files import check_domains, find_office, office_items, office_source


class Office(Suite):
    """A suite with a task, and pictures of its own, for each domain.

    Args:
        root: Folder with the data.
        domains: The domains, hence tasks, in order; all there are unless given.
        size: Height and width that pictures are resized to.
        normalize: ImageNet's mean and deviation; pictures in [0, 1] without, as attacks want them.
        seed: Seed of the split of class folders.
    """

    title: ClassVar[str]
    """As errors name it."""
    lists: ClassVar[str]
    """Folder of list files, as LibMTL names it."""
    classes: ClassVar[int]
    patterns: ClassVar[Mapping[str, str]]
    """What the folder of each domain is called, as a pattern."""

    def __init__(
        self,
        root: Path,
        *,
        domains: Sequence[str] | None = None,
        size: int = 224,
        normalize: bool = True,
        seed: int = 0,
    ) -> None:
        self.domains, self.size = check_domains(domains, self.patterns), size
        self.normalize, self.found = normalize, self.discover(root, domains=domains)
        self.bounds = colour_bounds(normalize=normalize)
        self._items = office_items(
            self.title, Path(root), self.found, self._chosen(domains), classes=self.classes,
            seed=seed,
        )  # fmt: skip

    @classmethod
    def discover(cls, root: Path, *, domains: Sequence[str] | None = None) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find_office(cls.title, root, cls._chosen(domains), cls.lists)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One classification task per domain."""
        return dict.fromkeys(self.domains, classification(self.classes))

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
        return LinearHead(in_features, self.classes)

    @classmethod
    def _chosen(cls, domains: Sequence[str] | None) -> dict[str, str]:
        return {domain: cls.patterns[domain] for domain in check_domains(domains, cls.patterns)}
