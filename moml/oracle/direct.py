"""Gradients with respect to the shared parameters, by backpropagation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from moml.gradients.features import Features
from moml.gradients.layouts import Found
from moml.gradients.live import ParameterRows
from moml.gradients.task_gradients import Heads
from moml.oracle._backpropagation import Backpropagation
from moml.problem import Losses


class Direct(Backpropagation):
    """Gradients with respect to the shared parameters.

    With a `moml.FactoredProblem` a task's gradient is one backward pass through its head and one
    through the encoder; otherwise one through everything.

    Args:
        heads: ``"weighted"``: a private parameter's gradient is scaled by its task's weight, so
            that the step is that of the weighted sum of losses on every parameter. ``"unit"``:
            private parameters get their own loss's gradient, whatever the weight; only the shared
            parameters see the trade-off.
        rows: How the encoder's backward passes are formed: one task at a time (``"loop"``), all
            tasks in one vectorised pass (``"vmap"``), some at a time (``"chunk"``), not at all on
            linear layers, whose inner products and combined gradient follow from the gradients on
            their outputs (``"ghost"``), or whichever counting operations suggests (``"auto"``).
            ``"layers"`` saves memory, not time: rows of one layer at a time (of what lies between
            two places where the graph is one tensor wide), inner products of these added up, and
            one more backward pass for the combined gradient. Where a vectorised pass fails or gives
            other numbers than a loop, the rows of that graph are formed by a loop, and the log of
            ``"moml"`` says so.
    """

    def _evaluation(
        self,
        losses: Losses,
        features: Features,
        find: Callable[[], Found],
        tasks: Tensor,
        *,
        heads: Heads,
    ) -> ParameterRows:
        return ParameterRows(losses, features, find, tasks, heads=heads)
