"""Hard parameter sharing: one encoder for all tasks, a head for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from moml.architecture._base import Architecture, head_dict
from moml.data.inputs import Inputs, TaskInputs, call


class HPS(Architecture):
    """Hard parameter sharing: one encoder for all tasks, one head per task.

    Caruana, `Multitask Learning <https://doi.org/10.1023/A:1007379606734>`_, Machine Learning 28
    (1997). With multi-input batches the encoder runs once per task, on that task's inputs.

    Args:
        encoder: Any module from inputs to a feature tensor.
        heads: Module from features to prediction, per task.
    """

    paper = "Caruana, Multitask Learning, Machine Learning 1997"

    def __init__(self, encoder: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = head_dict(heads)
        self.tasks = tuple(heads)

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """``{"shared": encoder(x)}``, or one entry per task for multi-input batches."""
        if not isinstance(inputs, TaskInputs):
            return {"shared": call(self.encoder, inputs)}
        names = [task for task in self.select(tasks) if task in inputs]
        return {task: call(self.encoder, inputs[task]) for task in names}

    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Each head on the shared features, or on its own task's."""
        names = self.select(tasks)
        if "shared" in features:
            return {task: self.heads[task](features["shared"]) for task in names}
        return {task: self.heads[task](features[task]) for task in names if task in features}

    def fan_out(
        self, features: dict[str, Tensor], tasks: Sequence[str]
    ) -> dict[str, Tensor] | None:
        """The shared features for every head, or each task's own."""
        if "shared" in features:
            return dict.fromkeys(tasks, features["shared"])
        return {task: features[task] for task in tasks if task in features}

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's head."""
        return [self.heads[task]]
