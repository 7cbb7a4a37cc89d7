"""One line in a loop of one's own: weighted gradients instead of ``loss.backward()``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from moml._support.autograd_errors import fresh_graph
from moml.errors import NonFiniteError
from moml.gradients.rows import Strategy
from moml.gradients.task_gradients import Heads
from moml.own_loop.arguments import (
    by_name,
    check_finite,
    check_options,
    leaves,
    representation_of,
    scale_of,
    set_up,
)
from moml.own_loop.parallel import processes_of
from moml.own_loop.step import Step
from moml.weighting import Weighting

Losses = Mapping[Any, Tensor] | Sequence[Tensor]


def backward(
    losses: Losses,
    weighting: Weighting,
    *,
    shared: Iterable[Tensor] | None = None,
    inputs: Iterable[Tensor] | None = None,
    features: Tensor | Sequence[Tensor] | None = None,
    representation: bool = False,
    heads: Heads = "weighted",
    rows: Strategy = "auto",
    retain_graph: bool = False,
    scale: float = 1.0,
    scaler: Any = None,
    step: int | None = None,
    epoch: int | None = None,
    further: Callable[[int], Losses] | None = None,
    group: Any = None,
) -> Tensor | None:
    """Accumulate the weighting's gradient into ``.grad``, in place of ``sum(losses).backward()``.

    *Shared* are the `torch.nn.Parameter` that at least two losses reach, or reached in an earlier
    call with this weighting; with one task, all that it reaches. Their gradients are traded off.
    Every other leaf that needs a gradient (heads, inputs that losses are differentiated by) gets
    that of the weighted sum of losses, and has no say in the weights. Plain tensors count as
    parameters where they are named in ``shared`` or ``inputs``, or where the losses reach no
    `torch.nn.Parameter` at all.

    Args:
        losses: Scalars with a graph, by task name, or a list in the same order in every call.
        weighting: Any weighting; set up for the tasks of the first call, unless
            `moml.weighting.Weighting.setup` named them before. Methods that learn parameters have
            to be set up before, and their ``parameters()`` given to the optimizer: their gradients
            are written here too.
        shared: The parameters whose gradients are traded off, and no others.
        inputs: The leaves that may get a gradient, and no others, as for `torch.autograd.backward`.
        features: The representation, if the losses see the shared parameters through it: saves one
            pass through each head, and more by ``rows``.
        representation: Weights from gradients with respect to ``features`` (MGDA-UB).
        heads: Whether leaves that are not shared get the gradient of the weighted losses
            (``"weighted"``) or of the losses as they are (``"unit"``).
        rows: As for `moml.oracle.Direct`; other ways than a loop need ``features``.
        retain_graph: Keep the graph, to go through it again; it is freed otherwise.
        scale: Factor of what is written, which the weighting does not see: ``1 / n`` where n
            micro-batches add up to a step.
        scaler: A `torch.amp.GradScaler`. Pass plain losses: the weighting sees them and their
            gradients, and scaled gradients are written. Where a gradient overflows, what is written
            is not finite, so that the scaler skips the step, and the method's state stays.
        step: Number of optimizer steps done before, for methods that count them.
        epoch: Epoch of the batch, for methods that count epochs.
        further: Computes the losses of the i-th further batch (i = 1, 2, …), for methods that draw
            independent batches.
        group: Process group of data-parallel training: losses, weights and gradients are means
            over the processes that have the task. Needs ``inputs``.

    Returns:
        The weights ``(m,)`` in the order of ``losses``, or ``None`` if the method has none or the
        gradients overflowed. With ``group``, those of all tasks present in any process, in the
        order of the weighting's tasks.

    Raises:
        ValueError: If a loss is not a finite scalar with a graph, or an argument is none of its
            possible values.

    Example:
        >>> import torch, moml
        >>> x = torch.ones(2, requires_grad=True)
        >>> moml.backward([x.sum(), (2 * x).sum()], moml.weighting.EW())
        tensor([1., 1.], dtype=torch.float64)
        >>> x.grad
        tensor([3., 3.])
    """
    check_options(
        weighting,
        heads=heads,
        rows=rows,
        scale=scale,
        representation=representation,
        retain_graph=retain_graph,
        step=step,
        epoch=epoch,
        further=further,
    )
    named = by_name(losses, weighting)
    chosen = leaves(inputs, "inputs")
    processes = processes_of(group, chosen)
    set_up(weighting, named)
    current = Step(
        weighting,
        shared=leaves(shared, "shared"),
        inputs=chosen,
        representation=representation,
        heads=heads,
        rows=rows,
        retain_graph=retain_graph,
        factor=scale * scale_of(scaler, named.values()),
        further=further,
        processes=processes,
    )
    with fresh_graph():
        evaluation = current.evaluate(named, representation_of(features, representation))
        evaluation.step, evaluation.epoch = step, epoch
        scaling = scaler is not None and scaler.is_enabled()
        if not scaling:
            check_finite(evaluation.names, evaluation.losses)
        try:
            weights = current.take(evaluation)
        except NonFiniteError:
            if not scaling:
                raise
            current.overflow(evaluation)
            weights = None
    if weights is None or processes is not None:
        return weights
    return weights[[evaluation.names.index(name) for name in named]]
