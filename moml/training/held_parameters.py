"""Whether the optimizer holds what is to be trained, also where that changes during a run."""

from __future__ import annotations

from moml.optim import Updater
from moml.problem import Objectives


class HeldParameters:
    """Every trainable parameter should be in the updater: a run would leave it as it is, silently.

    Looking through a network takes a hundredth of a small step. So parameters that were frozen at
    the start are looked at in every step, and the whole network once an epoch.

    Args:
        problem: The problem.
        updater: The updater.

    Raises:
        ValueError: If a trainable parameter is missing.
    """

    def __init__(self, problem: Objectives, updater: Updater) -> None:
        self.problem, self.updater = problem, updater
        self._epoch = -1
        held = set(updater.parameters())
        self._frozen = [
            p for p in problem.module.parameters() if not p.requires_grad and p not in held
        ]
        self._look()

    def check(self, epoch: int) -> None:
        """Look again before a step of an epoch.

        Raises:
            ValueError: If a trainable parameter is missing.
        """
        if epoch != self._epoch or any(p.requires_grad for p in self._frozen):
            self._epoch = epoch
            self._look()

    def _look(self) -> None:
        known = set(self.updater.parameters())
        missing = [n for n, p in self.problem.trainable() if p not in known]
        if missing:
            more = ", …" if len(missing) > 3 else ""
            raise ValueError(
                f"`updater` should hold every trainable parameter of the problem, found "
                f"{len(missing)} missing: {', '.join(missing[:3])}{more}. Pass them to the "
                "optimizer (`add_param_group` during a run), or set `requires_grad_(False)`."
            )
