"""Faster executors are the reference's function."""

import pytest
import torch
from torch.nn import functional

from moml.nas.executor import BatchedCell, MergedCell, MixedCell, PartialCell
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
        for (edge, op), module in zip(cell.live, cell.ops, strict=True):
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
