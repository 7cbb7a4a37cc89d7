"""The fast executor: all edges that leave a node at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.nas.cell import CellSpec
from moml.nas.executor._proven import plain, say_once
from moml.nas.executor.mixed_cell import MixedCell, joined
from moml.nas.executor.stacked import StackedOperations, looks_stackable, stackable
from moml.nas.ops import get_op


class BatchedCell(nn.Module):
    """The same function as `MixedCell`, with the same weights for the same seed, but faster.

    What edges that leave one node have in common is done once: its ReLU, and operations without
    parameters (pooling and its normalisation). Convolutions of the same kind run as one grouped
    convolution. Weights of the mixture scale the normalisation that ends a convolution instead of
    its output.

    All operations run, whatever their weights: for one-hot weights `MixedCell` is faster. Only
    operations that are known to compute what their types say are joined; those with classes of
    their own, hooks, parametrizations or replaced forward passes run one by one, as in `MixedCell`,
    and the log says so.

    Args:
        cell: What the cell may look like.
        name: Under which the cell finds its weights.
        channels: Channels of every node.
    """

    def __init__(self, cell: CellSpec, name: str, channels: int) -> None:
        super().__init__()
        self.cell, self.name, self.channels = cell, name, channels
        mixed = MixedCell(cell, name, channels)
        self.normalise = mixed.normalise
        self.leaving: dict[int, list[int]] = {}
        for e, (source, _) in enumerate(cell.edges):
            self.leaving.setdefault(source, []).append(e)
        self.sources = nn.ModuleDict(
            {
                str(source): _Source([mixed.edges[e] for e in edges], cell.ops)  # type: ignore[misc]
                for source, edges in self.leaving.items()
            }
        )

    def forward(self, *inputs_and_weights: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The output, given the cell's inputs and, last, weights ``(edges, ops)`` by name."""
        *inputs, by_name = inputs_and_weights
        assert isinstance(by_name, Mapping)
        weights = by_name[self.name]
        values: dict[int, Tensor] = dict(enumerate(inputs))  # type: ignore[arg-type]
        for source in range(self.cell.size):
            if source in values and source >= self.cell.inputs:
                values[source] = self.normalise(values[source])  # all its edges have been run
            if source not in self.leaving or source not in values:
                continue
            edges = self.leaving[source]
            brought = self.sources[str(source)](values[source], weights[edges])
            for e, value in zip(edges, brought, strict=True):
                target = self.cell.edges[e][1]
                values[target] = values[target] + value if target in values else value
        return joined(self.cell, values)


class _Source(nn.Module):
    """Everything that leaves one node.

    Args:
        edges: For each edge its operations.
        names: Of the operations.
    """

    def __init__(self, edges: Sequence[nn.ModuleList], names: Sequence[str]) -> None:
        super().__init__()
        self.number = len(edges)
        self.stacked, self.common, self.single = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for o, ops in enumerate(zip(*edges, strict=True)):
            if get_op(names[o]).is_zero:
                continue
            if stackable(ops):
                self.stacked[str(o)] = StackedOperations(ops)
            elif _repeats(ops) and all(map(plain, ops)):
                self.common[str(o)] = ops[0]
            else:
                self.single[str(o)] = nn.ModuleList(ops)
                if _repeats(ops) or looks_stackable(ops[0]):
                    say_once(
                        f"The operation '{names[o]}' runs edge by edge in supernets: it has "
                        "modules, hooks or forward passes of its own, which cannot be joined."
                    )

    def forward(self, x: Tensor, weights: Tensor) -> list[Tensor]:
        """What every edge brings, given weights ``(edges, ops)``."""
        results = self._convolved(x, weights)
        for o, op in self.common.items():
            same = op(x)
            for k in range(self.number):
                w = weights[k, int(o)]
                known = results[k]
                results[k] = same * w if known is None else torch.addcmul(known, same, w)
        for o, ops in self.single.items():
            for k, op in enumerate(ops):  # type: ignore[arg-type]
                value = op(x) * weights[k, int(o)]
                known = results[k]
                results[k] = value if known is None else known + value
        return [result for result in results if result is not None]

    def _convolved(self, x: Tensor, weights: Tensor) -> list[Tensor | None]:
        """Sums over the stacked operations, by edge."""
        if not self.stacked:
            return [None] * self.number
        rectified = functional.relu(x)
        total: Tensor | None = None
        for o, op in self.stacked.items():
            assert isinstance(op, StackedOperations)
            value = op(rectified if op.starts_with_relu else x, weights[:, int(o)])
            total = value if total is None else total + value
        assert total is not None
        return list(total.chunk(self.number, dim=1))


def _repeats(ops: Sequence[nn.Module]) -> bool:
    """Whether no parameters tell the edges apart."""
    return not any(True for op in ops for _ in op.parameters())
