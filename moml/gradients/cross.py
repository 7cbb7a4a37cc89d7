"""Inner products between the rows of two batches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moml.gradients.rows import Row, flatten_column

_WIDTH = 2**16  # columns multiplied at a time, in float64


def products_of_rows(first: Sequence[Row], second: Sequence[Row]) -> Tensor:
    """Inner products of every row of the first with every row of the second.

    Returns:
        Float64, on the CPU, ``(m, m')``.
    """
    total = torch.zeros(len(first), len(second), dtype=torch.float64)
    columns = zip(zip(*first, strict=True), zip(*second, strict=True), strict=True)
    for ours, theirs in columns:
        left, right = flatten_column(ours), flatten_column(theirs)
        if left is None or right is None:
            continue
        for start in range(0, left[0].numel(), _WIDTH):
            a, b = (
                torch.stack([row[start : start + _WIDTH] for row in rows]).double()
                for rows in (left, right)
            )
            total += (a @ b.T).cpu()
    return total
