"""An adapted network in front of its query set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from moml.losses import Loss


@dataclass(frozen=True, eq=False)
class Query:
    """What a few-shot objective may look at: one episode, or several stacked in one.

    Attributes:
        predict: The adapted network on inputs ``(B, ...)``, with a graph to its parameters.
        frozen: The same without that graph, for attacks.
        inputs: The query inputs of all episodes, ``(B, ...)``.
        targets: Their targets, ``(B, ...)``.
        loss: The suite's loss; the weighted mean where queries have weights.
        start: Parameters before adaptation, by name.
        theta: Adapted parameters, by name, with a leading dimension where episodes are stacked.
        omega: All upper parameters.
        weights: Weights of the queries, ``(B,)``; ``None`` where each counts once.
    """

    predict: Callable[[Tensor], Tensor]
    frozen: Callable[[Tensor], Tensor]
    inputs: Tensor
    targets: Tensor
    loss: Loss
    start: Mapping[str, Tensor]
    theta: Mapping[str, Tensor]
    omega: Mapping[str, Tensor]
    weights: Tensor | None = None

    @cached_property
    def prediction(self) -> Tensor:
        """Predictions of the clean queries, computed once for all objectives."""
        return self.predict(self.inputs)
