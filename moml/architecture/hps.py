"""Hard parameter sharing: one encoder for all tasks, a head for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from moml._support import checks
from moml._support.nesting import Nesting, taken_apart
from moml.architecture._base import Architecture, head_dict, own_prefix
from moml.data.inputs import Inputs, TaskInputs, call


class HPS(Architecture):
    """Hard parameter sharing: one encoder for all tasks, one head per task.

    Caruana, `Multitask Learning <https://doi.org/10.1023/A:1007379606734>`_, Machine Learning 28
    (1997). With multi-input batches the encoder runs once per task, on that task's inputs.

    The encoder may return several tensors, in tuples, mappings or dataclasses (feature pyramids, a
    transformer's ``ModelOutput``); heads get what it returned.

    Args:
        encoder: Any module from inputs to features.
        heads: Module from features to prediction, per task.

    Raises:
        ValueError: If the encoder or a head is no module.
    """

    paper = "Caruana, Multitask Learning, Machine Learning 1997"

    def __init__(self, encoder: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = checks.instance("encoder", encoder, nn.Module, "a module")
        self.heads = head_dict(heads)
        self.tasks = tuple(self.heads)
        self._nestings: dict[str, Nesting] = {}  # of outputs of the encoder that are no tensor

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """``{"shared": encoder(x)}``, or one entry per task for multi-input batches.

        More entries if the encoder returns several tensors.
        """
        if self._nestings:
            self._nestings = {}
        if not isinstance(inputs, TaskInputs):
            return self._named("shared", call(self.encoder, inputs))
        features: dict[str, Tensor] = {}
        for task in self.select(tasks):
            if task in inputs:
                features |= self._named(own_prefix(task), call(self.encoder, inputs[task]))
        return features

    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Each head on the shared features, or on its own task's."""
        read = {task: self._read(task, features) for task in self.select(tasks)}
        return {task: self.heads[task](made) for task, made in read.items() if made is not None}

    def fan_out(
        self, features: dict[str, Tensor], tasks: Sequence[str]
    ) -> dict[str, Tensor] | None:
        """The shared features for every head, or each task's own; ``None`` where there are several.

        `decode` takes them by task.
        """
        if self._nestings:
            return None
        read = {task: self._read(task, features) for task in tasks}
        return {task: made for task, made in read.items() if made is not None}

    def _named(self, name: str, output: Any) -> dict[str, Tensor]:
        """What the encoder returned as named tensors."""
        if isinstance(output, Tensor):
            return {name: output}
        tensors, self._nestings[name] = taken_apart(output, name)
        if not tensors:
            raise ValueError(
                "`encoder` should return a tensor, or tuples, mappings or dataclasses of tensors, "
                f"found {type(output).__name__}."
            )
        return tensors

    def _read(self, task: str, features: dict[str, Tensor]) -> Any:
        """What the task's head reads; ``None`` if there is nothing of its own."""
        if len(features) == 1 and "shared" in features:
            return features["shared"]
        own = own_prefix(task)
        for name in (own, "shared"):
            if name in self._nestings:
                return self._nestings[name].filled(features)
        return features.get(own, features.get(task))

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's head."""
        return [self.heads[task]]
