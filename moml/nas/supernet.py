"""All networks of a space in one, with common weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from moml.nas.executor import BatchedCell
from moml.nas.genotype import Genotype
from moml.nas.search_space import SearchSpace

MakeCell = Callable[..., nn.Module]
Weights = Mapping[str, Tensor]
"""For each kind of cell the weight of every operation on every edge, ``(edges, ops)``."""


class SuperNet(nn.Module):
    """The network of a space whose edges carry weighted sums of all their operations.

    What the weights are is decided outside: they are an argument of `forward`, never a parameter
    among the network's own (`moml.nas.ArchParameters` has those). With one-hot weights it is one
    path, with the weights that all networks share; `SearchSpace.network` builds that network alone.

    Batch normalisation uses the batch's own statistics, in training and evaluation alike, because
    running averages would mix those of different architectures: there are no buffers, and `forward`
    is a pure function of parameters, inputs and weights.

    Args:
        space: The search space.
        executor: How mixed cells are computed, called with cell, name and channels: `BatchedCell`
            (fast where all operations run), `MixedCell` (the reference; fast for one path),
            `PartialCell`, or `MergedCell` for linear operations.
        channels_last: Memory layout: backward passes of depthwise convolutions on a CPU are three
            to six times faster than in the usual one.
        seed: Seed of the weights; PyTorch's global state unless given.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        executor: MakeCell = BatchedCell,
        channels_last: bool = True,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.space, self.channels_last = space, channels_last
        cells = space.spec.by_name
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            self.body = space.skeleton(lambda name, channels: executor(cells[name], name, channels))
        own_statistics(self.body)
        if channels_last:
            self.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, weights: Weights) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, C, H, W)``."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.body(x, weights)
        return logits

    def path(self, genotype: Genotype) -> dict[str, Tensor]:
        """The one-hot weights of one genotype; edges that it leaves out have zeros only."""
        self.space.check(genotype)
        like = next(self.parameters())
        found = {}
        for name, cell in self.space.spec.cells:
            found[name] = like.new_zeros(len(cell.edges), len(cell.ops))
            for edge, op in genotype.by_name[name]:
                found[name][cell.edges.index(edge), cell.ops.index(op)] = 1.0
        return found


def own_statistics(module: nn.Module) -> None:
    """Make every normalisation use the batch's own statistics only."""
    for norm in module.modules():
        if isinstance(norm, _NormBase):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
