"""What the solvers share: checks, batches, and a factorisation that no scale can upset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
from torch import Tensor

Array = NDArray[np.float64]


def solve_each(solve: Callable[..., Array], gramian: Tensor, *args: Any, **options: Any) -> Tensor:
    """Run a numpy solver on every Gramian of a batch; equal gradients get equal weights.

    Args:
        solve: Takes one Gramian ``(m, m)`` and the remaining arguments; returns weights ``(m,)``.
        gramian: Inner products, ``(*b, m, m)``.
        *args: Passed on.
        **options: Passed on.

    Returns:
        Weights, float64 on the CPU, ``(*b, m)``.

    Raises:
        ValueError: If a Gramian is not square or not finite.
    """
    matrices = checked(gramian).numpy()
    weights = np.empty(matrices.shape[:-1])
    with one_thread(matrices.shape[-1]):
        for index in np.ndindex(matrices.shape[:-2]):
            weights[index] = even(matrices[index], solve(matrices[index], *args, **options))
    return torch.from_numpy(weights)


def one_thread(m: int) -> AbstractContextManager[Any]:
    """Where BLAS would split an m by m problem over threads, keep it from doing so.

    On busy cores the threads wait for each other: a thousand times slower at m = 128.
    """
    return _blas().limit(limits=1, user_api="blas") if m > 64 else nullcontext()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def even(gramian: Array, weights: Array) -> Array:
    """Equal gradients get equal weights: only their sum is determined, rounding picks the rest."""
    squares = np.diagonal(gramian)
    both = squares + squares[:, None]
    equal = both - 2.0 * gramian <= 2e-15 * both  # |g_i - g_j|^2 is rounding
    if np.count_nonzero(equal) == len(weights):
        return weights
    return equal @ weights / equal.sum(1)


def checked(gramian: Tensor) -> Tensor:
    """The Gramian in float64 on the CPU, or a sentence about what is wrong with it.

    Raises:
        ValueError: If it is not square or not finite.
    """
    gramian = gramian.detach().double().cpu()
    if gramian.dim() < 2 or gramian.shape[-1] != gramian.shape[-2] or not gramian.shape[-1]:
        raise ValueError(
            f"`gramian` should have shape (*b, m, m) with m > 0, found {tuple(gramian.shape)}. "
            "It is `jacobian @ jacobian.mT`."
        )
    if not gramian.isfinite().all():
        raise ValueError(
            f"`gramian` should be finite, found NaN or infinity in row(s) {_bad_rows(gramian)}. "
            "The losses of these tasks or their gradients are not finite."
        )
    return gramian


def single(gramian: Tensor, method: str) -> Tensor:
    """One Gramian, checked, for methods that keep state from step to step.

    Raises:
        ValueError: If there are several, or it is not square or not finite.
    """
    gramian = checked(gramian)
    if gramian.dim() != 2:
        raise ValueError(
            f"`gramian` should be one matrix (m, m) for {method}, found {tuple(gramian.shape)}. "
            "Its state goes from step to step, not from sample to sample."
        )
    return gramian


def _bad_rows(gramian: Tensor) -> str:
    bad = ~gramian.diagonal(dim1=-2, dim2=-1).isfinite()  # (*b, m): one bad row spoils all columns
    if not bad.any():
        bad = ~gramian.isfinite().all(-1)
    rows = bad.reshape(-1, bad.shape[-1]).any(0).nonzero().flatten().tolist()
    return ", ".join(map(str, rows))


def correlation(gramian: Array, norms: Array) -> Array:
    """Cosines between rows that are not zero: the Gramian of unit vectors, ``(m, m)``."""
    cosines = gramian / norms / norms[:, None]
    cosines.flat[:: len(norms) + 1] = 1.0
    return cosines


def root(cosines: Array) -> Array:
    """Vectors with the given cosines as columns, ``(rank, m)``.

    Cholesky with pivoting: its error is relative to each row, where that of eigenvalues is relative
    to the largest; rows that depend on earlier ones are no obstacle.
    """
    factor, pivots, rank, _ = dpstrf(cosines)
    columns = np.empty((rank, len(cosines)))
    columns[:, pivots - 1] = np.triu(factor)[:rank]
    return columns
