"""Three levels of weightings: on losses, on the Gramian, on the Jacobian."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from moml._support import checks
from moml._support.autocast import without_autocast
from moml.gradients.task_gradients import Evaluation
from moml.weighting._answers import check_direction, check_weights, finite_rows
from moml.weighting._memory import Memory

Needs = Literal["losses", "gramian", "jacobian"]
_TASKS = "task_names"


class Weighting(nn.Module, ABC):
    """Decides the trade-off between tasks in one step.

    State lives in buffers and parameters, so ``state_dict`` resumes bit for bit; random methods own
    a `torch.Generator` (see `Randomized`). The task names are part of the ``state_dict``: it can be
    loaded into a fresh object, which is set up for them.
    """

    needs: ClassVar[Needs]
    """The most expensive quantity the method looks at."""
    traits: ClassVar[frozenset[str]] = frozenset()
    """Properties the conformance test proves: see ``docs/weightings.md``."""
    paper: ClassVar[str] = ""
    """Authors, title, venue and year."""
    preference_is: ClassVar[Literal["no argument", "importance", "ray"]] = "no argument"
    """What the argument ``preference`` means: larger is smaller losses, or losses along a ray."""
    names: tuple[str, ...] = ()

    def setup(self, names: Sequence[str]) -> Self:
        """Learn the tasks and allocate per-task state and parameters.

        Called once, before the optimizer is built; a second call with the same names is a no-op.

        Args:
            names: Task names, strings or integers, in the order of rows and weights.

        Returns:
            The weighting itself.

        Raises:
            ValueError: If there is no task, names repeat, or it was set up for other names already.

        Example:
            >>> import torch
            >>> from moml.weighting import UW
            >>> weighting = UW().setup(["depth", "normal"])
            >>> optimizer = torch.optim.Adam(weighting.parameters(), lr=1e-3)
        """
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise ValueError(
                f"`names` should be a list of task names, found {names!r}. Pass `['a', 'b']`."
            )
        names = tuple(names)
        if names and names == self.names:
            return self
        if self.names:
            raise ValueError(
                f"`names` should be {self.names} as at the first call, found {names}. "
                "Build a fresh weighting for another set of tasks."
            )
        if not names or len(set(names)) < len(names):
            raise ValueError(f"`names` should be one or more distinct task names, found {names}.")
        if not all(isinstance(name, (str, int)) and not isinstance(name, bool) for name in names):
            raise ValueError(f"`names` should be strings or integers, found {names}.")
        self.names = names
        self._allocate(len(names))
        return self

    def _allocate(self, num_tasks: int) -> None:
        """Create per-task buffers and parameters. Nothing to do for stateless methods."""

    def _check_bound(self) -> None:
        if not self.names:
            raise ValueError(
                f"`names` should be known before {type(self).__name__} is used, found none. "
                "Call `setup(names)` first: its state is kept per task."
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to a device; what is kept in float64 stays so when a module around is cast."""

        def kept(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            cast = tensor.dtype == torch.float64 != moved.dtype
            return tensor.to(moved.device) if cast else moved

        return super()._apply(kept, recurse)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.names:  # as a tensor, which every format of checkpoints can hold
            text = json.dumps(self.names).encode()
            destination[prefix + _TASKS] = torch.tensor(list(text), dtype=torch.uint8)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        stored = state.pop(prefix + _TASKS, None)
        if stored is not None:
            self.setup(json.loads(bytes(stored.tolist())))
        super()._load_from_state_dict(state, prefix, *args)

    def _labels(self, rows: Tensor, tasks: Tensor | None) -> str:
        """Names of the rows where a mask ``(m,)`` holds, for an error message; else positions."""
        indices = rows.nonzero().flatten()
        if self.names:
            positions = indices if tasks is None else tasks[indices]
            return ", ".join(repr(self.names[i]) for i in positions.tolist())
        return ", ".join(map(str, indices.tolist()))

    @abstractmethod
    def update(self, evaluation: Evaluation) -> Tensor | None:
        """Write the step's gradient; return the weights for the log, if there are any, ``(m,)``."""

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor | None:
        """Objective of the method's own learnable parameters, a scalar; ``None`` without any.

        Args:
            losses: Detached losses ``(m,)``.
            tasks: Positions of the rows among all tasks ``(m,)``; all tasks unless given.
        """
        return None

    def learn(self, losses: Tensor, *, tasks: Tensor | None = None) -> None:
        """Accumulate the gradient of `penalty` into the method's own learnable parameters.

        Called once a step before `update`. Override it where the gradient is known in closed form:
        a backward pass of its own, even through a few scalars, is a fiftieth of a small step.

        Args:
            losses: Detached losses ``(m,)``.
            tasks: Positions of the rows among all tasks ``(m,)``; all tasks unless given.
        """
        penalty = self.penalty(losses, tasks=tasks)
        if penalty is not None:
            penalty.backward()


class LossWeighting(Weighting):
    """Weights from the losses alone: one backward pass per step."""

    needs = "losses"

    @abstractmethod
    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Weight per loss, float64, ``(m,)``.

        Args:
            losses: Detached losses, float64, ``(m,)``.
            tasks: Positions of the rows among all tasks ``(m,)``; all tasks unless given.
        """

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply the gradient of the weighted sum of losses."""
        weights = self.weights(evaluation.losses, tasks=evaluation.tasks)
        check_weights(weights, evaluation.names, type(self).__name__)
        weights = weights.detach()
        evaluation.apply(weights)
        return weights


class GramianWeighting(Weighting):
    """Weights from the inner products of the tasks' gradients: one backward pass per task.

    A task whose shared gradient is zero (its encoder is frozen or detached, its hinge is at zero)
    has no part in the trade-off: the method sees the others only. No direction changes its loss, so
    its weight matters to its private parameters alone; it is the others' mean, and 1 where no task
    has a gradient, so that heads train by their own losses where nothing is shared.
    """

    needs = "gramian"

    @abstractmethod
    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weight per gradient, float64, ``(*b, m)``.

        Args:
            gramian: Inner products, ``(*b, m, m)``.
            losses: Detached losses ``(*b, m)``, for methods that look at them.
            tasks: Positions of the rows among all tasks ``(m,)``; all tasks unless given.
        """

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply the weighted sum of gradients."""
        weights = self._live_weights(evaluation)
        evaluation.apply(weights)
        return weights

    def _live_weights(self, evaluation: Evaluation) -> Tensor:
        """The method's weights of tasks with a gradient, and their mean size for the others."""
        gramian, losses, tasks = evaluation.gramian, evaluation.losses, evaluation.tasks
        squares = gramian.diagonal()  # (m,)
        if min(squares.tolist()) > 0.0:
            found = self.weights(gramian, losses, tasks=tasks)
            check_weights(found, evaluation.names, type(self).__name__)
            return found
        live = squares > 0.0
        weights = torch.ones(len(live), dtype=torch.float64)
        if live.any():
            rows = live.nonzero()[:, 0]
            found = self.weights(gramian[rows[:, None], rows], losses[rows], tasks=tasks[rows])
            names = [evaluation.names[i] for i in rows.tolist()]
            check_weights(found, names, type(self).__name__)
            weights[rows] = found
            weights[~live] = found.abs().mean() or 1.0
        return weights


class JacobianAggregator(Weighting):
    """A direction from the gradients themselves, where no weights can express it.

    A task whose shared gradient is zero counts as absent, as for `GramianWeighting`. Where no task
    has one the method is not asked. Heads get their own loss's gradient in any case.
    """

    needs = "jacobian"

    @abstractmethod
    def direction(
        self, jacobian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """The combined gradient, ``(n,)``.

        Args:
            jacobian: One gradient per row, ``(m, n)``.
            losses: Detached losses ``(m,)``.
            tasks: Positions of the rows among all tasks ``(m,)``; all tasks unless given.
        """

    def update(self, evaluation: Evaluation) -> None:
        """Apply the direction to the shared parameters; heads get their own gradient.

        Raises:
            NonFiniteError: If a gradient is not finite; nothing was written then.
        """
        evaluation.assign(self._live_direction(evaluation))

    def _arrange(self, evaluation: Evaluation) -> None:
        """Tell what is remembered per parameter which parameters this step's rows belong to."""
        for part in self.modules():
            if isinstance(part, Memory):
                part.arrange(evaluation.places, evaluation.blocks)

    @without_autocast
    def _live_direction(self, evaluation: Evaluation) -> Tensor:
        """The method's direction for tasks with a gradient, ``(n,)``; zero without any."""
        jacobian, live = finite_rows(evaluation)
        self._arrange(evaluation)
        losses, tasks = evaluation.losses, evaluation.tasks
        if not live.all():
            jacobian, losses, tasks = jacobian[live], losses[live.cpu()], tasks[live.cpu()]
        if len(tasks) == 0:
            return jacobian.new_zeros(jacobian.shape[1])
        direction = self.direction(jacobian, losses, tasks=tasks)
        check_direction(direction, jacobian.shape[1], type(self).__name__)
        return direction


def nothing_shared(evaluation: Evaluation) -> bool:
    """Whether no parameter is shared, as with a frozen encoder: there is nothing to trade off."""
    return sum(evaluation.blocks) == 0


class Randomized(nn.Module):
    """Mixin: a random generator of its own that is part of the ``state_dict``.

    Args:
        seed: Seed of the generator; the one PyTorch's global generator was given last
            (``torch.manual_seed``) unless given, so that runs with other seeds draw other numbers.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(
            torch.initial_seed() if seed is None else checks.seed(seed)
        )

    def reseed(self, stream: int) -> None:
        """Begin another stream of numbers, for a copy that is to draw independently.

        Args:
            stream: Number of the stream, 1 and more.
        """
        seed = self.generator.initial_seed() + stream * 0x9E3779B97F4A7C15  # far from any other's
        self.generator.manual_seed(seed % 2**63)

    def get_extra_state(self) -> Tensor:
        """State of the generator."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the generator."""
        self.generator.set_state(state.cpu())  # a checkpoint may have been read onto a device
