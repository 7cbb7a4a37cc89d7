"""One step's worth of data: inputs, a target per task, and which labels are present."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from moml._support.nesting import tensors_in
from moml.data.inputs import Inputs, TaskInputs, mapped, moved


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of one step.

    Attributes:
        inputs: Inputs for all tasks: a tensor ``(B, ...)``, a tuple of positional arguments of the
            encoder, or a mapping of its keyword arguments. Or inputs of each task's own, declared
            by `moml.data.TaskInputs` (multi-input).
        targets: Target per task, ``(B, ...)``. A task without a target is absent from the step.
            Integers stand for their decimal strings.
        present: For partly labelled tasks, which samples carry a label, ``(B,)`` bool, or numbers
            0 and 1. A task that is not listed is fully labelled.
        weights: For tasks with weighted samples, the samples' weights ``(B,)``. The loss is the
            weighted mean; a task that is not listed counts every sample once.

    Raises:
        ValueError: If a mask or weights do not have one entry per sample, a mask holds more than
            yes and no, or a weight is negative, NaN or infinite.
    """

    inputs: Inputs
    targets: dict[str, Tensor]
    present: Mapping[str, Tensor] | None = None
    weights: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        for field in ("targets", "present", "weights"):
            values = getattr(self, field)
            if values is not None and not isinstance(values, Mapping):
                raise ValueError(
                    f"`{field}` should be a mapping by task, found {type(values).__name__}. Pass "
                    "`{'task': tensor}`."
                )
            if values and not all(
                isinstance(task, str) and isinstance(value, Tensor)
                for task, value in values.items()
            ):
                object.__setattr__(self, field, _tidied(field, values))
        if self.present:
            self._replace("present", _mask)
        if self.weights:
            self._replace("weights", _sample_weights)

    def _replace(self, field: str, checked: Callable[[str, Tensor, Tensor | None], Tensor]) -> None:
        """Store the checked values of a field, each beside its task's target."""
        values = getattr(self, field)
        made = {
            task: checked(f"`{field}['{task}']`", value, self.targets.get(task))
            for task, value in values.items()
        }
        if any(made[task] is not values[task] for task in values):
            object.__setattr__(self, field, made)

    @property
    def multi_input(self) -> bool:
        """Whether every task has inputs of its own."""
        return isinstance(self.inputs, TaskInputs)

    def inputs_of(self, task: str) -> Any:
        """The inputs of a task: its own, or those of all."""
        return self.inputs[task] if isinstance(self.inputs, TaskInputs) else self.inputs

    def to(self, device: torch.device | str) -> Batch:
        """Copy to ``device``; tensors that are there already stay as they are."""
        return Batch(
            moved(self.inputs, device),
            {task: y.to(device) for task, y in self.targets.items()},
            self.present and {task: p.to(device) for task, p in self.present.items()},
            self.weights and {task: w.to(device) for task, w in self.weights.items()},
        )

    def labelled(self, task: str, prediction: Any) -> tuple[Any, Tensor]:
        """Prediction and target of the samples that carry a label for ``task``.

        Missing labels are selected away, never multiplied by zero: ``0 * nan`` is ``nan``.
        """
        target = self.targets[task]
        if self.present is None or task not in self.present:
            return prediction, target
        mask = self.present[task]
        if isinstance(prediction, Tensor):
            return prediction[mask], target[mask]
        return mapped(prediction, lambda x: x[mask]), target[mask]

    def labelled_weights(self, task: str) -> Tensor | None:
        """Weights of the samples that carry a label for ``task``; ``None`` if they all count 1."""
        if self.weights is None or task not in self.weights:
            return None
        weights = self.weights[task]
        if self.present is None or task not in self.present:
            return weights
        return weights[self.present[task]]

    def has_labels(self, task: str) -> bool:
        """Whether at least one sample carries a label for ``task``."""
        return task in self._labelled

    @cached_property
    def _labelled(self) -> frozenset[str]:
        """The tasks with a label; kept, since `any` waits for the device."""
        present = self.present or {}
        for task, target in self.targets.items():
            if target.dim() == 0:
                raise ValueError(
                    f"`targets['{task}']` should have one row per sample, found a single number. "
                    "Give it a first dimension: `target[None]`."
                )
        return frozenset(
            task
            for task, target in self.targets.items()
            if len(target) and (task not in present or bool(present[task].any()))
        )

    def split(self, parts: int) -> list[Batch]:
        """The batch cut into at most ``parts`` parts of about equal size, in order.

        Of inputs in a tuple or mapping, tensors with one row per sample are cut; others, such as a
        table of positions, go to every part as they are.

        Raises:
            ValueError: If the inputs cannot be cut.
        """
        inputs = (
            {task: self._pieces(x, parts, task) for task, x in self.inputs.items()}
            if isinstance(self.inputs, TaskInputs)
            else {"": self._pieces(self.inputs, parts, None)}
        )
        targets = {task: y.chunk(parts) for task, y in self.targets.items()}
        present = {task: p.chunk(parts) for task, p in (self.present or {}).items()}
        weights = {task: w.chunk(parts) for task, w in (self.weights or {}).items()}
        found = []
        for i in range(max(map(len, inputs.values()))):
            own = _at(i, inputs)
            found.append(
                Batch(
                    TaskInputs(own) if self.multi_input else own[""],
                    _at(i, targets),
                    _at(i, present) or None,
                    _at(i, weights) or None,
                )
            )
        return found

    def _pieces(self, inputs: Any, parts: int, task: str | None) -> list[Any]:
        """Inputs in parts, cut where the targets are."""
        if isinstance(inputs, Tensor):
            return list(inputs.chunk(parts))
        tensors = list(tensors_in(inputs))
        if not tensors:
            raise ValueError(
                "`inputs` should be tensors, or tuples and mappings of them, to be evaluated in "
                f"parts, found {type(inputs).__name__}. Leave out `Accumulated`."
            )
        own = self.targets if task is None else {t: y for t, y in self.targets.items() if t == task}
        size = len(next(iter(own.values()), tensors[0]))
        cuts = torch.empty(size).chunk(parts)
        ends = torch.tensor([len(cut) for cut in cuts]).cumsum(0).tolist()
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))

        def cut(x: Tensor, start: int, end: int) -> Tensor:
            return x[start:end] if x.dim() and len(x) == size else x

        return [mapped(inputs, partial(cut, start=a, end=b)) for a, b in bounds]


def _at(i: int, pieces: Mapping[str, Any]) -> dict[str, Any]:
    return {task: some[i] for task, some in pieces.items() if i < len(some)}


def _tidied(field: str, values: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Values by task, integers as strings.

    Raises:
        ValueError: If a value is no tensor, or two tasks have one name.
    """
    for task, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"`{field}[{task!r}]` should be a tensor, found {type(value).__name__}. "
                "Convert it with `torch.as_tensor`."
            )
    named = {str(task): value for task, value in values.items()}
    if len(named) < len(values):
        raise ValueError(f"`{field}` should have one entry per task, found {list(values)}.")
    return named


def _mask(name: str, mask: Tensor, target: Tensor | None) -> Tensor:
    """The mask as bools; numbers would select rows by their index.

    Raises:
        ValueError: If it does not say yes or no of every sample.
    """
    _check_length(name, mask, target)
    if mask.dtype == torch.bool:
        return mask
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"{name} should be a mask of bools or of 0 and 1, found other values of {mask.dtype}. "
            "Make a mask of indices by `mask[indices] = True`."
        )
    return mask.bool()


def _sample_weights(name: str, weights: Tensor, target: Tensor | None) -> Tensor:
    """The weights themselves.

    Raises:
        ValueError: If a sample has none, or one that cannot weigh a mean.
    """
    _check_length(name, weights, target)
    if not ((weights >= 0) & weights.isfinite()).all():
        raise ValueError(
            f"{name} should be finite and at least 0, found {weights.min().item():g}.."
            f"{weights.max().item():g}. A weight of 0 leaves a sample out."
        )
    return weights


def _check_length(name: str, values: Tensor, target: Tensor | None) -> None:
    """One entry per sample; samples of episodes have two dimensions, as their targets do."""
    if target is None:
        return
    expected = target.shape[: max(values.dim(), 1)]
    if values.dim() < 1 or values.shape != expected:
        raise ValueError(
            f"{name} should have one entry per sample, shape {tuple(target.shape[:1])}, found "
            f"{tuple(values.shape)}."
        )
