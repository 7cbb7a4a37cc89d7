"""Oracles that backpropagate losses with a live graph."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, get_args

import torch
from torch import Tensor, nn

from moml._support import checks
from moml.gradients.features import Features
from moml.gradients.layouts import Found, Layouts
from moml.gradients.live import Live
from moml.gradients.rows import Strategy
from moml.gradients.task_gradients import Heads
from moml.oracle._base import Oracle, check_has_losses, positions
from moml.problem import FactoredProblem, Losses, Problem


class Backpropagation(Oracle):
    """Computes the losses, cuts the graph at the representation, finds each step's layout."""

    def __init__(self, *, heads: Heads = "weighted", rows: Strategy = "auto") -> None:
        self.heads = checks.choice("heads", heads, get_args(Heads))
        self.rows = checks.choice("rows", rows, get_args(Strategy))
        self._layouts = Layouts(rows)
        self._tasks: dict[tuple[str, ...], Tensor] = {}
        self._module: weakref.ref[nn.Module] | None = None
        self._cut = False  # a parameter on both sides of the representation would count twice

    @abstractmethod
    def _evaluation(
        self,
        losses: Losses,
        features: Features,
        find: Callable[[], Found],
        tasks: Tensor,
        *,
        heads: Heads,
    ) -> Live:
        """What a weighting gets to see."""

    def __call__(self, problem: Problem, batch: Any) -> Live:
        """Compute the losses of the batch."""
        self._follow(problem.module)
        if not isinstance(problem, FactoredProblem):
            check_has_losses(problem)
            return self._evaluated(problem, problem.losses(batch), Features())
        outputs = problem.features(batch)
        by_task = None if self._cut else problem.fan_out(outputs, batch)
        if by_task is not None and all(f.requires_grad for f in by_task.values()):
            features = Features.fan(by_task)
            versions = [f._version for f in features.outputs]
            losses = problem.losses_from(dict(features.views), batch)
            if versions != [f._version for f in features.outputs]:
                raise ValueError(
                    "Heads should leave the representation as it is, found one that changes it in "
                    "place. Use `inplace=False`: the other tasks see the change too."
                )
        else:
            inputs, features = Features.detach(outputs)
            losses = problem.losses_from(inputs, batch)
        return self._evaluated(problem, losses, features)

    def _evaluated(self, problem: Problem, losses: Losses, features: Features) -> Live:
        """The evaluation; a set of tasks is verified in the first step in which it is present."""
        key = tuple(losses)
        first = key not in self._tasks
        if first:
            self._tasks[key] = torch.tensor(positions(problem.tasks, losses))
        evaluation = self._evaluation(
            losses,
            features,
            lambda: self._find(problem, losses, features),
            self._tasks[key],
            heads=self.heads,
        )
        if first:
            _ = evaluation.found
        return evaluation

    def _find(self, problem: Problem, losses: Losses, features: Features) -> Found:
        """The layout of this step's graph."""

        def declared() -> Any:
            private = {task: problem.private_parameters(task) for task in problem.tasks}
            return problem.shared_parameters(), private

        found = self._layouts.find(losses, features, declared)
        if features.views and found.layout.tied:
            self._cut = True
            return self._layouts.find(losses, Features(), declared)
        return found

    def _follow(self, module: nn.Module) -> None:
        """Let go of another network."""
        if self._module is None or self._module() is not module:
            if self._module is not None:
                self._layouts.clear()
                self._tasks, self._cut = {}, False
            self._module = weakref.ref(module)

    def state_dict(self) -> dict[str, Any]:
        """Whether parameters were seen on both sides of the representation."""
        return {"cut": self._cut}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._cut, self._module = bool(state["cut"]), None  # whichever network comes next
        self._layouts.clear()
        self._tasks = {}
