"""Sharing by a table: which copy of each stage each task passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._cka import debiased_cka
from moml.architecture._gate import pooled
from moml.architecture._stages import Encoder, towers


class SharingTable(PerInput):
    """A table of tasks and stages says which copy of a stage a task passes.

    Hard sharing, separate networks, branches, early exits and progressive decoder fusion are all
    tables. With three stages and task ``a`` on ``[0, 0, 0]``, task ``b`` shares everything on ``[0,
    0, 0]``, branches before the last stage on ``[0, 0, 1]``, shares nothing on ``[1, 1, 1]``, and
    leaves after the first stage on ``[0]`` (a multi-exit network; its head must take that stage's
    width). What two tasks share from the input on is computed once.

    Args:
        encoder: Any encoder, or a function that makes one.
        heads: Module from features to prediction, per task.
        table: Per task, the number of the copy it passes at each stage, counted from 0. Unless
            given, all stages but the last are shared.
        stages: Stages the encoder is cut into, at most; as many as the table's longest row if
            there is a table.
    """

    paper = "Gurulingan et al., Curbing Task Interference using Representation Similarity, 2022"
    traits = frozenset({"staged"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        table: Mapping[str, Sequence[int]] | None = None,
        stages: int = 4,
    ) -> None:
        super().__init__()
        self.heads = head_dict(heads)
        checks.whole("stages", stages, least=1)
        if table is not None:
            what = "a mapping from task to numbers of copies"
            for row in checks.instance("table", table, Mapping, what).values():
                for number in checks.numbers("table", row, what):
                    checks.whole("table", number)
        longest = max((len(row) for row in (table or {}).values()), default=stages)
        copies = len(heads) if table is None else 1 + max(max(row) for row in table.values())
        made = towers(encoder, copies, at_most=longest)
        if table is None:
            shared = [0] * (len(made[0]) - 1)
            table = {task: [*shared, i] for i, task in enumerate(heads)}
        columns = [dict(enumerate(one.pieces[k] for one in made)) for k in range(len(made[0]))]
        self._fill(columns, heads, table, made[0].ambient)

    @classmethod
    def of(
        cls,
        stages: Sequence[Mapping[int, nn.Module]],
        heads: Mapping[str, nn.Module],
        table: Mapping[str, Sequence[int]],
        *,
        ambient: nn.Module,
    ) -> SharingTable:
        """A table over stages there are already.

        Args:
            stages: Per stage, its copies ``(x, ambient) -> x`` by number.
            heads: Module from features to prediction, per task.
            table: Per task, the number of the copy it passes at each stage.
            ambient: From inputs to what every stage may read, see `Stages`.
        """
        made = cls.__new__(cls)
        PerInput.__init__(made)
        made._fill(stages, heads, table, ambient)
        return made

    def _fill(
        self,
        stages: Sequence[Mapping[int, nn.Module]],
        heads: Mapping[str, nn.Module],
        table: Mapping[str, Sequence[int]],
        ambient: nn.Module,
    ) -> None:
        self.heads, self.tasks, self.ambient = head_dict(heads), task_names(heads), ambient
        _check(table, self.tasks, stages)
        self.table = {task: tuple(table[task]) for task in self.tasks}
        used = [{row[k] for row in self.table.values() if k < len(row)} for k in range(len(stages))]
        self.stages = module_list(
            nn.ModuleDict({str(i): copies[i] for i in sorted(some)})
            for copies, some in zip(stages, used, strict=True)
        )

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Where tasks' ways part: the states before each task's first stage of its own."""
        states: dict[tuple[int, ...], Tensor] = {(): x}
        features, ambient = {"inputs": x}, self.ambient(x)
        for task in tasks:
            way = self.table[task][: self._common(task)]
            for k in range(len(way)):
                here = way[: k + 1]
                if here not in states:
                    states[here] = self._stage(k, here[-1])(states[way[:k]], ambient)
            features[_name(way)] = states[way]
        return features

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """What is left of each task's way, and its head."""
        predictions, ambient = {}, self.ambient(features["inputs"])
        for task in tasks:
            row, common = self.table[task], self._common(task)
            state = features[_name(row[:common])]
            for k in range(common, len(row)):
                state = self._stage(k, row[k])(state, ambient)
            predictions[task] = self.heads[task](state)
        return predictions

    def similarities(self, inputs: Tensor, stage: int) -> Tensor:
        """Debiased CKA of the tasks' pooled features after a stage, ``(T, T)``.

        Args:
            inputs: Some hundreds of samples.
            stage: Counted from 0; every task has to pass it.
        """
        if not 0 <= stage < min(map(len, self.table.values())):
            raise ValueError(f"`stage` should be one that every task passes, found {stage}.")
        modes = [(m, m.training) for m in self.modules()]
        self.eval()
        features = []
        with torch.no_grad():
            ambient = self.ambient(inputs)
            for row in self.table.values():
                state = inputs
                for k in range(stage + 1):
                    state = self._stage(k, row[k])(state, ambient)
                features.append(pooled(state))
        for module, mode in modes:
            module.training = mode
        return torch.tensor([[debiased_cka(x, y) for y in features] for x in features])

    def fused(self, inputs: Tensor, *, stage: int, threshold: float = 0.95) -> SharingTable:
        """Let tasks whose features after a stage are alike share it, and all stages before it.

        A step of progressive decoder fusion: measure, decide, fuse; then train, and go on with the
        next stage. Groups are such that every pair in them is alike, the largest first. Those of a
        group get the stages of its first task, whose predictions do not change; parameters are
        those of this network, less the ones that nobody passes any more.

        Args:
            inputs: Some hundreds of samples.
            stage: Counted from 0.
            threshold: Least similarity.
        """
        import networkx as nx

        alike = self.similarities(inputs, stage) >= threshold
        graph = nx.from_numpy_array((alike & alike.T).fill_diagonal_(False).numpy())
        rows, left = {t: list(row) for t, row in self.table.items()}, graph.copy()
        while left:
            group = min(nx.find_cliques(left), key=lambda nodes: (-len(nodes), sorted(nodes)))
            first, *others = (self.tasks[i] for i in sorted(group))
            for task in others:
                rows[task][: stage + 1] = self.table[first][: stage + 1]
            left.remove_nodes_from(group)
        copies = [{int(i): module for i, module in some.items()} for some in self.stages]
        return SharingTable.of(copies, dict(self.heads.items()), rows, ambient=self.ambient)

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The stages that no other task passes, and the head."""
        row = self.table[task]
        alone = [self._stage(k, i) for k, i in enumerate(row) if len(self._users(k, i)) == 1]
        return [*alone, self.heads[task]]

    def _common(self, task: str) -> int:
        """Stages before the first that the task has for itself."""
        row = self.table[task]
        own = (k for k, i in enumerate(row) if len(self._users(k, i)) == 1)
        return next(own, len(row))

    def _users(self, stage: int, number: int) -> list[str]:
        return [t for t, row in self.table.items() if stage < len(row) and row[stage] == number]

    def _stage(self, stage: int, number: int) -> nn.Module:
        copies = self.stages[stage]
        return copies[str(number)]


def _name(way: Sequence[int]) -> str:
    return "after " + "-".join(map(str, way)) if way else "inputs"


def _check(
    table: Mapping[str, Sequence[int]],
    tasks: Sequence[str],
    stages: Sequence[Mapping[int, nn.Module]],
) -> None:
    if set(table) != set(tasks):
        raise ValueError(f"`table` should have the tasks {list(tasks)}, found {list(table)}.")
    for task, row in table.items():
        if not 1 <= len(row) <= len(stages):
            raise ValueError(
                f"`table` should have 1 to {len(stages)} stages per task, as many as the encoder "
                f"can be cut into, found {len(row)} for '{task}'."
            )
        if unknown := [i for i, copies in zip(row, stages, strict=False) if i not in copies]:
            raise ValueError(f"`table` should number copies from 0, found {unknown} for '{task}'.")
    if max(map(len, table.values())) < len(stages):
        raise ValueError(
            f"`table` should lead one task at least through all {len(stages)} stages, found none."
        )
