"""One line in a loop of one's own: weighted gradients instead of ``loss.backward()``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from moml.evaluation import Heads
from moml.oracle._base import positions
from moml.oracle._features import Features
from moml.oracle._graph import reach, shared_leaves
from moml.oracle._layouts import Layouts
from moml.oracle._live import ParameterRows, RepresentationRows
from moml.oracle._rows import Strategy
from moml.weighting import Weighting


def backward(
    losses: Mapping[str, Tensor] | Sequence[Tensor],
    weighting: Weighting,
    *,
    shared: Iterable[Parameter] | None = None,
    features: Tensor | Sequence[Tensor] | None = None,
    representation: bool = False,
    heads: Heads = "weighted",
    rows: Strategy = "auto",
) -> Tensor | None:
    """Accumulate the weighting's gradient into ``.grad``, in place of ``sum(losses).backward()``.

    Args:
        losses: Scalars with a graph, by task name or in a fixed order.
        weighting: Any weighting; bound to the tasks of the first call. Put its ``parameters()``
            into the optimizer if it has any: their gradients are written here too.
        shared: The parameters whose gradients are traded off. Found from the graph unless given:
            those that at least two losses reach; with one loss, all it reaches.
        features: The representation, if the losses see the shared parameters through it: saves one
            pass through each head.
        representation: Weights from gradients with respect to ``features`` (MGDA-UB).
        heads: As for `moml.oracle.Direct`.
        rows: As for `moml.oracle.Direct`.

    Returns:
        The weights ``(m,)``, or ``None`` if the method has none.

    Raises:
        ValueError: If a loss is not a finite scalar with a graph.

    Example:
        >>> import torch, moml
        >>> x = torch.ones(2, requires_grad=True)
        >>> moml.backward([x.sum(), (2 * x).sum()], moml.weighting.EW())
        tensor([1., 1.], dtype=torch.float64)
        >>> x.grad
        tensor([3., 3.])
    """
    if not isinstance(losses, Mapping):
        losses = {str(i): loss for i, loss in enumerate(losses)}
    _check(losses)
    weighting.setup(weighting.names or tuple(losses))
    roots = list(losses.values())
    own = shared_leaves(roots) if shared is None else list(shared)
    outputs = [features] if isinstance(features, Tensor) else list(features or ())
    cut = _usable([f for f in outputs if f.requires_grad], roots, representation)
    private = _private(losses, own)
    find = Layouts(rows).find(losses, cut, lambda: (own, private))
    tasks = torch.tensor(positions(weighting.names, losses))
    kind = RepresentationRows if representation else ParameterRows
    evaluation = kind(losses, cut, lambda: find, tasks, heads=heads)
    weighting.learn(evaluation.losses, tasks=tasks)
    return weighting.update(evaluation)


def _check(losses: Mapping[str, Tensor]) -> None:
    for name, loss in losses.items():
        if loss.dim() != 0 or not loss.requires_grad:
            raise ValueError(
                f"`losses` should be scalars with a graph, found shape {tuple(loss.shape)}, "
                f"requires_grad={loss.requires_grad} for task '{name}'."
            )
        if not torch.isfinite(loss):
            raise ValueError(f"`losses` should be finite, found {loss.item()} for task '{name}'.")


def _usable(outputs: list[Tensor], roots: list[Tensor], representation: bool) -> Features:
    """The representation, unless paths around it would make gradients through it count twice."""
    if not outputs:
        if representation:
            raise ValueError("`features` should be given for representation gradients, found none.")
        return Features()
    below = reach(outputs)
    beside = reach(roots, stops=outputs).leaves
    nested = any(any(reach([f], stops=[g for g in outputs if g is not f]).stops) for f in outputs)
    if nested or any(leaf in beside for leaf in below.leaves):
        if representation:
            raise ValueError(
                "`features` should be the only way from the losses to the parameters below them, "
                "and not depend on one another; found a path around. Use `representation=False`."
            )
        return Features()
    return Features(tuple(outputs), tuple(outputs), False)


def _private(losses: Mapping[str, Tensor], shared: Sequence[Tensor]) -> dict[str, list[Parameter]]:
    """Leaves that one loss alone reaches, per task.

    Raises:
        ValueError: If several losses reach one that is not in ``shared``.
    """
    known, names = set(shared), list(losses)
    private: dict[str, list[Parameter]] = {name: [] for name in names}
    for leaf, mask in reach(list(losses.values())).leaves.items():
        if leaf in known:
            continue
        if mask & (mask - 1):
            users = [name for i, name in enumerate(names) if mask >> i & 1]
            raise ValueError(
                f"`shared` should hold every parameter that several losses reach, found one of "
                f"shape {tuple(leaf.shape)} reached by {users} outside. Leave `shared` out to have "
                "it found from the graph."
            )
        private[names[mask.bit_length() - 1]].append(leaf)  # type: ignore[arg-type]
    return private
