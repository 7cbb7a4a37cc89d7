"""How alike two tasks' features are."""

from __future__ import annotations

import torch
from torch import Tensor


def debiased_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of features ``(N, C)`` and ``(N, D)``, without its bias.

    Kornblith et al., `Similarity of Neural Network Representations Revisited
    <https://arxiv.org/abs/1905.00414>`_, ICML 2019, with the unbiased estimator of the criterion of
    Song et al., JMLR 2012. 1 for features that differ by a rotation, a scale and a shift, about 0
    for independent ones however many there are; the plain estimate gives those nearly 1 if there
    are more features than samples.

    Raises:
        ValueError: If there are fewer than four samples.
    """
    if len(x) < 4:
        raise ValueError(f"`inputs` should be four samples or more, found {len(x)}.")
    first, second = (z.double() @ z.double().T for z in (x - x.mean(0), y - y.mean(0)))
    norm = (_criterion(first, first) * _criterion(second, second)).clamp_min(0).sqrt()
    return float(_criterion(first, second) / norm) if norm > 0 else 0.0


def _criterion(first: Tensor, second: Tensor) -> Tensor:
    """Unbiased Hilbert-Schmidt independence criterion of two kernel matrices ``(N, N)``."""
    n = len(first)
    first, second = (m - torch.diag(m.diagonal()) for m in (first, second))
    a, b = first.sum(0), second.sum(0)
    total = (first * second).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * a @ b) / (n * (n - 3))
