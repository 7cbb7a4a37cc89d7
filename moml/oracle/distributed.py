"""Data-parallel training: every process evaluates its part of the batch, all decide alike."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import Parameter

from moml._support import checks
from moml._support.collectives import Processes
from moml._support.flat import numbers, shaped
from moml.gradients.layout import places, trainable
from moml.gradients.live import Live
from moml.gradients.rows import Row, gramian_of_rows
from moml.gradients.task_gradients import Evaluation, Heads, accumulate_flat, checked
from moml.oracle._base import Oracle, positions
from moml.oracle._shares import shared_out
from moml.oracle.accumulated import Accumulated
from moml.oracle.direct import Direct
from moml.oracle.representation import Representation
from moml.problem import Objectives, Problem


class Distributed(Oracle):
    """The step of the whole batch, of which every process evaluates a part.

    PyTorch's ``DistributedDataParallel`` averages what ``backward`` leaves in ``.grad``; weightings
    that look at gradients need them task by task. Here losses, rows and the applied gradient are
    summed over processes, each part by its share of a task's defined target entries: exact for
    every weighting, and the same numbers in all processes, so that all take the same step. What is
    sent is paid for as it is asked for: losses always (one number a task), the combined gradient
    once a step, rows only if the weighting looks at them; of representation gradients the Gramian
    alone.

    Every process builds the same problem, weighting and optimizer with the same seed; the first
    one's parameters and buffers are copied to all before the first step, and its buffers (running
    statistics) after every step, as ``DistributedDataParallel`` does. Batch normalisation sees
    parts; ``SyncBatchNorm`` sees the whole. Callbacks that look at gradients have to be the same
    in all processes.

    Args:
        oracle: How each part is differentiated.
        group: The process group; all processes unless given.

    Raises:
        ValueError: If the oracle is another one, or the process group was not started.
    """

    def __init__(self, oracle: Oracle, *, group: dist.ProcessGroup | None = None) -> None:
        self.oracle: Direct | Accumulated | Representation = checks.instance(
            "oracle",
            oracle,
            (Direct, Accumulated, Representation),
            "Direct, Accumulated or Representation",
            "Two levels are trained in one process.",
        )
        self.processes = Processes(group)
        self._module: weakref.ref[nn.Module] | None = None

    def __call__(self, problem: Problem, batch: Any) -> Combined:
        """The losses of all parts together; ``batch`` is this process's part."""
        self._start(problem.module)
        counts = problem.label_counts(batch)
        own = torch.tensor([counts.get(task, 0.0) for task in problem.tasks], dtype=torch.float64)
        whole = self.processes.total(own)
        shares = {
            task: float(n / total)
            for task, n, total in zip(problem.tasks, own, whole, strict=True)
            if n > 0
        }
        live = self.oracle(shared_out(problem, shares), batch) if shares else None
        names = tuple(t for t, total in zip(problem.tasks, whole, strict=True) if total > 0)
        kind = OfRepresentation if isinstance(self.oracle, Representation) else Combined
        return kind(live, names, problem, self.processes)

    def add_penalty(self, problem: Objectives, penalty: Tensor | None) -> None:
        """The mean of what the processes find, in all of them."""

        def own() -> None:
            if penalty is not None:
                (penalty / self.processes.count).backward()

        if self.anywhere(penalty is not None):
            self.processes.added([p for _, p in problem.trainable()], own)

    def from_first(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """The first process's state, sent to all: the others need not see its folder."""
        return self.processes.object_of_first(state)

    def anywhere(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return bool(self.processes.largest(torch.tensor(int(flag))))

    def advance(self, problem: Objectives) -> None:
        """Running statistics become those of the first process."""
        self.oracle.advance(problem)
        self.processes.as_first(problem.module.buffers())

    def state_dict(self) -> dict[str, Any]:
        """The oracle's inside."""
        return self.oracle.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the oracle's inside."""
        self.oracle.load_state_dict(state)

    def _start(self, module: nn.Module) -> None:
        """Before a network's first step all processes get the first one's."""
        if self._module is not None and self._module() is module:
            return
        self._module = weakref.ref(module)
        self.processes.as_first([*module.parameters(), *module.buffers()])


class Combined(Evaluation):
    """Rows with respect to the shared parameters, added up over processes.

    Args:
        own: This process's part, every loss times its share; ``None`` if it has no label.
        names: Tasks that have a label in any part.
        problem: The problem.
        processes: Those that work together.
    """

    def __init__(
        self, own: Live | None, names: tuple[str, ...], problem: Problem, processes: Processes
    ) -> None:
        self.names = names
        present = dict.fromkeys(names, torch.empty(0))
        self.tasks = torch.tensor(positions(problem.tasks, present))
        self.own, self.problem, self.processes = own, problem, processes
        shared = list(problem.shared_parameters())
        self.shared, self._places = trainable(shared), places(shared)

    @cached_property
    def losses(self) -> Tensor:
        """Losses of the whole batch."""
        losses = torch.zeros(len(self.names), dtype=torch.float64)
        if self.own is not None:
            losses[self._mine] = self.own.losses
        return self.processes.total(losses)

    @cached_property
    def jacobian(self) -> Tensor:
        """Rows of the whole batch."""
        rows = self._zeros(len(self.names), sum(self.blocks))
        if self.own is not None:
            rows[self._mine] = self.own.jacobian.to(rows)
        return self.processes.total(rows)

    @cached_property
    def gramian(self) -> Tensor:
        """Inner products of the rows."""
        return checked(gramian_of_rows(self.task_gradients()[1]), self.names)

    @property
    def known_gramian(self) -> Tensor | None:
        """The Gramian if the weighting asked for it."""
        return self.__dict__.get("gramian")

    def task_gradients(self) -> tuple[Sequence[Parameter], list[Row]]:
        """The shared parameters, and the rows cut to their shapes; ``None`` out of reach."""
        rows: list[Row] = []
        for row, reached in zip(self.jacobian, self._reached, strict=True):
            pieces = zip(row.split(self.blocks), self.shared, reached.tolist(), strict=True)
            rows.append([shaped(piece, p) if yes else None for piece, p, yes in pieces])
        return self.shared, rows

    @cached_property
    def _reached(self) -> Tensor:
        """Which task reaches which shared parameter in any part, ``(m, parameters)``."""
        reached = torch.zeros(len(self.names), len(self.shared), dtype=torch.int)
        if self.own is not None:
            for i, row in zip(self._mine, self.own.task_gradients()[1], strict=True):
                reached[i] = torch.tensor([gradient is not None for gradient in row])
        return self.processes.largest(reached)

    @property
    def blocks(self) -> list[int]:
        """Entries of every shared parameter."""
        return [numbers(p) for p in self.shared]

    @property
    def places(self) -> Sequence[int]:
        """Places of the trainable shared parameters among all shared ones."""
        return self._places

    def pullback(self, weights: Tensor) -> Tensor:
        """The weighted gradient on the shared parameters."""
        own = self._zeros(sum(self.blocks))
        if self.own is not None:
            own = self.own.pullback(weights[self._mine]).to(own)
        return self.processes.total(own)

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Accumulate the weighted gradient into ``.grad``, in every process the same."""
        self._add(lambda own: own.apply(weights[self._mine], heads=heads))

    def assign(self, direction: Tensor) -> None:
        """Accumulate a direction on the shared parameters; heads get their own gradient."""
        self._add(lambda own: own.assign(torch.zeros_like(direction)))
        accumulate_flat(self.shared, direction)

    def select(self, rows: Tensor) -> Combined:
        """The same step with some of its tasks only."""
        names = tuple(self.names[i] for i in rows.tolist())
        own = None
        if self.own is not None:
            mine = [i for i, name in enumerate(self.own.names) if name in names]
            own = self.own.select(torch.tensor(mine)) if mine else None
        part = type(self)(own, names, self.problem, self.processes)
        part.follow(self)
        return part

    @property
    def _mine(self) -> list[int]:
        """Positions of this process's rows among all."""
        assert self.own is not None
        return [self.names.index(name) for name in self.own.names]

    def _zeros(self, *size: int) -> Tensor:
        """Like the shared parameters, if there are any."""
        return self.shared[0].new_zeros(size) if self.shared else torch.zeros(size)

    def _add(self, act: Callable[[Live], None]) -> None:
        own = self.own
        parameters = [p for _, p in self.problem.trainable()]
        self.processes.added(parameters, lambda: None if own is None else act(own))


class OfRepresentation(Combined):
    """Rows with respect to the representation: of every sample in its own process."""

    @cached_property
    def gramian(self) -> Tensor:
        """Inner products, which add up over samples."""
        gramian = torch.zeros(len(self.names), len(self.names), dtype=torch.float64)
        if self.own is not None:
            gramian[torch.tensor(self._mine)[:, None], torch.tensor(self._mine)] = self.own.gramian
        return checked(self.processes.total(gramian), self.names)

    @property
    def jacobian(self) -> Tensor:
        """Not to be had.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "`oracle` should be Direct for weightings that look at whole gradients, found "
            "Representation in several processes: each holds the rows of its own samples."
        )
