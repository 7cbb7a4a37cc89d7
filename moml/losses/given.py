"""Losses of PyTorch and functions of the user's own, as `moml.losses.Loss`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from moml.losses import Loss, aligned

_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_ENTRY = (
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.HuberLoss,
    nn.L1Loss,
    nn.MSELoss,
    nn.SmoothL1Loss,
    nn.SoftMarginLoss,
)
_LIKE_TARGET = (nn.HingeEmbeddingLoss, nn.KLDivLoss, nn.PoissonNLLLoss)


def as_loss(loss: Any, name: str = "loss") -> Loss:
    """The loss itself, or a module or function ``(prediction, target) -> scalar`` as one.

    Args:
        loss: What the user gave.
        name: How an error calls it.

    Raises:
        ValueError: If it is a class, is not callable, or does not average.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type):
        raise ValueError(
            f"`{name}` should be a loss, found the class {loss.__name__}. Make an instance: "
            f"`{loss.__name__}(...)`."
        )
    if not callable(loss):
        raise ValueError(
            f"`{name}` should be a loss of `moml.losses`, a loss module of `torch.nn`, or a "
            f"function of (prediction, target), found {type(loss).__name__} {loss!r}."
        )
    reduction = getattr(loss, "reduction", "mean")
    if reduction not in ("mean", "batchmean"):
        raise ValueError(
            f"`{name}` should average, found reduction='{reduction}'. With reduction='mean' a task "
            "counts alike however many labels a batch has."
        )
    if type(loss) in (*_BY_CLASS, *_BY_ENTRY):  # exact types: a subclass may average otherwise
        return TorchLoss(loss)
    return LossFunction(loss)


class LossFunction(Loss):
    """A module or function that averages over samples.

    Args:
        function: Maps ``(prediction, target)`` to a scalar, the mean over samples.
    """

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        self.function = function
        self._tried = False

    def __call__(self, prediction: Any, target: Tensor) -> Tensor:
        """The function's value.

        Raises:
            ValueError: If the function broadcasts ``(B, 1)`` against ``(B,)`` to ``(B, B)``.
        """
        if type(self.function) in _LIKE_TARGET:
            prediction = aligned(prediction, target)
        elif not self._tried and _may_broadcast(prediction, target):
            self._tried = True
            self._check_broadcast(prediction, target)
        if isinstance(self.function, nn.Module):
            _follow(self.function, target)
        return self.function(prediction, target)

    @torch.no_grad()
    def _check_broadcast(self, prediction: Tensor, target: Tensor) -> None:
        """Compare the function's value with the one in the target's shape, if it has one.

        A function that wants the two shapes as they are fails in the other, or gives the same.
        """
        try:
            value = self.function(prediction, target)
            other = self.function(prediction.reshape(target.shape), target)
            same = torch.allclose(value, other, rtol=1e-3, atol=1e-6, equal_nan=True)
        except (IndexError, RuntimeError, TypeError, ValueError):
            return
        if not same:
            raise ValueError(
                f"`prediction` should have the target's shape {tuple(target.shape)}, found "
                f"{tuple(prediction.shape)}, which the loss broadcasts to all pairs of samples"
            )

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The function of each sample alone."""
        alone = [self(prediction[i : i + 1], target[i : i + 1]) for i in range(len(target))]
        return torch.stack(alone) if alone else prediction.sum() + prediction.new_zeros(0)


class TorchLoss(LossFunction):
    """A loss module of PyTorch that averages over class labels or entries.

    Labels that it ignores do not count, and class weights count as in its own mean.

    Args:
        module: The loss, with ``reduction="mean"``.
    """

    function: nn.Module

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.each = copy.deepcopy(module)
        self.each.reduction = "none"  # type: ignore[assignment]
        self.classes = type(module) in _BY_CLASS
        if self.classes:
            self.logits = "classes"
        elif type(module) is nn.BCEWithLogitsLoss:
            self.logits = "yes_no"

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The module's value; entries are never broadcast."""
        return super().__call__(self._fitting(prediction, target), target)

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the entries of each sample."""
        _follow(self.each, target)
        loss = self.each(self._fitting(prediction, target), target)
        counts = self.counts(target)
        return loss[:, None].flatten(1).sum(1) / torch.where(counts > 0, counts, 1)

    def defined(self, target: Tensor) -> Tensor:
        """Labels that are not ignored, or everything."""
        if self.classes and not target.is_floating_point():
            return target.ne(self.function.ignore_index)  # type: ignore[arg-type]
        return super().defined(target)

    def counts(self, target: Tensor) -> Tensor:
        """Labels that are not ignored times their class weights, or entries."""
        if self.classes and not target.is_floating_point():
            defined = self.defined(target)
            weights = self.function.weight
            if isinstance(weights, Tensor):
                table = weights.to(target.device)
                defined = torch.where(defined, table[torch.where(defined, target, 0)], 0)
            return defined[:, None].flatten(1).sum(1)
        entries = target[:1].numel()
        if self.classes and entries:
            entries //= target.shape[1]  # probabilities of one position belong together
        return torch.full((len(target),), float(entries), device=target.device)

    def check(self, target: Tensor) -> str | None:
        """Class labels should be int64, and probabilities have a dimension of classes."""
        if self.classes and target.is_floating_point() and target.dim() < 2:
            return f"int64 class labels, found {target.dtype}"
        if self.classes and not target.is_floating_point() and target.dtype != torch.int64:
            return f"int64 class labels, found {target.dtype}"
        return None

    def _fitting(self, prediction: Tensor, target: Tensor) -> Tensor:
        return prediction if self.classes else aligned(prediction, target)


def _may_broadcast(prediction: Any, target: Tensor) -> bool:
    """Whether two shapes differ by a dimension of size 1 at the end alone."""
    if not isinstance(prediction, Tensor) or abs(prediction.dim() - target.dim()) != 1:
        return False
    short, long = sorted((tuple(prediction.shape), tuple(target.shape)), key=len)
    return long == (*short, 1) and len(long) > 1 and short[0] > 1


def _follow(module: nn.Module, target: Tensor) -> None:
    """Move the module's weights to where the targets are."""
    for buffer in module.buffers():
        if buffer.device != target.device:
            module.to(target.device)
            return
