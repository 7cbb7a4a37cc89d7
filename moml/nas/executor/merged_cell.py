"""The executor of linear operations: one convolution per node."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.nas.cell import CellSpec
from moml.nas.executor.mixed_cell import MixedCell, carried, joined


class MergedCell(nn.Module):
    """The same function as `MixedCell` where all operations are convolutions at heart.

    A sum of linear operations is one linear operation: the kernels of all that an edge may carry
    are padded to the largest and added up with their weights, and those of all edges into a node
    lie side by side. What is left is one convolution per node.

    Args:
        cell: What the cell may look like, of stride 1.
        name: Under which the cell finds its weights.
        channels: Channels of every node.

    Raises:
        ValueError: If an operation is not linear, or has no kernel.
    """

    def __init__(self, cell: CellSpec, name: str, channels: int) -> None:
        super().__init__()
        if cell.reduction:
            raise ValueError("`cell` should have stride 1 to be merged, found a reduction.")
        self.cell, self.name, self.channels = cell, name, channels
        mixed = MixedCell(cell, name, channels)
        self.edges, self.zero, self.normalise = mixed.edges, mixed.zero, mixed.normalise
        sizes = [kernel_size(op) for ops in self.edges for op in ops]  # type: ignore[attr-defined]
        self.size = max(sizes)

    def forward(self, *inputs_and_weights: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The output, given the cell's inputs and, last, weights ``(edges, ops)`` by name."""
        *inputs, by_name = inputs_and_weights
        assert isinstance(by_name, Mapping)
        weights = by_name[self.name]
        values: dict[int, Tensor] = dict(enumerate(inputs))  # type: ignore[arg-type]
        for target in range(self.cell.inputs, self.cell.size):
            edges = self.cell.into(target)
            if not edges:
                continue
            seen = torch.cat([values[source] for source, _ in edges], dim=1)
            kernels = [self._kernel(self.cell.edges.index(edge), weights) for edge in edges]
            value = functional.conv2d(seen, torch.cat(kernels, dim=1), padding=self.size // 2)
            values[target] = self.normalise(value)
        return joined(self.cell, values)

    def _kernel(self, e: int, weights: Tensor) -> Tensor:
        """The kernel of all that an edge carries, ``(C, C, k, k)``."""
        like = weights.new_zeros(())
        total = like.expand(self.channels, self.channels, self.size, self.size)
        for o, op in enumerate(carried(self.edges, e)):
            if not self.zero[o]:
                total = total + weights[e, o] * self._padded(op, like)
        return total

    def _padded(self, op: nn.Module, like: Tensor) -> Tensor:
        kernel = kernel_of(op, self.channels, like)
        margin = (self.size - kernel.shape[-1]) // 2
        return functional.pad(kernel, (margin,) * 4)


def kernel_size(op: nn.Module) -> int:
    """Side of the kernel of a linear operation.

    Raises:
        ValueError: If it has none.
    """
    if isinstance(op, nn.Identity):
        return 1
    if isinstance(op, nn.Conv2d) and op.bias is None and op.groups == 1 and op.dilation == (1, 1):
        return int(op.kernel_size[0])
    if isinstance(op, nn.AvgPool2d) and op.count_include_pad:
        return int(op.kernel_size)  # type: ignore[arg-type]
    raise ValueError(
        "Operations should be dense convolutions, averages that count the padding, or the identity "
        f"to be merged, found {op}."
    )


def kernel_of(op: nn.Module, channels: int, like: Tensor) -> Tensor:
    """The kernel of a linear operation, ``(C, C, k, k)``."""
    if isinstance(op, nn.Conv2d):
        return op.weight
    eye = torch.eye(channels, dtype=like.dtype, device=like.device)[:, :, None, None]
    size = kernel_size(op)
    return eye.expand(-1, -1, size, size) / size**2
