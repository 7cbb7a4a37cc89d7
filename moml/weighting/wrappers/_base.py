"""What wrappers share: they pass on tasks, penalty and needs, and see what is applied."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation, Heads, Reweighted
from moml.weighting._base import Needs, Weighting

_COST: tuple[Needs, ...] = ("losses", "gramian", "jacobian")


class Wrapper(Weighting):
    """A weighting around another one, which is a submodule and so part of the ``state_dict``.

    Args:
        weighting: The one inside.
    """

    own_needs: Needs = "losses"

    def __init__(self, weighting: Weighting) -> None:
        super().__init__()
        self.weighting = checks.instance(
            "weighting", weighting, Weighting, "a weighting such as `moml.weighting.MGDA()`"
        )

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        """The more expensive of the wrapper's own need and that of the weighting inside."""
        return max(self.own_needs, self.weighting.needs, key=_COST.index)

    def _allocate(self, num_tasks: int) -> None:
        self.weighting.setup(self.names)

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor | None:
        """That of the weighting inside."""
        return self.weighting.penalty(losses, tasks=tasks)

    def learn(self, losses: Tensor, *, tasks: Tensor | None = None) -> None:
        """As the weighting inside does."""
        self.weighting.learn(losses, tasks=tasks)


class Recorder(Reweighted):
    """The same step, remembering the weights that are applied to it.

    Args:
        base: The step.
        transform: Applied weights pass through it first.
        wrapper: Named in the error if something else than weights is applied.
    """

    def __init__(
        self, base: Evaluation, transform: Callable[[Tensor], Tensor], wrapper: Wrapper
    ) -> None:
        super().__init__(base, transform)
        self.wrapper = wrapper
        self.applied: Tensor | None = None
        self.heads: Heads | None = None

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Apply the transformed weights and keep them.

        Raises:
            ValueError: If some were applied already.
        """
        if self.applied is not None:
            raise ValueError(self._complaint("weights twice"))
        self.applied = self.transform(weights.detach().double().cpu())
        self.heads = heads
        self.base.apply(self.applied, heads=heads)

    def assign(self, direction: Tensor) -> None:
        """Refuse: there are no weights to work with.

        Raises:
            ValueError: Always.
        """
        raise ValueError(self._complaint("a direction"))

    def select(self, rows: Tensor) -> Evaluation:
        """Refuse: weights of some tasks are not those of all.

        Raises:
            ValueError: Always.
        """
        raise ValueError(self._complaint("weights to some of the tasks"))

    def weights(self) -> Tensor:
        """The weights applied.

        Raises:
            ValueError: If nothing was applied.
        """
        if self.applied is None:
            raise ValueError(self._complaint("nothing"))
        return self.applied

    def _complaint(self, found: str) -> str:
        return (
            f"`weighting` inside {type(self.wrapper).__name__} should apply weights, found "
            f"{type(self.wrapper.weighting).__name__}, which applies {found}. "
            "Wrap a method that has one weight per task."
        )
