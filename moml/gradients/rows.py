"""Forming the tasks' gradients: one backward pass each, or several in one by vectorisation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from moml._support.autograd_errors import explained
from moml._support.flat import flat

Row = list[Tensor | None]
"""One task's gradient, a tensor per parameter; ``None`` where it does not reach."""
Strategy = Literal["auto", "loop", "vmap", "chunk", "ghost", "layers"]

# Operations whose backward passes are batched matrix products or element-wise, hence worth
# vectorising over tasks. Convolutions and norms are not: on a CPU a loop is faster and smaller.
_VECTORISABLE = re.compile(
    "(Addmm|Mm|T|View|UnsafeView|ReshapeAlias|Add|Sub|Mul|Div|Relu|LeakyRelu|Gelu|Silu|Tanh|Sigmoid"
    "|Elu|Softplus|Permute|Transpose|Unsqueeze|Squeeze|Expand|Select|Slice|Cat)Backward0"
)
# Multiplications of one task's backward pass below which, and tasks from which on, the cost of
# launching passes counts: vectorising then takes 0.73 to 0.88 of a loop's time, else 0.95 to 1.15.
_SMALL_PASS = 2**24
_FEW_TASKS = 4
_GHOST_CHUNK = 8
# Numbers held by one vectorised pass: larger ones fall out of the cache and page in afresh.
_CHUNK_NUMBERS = 2**21


@dataclass(frozen=True)
class Plan:
    """How rows are formed.

    Attributes:
        size: Tasks per backward pass, 1 for a plain loop.
        way: All at once (``"rows"``), with backward passes that stop at linear layers' outputs
            (``"ghost"``), or a layer at a time (``"layers"``).
    """

    size: int
    way: Literal["rows", "ghost", "layers"] = "rows"

    @property
    def name(self) -> str:
        """For logs."""
        how = "loop" if self.size == 1 else f"chunk of {self.size}"
        return how if self.way == "rows" else f"{self.way}, {how}"


@dataclass(frozen=True)
class Operations:
    """Those between the outputs and the parameters, in two words.

    Attributes:
        batched: All of them have efficient batched forms, and there is one output.
        compiled: One of them is a compiled function, whose backward pass cannot be vectorised.
    """

    batched: bool
    compiled: bool

    @classmethod
    def of(cls, names: Sequence[str], outputs: Sequence[Tensor]) -> Operations:
        """Read them off their names."""
        return cls(
            len(outputs) == 1 and all(_VECTORISABLE.fullmatch(name) for name in names),
            any(name.startswith("CompiledFunction") for name in names),
        )


def plan_rows(
    strategy: Strategy,
    operations: Operations,
    outputs: Sequence[Tensor],
    sizes: int,
    num_tasks: int,
) -> Plan:
    """Choose by counting operations, so that the same model always gives the same numbers.

    Vectorising pays where the passes are small enough for launching to matter, and every operation
    has an efficient batched form; otherwise a loop does.

    Args:
        strategy: What the user asked for.
        operations: Those between the outputs and the parameters.
        outputs: Tensors the rows start from.
        sizes: Number of parameters in a row.
        num_tasks: Number of rows.
    """
    if strategy == "layers":
        return Plan(1, "layers")
    if strategy == "loop" or num_tasks == 1:
        return Plan(1)
    if strategy in ("vmap", "chunk") and operations.compiled:
        raise ValueError(
            f"`rows` should be 'loop' or 'auto' with a compiled encoder, found '{strategy}'. "
            "Its backward pass cannot be vectorised once more."
        )
    chunk = max(1, min(num_tasks, _CHUNK_NUMBERS // max(sizes, 1)))
    if strategy == "vmap":
        return Plan(num_tasks)
    if strategy == "chunk":
        return Plan(max(chunk, 2))
    positions = max((prod(output.shape[:-1]) for output in outputs), default=0)
    small = 2 * positions * sizes <= _SMALL_PASS and num_tasks >= _FEW_TASKS
    return Plan(chunk) if small and operations.batched else Plan(1)


def plan_ghost(operations: Operations, num_tasks: int) -> Plan:
    """Passes that hold activations only: a few tasks at a time where operations have batched forms.

    Matrix products of 8 tasks' cotangents take 0.74 to 0.96 of 8 products' time.
    """
    together = num_tasks >= _FEW_TASKS and operations.batched
    return Plan(min(num_tasks, _GHOST_CHUNK) if together else 1, "ghost")


def form_rows(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Row],
    plan: Plan,
) -> list[Row]:
    """Pull each task's cotangents back from ``outputs`` to ``inputs``.

    Args:
        outputs: Tensors the losses were differentiated to.
        inputs: Parameters.
        cotangents: Per task, the gradient of its loss with respect to each output.
        plan: How many tasks at a time.
    """
    if plan.size == 1:
        return [_pull_one(outputs, inputs, row) for row in cotangents]
    rows: list[Row] = []
    for start in range(0, len(cotangents), plan.size):
        rows.extend(_pull_many(outputs, inputs, cotangents[start : start + plan.size]))
    return rows


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    seeds: Sequence[Tensor | None] | None = None,
    *,
    batched: bool = False,
) -> Row:
    """`torch.autograd.grad` of a graph that stays, ``None`` where an input is not reached.

    Raises:
        ValueError: If a compiled network gives its buffers away in the first pass, or an operation
            has no derivative.
    """
    with explained():
        return list(
            torch.autograd.grad(
                outputs,
                inputs,
                seeds,
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=batched,
            )
        )


def _pull_one(outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Row) -> Row:
    pairs = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if c is not None]
    if not pairs or not inputs:
        return [None] * len(inputs)
    reached, seeds = zip(*pairs, strict=True)
    return gradients(reached, inputs, seeds)


def _pull_many(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Row]
) -> list[Row]:
    seeds = [
        torch.stack([torch.zeros_like(o) if row[k] is None else row[k] for row in cotangents])  # type: ignore[misc]
        for k, o in enumerate(outputs)
    ]
    stacked = gradients(outputs, inputs, seeds, batched=True)
    return [
        [None if block is None else block[i] for block in stacked] for i in range(len(cotangents))
    ]


# Columns multiplied at a time, so that sums in float32 stay short; and how many such products are
# launched together: one at a time takes twice as long.
_WIDTH, _TOGETHER = 2**12, 16
# Smallest eigenvalue of the cosines, and range of squared norms, for float32 products to do.
_LEAST_EIGENVALUE, _LEAST_SQUARE, _LARGEST_SQUARE = 0.1, 1e-26, 1e26


def gramian_of_rows(rows: Sequence[Row]) -> Tensor:
    """Inner products of rows, summed in float64, ``(m, m)`` on the CPU.

    Products of float32 rows are taken in float32 over short pieces, which is twice as fast and
    right to about 1e-7 of the norms. Where that might not do (gradients nearly dependent, as near
    Pareto-stationary points, or very small or large), they are taken again in float64.
    """
    dtypes = {gradient.dtype for row in rows for gradient in row if gradient is not None}
    if torch.float64 not in dtypes:
        quick = _summed_products(rows, torch.float32)
        if trustworthy(quick):
            return quick
    return _summed_products(rows, torch.float64)


def trustworthy(gramian: Tensor) -> bool:
    """Whether errors of 1e-7 of the norms cannot matter to any combination of the rows."""
    squares = gramian.diagonal()
    if not (squares.min() > _LEAST_SQUARE and squares.max() < _LARGEST_SQUARE):
        return False  # also where a square is not a number, or has become zero
    norms = squares.sqrt()
    cosines = gramian / norms.outer(norms)
    return float(torch.linalg.eigvalsh(cosines)[0]) > _LEAST_EIGENVALUE


def _summed_products(rows: Sequence[Row], dtype: torch.dtype) -> Tensor:
    m = len(rows)
    device = next((g.device for row in rows for g in row if g is not None), torch.device("cpu"))
    total = torch.zeros(m, m, dtype=torch.float64, device=device)
    for column in zip(*rows, strict=True):
        who = [i for i, g in enumerate(column) if g is not None]
        if not who:
            continue
        product = _column_product([g for g in column if g is not None], dtype)
        if len(who) == m:
            total += product
        else:
            index = torch.tensor(who, device=device)
            total[index[:, None], index] += product
    return total.cpu()


def _column_product(gradients: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Inner products of a parameter's gradients, a piece at a time, ``(m, m)`` float64."""
    if any(g.is_sparse for g in gradients):
        return _sparse_product(gradients)
    flat, width = _as_stored(gradients), _WIDTH * _TOGETHER
    n = flat[0].numel()
    total = flat[0].new_zeros(len(flat), len(flat), dtype=torch.float64)
    # One buffer for all pieces: fresh memory for each costs more than the products.
    piece = flat[0].new_empty(len(flat), min(width, n), dtype=dtype)
    for start in range(0, n, width):
        part = piece if n - start >= width else piece[:, : n - start]
        for row, vector in zip(part, flat, strict=True):
            row.copy_(vector[start : start + width])
        total += _product(part)
    return total


def _sparse_product(gradients: Sequence[Tensor]) -> Tensor:
    """The same for gradients of which only some rows are stored, as those of an embedding."""
    values = [g.to_sparse().coalesce().double() for g in gradients]
    products = [[(a * b).sum().reshape(()) for b in values] for a in values]
    return torch.stack([torch.stack(row) for row in products])


def _product(piece: Tensor) -> Tensor:  # (m, n) -> (m, m) float64
    """Inner products of the rows of a piece; sums over more than a few columns in float64."""
    if piece.shape[1] <= _WIDTH:
        return (piece @ piece.T).double()
    whole = piece.shape[1] // _WIDTH * _WIDTH
    parts = piece[:, :whole].unflatten(1, (-1, _WIDTH)).transpose(0, 1)  # (parts, m, width)
    rest = piece[:, whole:]
    return torch.bmm(parts, parts.mT).double().sum(0) + rest @ rest.T


def _as_stored(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Vectors in the order of memory, where all agree: inner products do not mind, copies cost.

    Autograd gives a linear layer's gradient as the transpose of what lies in memory.
    """
    first = gradients[0]
    if first.dim() == 2 and not first.is_complex() and all(g.mT.is_contiguous() for g in gradients):
        return [g.mT.reshape(-1) for g in gradients]
    return [flat(g) for g in gradients]


def flatten_column(column: Sequence[Tensor | None]) -> list[Tensor] | None:
    """All tasks' gradients of one parameter as vectors; zeros where a task does not reach it."""
    known = next((g for g in column if g is not None), None)
    if known is None:
        return None
    zero = flat(torch.zeros_like(known)) if any(g is None for g in column) else known
    return [zero if g is None else flat(g) for g in column]


def combine_rows(rows: Sequence[Row], weights: Tensor) -> Row:
    """Weighted sum of rows; ``None`` where no task reaches a parameter."""
    combined: Row = []
    factors = [float(weight) for weight in weights]
    for column in zip(*rows, strict=True):
        total: Tensor | None = None
        for gradient, factor in zip(column, factors, strict=True):
            if gradient is None:
                continue
            if total is None:
                total = gradient * factor
            elif total.is_sparse and not gradient.is_sparse:
                total = gradient * factor + total
            else:
                total = total.add_(gradient, alpha=factor)
        combined.append(total)
    return combined


def add_rows(first: Row, second: Row) -> Row:
    """Sum of two rows, ``None`` standing for zero."""
    return [
        b if a is None else a if b is None else a + b for a, b in zip(first, second, strict=True)
    ]
