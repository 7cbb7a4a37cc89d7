"""What is minimised: several losses as functions of a batch and of trainable modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter

Losses = Mapping[str, Tensor]
"""Task name to scalar, ordered; only tasks that are present and active in this step."""


class Objectives(ABC):
    """Anything with several objectives and something to train: the common root of all problems."""

    @property
    @abstractmethod
    def tasks(self) -> tuple[str, ...]:
        """Names of all objectives, in a fixed order."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """What is trained and stored in checkpoints."""

    def trainable(self) -> Iterable[tuple[str, Parameter]]:
        """What the updater must hold, by name: the module's parameters that require gradients."""
        return ((n, p) for n, p in self.module.named_parameters() if p.requires_grad)

    def curves(self) -> Mapping[str, Mapping[str, float]]:
        """Numbers worth a chart after every step, by chart and line: learnt weights, say."""
        return {}

    def described(self) -> Mapping[str, str]:
        """Losses in words by task, which a resumed run has to share; none unless overridden."""
        return {}

    def as_batch(self, batch: Any) -> Any:
        """A batch as the problem takes it, from what a stream or data loader gives."""
        return batch

    def penalty(self) -> Tensor | None:
        """What is minimised besides the objectives, by no weighting scaled; ``None`` if nothing."""
        return None

    def after_step(self, step: int, steps: int) -> None:
        """Called after each of ``steps`` optimizer steps, for schedules of what is trained."""
        return


class Problem(Objectives):
    """Several losses of one batch, sharing parameters.

    Losses are separate scalars, never entries of one stacked tensor: a backward pass from an entry
    of a stack walks the graphs of all tasks.
    """

    @abstractmethod
    def losses(self, batch: Any) -> Losses:
        """The losses of the tasks that are present in ``batch``."""

    def label_counts(self, batch: Any) -> Mapping[str, float]:
        """What each task's loss counts for beside other parts of a batch, without absent tasks.

        The number of defined target entries over which the loss is a mean, or the sum of their
        weights. Labelled samples unless a subclass knows better; batches of other types than
        `moml.data.Batch` count once for every task.
        """
        from moml.data.batch import Batch

        if not isinstance(batch, Batch):
            return dict.fromkeys(self.tasks, 1.0)
        known = [task for task in self.tasks if batch.has_labels(task)]
        return {task: float(len(batch.labelled(task, batch.targets[task])[1])) for task in known}

    @abstractmethod
    def shared_parameters(self) -> Iterable[Parameter]:
        """Parameters that at least two losses reach; verified against every new graph."""

    @abstractmethod
    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """Parameters that only this task's loss reaches."""


class AroundProblem(Problem):
    """A problem around another one: like it in all that a subclass does not change.

    Args:
        problem: The problem inside.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those of the problem inside, as is all that follows."""
        return self.problem.tasks

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        return self.problem.module

    def as_batch(self, batch: Any) -> Any:
        """A batch as the problem takes it."""
        return self.problem.as_batch(batch)

    def described(self) -> Mapping[str, str]:
        """Losses in words."""
        return self.problem.described()

    def label_counts(self, batch: Any) -> Mapping[str, float]:
        """What each task's loss counts for."""
        return self.problem.label_counts(batch)

    def trainable(self) -> Iterable[tuple[str, Parameter]]:
        """What the updater must hold."""
        return self.problem.trainable()

    def curves(self) -> Mapping[str, Mapping[str, float]]:
        """Numbers for charts."""
        return self.problem.curves()

    def penalty(self) -> Tensor | None:
        """What is minimised besides the objectives."""
        return self.problem.penalty()

    def after_step(self, step: int, steps: int) -> None:
        """Schedules."""
        self.problem.after_step(step, steps)

    def shared_parameters(self) -> Iterable[Parameter]:
        """Parameters that at least two losses reach."""
        return self.problem.shared_parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """Parameters that only this task's loss reaches."""
        return self.problem.private_parameters(task)


class FactoredProblem(Problem):
    """A problem whose losses depend on the shared parameters through a representation.

    The representation makes gradients cheap (`moml.oracle.Direct` runs the encoder's backward
    passes apart from the heads') and gradients with respect to it possible
    (`moml.oracle.Representation`).
    """

    @abstractmethod
    def features(self, batch: Any) -> dict[str, Tensor]:
        """The representation: named tensors through which the losses see the shared parameters."""

    def fan_out(self, features: dict[str, Tensor], batch: Any) -> dict[str, Tensor] | None:
        """The representation by task, where each loss reads one tensor of it and nothing else.

        `losses_from` must take it in place of ``features``. All heads' gradients then come from
        one backward pass. ``None``, the default, where it is not so.
        """
        return None

    @abstractmethod
    def losses_from(self, features: dict[str, Tensor], batch: Any) -> Losses:
        """The losses, given the representation."""

    def losses(self, batch: Any) -> Losses:
        """The losses of the tasks present in ``batch``."""
        return self.losses_from(self.features(batch), batch)
