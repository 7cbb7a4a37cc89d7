"""Grouped adaptive loss weighting: tasks that converge alike share one learnable weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import LossWeighting, Needs
from moml.weighting._clusters import clusters
from moml.weighting._preference import rows


class GALW(LossWeighting):
    r"""Weights from a learnable uncertainty per group of tasks with similar convergence rates.

    After Tian et al., `Grouped Adaptive Loss Weighting for Person Search
    <https://arxiv.org/abs/2209.11492>`_, ACM MM 2022. A task's rate is the slope of the logarithm
    of its gradient's norm over the first ``warmup`` steps; tasks are grouped by the logarithm of
    their rates, and groups weighed by :math:`\sum_g \tfrac12 e^{-2 s_g} \sum_{i \in g} L_i + s_g`.
    At the optimum every group contributes 1/2. One group is `EW` up to a factor, a group for each
    task is `UW`. The paper gives no formula for rates and grouping; these are a reconstruction.

    During the warm-up all tasks are one group and a step costs one backward pass per task;
    afterwards it costs that of `EW`. Rates measured in the first transient mean little.

    Args:
        num_groups: Number of groups to find; at most one per task.
        warmup: Steps over which rates are measured.
        groups: Number of the group by task name instead; no warm-up then.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"permutation", "linear_under_scaling", "scale_invariant"})
    paper = "Tian et al., Grouped Adaptive Loss Weighting for Person Search, ACM MM 2022"
    log_deviations: Parameter
    group: Tensor
    moments: Tensor
    seen: Tensor

    def __init__(
        self,
        *,
        num_groups: int = 2,
        warmup: int = 100,
        groups: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.num_groups = checks.whole("num_groups", num_groups, least=1)
        self.warmup = checks.whole("warmup", warmup, least=2, unit="steps for a slope")
        self.groups = groups
        if groups is not None:
            what = "a mapping from task to number of its group"
            for number in checks.instance("groups", groups, Mapping, what).values():
                checks.whole("groups", number, least=0)

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        """The Gramian as long as rates are measured."""
        return "losses" if self.groups is not None else "gramian"

    def _allocate(self, num_tasks: int) -> None:
        self.log_deviations = Parameter(torch.zeros(num_tasks))  # those of groups in use train
        self.register_buffer("group", self._given_groups(num_tasks))
        # per task: number, and sums of s, s^2, log norm, s log norm over the steps s
        self.register_buffer("moments", torch.zeros(5, num_tasks, dtype=torch.float64))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def _given_groups(self, num_tasks: int) -> Tensor:
        if self.groups is None:
            return torch.zeros(num_tasks, dtype=torch.long)
        numbers = set(self.groups.values())
        if set(self.groups) != set(self.names) or not numbers <= set(range(num_tasks)):
            raise ValueError(
                f"`groups` should give each of {list(self.names)} a group number from 0 to "
                f"{num_tasks - 1}, found {dict(self.groups)}."
            )
        return torch.tensor([self.groups[name] for name in self.names])

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Half the inverse variance of each task's group, ``(m,)``."""
        self._check_bound()
        own = self.log_deviations.double()[rows(self.group, tasks)]
        return 0.5 * torch.exp(-2.0 * own).detach()

    def update(self, evaluation: Evaluation) -> Tensor:
        """Measure rates while it is time, then apply."""
        self._check_bound()
        if self.groups is None and self.seen < self.warmup:
            self._measure(evaluation)
        return super().update(evaluation)

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """The objective as a function of the deviations, of the groups that are present."""
        self._check_bound()
        group = rows(self.group, tasks)
        own = self.log_deviations.double()
        fit = 0.5 * (torch.exp(-2.0 * own[group]) * losses.detach().double()).sum()
        return fit + own[group.unique()].sum()

    def _measure(self, evaluation: Evaluation) -> None:
        squares = evaluation.gramian.diagonal()
        live = squares > 0.0  # a zero gradient tells nothing of the rate
        logs = 0.5 * squares[live].log()
        step = torch.full_like(logs, float(self.seen))
        sums = torch.stack([torch.ones_like(logs), step, step**2, logs, step * logs])
        self.moments[:, evaluation.tasks[live]] += sums
        self.seen += 1
        if self.seen == self.warmup:
            self.group.copy_(clusters(self._log_rates(), min(self.num_groups, len(self.names))))
            with torch.no_grad():  # every group goes on from where all were together
                self.log_deviations.copy_(self.log_deviations[0].expand(len(self.names)))

    def _log_rates(self) -> Tensor:
        n, s, ss, g, sg = self.moments
        spread = (n * ss - s * s).clamp_min(1e-12)
        slope = (n * sg - s * g) / spread
        return (-slope).clamp_min(1e-9).log()  # gradients that grow count as slowest
