"""Generative adversarial perturbations: a generator for every task, with nothing in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from moml._support.typed_modules import TaskModules
from moml.architecture import Architecture
from moml.data.inputs import Inputs, TaskInputs


class GAP(Architecture):
    """Every task has an encoder and a decoder of its own: the single-task counterpart of MTA.

    Poursaeed, Katsman, Gao, Belongie, `Generative adversarial perturbations
    <https://arxiv.org/abs/1712.02328>`_, CVPR 2018. Under equal weighting and an optimizer that
    treats entries apart (Adam) training all of them at once is training each of them alone.

    Args:
        tasks: Task names.
        encoder: Makes a fresh encoder; its ``out_features`` is passed on.
        decoder: Makes a fresh decoder for features of this width.

    Raises:
        ValueError: If there is no task.
    """

    paper = "Poursaeed et al., Generative Adversarial Perturbations, CVPR 2018"

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        encoder: Callable[[], nn.Module],
        decoder: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        if not tasks:
            raise ValueError("`tasks` should hold at least one task, found none.")
        self.tasks = tuple(tasks)
        self.encoders = TaskModules({task: encoder() for task in self.tasks})
        self.decoders = TaskModules(
            {task: decoder(_width(self.encoders[task])) for task in self.tasks}
        )

    @classmethod
    def matched(cls, size: int, candidates: Iterable[Callable[[], GAP]]) -> GAP:
        """Of several sizes the one whose number of parameters comes closest to ``size``.

        For comparisons at equal storage: separate generators as small as a shared one together.

        Args:
            size: Number of parameters to come close to.
            candidates: Functions that make fresh generators, such as one for every width.

        Raises:
            ValueError: If there is no candidate.
        """
        made = [make() for make in candidates]
        if not made:
            raise ValueError("`candidates` should hold at least one generator, found none.")
        return min(made, key=lambda one: abs(sum(p.numel() for p in one.parameters()) - size))

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Each encoder on its task's inputs, or on those of all."""
        return {
            task: self.encoders[task](inputs[task] if isinstance(inputs, TaskInputs) else inputs)
            for task in self.select(tasks)
            if not isinstance(inputs, TaskInputs) or task in inputs
        }

    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Each decoder on its own encoder's features."""
        return {
            task: self.decoders[task](features[task])
            for task in self.select(tasks)
            if task in features
        }

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """Everything is private."""
        return [self.encoders[task], self.decoders[task]]


def _width(encoder: nn.Module) -> int:
    width = getattr(encoder, "out_features", None)
    if not isinstance(width, int):
        raise ValueError("`encoder` should have its width as `out_features`, found none.")
    return width
