"""A bi-level step traced once and compiled: lower steps, objectives and all hypergradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from moml._support import checks
from moml.bilevel._fingerprint import fingerprint
from moml.bilevel._problem import BilevelProblem
from moml.bilevel.carry import Restart
from moml.bilevel.hypergradient import Checkpointed, FirstOrder, Truncated, Unrolled
from moml.bilevel.oracle import Bilevel
from moml.data.structure import tensors_of, with_tensors
from moml.gradients.live import ParameterRows
from moml.gradients.task_gradients import Evaluation, Given
from moml.oracle import Oracle, positions

_TRACED = (Unrolled, Truncated, Checkpointed, FirstOrder)


class Compiled(Oracle):
    """The same numbers as the oracle inside, up to rounding, from one compiled function.

    Everything a step computes is traced once for each shape of the data into a graph without
    autograd, and compiled; again when modes, attributes, hooks or trainable parameters of the
    network have changed. For networks whose time goes into launching small operations this is many
    times faster; compiling takes up to a minute and grows with the number of lower steps. All
    objectives' gradients are always computed.

    Args:
        oracle: Starts afresh in every step, with a hypergradient by backpropagation.
        backend: Of `torch.compile`; with ``None`` the traced graph runs as it is.

    Raises:
        ValueError: If a step looks at values (attacks that stop early do) or keeps state, or if the
            traced graph's result is not that of the oracle, or the compiler's not that of the
            traced graph: they are compared once, since PyTorch 2.13 compiled a small convolutional
            network's second derivatives wrongly.
    """

    def __init__(self, oracle: Bilevel, *, backend: str | None = "inductor") -> None:
        if not isinstance(oracle.carry, Restart) or oracle.rows is not ParameterRows:
            raise ValueError(
                "`oracle` should start afresh in every step and form all rows, found "
                f"{type(oracle.carry).__name__} with upper_bound={oracle.upper_bound}."
            )
        if not isinstance(oracle.hypergradient, _TRACED):
            raise ValueError(
                f"`oracle` should have one of {', '.join(t.__name__ for t in _TRACED)}, found "
                f"{type(oracle.hypergradient).__name__}, which looks at values."
            )
        self.oracle, self.backend = oracle, backend
        self._functions: dict[Any, tuple[tuple[str, ...], Callable[..., list[Tensor]]]] = {}

    def __call__(self, problem: BilevelProblem, batch: Any) -> Evaluation:
        """Run the step's compiled function, compiling it the first time."""
        omega, data = dict(problem.upper_parameters()), tensors_of(batch)
        key = (
            tuple((tuple(t.shape), t.dtype, t.device) for t in data),
            tuple(problem.step_weights(self.oracle.inner.steps).items()),
            tuple(omega),
            fingerprint(problem.module),
        )
        if key not in self._functions:
            self._functions[key] = self._compile(problem, omega, batch, data)
        names, function = self._functions[key]
        with torch.no_grad():
            values = function([p.detach() for p in omega.values()], data)
        losses, rows = values[: len(names)], values[len(names) :]
        evaluation = Given(
            torch.stack(rows),
            torch.stack(losses),
            names,
            list(omega.values()),
        )
        evaluation.tasks = torch.tensor(positions(problem.tasks, dict.fromkeys(names)))  # type: ignore[arg-type]
        return evaluation

    def _compile(
        self, problem: BilevelProblem, omega: Mapping[str, Tensor], batch: Any, data: list[Tensor]
    ) -> tuple[tuple[str, ...], Callable[..., list[Tensor]]]:
        names: list[str] = []

        def step(values: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
            leaves = {
                name: value.detach().requires_grad_()
                for name, value in zip(omega, values, strict=True)
            }
            found = self.oracle.evaluate(problem, leaves, with_tensors(batch, iter(tensors)))
            names[:] = found.names
            return [*[loss.detach() for loss in found.live], *found.jacobian]

        arguments = [p.detach() for p in omega.values()], data
        plain = step(*arguments)
        try:
            traced = make_fx(step, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
        except Exception as error:  # tracing raises many kinds
            raise ValueError(
                "A compiled step should be a function of its tensors alone, found one that looks "
                f"at values or draws random numbers: {checks.said(error)}. "
                "Use the oracle without Compiled."
            ) from error
        with torch.no_grad():
            _agree(traced(*arguments), plain, "traced", "plain", "Use the oracle without Compiled.")
        return tuple(names), self._backend(traced, arguments)

    def _backend(
        self, traced: torch.fx.GraphModule, arguments: tuple[list[Tensor], list[Tensor]]
    ) -> Callable[..., list[Tensor]]:
        """The traced graph, compiled by a first call."""
        if self.backend is None:
            return traced
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the compiler's, about its own parts
            function = torch.compile(traced, backend=self.backend, dynamic=False)
            hint = "The compiler is wrong for this network: use `backend=None`, or no Compiled."
            _agree(function(*arguments), traced(*arguments), "compiled", "traced", hint)
        return function

    def advance(self, problem: Any) -> None:
        """Count the step."""
        problem.advance()


def _agree(
    found: Sequence[Tensor], expected: Sequence[Tensor], form: str, other: str, hint: str
) -> None:
    """Whether a form of the step gives the numbers of another, up to rounding."""
    for one, two in zip(found, expected, strict=True):
        tolerance = torch.finfo(two.dtype).eps ** 0.5 * (1 + float(two.norm()))
        if not float((one - two).norm()) <= tolerance:
            raise ValueError(
                f"The {form} step should give the numbers of the {other} one, found a difference "
                f"of {float((one - two).norm()):.2g} in {float(two.norm()):.2g}. {hint}"
            )
