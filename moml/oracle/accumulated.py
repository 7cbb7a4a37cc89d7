"""A batch in parts: the same losses, gradients and weights in a fraction of the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from moml._support import checks
from moml._support.replay import buffers_kept, draws_of, restore_draws
from moml.data.batch import Batch
from moml.errors import NoLabelsError
from moml.gradients.features import Features
from moml.gradients.layout import Layout, places, trainable
from moml.gradients.live import Live, ParameterRows
from moml.gradients.rows import Plan, Row, add_rows
from moml.gradients.task_gradients import Heads
from moml.oracle._base import Oracle, check_has_losses, positions
from moml.oracle._shares import shared_out
from moml.oracle.direct import Direct
from moml.oracle.representation import Representation
from moml.problem import Losses, Problem


class Accumulated(Oracle):
    """Evaluates a batch part by part, and adds up what the weighting asks for.

    Gradient accumulation for any weighting: losses are those of the whole batch, rows are added
    over parts, and one decision is taken per batch. It equals the undivided batch up to rounding
    where samples do not influence each other; batch normalisation sees parts, and its running
    statistics move once per part. A part counts by its defined target entries
    (`moml.Problem.label_counts`), for a weighted mean by the sum of their weights.

    Losses come from a forward pass of their own, without a graph; gradients need a second one, with
    the same random numbers. A step costs one forward pass more than `Direct` does, whatever the
    weighting, and no method forms gradients it does not ask for.

    Args:
        oracle: How each part is differentiated.
        parts: Into how many parts a batch is cut; those of a smaller batch may be fewer.

    Raises:
        ValueError: If ``parts`` is not positive, or the oracle is another one.
    """

    def __init__(self, oracle: Direct, *, parts: int) -> None:
        hint = ""
        if isinstance(oracle, Representation):
            hint = "A representation's gradient is as long as the batch: there is nothing to add."
        self.oracle = checks.instance("oracle", oracle, Direct, "`moml.oracle.Direct()`", hint)
        self.parts = checks.whole("parts", parts, least=1)

    def __call__(self, problem: Problem, batch: Batch) -> Live:
        """The losses of the whole batch."""
        check_has_losses(problem)
        parts = [_Part(self.oracle, problem, one) for one in batch.split(self.parts)]
        with torch.no_grad(), buffers_kept(problem.module):
            for part in parts:
                part.first_pass()
        total: dict[str, float] = {}
        for part in parts:
            for task, count in part.counts.items():
                total[task] = total.get(task, 0) + count
        for part in parts:
            part.shares = {task: n / total[task] for task, n in part.counts.items()}
        names = [task for task in problem.tasks if task in total]
        losses = {
            name: torch.stack(
                [p.values[name] * p.shares[name] for p in parts if name in p.values]
            ).sum()
            for name in names
        }
        tasks = torch.tensor(positions(problem.tasks, losses))
        return AccumulatedRows(parts, problem, losses, tasks, heads=self.oracle.heads)

    def state_dict(self) -> dict[str, Any]:
        """The oracle's inside."""
        return self.oracle.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the oracle's inside."""
        self.oracle.load_state_dict(state)


class _Part:
    """One part of a batch, evaluated as often as is needed with the same random numbers."""

    def __init__(self, oracle: Direct, problem: Problem, batch: Batch) -> None:
        self.oracle, self.problem, self.batch = oracle, problem, batch
        self.values: dict[str, Tensor] = {}
        self.shares: dict[str, float] = {}

    @cached_property
    def counts(self) -> dict[str, float]:
        """What every task present counts for: its defined target entries."""
        counts = self.problem.label_counts(self.batch)
        return {task: counts[task] for task in self.values}

    def first_pass(self) -> None:
        """The losses, and where their random numbers began; none for a part without labels."""
        self.draws = draws_of(self.problem.module)
        try:
            self.values = dict(self.problem.losses(self.batch))
        except NoLabelsError:
            self.values = {}

    def evaluate(self) -> Live:
        """The losses with their graph, each times its share of the batch."""
        restore_draws(self.problem.module, self.draws)
        return self.oracle(shared_out(self.problem, self.shares), self.batch)


class AccumulatedRows(ParameterRows):
    """Rows, or the weighted gradient, added up over the parts of a batch."""

    def __init__(
        self,
        parts: Sequence[_Part],
        problem: Problem,
        losses: Losses,
        tasks: Tensor,
        *,
        heads: Heads,
    ) -> None:
        shared = list(problem.shared_parameters())
        private = {task: trainable(problem.private_parameters(task)) for task in problem.tasks}
        layout = Layout(trainable(shared), private, (), (), Plan(1), places=places(shared))
        super().__init__(losses, Features(), layout, tasks, heads=heads)
        self.parts, self.problem = parts, problem
        self._passes = 0

    @cached_property
    def rows(self) -> list[Row]:
        """One row per task, over all parts."""
        return [row for row, _ in self._sums]

    @cached_property
    def through_heads(self) -> list[tuple[Row, Row, Row]]:
        """Per task, its gradient on its own parameters."""
        return [([], [], private) for _, private in self._sums]

    @cached_property
    def _sums(self) -> list[tuple[Row, Row]]:
        """Per task, its gradient on shared and on private parameters."""
        sums: dict[str, tuple[Row, Row]] = {
            name: ([None] * len(self.layout.shared), [None] * len(self.layout.private[name]))
            for name in self.names
        }
        for live in self._again():
            for name, row, (_, _, own) in zip(
                live.names, live.rows, live.through_heads, strict=True
            ):
                shared, private = sums[name]
                sums[name] = (add_rows(shared, row), add_rows(private, own))
        return list(sums.values())

    @property
    def formed(self) -> bool:
        """Whether rows were asked for."""
        return "_sums" in self.__dict__

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Accumulate the weighted gradient into ``.grad``, part by part unless rows are there."""
        if self.formed:
            super().apply(weights, heads=heads)
            return
        for live in self._again():
            live.apply(self._present(weights, live), heads=heads)

    def pullback(self, weights: Tensor) -> Tensor:
        """The weighted gradient on the shared parameters, flat, ``(n,)``."""
        if self.formed:
            return super().pullback(weights)
        return torch.stack(
            [one.pullback(self._present(weights, one)) for one in self._again()]
        ).sum(0)

    def select(self, rows: Tensor) -> Live:
        """Some of the losses: each part's, evaluated again when needed."""
        chosen = {self.names[i]: self.live[i] for i in rows.tolist()}
        part = AccumulatedRows(self.parts, self.problem, chosen, self.tasks[rows], heads=self.heads)
        part.follow(self)
        return part

    def _again(self) -> Iterator[Live]:
        """Every part with a graph that ends before the next one's begins."""
        after = draws_of(self.problem.module)
        kept = buffers_kept(self.problem.module) if self._passes else nullcontext()
        with kept:  # running statistics move once
            for part in self.parts:
                if not part.values:  # no sample of it has a label
                    continue
                live = part.evaluate()
                where = [i for i, name in enumerate(live.names) if name in self.names]
                if where:
                    yield (
                        live if len(where) == len(live.names) else live.select(torch.tensor(where))
                    )
        self._passes += 1
        restore_draws(self.problem.module, after)

    def _present(self, weights: Tensor, live: Live) -> Tensor:
        return weights[[self.names.index(name) for name in live.names]]
