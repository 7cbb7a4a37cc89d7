"""Several updaters in one step, each for its own parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.optim._base import Updater
from moml.optim.gradient_step import GradientStep


class Several(Updater):
    """One step of each updater, all on the gradients of the same decision.

    For an optimizer, schedule or clipping of its own for every part of a network; parts with other
    rates alone need no more than parameter groups.

    Args:
        updaters: Updaters or PyTorch optimizers; no parameter in two of them. Parameters of the
            weighting join the first.

    Raises:
        ValueError: If there are none, or two hold the same parameter.

    Example:
        >>> import torch
        >>> from moml.optim import Several
        >>> body, head = torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        >>> both = Several([
        ...     torch.optim.SGD(body.parameters(), 0.1), torch.optim.Adam(head.parameters(), 1e-3)
        ... ])
        >>> len(list(both.parameters()))
        4
    """

    def __init__(self, updaters: Sequence[Updater | Optimizer]) -> None:
        if not isinstance(updaters, (list, tuple)):
            raise ValueError(
                f"`updaters` should be a list of optimizers, found {checks.found(updaters)}."
            )
        if not updaters:
            raise ValueError("`updaters` should hold at least one optimizer, found none.")
        self.updaters = [as_updater(one) for one in updaters]
        seen: dict[Parameter, int] = {}
        for i, updater in enumerate(self.updaters):
            for parameter in updater.parameters():
                if seen.setdefault(parameter, i) != i:
                    raise ValueError(
                        "`updaters` should hold every parameter once, found one of shape "
                        f"{tuple(parameter.shape)} in number {seen[parameter]} and {i}."
                    )

    def parameters(self) -> list[Parameter]:
        """Those of all."""
        return [p for updater in self.updaters for p in updater.parameters()]

    def adopt(self, parameters: Iterable[Parameter]) -> None:
        """Parameters that no updater holds join the first."""
        known = set(self.parameters())
        self.updaters[0].adopt([p for p in parameters if p not in known])

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for updater in self.updaters:
            updater.zero_grad()

    def prepare(self, evaluation: Evaluation) -> None:
        """Form what any of them needs."""
        for updater in self.updaters:
            updater.prepare(evaluation)

    def step(self, evaluation: Evaluation, weights: Tensor | None) -> None:
        """One step of each, in order."""
        for updater in self.updaters:
            updater.step(evaluation, weights)

    def learning_rate(self) -> float:
        """That of the first."""
        return self.updaters[0].learning_rate()

    def described(self) -> str:
        """Each in words."""
        return " and ".join(updater.described() for updater in self.updaters)

    def settings(self) -> list[dict[str, Any]]:
        """Those of all groups."""
        return [one for updater in self.updaters for one in updater.settings()]

    def state_dict(self) -> dict[str, Any]:
        """The state of each."""
        return {"updaters": [updater.state_dict() for updater in self.updaters]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore each."""
        for updater, own in zip(self.updaters, state["updaters"], strict=True):
            updater.load_state_dict(own)


def as_updater(updater: Updater | Optimizer | Sequence[Updater | Optimizer]) -> Updater:
    """Wrap a PyTorch optimizer, or several; an updater is returned as it is.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(updater, Updater):
        return updater
    if isinstance(updater, (list, tuple)):
        return Several(updater)
    if isinstance(updater, Optimizer):
        return GradientStep(updater)
    found = type(updater).__name__
    if isinstance(updater, type):
        found = f"the class {updater.__name__}"
    raise ValueError(
        "`updater` should be an optimizer of `torch.optim`, an updater of `moml.optim`, or a "
        f"list of them, found {found}."
    )
