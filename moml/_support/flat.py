"""Gradients as flat vectors of real numbers, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def numbers(tensor: Tensor) -> int:
    """Number of real numbers in a tensor: two for a complex entry."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def flat(gradient: Tensor) -> Tensor:
    """A gradient as a dense vector of real numbers, complex entries as pairs."""
    dense = gradient.to_dense() if gradient.layout != torch.strided else gradient
    return (torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense).reshape(-1)


def shaped(vector: Tensor, like: Tensor) -> Tensor:
    """The inverse of `flat`."""
    if like.is_complex():
        return torch.view_as_complex(vector.reshape(*like.shape, 2).contiguous())
    return vector.reshape(like.shape)
