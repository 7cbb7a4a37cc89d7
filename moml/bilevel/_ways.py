"""Two ways to call a network with many sets of parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moml.bilevel.functional import Functional


def vectorised(
    function: Functional,
    params: Mapping[str, Tensor],
    inputs: Tensor,
    batched: frozenset[str] | None,
) -> Tensor:
    """All episodes by `torch.func.vmap`."""
    dims = {n: 0 if batched is None or n in batched else None for n in params}
    call = torch.func.vmap(function, in_dims=(dims, 0), randomness="different")
    outputs: Tensor = call(dict(params), inputs)
    return outputs


def one_by_one(
    function: Functional,
    params: Mapping[str, Tensor],
    inputs: Tensor,
    batched: frozenset[str] | None,
) -> Tensor:
    """One call per episode."""
    outputs = [
        function({n: p[e] if batched is None or n in batched else p for n, p in params.items()}, x)
        for e, x in enumerate(inputs)
    ]
    return torch.stack(outputs)
