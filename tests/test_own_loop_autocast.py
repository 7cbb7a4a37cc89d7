"""Calls inside of the block that autocast is on in: nothing is rounded there."""

import contextlib

import pytest
import torch

import moml
from moml.weighting import DBMTL, EW, MGDA, CAGrad, GradDrop, MoCo, MoDo, NashMTL
from tests.helpers import flat_grad
from tests.test_own_loop import Trunk, inputs


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def step(method, around, *, forward=contextlib.nullcontext, **options):
    model = Trunk(torch.float32)
    x = inputs(dtype=torch.float32)
    with forward():
        z = model.encoder(x)
        losses = {task: loss.float() for task, loss in model.heads_losses(z).items()}
    if options:
        options["features"] = z
    with around():
        moml.backward(losses, method(), **options)
    return flat_grad(list(model.parameters()))


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["none", "loop", "vmap", "chunk", "ghost", "layers"])
@pytest.mark.parametrize("method", [EW, MGDA, NashMTL, CAGrad, MoCo, DBMTL, GradDrop])
def test_backward_called_where_autocast_is_still_on(method, rows):
    """Gradients, inner products and directions are those of a call after the block."""
    options = {} if rows == "none" else {"rows": rows}
    found, expected = step(method, autocast, **options), step(method, contextlib.nullcontext)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    rounded = step(method, autocast, forward=autocast, **options)
    outside = step(method, contextlib.nullcontext, forward=autocast, **options)
    torch.testing.assert_close(rounded, outside, rtol=1e-4, atol=1e-6)


@pytest.mark.supported
def test_further_batches_are_computed_under_the_autocast_of_the_call():
    model, seen = Trunk(torch.float32), []

    def further(i):
        seen.append(torch.is_autocast_enabled("cpu"))
        return model.losses(inputs(i, torch.float32))

    with autocast():
        losses = model.losses(inputs(dtype=torch.float32))
        moml.backward(losses, MoDo(), further=further)
    assert seen == [True, True]
