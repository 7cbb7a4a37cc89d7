"""Whether a vectorised network gives the numbers of one call after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from moml.bilevel._ways import one_by_one, vectorised
from moml.bilevel.functional import Functional

_MOST = 3  # episodes that are tried


def disagreement(
    function: Functional,
    params: Mapping[str, Tensor],
    inputs: Tensor,
    batched: frozenset[str] | None,
) -> str | None:
    """What is wrong with the vectorised form; ``None`` if nothing is.

    Outputs, and where gradients are on first and second derivatives, are compared on the data
    given, with parameters that differ from episode to episode. Random states are left as they are.

    Args:
        function: The network.
        params: Parameters, those in ``batched`` with a leading dimension.
        inputs: ``(E, B, ...)``.
        batched: Names; all unless given.
    """
    inputs = inputs[:_MOST].detach()
    values = {n: _spread(p, batched is None or n in batched) for n, p in params.items()}
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        before = _random_states(inputs.device)
        expected = _plain(function, values, inputs, batched)
        after = _random_states(inputs.device)
        if any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            return "it draws random numbers"
        orders = len(expected) - 1
        try:
            found = _numbers(vectorised, function, values, inputs, batched, orders)
        except Exception as error:  # of torch or of the network's own Python code
            return f"torch.func.vmap cannot run it: {first_line(error)}"
    same = len(found) == len(expected)
    if same and all(_close(a, b) for a, b in zip(found, expected, strict=True)):
        return None
    return "torch.func.vmap gives other numbers"


def _spread(parameter: Tensor, batched: bool) -> Tensor:
    """Values to try: other ones for every episode."""
    if not batched:
        return parameter.detach()
    values = parameter[:_MOST].detach()
    if not values.is_floating_point():
        return values
    factors = torch.linspace(0.9, 1.1, len(values)).to(values)
    return values * factors.view(-1, *[1] * (values.dim() - 1))


def _plain(
    function: Functional,
    values: Mapping[str, Tensor],
    inputs: Tensor,
    batched: frozenset[str] | None,
) -> Sequence[list[Tensor]]:
    """The numbers of one call after the other, to the highest order that the network has."""
    for orders in (2, 1):
        try:
            return _numbers(one_by_one, function, values, inputs, batched, orders)
        except RuntimeError:  # a function of its own without that derivative
            continue
    return _numbers(one_by_one, function, values, inputs, batched, 0)


def _numbers(
    call: Callable[..., Tensor],
    function: Functional,
    values: Mapping[str, Tensor],
    inputs: Tensor,
    batched: frozenset[str] | None,
    orders: int,
) -> Sequence[list[Tensor]]:
    """Outputs and their derivatives, as far as there are any."""
    grad = torch.is_grad_enabled()
    leaves = {
        n: v.clone().requires_grad_(grad and v.is_floating_point()) for n, v in values.items()
    }
    wanted = [v for v in leaves.values() if v.requires_grad]
    outputs = [call(function, leaves, inputs, batched)]
    found = [[t.detach() for t in outputs]]
    for order in range(1, orders + 1):
        live = [t for t in outputs if t.requires_grad]
        if not live or not wanted:
            break
        outputs = _slopes(live, wanted, last=order == orders)
        found.append([t.detach() for t in outputs])
    return found


def _slopes(outputs: Sequence[Tensor], inputs: Sequence[Tensor], *, last: bool) -> list[Tensor]:
    """Gradient of a sum of squares with weights that tell entries apart."""
    terms = [(t * t * torch.linspace(0.5, 1.5, t.numel()).to(t).view_as(t)).sum() for t in outputs]
    total = torch.stack(terms).sum()
    return list(
        torch.autograd.grad(
            total, inputs, create_graph=not last, allow_unused=True, materialize_grads=True
        )
    )


def _random_states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Up to rounding, everything of one order together."""
    if [t.shape for t in found] != [t.shape for t in expected]:
        return False
    a, b = (torch.cat([t.flatten().double() for t in row]) for row in (found, expected))
    if not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = a.nan_to_num(0, 0, 0), b.nan_to_num(0, 0, 0)
    eps = max(torch.finfo(t.dtype).eps for t in expected)
    return float((a - b).norm()) <= eps**0.5 * (eps**0.5 + float(b.norm()))


def first_line(error: Exception) -> str:
    """What an error says, in short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
