"""The same operation on several edges that leave one node, run as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.nas.executor._proven import alike, plain


class StackedOperations(nn.Module):
    """K chains of ReLU, convolution and batch normalisation of the same shapes on one input.

    Their parameters lie one behind the other, so that each stage is one grouped convolution or
    normalisation of K·C channels. Weights of the mixture are the scale of the last normalisation:
    multiplying costs nothing.

    Args:
        chains: The operations, one per edge, each ending in a batch normalisation by the batch's
            own statistics.
    """

    def __init__(self, chains: Sequence[nn.Sequential]) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for parts in zip(*chains, strict=True):
            if isinstance(parts[0], nn.Conv2d):
                stages.append(_Convolution(parts))
            elif isinstance(parts[0], nn.BatchNorm2d):
                stages.append(_Normalisation(parts))
            else:
                stages.append(parts[0])
        self.starts_with_relu = isinstance(stages[0], nn.ReLU)
        self.stages = nn.ModuleList(stages[1:] if self.starts_with_relu else stages)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """The weighted results side by side, ``(B, K C, H, W)``.

        Args:
            x: Input ``(B, C, H, W)``, after the ReLU where the chains start with one.
            weights: Of the operation on every edge, ``(K,)``.
        """
        *before, last = self.stages
        for stage in before:
            x = stage(x)
        result: Tensor = last(x, weights)
        return result


def looks_stackable(module: nn.Module) -> bool:
    """Whether a module is a chain of ReLU, convolutions and normalisations that ends in one."""
    if not isinstance(module, nn.Sequential) or not isinstance(module[-1], nn.BatchNorm2d):
        return False
    return any(isinstance(part, nn.Conv2d) for part in module) and all(
        isinstance(part, nn.ReLU)
        or (isinstance(part, nn.Conv2d) and part.bias is None)
        or (isinstance(part, nn.BatchNorm2d) and not part.affine)
        for part in module
    )


def stackable(chains: Sequence[nn.Module]) -> TypeGuard[Sequence[nn.Sequential]]:
    """Whether `StackedOperations` computes what the chains do: they are plain, and alike."""
    return all(looks_stackable(m) and plain(m) for m in chains) and alike(chains)  # type: ignore[arg-type]


class _Convolution(nn.Module):
    """K convolutions without bias: of one common input, or each of its own channels."""

    def __init__(self, parts: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        first = parts[0]
        self.number, self.channels, self.groups = len(parts), first.in_channels, first.groups
        self.stride, self.padding, self.dilation = first.stride, first.padding, first.dilation
        self.weight = nn.Parameter(torch.cat([part.weight.detach() for part in parts]))

    def forward(self, x: Tensor) -> Tensor:
        groups = self.number * self.groups
        if x.shape[1] == self.channels and self.number > 1:  # common to all edges
            if self.groups == 1:
                groups = 1
            else:
                x = torch.cat([x] * self.number, dim=1)  # unlike `repeat`, keeps the layout
        return functional.conv2d(
            x, self.weight, None, self.stride, self.padding, self.dilation, groups
        )


class _Normalisation(nn.Module):
    """K batch normalisations by the batch's own statistics, scaled by the mixture's weights."""

    def __init__(self, parts: Sequence[nn.BatchNorm2d]) -> None:
        super().__init__()
        self.channels, self.eps = parts[0].num_features, parts[0].eps

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        scale = None if weights is None else weights.repeat_interleave(self.channels)
        return functional.batch_norm(x, None, None, scale, training=True, eps=self.eps)
