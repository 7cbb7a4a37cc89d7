"""The representation: where the graph is cut between the encoder and the heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from moml.gradients.rows import Plan, Row, form_rows


@dataclass(frozen=True)
class Features:
    """A representation: its tensors, and the tensors the losses were computed from.

    Attributes:
        outputs: Tensors with the encoder's graph.
        inputs: What the heads saw: detached leaves, or the outputs themselves.
        detached: Which of the two; a detached representation needs a backward pass in two stages.
        views: What each task's loss was computed from, where that is one view of one output; then
            one backward pass of all losses tells their gradients apart, and nothing is detached.
        sources: Of which output each view is.
    """

    outputs: tuple[Tensor, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    detached: bool = False
    views: Mapping[str, Tensor] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def detach(cls, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Features]:
        """Cut the graph at the representation; one that needs no gradient is left as it is."""
        inputs = {
            name: f.detach().requires_grad_() if f.requires_grad else f
            for name, f in features.items()
        }
        cut = [(f, inputs[name]) for name, f in features.items() if f.requires_grad]
        return inputs, cls(tuple(f for f, _ in cut), tuple(x for _, x in cut), True)

    @classmethod
    def fan(cls, by_task: Mapping[str, Tensor]) -> Features:
        """A view for every task of the tensor it reads."""
        outputs = tuple(dict.fromkeys(by_task.values()))
        position = {f: i for i, f in enumerate(outputs)}
        return cls(
            outputs,
            outputs,
            views={task: f.view_as(f) for task, f in by_task.items()},
            sources={task: position[f] for task, f in by_task.items()},
        )

    @property
    def apart(self) -> bool:
        """Whether the losses' gradients on it can be had without those of the encoder."""
        return bool(self.outputs)

    @property
    def backpropagates(self) -> bool:
        """Whether ``outputs`` have a graph down to the parameters."""
        return True

    def pull(self, cotangents: Sequence[Row], inputs: Sequence[Tensor], plan: Plan) -> list[Row]:
        """Gradients on ``inputs``, given each task's gradient on the representation."""
        return form_rows(self.outputs, inputs, cotangents, plan)
