"""Normalisation layers whose derivatives of every order are right under ``torch.func.vmap``.

PyTorch's own affine layers are not: in torch 2.13 the gradient of vmapped episodes, each with a
gradient step inside, is off by about a per cent with `nn.BatchNorm2d`, `nn.LayerNorm` or
`nn.InstanceNorm2d`, without a warning (`tests/backbone/test_norms.py` watches it). The layers here
are written out as ``(x - mean) / sqrt(var + eps) * weight + bias``. Values, parameters and their
names are PyTorch's. There are no running statistics: an episode is normalised by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class _Norm(nn.Module):
    """Weight and bias, and what all normalisations do with them.

    Args:
        shape: Shape of weight and bias.
        eps: Added to variances.
    """

    def __init__(self, shape: Sequence[int], eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(*shape))
        self.bias = nn.Parameter(torch.zeros(*shape))

    def _normalised(self, inputs: Tensor, dims: tuple[int, ...], shape: Sequence[int]) -> Tensor:
        """Standardised over ``dims``; weight and bias in a ``shape`` that broadcasts."""
        centred = inputs - inputs.mean(dims, keepdim=True)
        variance = centred.square().mean(dims, keepdim=True)
        scale = self.weight.view(shape) * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(shape), centred, scale)


class BatchNorm(_Norm):
    """Batch normalisation by the batch's own statistics, in training and evaluation alike.

    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015; without running statistics, as few-shot
    learning uses it. An episode's queries then help to normalise each other (transductive).

    Args:
        channels: Number of channels ``C``.
        eps: Added to variances.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__((channels,), eps)

    def forward(self, inputs: Tensor) -> Tensor:
        """Every channel of ``(B, C, ...)`` over the batch and all positions."""
        places = range(2, inputs.dim())
        return self._normalised(inputs, (0, *places), (-1, *(1 for _ in places)))


class InstanceNorm(_Norm):
    """Instance normalisation: each channel of each sample over its positions.

    D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization", arXiv:1607.08022, 2016.

    Args:
        channels: Number of channels ``C``.
        eps: Added to variances.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__((channels,), eps)

    def forward(self, inputs: Tensor) -> Tensor:
        """Every channel of every sample of ``(B, C, ...)`` over all positions."""
        places = range(2, inputs.dim())
        return self._normalised(inputs, tuple(places), (-1, *(1 for _ in places)))


class GroupNorm(_Norm):
    """Group normalisation: groups of channels of each sample; with one group, all of them.

    Y. Wu, K. He, "Group normalization", ECCV 2018.

    Args:
        groups: Number of groups.
        channels: Number of channels ``C``, a multiple of it.
        eps: Added to variances.

    Raises:
        ValueError: If the channels do not divide into groups.
    """

    def __init__(self, groups: int, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__((channels,), eps)
        if groups < 1 or channels % groups:
            raise ValueError(
                f"`groups` should divide the number of channels ({channels}), found {groups}."
            )
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Every group of every sample of ``(B, C, ...)`` over its channels and all positions."""
        size = len(self.weight) // self.groups
        grouped = inputs.reshape(len(inputs), self.groups, size, -1)
        return self._normalised(grouped, (2, 3), (self.groups, size, 1)).reshape(inputs.shape)


class LayerNorm(_Norm):
    """Layer normalisation over the last dimensions, with a scale and shift for every entry.

    J. Ba, J. Kiros, G. Hinton, "Layer normalization", arXiv:1607.06450, 2016.

    Args:
        shape: Size of the last dimension, or of the last few.
        eps: Added to variances.
    """

    def __init__(self, shape: int | Sequence[int], *, eps: float = 1e-5) -> None:
        super().__init__((shape,) if isinstance(shape, int) else shape, eps)

    def forward(self, inputs: Tensor) -> Tensor:
        """Every sample of ``(B, ..., *shape)`` over its last dimensions."""
        return self._normalised(inputs, tuple(range(-self.weight.dim(), 0)), self.weight.shape)
