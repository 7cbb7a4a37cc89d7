"""One step's worth of data: inputs, a target per task, and which labels are present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Inputs = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of one step.

    Attributes:
        inputs: One tensor ``(B, ...)`` for all tasks, or one tensor per task (multi-input).
        targets: Target per task, ``(B, ...)``. A task without a target is absent from the step.
        present: For partly labelled tasks, which samples carry a label, ``(B,)`` bool. A task that
            is not listed is fully labelled.
    """

    inputs: Inputs
    targets: dict[str, Tensor]
    present: Mapping[str, Tensor] | None = None

    @property
    def multi_input(self) -> bool:
        """Whether every task has inputs of its own."""
        return isinstance(self.inputs, dict)

    def to(self, device: torch.device | str) -> Batch:
        """Copy to ``device``; the batch itself if it is there already."""
        inputs = (
            {task: x.to(device) for task, x in self.inputs.items()}
            if isinstance(self.inputs, dict)
            else self.inputs.to(device)
        )
        targets = {task: y.to(device) for task, y in self.targets.items()}
        present = self.present and {task: p.to(device) for task, p in self.present.items()}
        return Batch(inputs, targets, present)

    def labelled(self, task: str, prediction: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and target of the samples that carry a label for ``task``.

        Missing labels are selected away, never multiplied by zero: ``0 * nan`` is ``nan``.
        """
        target = self.targets[task]
        if self.present is None or task not in self.present:
            return prediction, target
        mask = self.present[task]
        return prediction[mask], target[mask]

    def has_labels(self, task: str) -> bool:
        """Whether at least one sample carries a label for ``task``."""
        return task in self._labelled

    @cached_property
    def _labelled(self) -> frozenset[str]:
        """The tasks with a label; kept, since `any` waits for the device."""
        present = self.present or {}
        return frozenset(
            task
            for task, target in self.targets.items()
            if len(target) and (task not in present or bool(present[task].any()))
        )

    def count(self, task: str) -> int:
        """Samples that carry a label for ``task``."""
        if self.present is None or task not in self.present:
            return len(self.targets[task])
        return int(self.present[task].sum())

    def split(self, parts: int) -> list[Batch]:
        """The batch cut into at most ``parts`` parts of about equal size, in order."""
        inputs = self.inputs if isinstance(self.inputs, dict) else {"": self.inputs}
        pieces = {task: x.chunk(parts) for task, x in inputs.items()}
        targets = {task: y.chunk(parts) for task, y in self.targets.items()}
        present = {task: p.chunk(parts) for task, p in (self.present or {}).items()}
        found = []
        for i in range(max(map(len, pieces.values()))):
            own = {task: x[i] for task, x in pieces.items() if i < len(x)}
            found.append(
                Batch(
                    own if self.multi_input else own[""],
                    {task: y[i] for task, y in targets.items() if i < len(y)},
                    {task: p[i] for task, p in present.items() if i < len(p)} or None,
                )
            )
        return found
