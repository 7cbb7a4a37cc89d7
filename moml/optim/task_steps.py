"""One step per group of tasks: independent update steps, and independent optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moml._support import checks
from moml._support.task_names import task_names
from moml.gradients.task_gradients import Evaluation
from moml.optim._base import Updater

Resample = Literal["run", "epoch", "step"]


class TaskSteps(Updater):
    """Several steps a batch, one for each group of tasks, at the parameters the last one left.

    Pascal et al., `Improved optimization strategies for deep Multi-Task Networks
    <https://arxiv.org/abs/2109.11678>`_, 2021. With one optimizer for all groups these are
    independent update steps (IUS); with ``independent`` optimizers, each with moments of its own
    over all parameters, IO. With SGD both are the same. Tasks are dealt to groups at random.

    A group's step is that of its tasks' losses times the weights the weighting gave in this batch.
    Every group costs a forward and a backward pass; running statistics see the batch once. A
    parameter that a group's losses do not reach has no gradient and does not move in its step.
    Schedules advance once per batch. Parameters of the weighting take one step a batch.

    Args:
        make_optimizer: Makes an optimizer for parameters.
        parameters: All parameters of the network.
        tasks: All tasks.
        num_groups: Number of groups; one per task unless given.
        independent: An optimizer for each group (IO) instead of one for all (IUS).
        resample: When tasks are dealt anew: once per ``run``, ``epoch``, or ``step``.
        scheduler: Makes a scheduler for an optimizer.
        seed: Of the generator that deals.
    """

    def __init__(
        self,
        make_optimizer: Callable[[Iterable[Parameter]], Optimizer],
        parameters: Iterable[Parameter],
        tasks: Sequence[str],
        *,
        num_groups: int | None = None,
        independent: bool = False,
        resample: Resample = "run",
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        seed: int = 0,
    ) -> None:
        checks.function("make_optimizer", make_optimizer, "lambda ps: torch.optim.SGD(ps, 0.1)")
        if scheduler is not None:
            checks.function("scheduler", scheduler, "lambda optimizer: StepLR(optimizer, 10)")
        self.tasks = task_names(tasks, "tasks")
        self.num_groups = len(self.tasks) if num_groups is None else num_groups
        checks.whole("num_groups", self.num_groups)
        if not 1 <= self.num_groups <= len(tasks):
            raise ValueError(
                f"`num_groups` should be from 1 to the number of tasks ({len(tasks)}), "
                f"found {num_groups}."
            )
        self.resample = checks.choice("resample", resample, get_args(Resample))
        checks.flag("independent", independent)
        self.make_optimizer, self.network = make_optimizer, list(parameters)
        count = self.num_groups if independent else 1
        self.optimizers = [make_optimizer(self.network) for _ in range(count)]
        self.adopted: list[Parameter] = []
        self._make_scheduler, self._schedulers = (
            scheduler,
            [] if scheduler is None else [scheduler(optimizer) for optimizer in self.optimizers],
        )
        self._generator = torch.Generator().manual_seed(checks.seed(seed))
        self._groups: list[list[int]] = []
        self._dealt = -1  # epoch or step of the last deal

    def parameters(self) -> list[Parameter]:
        """Those of the network and of the weighting."""
        return [*self.network, *self.adopted]

    def adopt(self, parameters: Iterable[Parameter]) -> None:
        """Step these once a batch, by an optimizer of their own."""
        known = set(self.parameters())
        self.adopted = [p for p in parameters if p not in known]
        if self.adopted:
            self.optimizers.append(self.make_optimizer(self.adopted))
            for group in self.optimizers[-1].param_groups:
                group["weight_decay"] = 0.0

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def step(self, evaluation: Evaluation, weights: Tensor | None) -> None:
        """One step per group.

        Raises:
            ValueError: If the batch cannot be evaluated again.
        """
        if evaluation.source is None:
            raise ValueError(
                "`evaluation` should come from `moml.fit`, which can evaluate a batch again, "
                "found one without a source. A step per group needs fresh losses."
            )
        if weights is None:
            weights = torch.ones(len(evaluation.names), dtype=torch.float64)
        if self.adopted:
            self.optimizers[-1].step()
        for number, group in enumerate(self._current(evaluation)):
            chosen = torch.isin(evaluation.tasks, torch.tensor(group))
            if not chosen.any():
                continue
            for parameter in self.network:
                parameter.grad = None
            self._descend(evaluation.source.again(), weights, chosen)
            shared = len(self.optimizers) - bool(self.adopted) == 1
            self.optimizers[0 if shared else number].step()
        for scheduler in self._schedulers:
            scheduler.step()

    def _descend(self, evaluation: Evaluation, weights: Tensor, chosen: Tensor) -> None:
        """Write the gradient of the group's losses, ``None`` where they do not reach."""
        evaluation.select(chosen.nonzero().flatten()).apply(weights[chosen])

    def _current(self, evaluation: Evaluation) -> list[list[int]]:
        """The groups of this step, dealt anew if it is time."""
        now = {"run": 0, "epoch": evaluation.epoch, "step": evaluation.step}[self.resample]
        if now != self._dealt:
            order = torch.randperm(len(self.tasks), generator=self._generator)
            self._groups = [part.tolist() for part in order.tensor_split(self.num_groups)]
            self._dealt = now
        return self._groups

    def learning_rate(self) -> float:
        """That of the first optimizer."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def described(self) -> str:
        """The optimizers, and the number of groups."""
        kinds = [type(optimizer).__name__ for optimizer in self.optimizers]
        return f"TaskSteps of {kinds} for {self.num_groups} groups"

    def state_dict(self) -> dict[str, Any]:
        """Optimizers, schedules, groups, generator."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self._schedulers],
            "groups": self._groups,
            "dealt": self._dealt,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore all of it."""
        for optimizer, stored in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        for scheduler, stored in zip(self._schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(stored)
        self._groups = [list(group) for group in state["groups"]]
        self._dealt = state["dealt"]
        self._generator.set_state(state["generator"])
