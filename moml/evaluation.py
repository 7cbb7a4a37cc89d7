"""What a weighting may look at in one step; each quantity is paid for when it is touched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from moml.errors import NonFiniteError

Heads = Literal["unit", "weighted"]


class Evaluation(ABC):
    """Losses and gradients of the ``m`` tasks present in one step.

    ``losses`` costs nothing, ``gramian`` and ``jacobian`` cost one backward pass per task the first
    time they are touched and nothing after that. ``apply`` costs one backward pass if no row was
    formed before, otherwise it reuses the rows.

    Attributes:
        names: Names of the tasks present, one per row.
        tasks: Position of each row among all tasks of the problem, ``(m,)``.
        step: Number of optimizer steps done before this one.
        epoch: Epoch of the batch.
    """

    names: tuple[str, ...]
    tasks: Tensor
    step: int = 0
    epoch: int = 0

    @property
    @abstractmethod
    def losses(self) -> Tensor:
        """Detached losses, float64 on the CPU, ``(m,)``."""

    @property
    @abstractmethod
    def gramian(self) -> Tensor:
        """Inner products of the tasks' gradients, float64 on the CPU, ``(m, m)``."""

    @property
    def known_gramian(self) -> Tensor | None:
        """The Gramian if it was computed already, for free diagnostics; ``None`` otherwise."""
        return None

    @property
    @abstractmethod
    def jacobian(self) -> Tensor:
        """The tasks' gradients as rows, ``(m, n)``."""

    @abstractmethod
    def pullback(self, weights: Tensor) -> Tensor:
        """The gradient that `apply` would write on the shared parameters, flat, ``(n,)``."""

    @abstractmethod
    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Accumulate the weighted gradient into ``.grad``.

        Args:
            weights: One weight per row, ``(m,)``.
            heads: How private parameters are scaled: by their task's weight or not at all. The
                oracle's setting unless given.
        """

    @abstractmethod
    def assign(self, direction: Tensor) -> None:
        """Accumulate a flat direction ``(n,)`` on the shared parameters; heads get unit weight."""

    def scaled(self, factors: Tensor) -> Evaluation:
        """The same step with every loss multiplied by a constant factor ``(m,)``."""
        return Scaled(self, factors)

    def reweighted(self, transform: Callable[[Tensor], Tensor]) -> Evaluation:
        """The same step, where applied weights pass through ``transform`` first."""
        return Reweighted(self, transform)

    @classmethod
    def from_jacobian(
        cls,
        jacobian: Tensor,
        losses: Tensor,
        *,
        names: Sequence[str] | None = None,
        parameters: Sequence[Parameter] = (),
    ) -> Evaluation:
        """An evaluation of gradients computed elsewhere.

        Args:
            jacobian: One gradient per row, ``(m, n)``.
            losses: ``(m,)``.
            names: Task names; ``"0", "1", …`` unless given.
            parameters: Where `apply` and `assign` write to; together they hold ``n`` numbers.

        Raises:
            ValueError: If shapes do not fit.
        """
        if jacobian.dim() != 2:
            raise ValueError(
                f"`jacobian` should have shape (m, n), found {tuple(jacobian.shape)}. "
                "Flatten and stack the tasks' gradients as rows."
            )
        m = len(jacobian)
        if losses.shape != (m,):
            raise ValueError(
                f"`losses` should have one entry per row of `jacobian` ({m}), "
                f"found shape {tuple(losses.shape)}."
            )
        if parameters and sum(p.numel() for p in parameters) != jacobian.shape[1]:
            raise ValueError(
                f"`parameters` should hold as many numbers as a row of `jacobian` "
                f"({jacobian.shape[1]}), found {sum(p.numel() for p in parameters)}."
            )
        row_names = tuple(names) if names is not None else tuple(str(i) for i in range(m))
        if len(row_names) != m:
            raise ValueError(f"`names` should have {m} entries, found {len(row_names)}.")
        return Given(jacobian.detach(), losses, row_names, parameters)


class Given(Evaluation):
    """Rows that were computed elsewhere."""

    def __init__(
        self,
        jacobian: Tensor,
        losses: Tensor,
        names: tuple[str, ...],
        parameters: Sequence[Parameter],
    ) -> None:
        self._jacobian, self._losses = jacobian, losses.detach().double().cpu()
        self.names, self.tasks = names, torch.arange(len(names))
        self.parameters = list(parameters)
        self._gramian: Tensor | None = None

    @property
    def losses(self) -> Tensor:
        """The losses given."""
        return self._losses

    @property
    def gramian(self) -> Tensor:
        """Inner products of the rows."""
        if self._gramian is None:
            rows = self._jacobian.double()
            self._gramian = checked((rows @ rows.T).cpu(), self.names)
        return self._gramian

    @property
    def known_gramian(self) -> Tensor | None:
        """Inner products of the rows, if computed."""
        return self._gramian

    @property
    def jacobian(self) -> Tensor:
        """The rows given."""
        return self._jacobian

    def pullback(self, weights: Tensor) -> Tensor:
        """Weighted sum of the rows."""
        return weights.to(self._jacobian) @ self._jacobian

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Accumulate the weighted sum of the rows into the parameters given."""
        self.assign(self.pullback(weights))

    def assign(self, direction: Tensor) -> None:
        """Accumulate a direction into the parameters given."""
        accumulate_flat(self.parameters, direction)


class _Wrapped(Evaluation):
    """Forwards everything to another evaluation."""

    def __init__(self, base: Evaluation) -> None:
        self.base = base
        self.names, self.tasks = base.names, base.tasks
        self.step, self.epoch = base.step, base.epoch

    @property
    def losses(self) -> Tensor:
        return self.base.losses

    @property
    def gramian(self) -> Tensor:
        return self.base.gramian

    @property
    def jacobian(self) -> Tensor:
        return self.base.jacobian

    def assign(self, direction: Tensor) -> None:
        self.base.assign(direction)


class Reweighted(_Wrapped):
    """Applied weights pass through a transformation."""

    def __init__(self, base: Evaluation, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__(base)
        self.transform = transform

    def pullback(self, weights: Tensor) -> Tensor:
        """Gradient of the transformed weights."""
        return self.base.pullback(self.transform(weights))

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Apply the transformed weights."""
        self.base.apply(self.transform(weights), heads=heads)


class Scaled(Reweighted):
    """Every loss, hence every gradient, times a constant."""

    def __init__(self, base: Evaluation, factors: Tensor) -> None:
        self.factors = factors.detach().double().cpu()
        super().__init__(base, lambda weights: weights.double().cpu() * self.factors)

    @property
    def losses(self) -> Tensor:
        """Scaled losses."""
        return self.base.losses * self.factors

    @property
    def gramian(self) -> Tensor:
        """Inner products of the scaled gradients."""
        return self.base.gramian * self.factors.outer(self.factors)

    @property
    def jacobian(self) -> Tensor:
        """Scaled gradients."""
        rows = self.base.jacobian
        return rows * self.factors.to(rows)[:, None]


def checked(gramian: Tensor, names: Sequence[str]) -> Tensor:
    """The Gramian itself.

    Raises:
        NonFiniteError: If a task's gradient is not finite.
    """
    bad = ~torch.isfinite(gramian.diagonal())
    if bad.any():
        raise NonFiniteError("gradient", [names[i] for i in bad.nonzero().flatten().tolist()])
    return gramian


def accumulate_flat(parameters: Sequence[Parameter], direction: Tensor) -> None:
    """Add a flat vector to the ``.grad`` of ``parameters``, in order."""
    pieces = direction.split([p.numel() for p in parameters]) if parameters else ()
    for parameter, piece in zip(parameters, pieces, strict=True):
        accumulate(parameter, piece.reshape(parameter.shape))


def accumulate(parameter: Parameter, gradient: Tensor) -> None:
    """Add to ``.grad`` as ``backward`` does."""
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype).contiguous()
    else:
        parameter.grad += gradient
