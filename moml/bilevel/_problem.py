"""Bi-level problems: several upper objectives of what a lower level settles on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Parameter

from moml.data.bilevel_batch import BilevelBatch
from moml.problem import Losses, Objectives

if TYPE_CHECKING:
    from moml.bilevel.inner import InnerSolver

Params = dict[str, Tensor]
"""Named tensors, as `torch.func.functional_call` takes them."""


class BilevelProblem(Objectives):
    r"""Upper objectives :math:`F_k(\theta(\omega), \omega)` of a lower solution.

    :math:`\min_\omega (F_1, \dots, F_m)` subject to
    :math:`\theta(\omega) \in \arg\min_\theta f(\theta, \omega)`.

    Everything here is a pure function of its arguments: what the lower level does between steps
    belongs to the oracle (`moml.bilevel.Bilevel`). `tasks` are the names of the upper objectives.
    """

    @abstractmethod
    def upper_parameters(self) -> dict[str, Parameter]:
        """What the upper level moves: weights, an initialisation, an architecture."""

    @abstractmethod
    def lower_init(
        self, omega: Mapping[str, Tensor], batch: BilevelBatch, previous: Params | None
    ) -> Params:
        """Where the lower level starts.

        Args:
            omega: The upper parameters.
            batch: Data of the step.
            previous: Where the lower level was left after the last step, if the oracle keeps it.

        Returns:
            Lower variables: functions of ``omega`` where the start is what is learnt (MAML), else
            ``previous`` or an initial value.
        """

    @abstractmethod
    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Tensor:
        """What the lower level minimises over ``theta``, a scalar."""

    @abstractmethod
    def upper_losses(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Losses:
        """Scalars by objective; an inactive constraint is absent, never a zero row."""

    def episodes(self, batch: Any) -> Sequence[BilevelBatch]:
        """Lower levels of one step; objectives are averaged over them. One by default."""
        return (batch,)

    def lower_loss_at(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Any, step: int
    ) -> Tensor:
        """The lower loss at one of the lower level's steps, for problems that tell them apart."""
        return self.lower_loss(theta, omega, batch)

    def upper_losses_at(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Any, step: int
    ) -> Losses:
        """The objectives of the lower variables after a lower step."""
        return self.upper_losses(theta, omega, batch)

    def lower_blocks(self, batch: BilevelBatch) -> int:
        """Number of independent lower levels stacked along the first dimension of every variable.

        Linear systems are then solved block by block. One by default.
        """
        return 1

    def training_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Tensor:
        """The lower loss where the lower level really moves, once per step.

        The one place that may change a module: running statistics are updated here and nowhere
        else, so that virtual steps do not disturb them.
        """
        return self.lower_loss(theta, omega, batch)

    def inner_rates(self, omega: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor] | None:
        """Learning rates of lower variables at a lower step; the solver's own where not given."""
        return None

    def check_inner(self, inner: InnerSolver) -> None:
        """Called with the lower solver in every step: for problems that share settings with it.

        Raises:
            ValueError: If the two contradict each other.
        """
        return

    def ascends(self) -> frozenset[str]:
        """Lower variables that climb the lower loss instead of descending: a game's; none here.

        The lower level then steps along a field that is no gradient: unrolling differentiates it
        rightly, implicit methods do not apply.
        """
        return frozenset()

    def step_weights(self, steps: int) -> Mapping[int, float]:
        """After which lower steps the upper level looks, and with what weight; the last alone."""
        return {steps: 1.0}

    def commit(self, theta: Params) -> None:
        """Called after a step with the lower variables the oracle keeps: for validation, say."""
        return

    def advance(self) -> None:
        """Called after every step: for what goes by the number of steps done."""
        return

    def trainable(self) -> Iterable[tuple[str, Parameter]]:
        """The upper parameters: lower variables are moved by the oracle."""
        return self.upper_parameters().items()
