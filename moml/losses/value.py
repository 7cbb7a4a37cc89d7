"""The value of a loss on one batch, or one sentence on why it has none."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from moml._support import checks
from moml._support.nesting import tensors_in
from moml.losses import Loss


def loss_value(
    loss: Loss, prediction: Any, target: Tensor, weights: Tensor | None, *, task: str
) -> Tensor:
    """The mean loss of a batch, a scalar: the weighted one where samples have weights.

    Args:
        loss: The loss.
        prediction: Prediction of the labelled samples.
        target: Their target, ``(B, ...)``.
        weights: Their weights, ``(B,)``; ``None`` if each counts once.
        task: How errors call the target.

    Raises:
        ValueError: If prediction and target do not fit, or the value cannot be trained on.
    """
    try:
        if weights is None:
            value = loss(prediction, target)
        else:
            shares = loss.counts(target) * weights
            value = (loss.per_sample(prediction, target) * shares).sum() / shares.sum()
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(misfit(task, loss, prediction, target, error)) from error
    if not isinstance(value, Tensor) or value.dim() != 0:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"The loss of task '{task}' should be one number, found {found}. Average over "
            "samples (`reduction='mean'`)."
        )
    if not value.requires_grad and _has_graph(prediction):
        raise ValueError(
            f"The loss of task '{task}' should depend on its prediction, found one without a "
            "graph, which would not train. Leave out `detach`, `item`, `argmax` and `no_grad`."
        )
    return value


def in_words(loss: Loss) -> str:
    """The class of a loss and its plain settings; functions may be renamed, so they have no name.

    Args:
        loss: A loss, maybe around a module or function of the user's.
    """
    own = getattr(loss, "function", loss)
    if not isinstance(own, (Loss, nn.Module)):
        return "a function"
    kind = type(own)
    if kind.__module__.split(".")[0] not in ("moml", "torch"):
        return kind.__name__  # what others keep in attributes may change while it is used
    settings = ", ".join(
        f"{name}={value!r}"
        for name, value in sorted(vars(own).items())
        if not name.startswith("_")
        and name != "training"
        and (value is None or isinstance(value, (bool, int, float, str)))
    )
    return f"{kind.__name__}({settings})"


def misfit(task: str, loss: Loss, prediction: Any, target: Tensor, error: Exception) -> str:
    """Say what a loss could not take; without a prediction it is the target alone."""
    try:
        wrong = loss.check(target)
    except (IndexError, RuntimeError, TypeError, ValueError):
        wrong = None
    if wrong is not None:
        return f"Targets of task '{task}' should be {wrong}."
    kind = getattr(loss, "function", loss)
    name = getattr(kind, "__name__", type(kind).__name__)
    if prediction is None:
        return (
            f"Targets of task '{task}' should fit {name}, found shape {tuple(target.shape)} of "
            f"{target.dtype} ({checks.said(error)})."
        )
    shape = (
        f"prediction {tuple(prediction.shape)} of {prediction.dtype}"
        if isinstance(prediction, Tensor)
        else f"a prediction that is a {type(prediction).__name__}"
    )
    return (
        f"Prediction and target of task '{task}' should fit {name}, found {shape} and "
        f"target {tuple(target.shape)} of {target.dtype} ({checks.said(error)})."
    )


def _has_graph(prediction: Any) -> bool:
    return any(x.requires_grad for x in tensors_in(prediction))
