"""Encoders that say where they can be cut, or which levels they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Staged(nn.Module, ABC):
    """An encoder that lists its stages: run one after the other, they are its ``forward``.

    Architectures that share stage by stage (`moml.architecture.CrossStitch`, `PLE`, …) cut any
    encoder that `torch.fx` can trace. Listing stages is for those it cannot, and for those that
    know better where to be cut.
    """

    @abstractmethod
    def list_stages(self) -> Sequence[nn.Module]:
        """Modules from one tensor to the next, sharing the encoder's parameters."""


class Leveled(nn.Module, ABC):
    """An encoder with levels, as `moml.architecture.MTAN` attends to them.

    Attributes:
        turns: Numbers of the levels that are reached by way of a still smaller map: the first of a
            decoder that mirrors its encoder.
        squeeze: Channels of a level over those inside its blocks.
    """

    turns: frozenset[int] = frozenset()
    squeeze: int = 1

    @abstractmethod
    def levels(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per level, features on the way to it and features it ends with."""

    def block(self, inputs: int, outputs: int) -> nn.Module | None:
        """A new block of the kind the encoder is made of, at stride 1; ``None`` for no such kind.

        Args:
            inputs: Channels.
            outputs: Channels.
        """
        return None

    def finish(self, features: Tensor) -> Tensor:
        """From the end of the last level to what heads read."""
        return features

    def forward(self, inputs: Tensor) -> Tensor:
        """Features."""
        return self.finish(self.levels(inputs)[-1][1])
