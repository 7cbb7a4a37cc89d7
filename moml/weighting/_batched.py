r"""Minimum-norm points for many samples at once, on the device that holds their Gramians.

Per sample the exact solution of :math:`\min_{w \in \Delta} w^\top G w`, as `moml.weighting.MGDA`
finds it for one Gramian, by the same reduction to non-negative least squares; here all samples take
the active-set steps together (C. Lawson, R. Hanson, "Solving least squares problems", 1974).
"""

from __future__ import annotations

import torch
from torch import Tensor

_TOLERANCE = 1e-13  # a multiplier below this is rounding, in units where the smallest norm is 1


def batched_min_norm(gramian: Tensor, *, active: Tensor | None = None) -> Tensor:
    """Weights of every sample's minimum-norm point, on the simplex.

    Args:
        gramian: Inner products, ``(B, m, m)``; any scale, may be singular and have zero rows.
        active: Rows that take part, bools ``(B, m)``; all unless given.

    Returns:
        ``(B, m)``, float64, on the Gramian's device. Zero rows, if there are any, share the weight
        equally; a sample without an active row has zeros.
    """
    gramian = gramian.detach().double()
    squares = gramian.diagonal(dim1=-2, dim2=-1)  # (B, m), a view
    if active is None:
        active = torch.ones_like(squares, dtype=torch.bool)
    zero = active & (squares <= 0)
    normal = active & (squares > 0)
    if gramian.shape[-1] == 2:
        weights = _segment(gramian, active)
    else:
        weights = _hull(gramian, squares, normal)
    weights = torch.where(zero.any(1, keepdim=True), zero.double(), weights)
    weights = _even(gramian, squares, active, weights)
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-300)


def _segment(gramian: Tensor, active: Tensor) -> Tensor:
    """Two gradients: a point on the line between them."""
    a, b, c = gramian[:, 0, 0], gramian[:, 0, 1], gramian[:, 1, 1]
    length = (a - b) + (c - b)
    inside = ((c - b) / torch.where(length > 0, length, 1)).clamp(0, 1)
    first = torch.where(b >= torch.minimum(a, c), (a < c).double() + 0.5 * (a == c), inside)
    both = torch.stack([first, 1 - first], dim=1)
    return torch.where(active.all(1, keepdim=True), both, active.double())


def _hull(gramian: Tensor, squares: Tensor, normal: Tensor) -> Tensor:
    """Three and more: non-negative least squares in terms of ``u = w * norms``."""
    norms = squares.where(normal, 1).sqrt()  # (B, m)
    smallest = norms.where(normal, torch.inf).amin(1, keepdim=True)
    ratios = torch.where(normal, smallest / norms, 0)  # (B, m) in (0, 1], 0 for absent rows
    cosines = gramian / norms[:, :, None] / norms[:, None, :]
    cosines.diagonal(dim1=-2, dim2=-1).fill_(1.0)
    # Minimise |A u|^2 + (ratios'u - 1)^2 over u >= 0, where A has unit columns.
    return _nonnegative(cosines + ratios[:, :, None] * ratios[:, None, :], ratios, normal) * ratios


def _nonnegative(matrix: Tensor, target: Tensor, allowed: Tensor) -> Tensor:
    """Minimise ``u'Hu/2 - t'u`` over ``u >= 0``, all samples in step, ``(B, m)``.

    A step solves on the support; where the solution is positive the entry of largest multiplier
    joins it, elsewhere the entries that a move towards the solution makes zero leave it.
    """
    m = target.shape[1]
    mass, support = torch.zeros_like(target), torch.zeros_like(allowed)
    for _ in range(3 * m + 1):
        solved = _solve_on(matrix, target, support)  # (B, m)
        crossing = support & (solved <= 0)
        fits = ~crossing.any(1, keepdim=True)  # (B, 1)
        share = torch.where(crossing, mass / (mass - solved), 1).amin(1, keepdim=True)
        moved = mass + share.nan_to_num(0.0) * (solved - mass)
        leaving = crossing & (moved <= _TOLERANCE)
        mass = torch.where(fits, solved, moved.masked_fill(leaving, 0))
        multipliers = target - (matrix @ mass[..., None])[..., 0]
        candidates = multipliers.where(allowed & ~support, -torch.inf)
        value, best = candidates.max(1, keepdim=True)
        joins = fits & (value > _TOLERANCE)  # (B, 1)
        support = (support & ~leaving).scatter(
            1, best, support.gather(1, best) & ~leaving.gather(1, best) | joins
        )
        if not (joins | ~fits).any():
            break
    return mass


def _solve_on(matrix: Tensor, target: Tensor, support: Tensor) -> Tensor:
    """Solution of the equations of the support; zero elsewhere, ``(B, m)``."""
    both = support[:, :, None] & support[:, None, :]
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    solved, _ = torch.linalg.solve_ex(
        torch.where(both, matrix, identity), target.where(support, 0)[..., None]
    )
    return solved[..., 0]


def _even(gramian: Tensor, squares: Tensor, active: Tensor, weights: Tensor) -> Tensor:
    """Equal gradients get equal weights: only their sum is determined, rounding picks the rest."""
    both = squares[:, :, None] + squares[:, None, :]
    equal = (both - 2 * gramian <= 2e-15 * both) & active[:, None, :]
    total = (equal.double() @ weights[..., None])[..., 0]
    return torch.where(active, total / equal.sum(2).clamp(min=1), 0)
