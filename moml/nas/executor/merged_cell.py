"""The executor of linear operations: one convolution per node."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.nas.cell import CellSpec
from moml.nas.executor._proven import plain
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
        self.normalise = mixed.normalise
        eye = torch.eye(channels)[:, :, None, None]
        by_op = list(zip(*(carried(mixed.edges, e) for e in range(len(cell.edges))), strict=True))
        sizes = [max(map(kernel_size, ops)) for ops in by_op]
        self.size = max(sizes)
        self.order = sorted(
            (o for o, zero in enumerate(mixed.zero) if not zero), key=lambda o: sizes[o]
        )
        self.learnt = nn.ParameterDict()
        for o in self.order:
            kernels = [kernel_of(op, eye).detach() for op in by_op[o]]
            if isinstance(by_op[o][0], nn.Conv2d):
                self.learnt[str(o)] = torch.cat(kernels)  # (E C, C, k, k)
            else:
                pattern = (kernels[0] != 0).to(eye)  # exact in every type; scaled when used
                self.register_buffer(f"fixed_{o}", pattern, persistent=False)

    def forward(self, *inputs_and_weights: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The output, given the cell's inputs and, last, weights ``(edges, ops)`` by name."""
        *inputs, by_name = inputs_and_weights
        assert isinstance(by_name, Mapping)
        kernels = self._kernels(by_name[self.name])
        values: dict[int, Tensor] = dict(enumerate(inputs))  # type: ignore[arg-type]
        first = 0
        for target in range(self.cell.inputs, self.cell.size):
            edges = self.cell.into(target)  # edges are grouped by target
            if not edges:
                continue
            seen = torch.cat([values[source] for source, _ in edges], dim=1)
            kernel = kernels[first : first + len(edges)].transpose(0, 1).flatten(1, 2)
            first += len(edges)
            values[target] = self.normalise(functional.conv2d(seen, kernel, padding=self.size // 2))
        return joined(self.cell, values)

    def _kernels(self, weights: Tensor) -> Tensor:
        """What each edge carries as one kernel, ``(E, C, C, k, k)``, from small to large."""
        total = weights.new_zeros(1, 1, 1, 1, 1)
        for o in self.order:
            known = self.learnt[str(o)] if str(o) in self.learnt else self.get_buffer(f"fixed_{o}")
            kernel = known.unflatten(0, (-1, self.channels))  # one for every edge, or for all
            if kernel.shape[-1] > total.shape[-1]:
                total = functional.pad(total, ((kernel.shape[-1] - total.shape[-1]) // 2,) * 4)
            scale = 1.0 if str(o) in self.learnt else 1.0 / kernel.shape[-1] ** 2
            share = (scale * weights[:, o])[:, None, None, None, None]
            total = torch.addcmul(total, kernel, share)
        return functional.pad(total, ((self.size - total.shape[-1]) // 2,) * 4)


def kernel_size(op: nn.Module) -> int:
    """Side of the kernel of a linear operation.

    Raises:
        ValueError: If it has none, or is not known to be nothing but its kernel.
    """
    if plain(op):
        if isinstance(op, nn.Identity):
            return 1
        if isinstance(op, nn.Conv2d) and op.bias is None and op.groups == 1:
            side = op.kernel_size[0]
            if _keeps_size(op, side) and op.dilation == (1, 1):
                return side
        if isinstance(op, nn.AvgPool2d) and op.count_include_pad and not op.ceil_mode:
            side = op.kernel_size if isinstance(op.kernel_size, int) else op.kernel_size[0]
            if _keeps_size(op, side) and op.divisor_override is None:
                return side
    raise ValueError(
        "Operations should be dense convolutions, averages that count the padding, or the identity "
        f"to be merged, of stride 1 and without classes or hooks of their own, found {op}. Use "
        "`BatchedCell`, which runs what it cannot join as it is."
    )


def _keeps_size(op: nn.Conv2d | nn.AvgPool2d, side: int) -> bool:
    """Whether the window is a square of odd side in the middle of its padding, at stride 1."""
    windows = (_pair(op.kernel_size), _pair(op.stride), _pair(op.padding))
    return side % 2 == 1 and windows == ((side, side), (1, 1), (side // 2, side // 2))


def _pair(value: object) -> object:
    return value if isinstance(value, tuple | str) else (value, value)


def kernel_of(op: nn.Module, eye: Tensor) -> Tensor:
    """The kernel of a linear operation, ``(C, C, k, k)``, given the identity's."""
    if isinstance(op, nn.Conv2d):
        return op.weight
    size = kernel_size(op)
    return eye if size == 1 else eye.expand(-1, -1, size, size) / size**2
