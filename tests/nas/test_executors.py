"""Faster executors are the reference's function."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from moml.nas import OpSpec
from moml.nas.executor import BatchedCell, MergedCell, MixedCell, PartialCell
from moml.nas.ops._base import _REGISTRY
from moml.nas.supernet import SuperNet
from search_spaces import DARTS, LinearCells, NASBench201, NBDigits

SPACES = {
    "darts": (lambda: DARTS(channels=4, layers=3, image=(1, 8, 8)), BatchedCell),
    "nas_bench_201": (lambda: NASBench201(channels=4, cells=1, image=(1, 8, 8)), BatchedCell),
    "nb_digits": (NBDigits, BatchedCell),
    "linear, batched": (LinearCells, BatchedCell),
    "linear, merged": (LinearCells, MergedCell),
}


def outputs(space, executor, dtype, *, channels_last):
    net = SuperNet(space, executor=executor, channels_last=channels_last, seed=1).to(dtype)
    draw = torch.Generator().manual_seed(2)
    logits = {
        name: torch.randn(len(cell.edges), len(cell.ops), generator=draw).to(dtype).requires_grad_()
        for name, cell in space.spec.cells
    }
    x = torch.rand(8, *space.image, generator=draw).to(dtype)
    y = net(x, {name: logit.softmax(-1) for name, logit in logits.items()})
    loss = functional.cross_entropy(y, torch.arange(8))
    grads = torch.autograd.grad(loss, list(logits.values()))
    return y.detach(), torch.cat([g.flatten() for g in grads])


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_outputs_and_gradients(name, dtype):
    make, executor = SPACES[name]
    space = make()
    y, g = outputs(space, MixedCell, dtype, channels_last=False)
    fast, fast_g = outputs(space, executor, dtype, channels_last=True)
    near, near_g = (1e-5, 1e-3) if dtype == torch.float32 else (1e-10, 1e-9)
    assert (y - fast).abs().max() <= near * max(1.0, float(y.abs().max()))
    assert (g - fast_g).norm() <= near_g * g.norm()
    assert g.norm() > 0


@pytest.mark.parametrize("name", ["darts", "nas_bench_201", "nb_digits", "linear, merged"])
def test_a_path_is_the_discrete_network(name):
    make, fast = SPACES[name]
    space = make()
    genotype = space.sample(torch.Generator().manual_seed(5))
    supernet = SuperNet(space, executor=MixedCell, seed=1).double()
    x = torch.rand(6, *space.image, dtype=torch.float64)
    got = supernet(x, supernet.path(genotype))
    discrete = space.network(genotype, seed=0).double().train()
    inherit(discrete, supernet, space, genotype)
    assert torch.allclose(got, discrete(x), atol=1e-10)
    batched = SuperNet(space, executor=fast, seed=1).double()
    assert torch.allclose(got, batched(x, batched.path(genotype)), atol=1e-10)


def inherit(discrete, supernet, space, genotype):
    """Copy the shared weights of one path by hand."""
    cells = {n: m for n, m in discrete.named_modules() if type(m).__name__ == "DiscreteCell"}
    mixed = {n: m for n, m in supernet.body.named_modules() if isinstance(m, MixedCell)}
    own = dict(discrete.named_parameters())
    shared = dict(supernet.body.named_parameters())
    for name, parameter in own.items():
        if not any(name.startswith(cell) for cell in cells):
            parameter.data.copy_(shared[name])
    for name, cell in cells.items():
        spec = cell.cell
        for (edge, op), module in zip(cell.built, cell.ops, strict=True):
            source = mixed[name].edges[spec.edges.index(edge)][spec.ops.index(op)]
            module.load_state_dict(source.state_dict(), strict=False)


def test_merged_cells_want_linear_operations():
    with pytest.raises(ValueError, match="to be merged"):
        SuperNet(NBDigits(), executor=MergedCell)


def test_partial_channels_train_and_shuffle():
    space = DARTS(channels=8, layers=3, image=(1, 8, 8))
    net = SuperNet(space, executor=PartialCell, seed=0)
    weights = {
        name: torch.full((len(cell.edges), len(cell.ops)), 1 / 8, requires_grad=True)
        for name, cell in space.spec.cells
    }
    loss = net(torch.rand(4, 1, 8, 8), weights).square().mean()
    for gradient in torch.autograd.grad(loss, list(weights.values())):
        assert torch.isfinite(gradient).all()
        assert (gradient.abs().sum(1) > 0).all()
    full = sum(p.numel() for p in SuperNet(space, seed=0).parameters())
    assert sum(p.numel() for p in net.parameters()) < full
    with pytest.raises(ValueError, match="multiple of 4"):
        SuperNet(DARTS(channels=6, layers=3), executor=PartialCell)


def test_narrow_reductions_are_safe_in_the_fast_layout():
    """Strided 1×1 convolutions of few channels corrupted memory there (PyTorch 2.13, CPU)."""
    space = DARTS(2, ("none", "skip"), channels=2, layers=3, image=(1, 8, 8))
    net = SuperNet(space, seed=0)
    weights = {n: torch.ones(len(c.edges), len(c.ops)) for n, c in space.spec.cells}
    for _ in range(20):
        net(torch.rand(32, 1, 8, 8), weights).square().mean().backward()


def test_a_supernet_has_no_buffers_and_no_architecture():
    net = SuperNet(NBDigits(), seed=0)
    assert list(net.buffers()) == []
    cell = net.space.cell
    assert all(tuple(p.shape) != (len(cell.edges), len(cell.ops)) for p in net.parameters())


class Scaled(nn.Conv2d):
    """A convolution whose class does something else."""

    def forward(self, x):
        return 3.0 * super().forward(x).tanh()


def chain(channels, conv=nn.Conv2d, **options):
    return nn.Sequential(
        nn.ReLU(),
        conv(channels, channels, 3, padding=1, bias=False, **options),
        nn.BatchNorm2d(channels, affine=False, eps=1e-2),
    )


def hooked(channels):
    made = chain(channels)
    made[1].register_forward_hook(lambda module, inputs, output: output.abs())
    return made


def patched(channels):
    made = chain(channels)
    made[1].forward = lambda x: nn.Conv2d.forward(made[1], x).sin()
    return made


def parametrized(channels):
    made = chain(channels)
    parametrizations.weight_norm(made[1])
    return made


def old_weight_norm(channels):
    made = chain(channels)
    prune.l1_unstructured(made[1], "weight", 0.5)
    return made


class Jitter(nn.Module):
    """No parameters, but random: every edge draws for itself."""

    def forward(self, x):
        return x * torch.rand(len(x), 1, 1, 1)


OWN = {
    "a_subclass_of_conv2d": lambda channels: chain(channels, Scaled),
    "circular_padding": lambda channels: chain(channels, padding_mode="circular"),
    "a_forward_hook": hooked,
    "a_patched_forward": patched,
    "a_parametrized_weight": parametrized,
    "pruned_weights": old_weight_norm,
    "random_numbers": lambda channels: Jitter(),
}


@dataclass(frozen=True)
class Own(OpSpec):
    made: Callable = chain

    def build(self, channels, *, stride=1, affine=True):
        return self.made(channels)

    def parameters(self, channels, *, stride=1, affine=True):
        return sum(p.numel() for p in self.made(channels).parameters())


@pytest.fixture
def known(monkeypatch):
    """Makes operations known for one test."""

    def make(name, made):
        monkeypatch.setitem(_REGISTRY, name, Own(name, made))
        return name

    return make


@pytest.mark.parametrize("own", OWN)
@pytest.mark.supported
def test_operations_of_ones_own_compute_in_the_fast_supernet_what_their_modules_do(own, known):
    ops = known("own", OWN[own]), known("usual", chain)
    space = NBDigits(3, ("none", "skip", "conv1", *ops))
    nets = [SuperNet(space, executor=executor, seed=1) for executor in (MixedCell, BatchedCell)]
    weights = {"cell": torch.full((3, 5), 0.2)}
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for net in nets:
        torch.manual_seed(3)
        found.append(net(x, weights))
    if own == "random_numbers":
        edges = nets[1].body.cells[0].sources["0"].single  # one module an edge, not one for all
        assert len(edges["3"]) == 2
    else:
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    stacked = {name for s in nets[1].body.cells[0].sources.values() for name in s.stacked}
    assert stacked == {"2", "4"}  # conv1 and the plain one are joined still


@pytest.mark.refused("merged kernels are those of plain convolutions and averages")
def test_a_convolution_with_a_hook_in_merged_cells(known):
    def made(channels):
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        conv.register_forward_hook(lambda module, inputs, output: 2 * output)
        return conv

    for name, op in {
        "hook": made,
        "subclass": lambda c: Scaled(c, c, 3, padding=1, bias=False),
        "circular": lambda c: nn.Conv2d(c, c, 3, padding=1, bias=False, padding_mode="circular"),
        "unpadded": lambda c: nn.AvgPool2d((3, 3), (1, 1), (0, 0)),
    }.items():
        space = LinearCells(3, ("skip", "linear3", known(name, op)))
        with pytest.raises(ValueError, match="without classes or hooks of their own"):
            SuperNet(space, executor=MergedCell)


def test_every_kind_of_normalisation_uses_the_batch_alone(known):
    name = known("sync", lambda c: nn.Sequential(nn.Conv2d(c, c, 1), nn.SyncBatchNorm(c)))
    space = NBDigits(3, ("skip", name))
    assert list(SuperNet(space).buffers()) == []
