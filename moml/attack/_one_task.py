"""One task of a network whose outputs are a mapping, as attacks take it."""

from __future__ import annotations

from torch import Tensor, nn

from moml.data import TaskInputs


class OneTask(nn.Module):
    """The prediction of one task.

    Args:
        model: The network: ``model(inputs, [task])[task]``.
        task: Which of its tasks.
        own_inputs: Whether the network takes `TaskInputs`, one per task.
    """

    def __init__(self, model: nn.Module, task: str, *, own_inputs: bool = False) -> None:
        super().__init__()
        self.model, self.task, self.own_inputs = model, task, own_inputs

    def forward(self, x: Tensor) -> Tensor:
        """The prediction for these inputs."""
        inputs = TaskInputs({self.task: x}) if self.own_inputs else x
        output: Tensor = self.model(inputs, [self.task])[self.task]
        return output
