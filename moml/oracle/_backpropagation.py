"""What all oracles that backpropagate live losses have in common."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from moml.evaluation import Heads
from moml.oracle._base import Oracle, positions
from moml.oracle._layout import Features, Layout, lay_out
from moml.oracle._live import Live
from moml.oracle._rows import Plan, Strategy
from moml.problem import FactoredProblem, Losses, Problem


class Backpropagation(Oracle):
    """Computes the losses, cuts the graph at the representation, remembers the layout."""

    def __init__(self, *, heads: Heads = "weighted", rows: Strategy = "auto") -> None:
        if heads not in ("unit", "weighted"):
            raise ValueError(f"`heads` should be 'unit' or 'weighted', found {heads!r}.")
        if rows not in get_args(Strategy):
            known = ", ".join(map(repr, get_args(Strategy)))
            raise ValueError(f"`rows` should be one of {known}, found {rows!r}.")
        self.heads, self.rows = heads, rows
        self._layouts: dict[tuple[str, ...], tuple[Layout, Tensor]] = {}
        self._plans: dict[str, tuple[int, bool]] = {}
        self._module: weakref.ref[nn.Module] | None = None
        self._cut = False  # a parameter on both sides of the representation would count twice

    @abstractmethod
    def _evaluation(
        self, losses: Losses, features: Features, layout: Layout, tasks: Tensor
    ) -> Live:
        """What a weighting gets to see."""

    def __call__(self, problem: Problem, batch: Any) -> Live:
        """Compute the losses of the batch."""
        self._follow(problem.module)
        if not isinstance(problem, FactoredProblem):
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
            layout, tasks = self._layout(problem, losses, features)
            if not layout.tied:
                return self._evaluation(losses, features, layout, tasks)
            self._cut, self._layouts = True, {}
        inputs, features = Features.detach(outputs)
        return self._evaluated(problem, problem.losses_from(inputs, batch), features)

    def _evaluated(self, problem: Problem, losses: Losses, features: Features) -> Live:
        return self._evaluation(losses, features, *self._layout(problem, losses, features))

    def _follow(self, module: nn.Module) -> None:
        """Forget what was found for another network."""
        if self._module is None or self._module() is not module:
            if self._module is not None:
                self._layouts, self._plans, self._cut = {}, {}, False
            self._module = weakref.ref(module)

    def _layout(
        self, problem: Problem, losses: Losses, features: Features
    ) -> tuple[Layout, Tensor]:
        """Layout and positions of this set of present tasks, found the first time it occurs."""
        key = tuple(losses)
        if key not in self._layouts:
            private = {task: problem.private_parameters(task) for task in problem.tasks}
            found = lay_out(losses, features, problem.shared_parameters(), private, self.rows)
            mine = (found.plan.size, found.plan.ghost)
            size, ghost = self._plans.setdefault(",".join(key), mine)
            layout = replace(found, plan=Plan(size, ghost))
            self._layouts[key] = layout, torch.tensor(positions(problem.tasks, losses))
        return self._layouts[key]

    def state_dict(self) -> dict[str, Any]:
        """How rows were formed, per set of present tasks."""
        return {"plans": dict(self._plans), "cut": self._cut}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Form rows as the stored run did."""
        self._plans, self._layouts = dict(state["plans"]), {}
        self._cut, self._module = state["cut"], None  # whichever network comes next
