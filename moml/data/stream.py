"""An endless stream of batches that knows where it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from moml.data.loader import BatchLoader


class Stream(ABC):
    """What the training loop draws from: batches, the current epoch, and a position to resume at.

    A batch is whatever the problem understands: `moml.data.Batch`, episodes, or a user's own type.
    """

    epoch: int = 0

    @abstractmethod
    def __next__(self) -> Any:
        """The next batch; `epoch` is the epoch this batch belongs to."""

    def __iter__(self) -> Iterator[Any]:
        return self

    @abstractmethod
    def state_dict(self) -> dict[str, int]:
        """The position."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a stored position."""

    @classmethod
    def of(cls, batches: Stream | BatchLoader[Any] | Iterable[Any]) -> Stream:
        """Wrap a loader or any re-iterable collection; a stream is returned as it is."""
        if isinstance(batches, Stream):
            return batches
        if isinstance(batches, BatchLoader):
            return LoaderStream(batches)
        if isinstance(batches, (str, Mapping, Tensor, type)) or not isinstance(batches, Iterable):
            kind = (
                f"the class {batches.__name__}"
                if isinstance(batches, type)
                else (type(batches).__name__)
            )
            raise ValueError(
                "`batches` should be a stream, a loader or any other collection of batches, found "
                f"{kind}. Put a single batch into a list."
            )
        return IterableStream(batches)


class LoaderStream(Stream):
    """Stream over a `BatchLoader`; any position is reached in constant time.

    Args:
        loader: The batches.
        device: Where they are put.
    """

    def __init__(self, loader: BatchLoader[Any], *, device: torch.device | str = "cpu") -> None:
        self.loader, self.number, self.device = loader, 0, device

    def __next__(self) -> Any:
        self.epoch = self.number // self.loader.batches_per_epoch
        batch = self.loader.batch(self.number)
        self.number += 1
        return batch.to(self.device)

    def state_dict(self) -> dict[str, int]:
        """The number of the next batch."""
        return {"number": self.number, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue with the stored batch number."""
        self.number, self.epoch = state["number"], state["epoch"]


class IterableStream(Stream):
    """Stream over a re-iterable such as a list or a `torch.utils.data.DataLoader`.

    Resuming draws and drops the batches already seen of the epoch, so it is exact when the
    iterable's order is fixed, and costs their loading time.

    Raises:
        ValueError: If the iterable yields nothing.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches, self.position = batches, 0
        self._iterator: Iterator[Any] | None = None

    def __next__(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self.batches)
        for batch in self._iterator:
            self.position += 1
            return batch
        if self.position == 0:
            raise ValueError("`batches` should yield at least one batch, found none.")
        if iter(self.batches) is self.batches:
            raise ValueError(
                "`batches` should begin anew in every epoch, found an iterator that was exhausted "
                f"after {self.position} batches. Pass a list, or a `torch.utils.data.DataLoader`."
            )
        self.epoch, self.position, self._iterator = self.epoch + 1, 0, None
        return next(self)

    def state_dict(self) -> dict[str, int]:
        """Epoch and position in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the stored position.

        Raises:
            ValueError: If the iterable ends before it.
        """
        self.epoch, self.position, self._iterator = state["epoch"], 0, iter(self.batches)
        for drawn in range(state["position"]):
            try:
                next(self._iterator)
            except StopIteration:
                raise ValueError(
                    f"`batches` end after {drawn} in an epoch in which it had drawn "
                    f"{state['position']}"
                ) from None
        self.position = state["position"]
