"""Scenes from files with maps to predict: what NYUv2 and Cityscapes have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import nn

from moml.data import Source, Suite
from moml.data.suite import Split
from tasks._dense_networks import Network, check_network, dense_encoder
from tasks._dense_views import zoomed_or_mirrored
from tasks._files.source import FileSource, Sample
from tasks._held_out import check_held_out, train_or_val


class DenseScenes(Suite):
    """A published ``val`` that is the literature's test split, and a ``train`` to be divided.

    Selection on test data is no selection, so validation data are held out of ``train``.

    Args:
        network: ``unet`` (small), ``segnet`` (MTAN's) or ``deeplab`` (a dilated ResNet-50 with
            atrous pyramids).
        held_out: Share of the published training split for validation.
        augment: Random zoom and mirror images in training, as in MTAN.
        seed: Seed of the held-out part.
    """

    def __init__(self, network: str, *, held_out: float, augment: bool, seed: int) -> None:
        self.network: Network = check_network(network)
        self.held_out, self.augment, self.seed = check_held_out(held_out), augment, seed

    @abstractmethod
    def scenes(self, published: str) -> tuple[int, Callable[[int], Sample]]:
        """Number of scenes in a published split, and how one of them is read."""

    def sources(self, split: Split) -> Source:
        """The scenes of this split, read from disk when a batch asks for them."""
        number, read = self.scenes("val" if split == "test" else "train")
        view = zoomed_or_mirrored if self.augment and split == "train" else None
        source = FileSource(number, read, view)
        return source if split == "test" else train_or_val(source, split, self.held_out, self.seed)

    def encoder(self) -> nn.Module:
        """The encoder of the chosen network."""
        return dense_encoder(self.network)
