"""Validation data where only training and test data are published."""

from __future__ import annotations

import torch

from moml.data import Part, Source, hold_out
from moml.data.suite import Split


def train_or_val(source: Source, split: Split, share: float, seed: int) -> Source:
    """The training or the validation part of the published training split.

    With a share of 0 both are all of it: then selection on validation data sees training data.
    """
    if share == 0:
        return source if split == "train" else Part(source, torch.arange(len(source)))
    rest, held = hold_out(source, share, seed=seed)
    part = rest if split == "train" else held
    assert isinstance(part, Source)
    return part


def check_held_out(share: float) -> float:
    """The share itself.

    Raises:
        ValueError: If it is not at least 0 and below 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"`held_out` should be at least 0 and below 1, found {share}.")
    return share
