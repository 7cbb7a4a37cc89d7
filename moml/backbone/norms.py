"""Normalisation layers whose derivatives of every order are right under ``torch.func.vmap``.

PyTorch's own affine layers are not: in torch 2.13 the gradient of vmapped episodes, each with a
gradient step inside, is off by about a per cent with `nn.BatchNorm2d`, `nn.LayerNorm` or
`nn.InstanceNorm2d`, without a warning (`tests/backbone/test_norms.py` watches it). The layers here
are written out as ``(x - mean) / sqrt(var + eps) * weight + bias``. Values, parameters and their
names are PyTorch's. There are no running statistics: an episode is normalised by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class _Norm(nn.Module, ABC):
    """Scale and shift of standardised values.

    Args:
        shape: Shape of weight and bias.
        eps: Added to variances.
    """

    def __init__(self, shape: Sequence[int], eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(*shape))
        self.bias = nn.Parameter(torch.zeros(*shape))

    @abstractmethod
    def standardised(self, inputs: Tensor) -> Tensor:
        """Inputs with mean 0 and variance 1 over what is normalised together."""

    def _standardised(self, inputs: Tensor, dims: tuple[int, ...]) -> Tensor:
        variance, mean = torch.var_mean(inputs, dims, correction=0, keepdim=True)
        return (inputs - mean) * (variance + self.eps).rsqrt()


class _ChannelNorm(_Norm):
    """One scale and shift per channel of ``(B, C, ...)``."""

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__((channels,), eps)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised inputs ``(B, C, ...)``."""
        shape = (-1, *(1,) * (inputs.dim() - 2))  # (C, 1, ...)
        return self.standardised(inputs) * self.weight.view(shape) + self.bias.view(shape)


class BatchNorm(_ChannelNorm):
    """Batch normalisation by the batch's own statistics, in training and evaluation alike.

    S. Ioffe, C. Szegedy, "Batch normalization", ICML 2015; without running statistics, as few-shot
    learning uses it. An episode's queries then help to normalise each other (transductive).

    Args:
        channels: Number of channels ``C``.
        eps: Added to variances.
    """

    def standardised(self, inputs: Tensor) -> Tensor:
        """Over the batch and all positions."""
        return self._standardised(inputs, (0, *range(2, inputs.dim())))


class InstanceNorm(_ChannelNorm):
    """Instance normalisation: each channel of each sample over its positions.

    D. Ulyanov, A. Vedaldi, V. Lempitsky, "Instance normalization", arXiv:1607.08022, 2016.

    Args:
        channels: Number of channels ``C``.
        eps: Added to variances.
    """

    def standardised(self, inputs: Tensor) -> Tensor:
        """Over positions."""
        return self._standardised(inputs, tuple(range(2, inputs.dim())))


class GroupNorm(_ChannelNorm):
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
        super().__init__(channels, eps=eps)
        if groups < 1 or channels % groups:
            raise ValueError(
                f"`groups` should divide the number of channels ({channels}), found {groups}."
            )
        self.groups = groups

    def standardised(self, inputs: Tensor) -> Tensor:
        """Over the channels of a group and all positions."""
        grouped = inputs.reshape(len(inputs), self.groups, -1)
        return self._standardised(grouped, (2,)).reshape(inputs.shape)


class LayerNorm(_Norm):
    """Layer normalisation over the last dimensions, with a scale and shift for every entry.

    J. Ba, J. Kiros, G. Hinton, "Layer normalization", arXiv:1607.06450, 2016.

    Args:
        shape: Size of the last dimension, or of the last few.
        eps: Added to variances.
    """

    def __init__(self, shape: int | Sequence[int], *, eps: float = 1e-5) -> None:
        super().__init__((shape,) if isinstance(shape, int) else shape, eps)

    def standardised(self, inputs: Tensor) -> Tensor:
        """Over the last dimensions."""
        return self._standardised(inputs, tuple(range(-self.weight.dim(), 0)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalised inputs ``(B, ..., *shape)``."""
        return self.standardised(inputs) * self.weight + self.bias
