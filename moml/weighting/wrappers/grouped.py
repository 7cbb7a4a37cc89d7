"""A trade-off of its own for every group of parameters."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import Needs, Randomized, Weighting, nothing_shared
from moml.weighting.wrappers._base import Wrapper


class Grouped(Wrapper):
    """Applies a method to each group of shared parameters as if there were no others.

    Per layer, conflicts that cancel over the whole network show; LibMTL's GradVac has this option,
    here it is any method's. Groups are consecutive parameter tensors of about equal size. Every
    group has a copy of the method with a state of its own, and random methods draw a stream of
    their own in each. Heads get their own loss's gradient: there is no one weight per task, hence
    none in the log.

    Args:
        weighting: The method; must not have learnable parameters.
        groups: Number of groups; at most one per parameter tensor is used.
    """

    own_needs: Needs = "jacobian"

    def __init__(self, weighting: Weighting, *, groups: int = 4) -> None:
        super().__init__(weighting)
        self.groups = checks.whole("groups", groups, least=1)
        self.members = nn.ModuleList(independent(weighting, k) for k in range(1, groups))

    def _allocate(self, num_tasks: int) -> None:
        super()._allocate(num_tasks)
        for member in self._members():
            member.setup(self.names)
        if next(self.weighting.parameters(), None) is not None:
            raise ValueError(
                "`weighting` inside Grouped should have no learnable parameters, found "
                f"{type(self.weighting).__name__}. Put it around: `Scaled(Grouped(…), scaling=…)`."
            )

    def update(self, evaluation: Evaluation) -> None:
        """Let every group's method act on its columns, and apply what they wrote."""
        if nothing_shared(evaluation):
            evaluation.assign(evaluation.jacobian.new_zeros(0))
            return
        groups = consecutive(evaluation.blocks, self.groups)
        pieces = []
        for member, part in zip(self._members(), evaluation.split(groups), strict=False):
            member.update(part)
            pieces.append(part.written())
        evaluation.assign(torch.cat(pieces))

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> None:
        """None: nothing is learnable."""
        return

    def _members(self) -> list[Weighting]:
        return [self.weighting, *self.members]


def independent(weighting: Weighting, stream: int) -> Weighting:
    """A copy that draws other random numbers."""
    twin = copy.deepcopy(weighting)
    for part in twin.modules():
        if isinstance(part, Randomized):
            part.reseed(stream)
    return twin


def consecutive(sizes: list[int], number: int) -> list[list[int]]:
    """Positions cut into runs of about equal total size, none of them empty."""
    number = min(number, len(sizes))
    total, runs, done = sum(sizes), [[]], 0  # type: ignore[var-annotated]
    for position, size in enumerate(sizes):
        left, needed = len(sizes) - position, number - len(runs)
        full = done >= total * len(runs) / number and len(runs) < number
        if runs[-1] and (full or left == needed):
            runs.append([])
        runs[-1].append(position)
        done += size
    return runs
