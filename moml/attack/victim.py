"""A model under attack: normalisation inside, evaluation mode, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moml.attack._model_objective import Compare, ModelObjective
from moml.attack._region import check_bounds, check_interval
from moml.data import Bounds

Statistic = float | Sequence[float] | Tensor


class Victim:
    """A model as attacks see it: from data within bounds to outputs, always in evaluation mode.

    Normalisation lives here, so radii and bounds are in the units of the data, and data that were
    normalised already are found out. Every submodule's own mode is put back after each call, also
    after an exception; no parameter, buffer or gradient is changed. Modes are set without calling
    ``train()`` or ``eval()``, which some modules override.

    Outputs may be a tensor or a mapping of tensors, for any task. Batch normalisation without
    running statistics couples the samples of a batch even in evaluation mode: attack one at a time.

    Args:
        model: The network.
        bounds: Smallest and largest value of the data: numbers, or tensors that broadcast with one
            input, as ``(C, 1, 1)`` for bounds per channel; ``None`` for unbounded data.
        mean: Subtracted from the data: one number, or one a channel (dimension 1).
        std: Divided by afterwards, likewise.

    Raises:
        ValueError: If the bounds are not an interval or a standard deviation is not positive.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        bounds: Bounds | None = (0.0, 1.0),
        mean: Statistic | None = None,
        std: Statistic | None = None,
    ) -> None:
        check_interval(bounds)
        self.model, self.bounds = model, bounds
        self.mean = torch.as_tensor(0.0 if mean is None else mean)
        self.std = torch.as_tensor(1.0 if std is None else std)
        self._plain, self._is_held = mean is None and std is None, False
        if not (self.std > 0).all():
            raise ValueError(f"`std` should be positive, found {self.std.tolist()}.")

    def __call__(self, x: Tensor) -> Any:
        """Outputs for data within the bounds.

        Raises:
            ValueError: If the data leave the bounds.
        """
        check_bounds(x, self.bounds)
        return self.forward(x)

    def forward(self, x: Tensor) -> Any:
        """Outputs for data that are known to lie within the bounds."""
        x = x if self._plain else self._normalized(x)
        if self._is_held:
            return self.model(x)
        with self.held():
            return self.model(x)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Evaluation mode; on leaving, every submodule has the mode it had before."""
        training, was_held = [m for m in self.model.modules() if m.training], self._is_held
        for module in training:
            module.training = False
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = was_held
            for module in training:
                module.training = True

    @torch.no_grad()
    def is_random(self, x: Tensor, *, passes: int = 3) -> bool:
        """Whether the same data give other outputs a second time, beyond rounding.

        Random models (noise at the input, dropout that stays on, random resizing) need attacks with
        ``eot=``: a single pass has a gradient that is mostly noise, and luck looks like success.

        Args:
            x: Data within the bounds.
            passes: Forward passes to compare.
        """
        first, *others = (_tensors(self(x)) for _ in range(passes))
        return any(_differ(a, b) for other in others for a, b in zip(first, other, strict=True))

    def objective(
        self,
        target: Tensor | Mapping[str, Tensor],
        *,
        loss: Compare | Mapping[str, Compare],
        success: Compare | Mapping[str, Compare] | None = None,
    ) -> ModelObjective:
        """What to raise and when to stop, for one batch; see `ModelObjective`."""
        return ModelObjective(self, target, loss=loss, success=success)

    def _normalized(self, x: Tensor) -> Tensor:
        return (x - _by_channel(self.mean, x)) / _by_channel(self.std, x)


def _tensors(output: Any) -> list[Tensor]:
    """All tensors of an output, whatever it is made of."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [tensor for part in output.values() for tensor in _tensors(part)]
    if isinstance(output, (tuple, list)):
        return [tensor for part in output for tensor in _tensors(part)]
    return []


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ by more than kernels that add up in another order."""
    if one.shape != other.shape:
        return True
    if not one.is_floating_point():
        return not torch.equal(one, other)
    slack = torch.finfo(one.dtype).eps ** 0.5
    return not torch.allclose(one, other, rtol=slack, atol=slack * float(one.abs().mean()))


def _by_channel(statistic: Tensor, x: Tensor) -> Tensor:
    statistic = statistic.to(x)
    return statistic.reshape(-1, *[1] * (x.dim() - 2)) if statistic.dim() == 1 else statistic
