"""Losses to attack with, and goals: functions of ``(logits, labels)``, one number a sample.

Logits are ``(B, C)``, or ``(B, C, ...)`` with one label a position, as in segmentation: then the
mean over the positions that have a label. A negative label marks a position without one; see
`ignoring` for any other mark. A single logit, ``(B,)`` or ``(B, 1)``, answers yes or no with labels
1 and 0; see `yes_no` for several of them. Any other loss will do too, such as
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

from moml.attack._labels import answers, in_classes, two_classes

Compare = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy. Its gradient underflows where the model is very sure: see `standardized`."""
    logits, labels = in_classes(logits, labels)
    known = labels.clamp(min=-1)  # one mark for all labels that are undefined
    values = functional.cross_entropy(logits, known, ignore_index=-1, reduction="none")
    return values if values.dim() == 1 else _mean(values, labels)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's: positive where misclassified; never saturates."""
    logits, labels = in_classes(logits, labels)
    return _mean(_gap(logits, labels), labels)


def targeted_margin(logits: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Logit of class ``labels["towards"]`` minus that of ``labels["label"]``."""
    logits, away, towards = _both(logits, labels)
    return _mean(_taken(logits, towards) - _taken(logits, away), away)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio: the margin over the distance from the first to the third logit.

    Neither a shift nor a factor of all logits changes it. With two classes there is no third logit
    and every such ratio is a constant: there it is the margin, whose direction a factor does not
    change either. Constant where the label comes third: no use once misclassified.
    """
    logits, labels = in_classes(logits, labels)
    return _mean(_gap(logits, labels) / _spread(logits, last=3), labels)


def targeted_dlr(logits: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Towards class ``labels["towards"]`` and away from ``labels["label"]``, scale-free.

    The denominator is the first logit minus the mean of the third and the fourth. With fewer than
    four classes the ratio could be constant: there it is `targeted_margin`.
    """
    logits, away, towards = _both(logits, labels)
    gap = _taken(logits, towards) - _taken(logits, away)
    return _mean(gap / _spread(logits, last=4), away)


def targeted(loss: Compare) -> Compare:
    """The same loss lowered, for labels that say where predictions should go."""

    def toward(logits: Tensor, labels: Tensor) -> Tensor:
        return -loss(logits, labels)

    return toward


def yes_no(compare: Compare) -> Compare:
    """The same loss or goal where every output answers yes or no, as in multi-label tasks.

    Logits and labels (1 and 0, or probabilities) have the same shape, ``(B, ...)``; an output is a
    position of two classes, so losses are means over the outputs that have a label.
    """

    def each(logits: Tensor, labels: Tensor) -> Tensor:
        if logits.shape != labels.shape:
            if logits.numel() != labels.numel() or len(logits) != len(labels):
                raise ValueError(
                    f"`labels` should have the shape of the yes/no logits {tuple(logits.shape)}, "
                    f"found {tuple(labels.shape)}."
                )
            logits = logits.reshape(labels.shape)  # (B, 1) against (B,)
        return compare(two_classes(logits), answers(labels))

    return each


def ignoring(compare: Compare, label: float) -> Compare:
    """The same loss or goal where this label, besides negative ones, marks undefined positions."""

    def defined(logits: Tensor, labels: Tensor) -> Tensor:
        return compare(logits, torch.where(labels == label, -1, labels))

    return defined


def standardized(loss: Compare, *, scale: float = 8.0) -> Compare:
    """The same loss of logits brought to a standard deviation of ``scale`` over the classes.

    A large logit scale cannot hide gradients then. It is taken as a constant, so that logits still
    want to grow. Cross-entropy on robust networks of ten classes was as strong with 4 to 32 as on
    their own logits; with 1 it looks at all classes at once and was 5 points weaker
    (``scripts/attack_defaults.py``). Of two logits only their order would be left: there it is the
    `margin`, raised or lowered as the loss is by it.
    """

    def unit(logits: Tensor, labels: Tensor) -> Tensor:
        logits, labels = in_classes(logits, labels)
        if logits.shape[1] > 2:
            return loss(logits * (scale / _scale(logits)), labels)
        ahead = functional.one_hot(labels.clamp(min=0), 2).movedim(-1, 1).to(logits)
        sign = (loss(1 - ahead, labels) - loss(ahead, labels)).sign()  # (B,)
        return sign * margin(logits, labels)

    return unit


def misclassified(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the prediction is wrong, ``(B,)``; at every labelled position of dense outputs."""
    logits, labels = in_classes(logits, labels)
    known = labels >= 0
    wrong = (logits.argmax(1) != labels) & known
    if wrong.dim() == 1:
        return wrong
    return (wrong | ~known).flatten(1).all(1) & known.flatten(1).any(1)


def classified_as(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the prediction is ``labels``, ``(B,)``: the goal of a targeted attack."""
    logits, labels = in_classes(logits, labels)
    right = (logits.argmax(1) == labels) | (labels < 0)
    return right.reshape(len(right), -1).all(1)


def mostly_misclassified(share: float) -> Compare:
    """Whether at least this share of the labelled positions is wrong, ``(B,)``."""

    def reached(logits: Tensor, labels: Tensor) -> Tensor:
        logits, labels = in_classes(logits, labels)
        wrong = _mean((logits.argmax(1) != labels).to(logits.dtype), labels)
        return (wrong >= share) & (labels >= 0).reshape(len(labels), -1).any(1)

    return reached


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of right predictions among the labelled positions, ``(B,)``."""
    logits, labels = in_classes(logits, labels)
    return _mean((logits.argmax(1) == labels).double(), labels)


def loss_above(loss: Compare, tolerance: float) -> Compare:
    """Whether a per-sample loss exceeds a tolerance, ``(B,)``: a goal for regression."""

    def reached(output: Tensor, target: Tensor) -> Tensor:
        return loss(output, target) > tolerance

    return reached


def _both(logits: Tensor, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Class logits, and the labels to leave and to reach."""
    _, towards = in_classes(logits, labels["towards"])
    return *in_classes(logits, labels["label"]), towards


def _gap(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the label's, ``(B, ...)``."""
    index = labels.clamp(min=0)[:, None]
    others = logits.scatter(1, index, float("-inf")).amax(1)
    return others - _taken(logits, labels)


def _taken(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels.clamp(min=0)[:, None])[:, 0]


def _spread(logits: Tensor, *, last: int) -> Tensor | float:
    """First sorted logit minus the mean of the third to ``last``, ``(B, ...)``; never zero.

    1 where there are fewer classes.
    """
    if logits.shape[1] < last:
        return 1.0
    ordered = logits.topk(last, dim=1).values
    return ordered[:, 0] - ordered[:, 2:].mean(1) + 1e-12


def _scale(logits: Tensor) -> Tensor:
    """Standard deviation over the classes, detached, ``(B, 1, ...)``; 1 where it is zero."""
    scale = logits.detach().std(1, correction=0, keepdim=True)
    return torch.where(scale > 0, scale, 1)


def _mean(values: Tensor, labels: Tensor) -> Tensor:
    """Mean over the positions that have a label, ``(B,)``."""
    known = labels >= 0
    if values.dim() == 1:
        return torch.where(known, values, 0)
    known = known.reshape(len(labels), -1)
    kept = torch.where(known, values.reshape(len(values), -1), 0)
    return kept.sum(1) / known.sum(1).clamp(min=1)
