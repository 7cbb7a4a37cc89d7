"""Logits and labels in one form: classes along dimension 1, one label a position, below 0 if none.

A yes/no output ``z`` becomes the two logits ``(0, z)``, whose cross-entropy is that of the logit.
"""

from __future__ import annotations

import torch
from torch import Tensor


def in_classes(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Class logits ``(B, C, ...)`` and labels ``(B, ...)``, without a single column on either side.

    Args:
        logits: ``(B, C, ...)``; or yes/no logits ``(B,)`` or ``(B, 1, ...)``.
        labels: One a position, ``(B, ...)`` or ``(B, 1, ...)``.

    Raises:
        ValueError: If there is not one tensor of logits, shapes do not fit, or labels are no
            classes.
    """
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"`logits` should be one tensor, found {type(logits).__name__}. Say which output is "
            "meant: `lambda output, labels: cross_entropy(output[0], labels)`, or a mapping of "
            "output names to losses."
        )
    if logits.dim() == 1 or logits.shape[1] == 1:
        flat = logits if logits.dim() == 1 else logits[:, 0]  # (B, ...)
        return two_classes(flat), _shaped(answers(labels), flat.shape, logits)
    labels = _shaped(labels, (len(logits), *logits.shape[2:]), logits)
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"`labels` should be integers, classes, found {labels.dtype}.")
    return logits, check_classes(labels, logits.shape[1])


def check_classes(labels: Tensor, count: int) -> Tensor:
    """The labels, if none is too large.

    Raises:
        ValueError: If one is.
    """
    largest = int(labels.max()) if labels.numel() else -1
    if largest >= count:
        raise ValueError(
            f"`labels` should be classes from 0 to {count - 1}, or negative where there is none, "
            f"found {largest}. For another label of undefined entries see `ignoring`."
        )
    return labels


def two_classes(logits: Tensor) -> Tensor:
    """Yes/no logits ``(B, ...)`` as logits of two classes, ``(B, 2, ...)``."""
    return torch.stack([torch.zeros_like(logits), logits], dim=1)


def answers(labels: Tensor) -> Tensor:
    """Yes/no labels as classes 1 and 0; negative where they are negative or NaN.

    Raises:
        ValueError: If one is larger than 1.
    """
    if labels.dtype == torch.bool:
        return labels.long()
    if labels.is_floating_point():
        labels = torch.where(labels >= 0, (labels > 0.5) + (labels > 1), -1)
    return check_classes(labels.long(), 2)


def _shaped(labels: Tensor, shape: tuple[int, ...], logits: Tensor) -> Tensor:
    if labels.shape == shape:
        return labels
    if labels.dim() > 1 and labels.shape[1] == 1 and labels[:, 0].shape == shape:
        return labels[:, 0]
    raise ValueError(
        f"`labels` should have shape {tuple(shape)}, a class a position, for logits of shape "
        f"{tuple(logits.shape)}, found {tuple(labels.shape)}. Give `labels.argmax(1)` for one-hot "
        "labels; wrap loss and goal in `yes_no` if every output is a yes/no answer of its own."
    )
