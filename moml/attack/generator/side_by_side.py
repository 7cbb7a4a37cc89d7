"""Several models as one, for attacks on all of them at once."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from moml._support.typed_modules import TaskModules


class SideBySide(nn.Module):
    """Models of the same inputs as one model, their outputs by name.

    What a multi-task network is by itself, separate networks become here: the victim of an attack
    with one perturbation for all tasks.

    Args:
        models: Task name to model.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not models:
            raise ValueError("`models` should hold at least one model, found none.")
        self.models = TaskModules(models)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Every model's output."""
        return {name: model(inputs) for name, model in self.models.items()}
