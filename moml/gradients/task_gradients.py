"""What a weighting may look at in one step; each quantity is paid for when it is touched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support.flat import numbers, shaped
from moml.errors import NonFiniteError

Heads = Literal["unit", "weighted"]


class FurtherBatches(Protocol):
    """Where a step's evaluation comes from, for methods that need more than one of them."""

    def further(self, i: int) -> Evaluation:
        """The losses of the i-th further batch, ``i >= 1``, at the same parameters."""

    def again(self) -> Evaluation:
        """The losses of the same batch, at the parameters as they are now."""


class Evaluation(ABC):
    """Losses and gradients of the ``m`` tasks present in one step.

    ``losses`` costs nothing, ``gramian`` and ``jacobian`` cost one backward pass per task the first
    time they are touched and nothing after that. ``apply`` costs one backward pass if no row was
    formed before, otherwise it reuses the rows.

    Attributes:
        names: Names of the tasks present, one per row.
        tasks: Position of each row among all tasks of the problem, ``(m,)``.
        source: Gives further evaluations; set by the training loop.
    """

    names: tuple[str, ...]
    tasks: Tensor
    source: FurtherBatches | None = None
    _step: int | None = 0
    _epoch: int | None = 0

    @property
    def step(self) -> int:
        """Number of optimizer steps done before this one.

        Raises:
            ValueError: If a loop of one's own did not say.
        """
        return _said(self._step, "step", "steps")

    @step.setter
    def step(self, step: int | None) -> None:
        self._step = step

    @property
    def epoch(self) -> int:
        """Epoch of the batch.

        Raises:
            ValueError: If a loop of one's own did not say.
        """
        return _said(self._epoch, "epoch", "epochs")

    @epoch.setter
    def epoch(self, epoch: int | None) -> None:
        self._epoch = epoch

    def follow(self, whole: Evaluation) -> None:
        """Take over when and where another evaluation of the same step is."""
        self._step, self._epoch, self.source = whole._step, whole._epoch, whole.source

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
        return ScaledGradients(self, factors)

    def reweighted(self, transform: Callable[[Tensor], Tensor]) -> Evaluation:
        """The same step, where applied weights pass through ``transform`` first."""
        return Reweighted(self, transform)

    def draw(self, i: int) -> Evaluation:
        """The same losses on an independent batch, computed when first asked for.

        Where there are no further batches, as for gradients computed elsewhere, it is this one:
        estimates that need independent batches are biased then.

        Args:
            i: 0 for this evaluation, 1 and more for further batches.
        """
        return self if i == 0 or self.source is None else self.source.further(i)

    def cross(self, other: Evaluation) -> Tensor:
        """Inner products of this evaluation's gradients with another's, float64, ``(m, m')``."""
        if other is self:
            return self.gramian
        return (self.jacobian.double() @ other.jacobian.double().T).cpu()

    def select(self, rows: Tensor) -> Evaluation:
        """The same step with some of its tasks only, as if the others were absent.

        Args:
            rows: Positions of the rows that stay.

        Raises:
            ValueError: If the losses are not alive.
        """
        raise ValueError(
            f"`evaluation` should have losses with a graph here, found {type(self).__name__}. "
            "Use the oracle `Direct` or `Representation`."
        )

    def task_gradients(self) -> tuple[Sequence[Parameter], Sequence[Sequence[Tensor | None]]]:
        """The shared parameters, and per task its gradient on each, ``None`` for zero.

        Raises:
            ValueError: If rows are not gradients with respect to parameters.
        """
        raise ValueError(
            "`evaluation` should have gradients with respect to parameters here, found "
            f"{type(self).__name__}. Use the oracle `Direct`."
        )

    @property
    def blocks(self) -> list[int]:
        """Number of entries of each parameter tensor that makes up a row."""
        return [self.jacobian.shape[1]]

    @property
    def places(self) -> Sequence[int]:
        """Which shared parameter each of the `blocks` is: its place among all, frozen ones too.

        Methods that remember gradients (`moml.weighting.MoCo`) find a parameter's own by it.
        """
        return range(len(self.blocks))

    def split(self, groups: Sequence[Sequence[int]]) -> list[Given]:
        """The same step for parts of the rows.

        Args:
            groups: Positions in `blocks`, one collection a part. What is applied to a part is kept
                by the part (`Given.written`).
        """
        pieces = self.jacobian.split(self.blocks, dim=1)
        return [self._part(groups, k, [pieces[i] for i in group]) for k, group in enumerate(groups)]

    def _part(self, groups: Sequence[Sequence[int]], k: int, pieces: list[Tensor]) -> Given:
        rows = torch.cat(pieces, dim=1)
        part = Given(rows, self.losses, self.names, [Parameter(rows.new_zeros(rows.shape[1]))])
        part.follow(self)
        part.tasks = self.tasks
        part.source = None if self.source is None else _PartOf(self, groups, k)
        return part

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

    @property
    def blocks(self) -> list[int]:
        """Entries of each parameter given; one block without any."""
        return [p.numel() for p in self.parameters] or [self._jacobian.shape[1]]

    def task_gradients(self) -> tuple[list[Parameter], list[list[Tensor | None]]]:
        """The parameters given, and the rows cut to their shapes."""
        sizes = [p.numel() for p in self.parameters]
        rows: list[list[Tensor | None]] = [
            [piece.view_as(p) for piece, p in zip(row.split(sizes), self.parameters, strict=True)]
            for row in self._jacobian
        ]
        return self.parameters, rows

    def written(self) -> Tensor:
        """What was applied so far, flat, ``(n,)``; zero where nothing was."""
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        return torch.cat([grad.reshape(-1) for grad in grads])

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
        self.follow(base)

    @property
    def losses(self) -> Tensor:
        return self.base.losses

    @property
    def gramian(self) -> Tensor:
        return self.base.gramian

    @property
    def known_gramian(self) -> Tensor | None:
        return None if self.base.known_gramian is None else self.gramian

    @property
    def jacobian(self) -> Tensor:
        return self.base.jacobian

    @property
    def blocks(self) -> list[int]:
        return self.base.blocks

    @property
    def places(self) -> Sequence[int]:
        return self.base.places

    def assign(self, direction: Tensor) -> None:
        self.base.assign(direction)

    def draw(self, i: int) -> Evaluation:
        return self if i == 0 else self.base.draw(i)

    def cross(self, other: Evaluation) -> Tensor:
        return self.base.cross(other.base if isinstance(other, _Wrapped) else other)


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

    def select(self, rows: Tensor) -> Evaluation:
        """Some of the tasks; the others' weights are zero when the weights are transformed."""
        m = len(self.names)

        def transform(weights: Tensor) -> Tensor:
            return self.transform(weights.new_zeros(m).index_copy(0, rows, weights))[rows]

        return Reweighted(self.base.select(rows), transform)

    def task_gradients(self) -> tuple[Sequence[Parameter], Sequence[Sequence[Tensor | None]]]:
        """Those of the step inside."""
        return self.base.task_gradients()


class ScaledGradients(Reweighted):
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

    def select(self, rows: Tensor) -> Evaluation:
        """Some of the tasks, with their factors."""
        return ScaledGradients(self.base.select(rows), self.factors[rows])

    def task_gradients(self) -> tuple[Sequence[Parameter], list[list[Tensor | None]]]:
        """The shared parameters and the scaled gradients."""
        parameters, rows = self.base.task_gradients()
        pairs = zip(rows, self.factors.tolist(), strict=True)
        return parameters, [[g if g is None else g * f for g in row] for row, f in pairs]

    def draw(self, i: int) -> Evaluation:
        """A further batch with the same factors, 1 for tasks that are not in this one."""
        if i == 0:
            return self
        further = self.base.draw(i)
        known = dict(zip(self.tasks.tolist(), self.factors.tolist(), strict=True))
        return ScaledGradients(
            further, torch.tensor([known.get(t, 1.0) for t in further.tasks.tolist()])
        )

    def cross(self, other: Evaluation) -> Tensor:
        """Inner products of scaled gradients."""
        if not isinstance(other, ScaledGradients):
            return self.factors[:, None] * self.base.cross(other)
        return self.base.cross(other.base) * self.factors.outer(other.factors)


class _PartOf:
    """Further evaluations of a part: the same part of further evaluations."""

    def __init__(self, whole: Evaluation, groups: Sequence[Sequence[int]], k: int) -> None:
        self.whole, self.groups, self.k = whole, groups, k

    def further(self, i: int) -> Given:
        return self.whole.draw(i).split(self.groups)[self.k]

    def again(self) -> Given:
        assert self.whole.source is not None
        return self.whole.source.again().split(self.groups)[self.k]


def _said(number: int | None, name: str, plural: str) -> int:
    if number is None:
        raise ValueError(
            f"`{name}` should be given to `moml.backward` with a method that counts {plural}, "
            f"found None. Pass `{name}=`."
        )
    return number


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
    pieces = direction.split([numbers(p) for p in parameters]) if parameters else ()
    for parameter, piece in zip(parameters, pieces, strict=True):
        accumulate(parameter, shaped(piece, parameter))


def accumulate(parameter: Tensor, gradient: Tensor) -> None:
    """Add to ``.grad`` as ``backward`` does."""
    if parameter.grad is None:
        gradient = gradient.to(parameter.dtype)
        parameter.grad = gradient if gradient.is_sparse else gradient.contiguous()
    else:
        parameter.grad += gradient
    if hooks := parameter._post_accumulate_grad_hooks:  # optimizers that step in the backward pass
        for hook in list(hooks.values()):
            hook(parameter)
