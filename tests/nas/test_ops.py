"""Formulas of operations against the modules they build."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from moml.nas import OpSpec, get_op, op_names, register
from moml.nas.ops import ReLUConvNorm
from moml.nas.ops._base import _REGISTRY
from search_spaces import NBDigits


@pytest.mark.parametrize("name", op_names())
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
def test_costs_are_those_of_the_module(name, stride, affine):
    op, channels, height, width = get_op(name), 6, 7, 4
    module = op.build(channels, stride=stride, affine=affine)
    counted = sum(p.numel() for p in module.parameters())
    assert op.parameters(channels, stride=stride, affine=affine) == counted
    x = torch.randn(1, channels, height, width)
    with FlopCounterMode(display=False) as counter:
        y = module(x)
    assert (
        op.flops(channels, height=height, width=width, stride=stride) == counter.get_total_flops()
    )
    assert y.shape == (1, channels, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("name", op_names())
def test_flags_are_true(name):
    op = get_op(name)
    x, y = torch.randn(2, 3, 4, 6, 6, dtype=torch.float64).unbind()
    module = op.build(4).double()
    if op.is_zero:
        assert module(x).eq(0).all()
    if op.is_identity:
        assert module(x).equal(x)
    if op.is_linear:
        torch.testing.assert_close(module(2 * x - y), 2 * module(x) - module(y))


def test_names_are_unique():
    assert register(get_op("conv3")) is get_op("conv3")
    with pytest.raises(ValueError, match="`name` should be new"):
        register(ReLUConvNorm("conv3", kernel=5))
    with pytest.raises(ValueError, match="Did you mean 'conv3'"):
        get_op("conv33")


@dataclass(frozen=True)
class Unweighed(OpSpec):
    """An operation of one's own whose formula was forgotten."""

    def build(self, channels, *, stride=1, affine=True):
        return nn.Conv2d(channels, channels, 1, bias=False)


@pytest.mark.refused("the formula of an operation's size is not the size of what it builds")
def test_an_operation_of_ones_own_that_says_it_has_no_parameters(monkeypatch):
    monkeypatch.setitem(_REGISTRY, "unweighed", Unweighed("unweighed"))
    space = NBDigits(3, ("skip", "unweighed"))
    genotype = space.sample(torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match=r"should be 64 for 8 channels and stride 1.*found 0"):
        space.num_parameters(genotype)
    assert torch.equal(torch.random.get_rng_state(), before)
