"""Losses to attack with, and goals: functions of ``(logits, labels)``, one number a sample.

Logits are ``(B, C)``, or ``(B, C, ...)`` with one label a position, as in segmentation: then the
mean over the positions that have a label (-1 marks the others). Any other loss will do too, such as
``MaskedL1().per_sample`` for depth.

- Margin: N. Carlini, D. Wagner, "Towards evaluating the robustness of neural networks", S&P 2017.
- DLR: F. Croce, M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
  parameter-free attacks", ICML 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

IGNORED = -1
Compare = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy. Its gradient underflows where the model is very sure: see `standardized`."""
    loss = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    return loss if loss.dim() == 1 else _mean(loss, labels)  # 0 where there is no label


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's: positive where misclassified; never saturates."""
    return _mean(_gap(logits, labels), labels)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio: the margin over the distance from the first to the third logit.

    Neither a shift nor a factor of all logits changes it. With two classes there is no third logit
    and every such ratio is a constant: there it is the margin over a detached scale, whose gradient
    has the margin's direction. Constant where the label comes third: no use once misclassified.
    """
    return _mean(_gap(logits, labels) / _spread(logits, last=3), labels)


def targeted_dlr(logits: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Towards class ``labels["towards"]`` and away from ``labels["label"]``, scale-free.

    The denominator is the first logit minus the mean of the third and the fourth. With fewer than
    four classes the ratio could be constant: there it is a detached scale.
    """
    away, towards = labels["label"], labels["towards"]
    gap = _taken(logits, towards) - _taken(logits, away)
    return _mean(gap / _spread(logits, last=4), away)


def targeted(loss: Compare) -> Compare:
    """The same loss lowered, for labels that say where predictions should go."""

    def toward(logits: Tensor, labels: Tensor) -> Tensor:
        return -loss(logits, labels)

    return toward


def standardized(loss: Compare, *, scale: float = 8.0) -> Compare:
    """The same loss of logits brought to a standard deviation of ``scale`` over the classes.

    A large logit scale cannot hide gradients then. It is taken as a constant, so that logits still
    want to grow. Cross-entropy on robust networks of ten classes was as strong with 4 to 32 as on
    their own logits; with 1 it looks at all classes at once and was 5 points weaker
    (``scripts/attack_defaults.py``).
    """

    def unit(logits: Tensor, labels: Tensor) -> Tensor:
        return loss(logits * (scale / _scale(logits)), labels)

    return unit


def misclassified(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the prediction is wrong, ``(B,)``; at every labelled position of dense outputs."""
    known = labels != IGNORED
    wrong = (logits.argmax(1) != labels) & known
    if wrong.dim() == 1:
        return wrong
    return (wrong | ~known).flatten(1).all(1) & known.flatten(1).any(1)


def classified_as(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the prediction is ``labels``, ``(B,)``: the goal of a targeted attack."""
    right = (logits.argmax(1) == labels) | (labels == IGNORED)
    return right.reshape(len(right), -1).all(1)


def mostly_misclassified(share: float) -> Compare:
    """Whether at least this share of the labelled positions is wrong, ``(B,)``."""

    def reached(logits: Tensor, labels: Tensor) -> Tensor:
        wrong = _mean((logits.argmax(1) != labels).to(logits.dtype), labels)
        return (wrong >= share) & (labels != IGNORED).reshape(len(labels), -1).any(1)

    return reached


def loss_above(loss: Compare, tolerance: float) -> Compare:
    """Whether a per-sample loss exceeds a tolerance, ``(B,)``: a goal for regression."""

    def reached(output: Tensor, target: Tensor) -> Tensor:
        return loss(output, target) > tolerance

    return reached


def _gap(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's, ``(B, ...)``."""
    index = labels.clamp(min=0)[:, None]
    others = logits.scatter(1, index, float("-inf")).amax(1)
    return others - _taken(logits, labels)


def _taken(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels.clamp(min=0)[:, None])[:, 0]


def _spread(logits: Tensor, *, last: int) -> Tensor:
    """First sorted logit minus the mean of the third to ``last``, ``(B, ...)``; never zero.

    A detached scale where there are fewer classes.
    """
    if logits.shape[1] < last:
        return _scale(logits)[:, 0]
    ordered = logits.topk(last, dim=1).values
    return ordered[:, 0] - ordered[:, 2:].mean(1) + 1e-12


def _scale(logits: Tensor) -> Tensor:
    """Standard deviation over the classes, detached, ``(B, 1, ...)``; 1 where it is zero."""
    scale = logits.detach().std(1, correction=0, keepdim=True)
    return torch.where(scale > 0, scale, 1)


def _mean(values: Tensor, labels: Tensor) -> Tensor:
    """Mean over the positions that have a label, ``(B,)``."""
    if values.dim() == 1:
        return torch.where(labels == IGNORED, 0, values)
    known = (labels != IGNORED).reshape(len(labels), -1)
    kept = torch.where(known, values.reshape(len(values), -1), 0)
    return kept.sum(1) / known.sum(1).clamp(min=1)
