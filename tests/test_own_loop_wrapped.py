"""Networks inside wrappers and compilers, in a loop of one's own: heads stay heads."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch._functorch import config as functorch
from torch.nn.parallel import DistributedDataParallel

import moml
from moml.weighting import MGDA, CAGrad, PCGrad, UPGrad

TASKS = ("a", "b")


class Net(nn.Module):
    """An encoder and a head for each task; returns a dictionary."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 8)
        self.heads = nn.ModuleDict({task: nn.Linear(8, 1) for task in TASKS})
        self.unused = nn.Linear(3, 3)
        self.double()

    def forward(self, x):
        z = self.encoder(x).tanh()
        return {task: head(z) for task, head in self.heads.items()}


class Broadcast(torch.autograd.Function):
    """Copies on two devices, in the order and with the name of `DataParallel`'s."""

    @staticmethod
    def forward(ctx, count, *tensors):
        ctx.count = len(tensors)
        return tuple(x.clone() for _ in range(count) for x in tensors)

    @staticmethod
    def backward(ctx, *gradients):
        n = ctx.count
        return None, *(sum(gradients[i::n]) for i in range(n))


class Replicated(nn.Module):
    """Each half of a batch goes through a replica of its own."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        names = [name for name, _ in self.net.named_parameters()]
        copies = Broadcast.apply(2, *self.net.parameters())
        halves = [
            torch.func.functional_call(
                self.net, dict(zip(names, copies[i * len(names) :], strict=False)), (part,)
            )
            for i, part in enumerate(x.chunk(2))
        ]
        return {task: torch.cat([half[task] for half in halves]) for task in TASKS}


@pytest.fixture
def alone(tmp_path):
    """A process group of one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradients(net, method, called, **options):
    """What two steps leave in ``.grad`` of a network, and the weights."""
    weighting, seen = method(), []
    for seed in range(2):
        net.zero_grad()
        x = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        made = called(x)
        losses = {"a": (made["a"] - 1).square().mean(), "b": (made["b"] + x[:, :1]).abs().mean()}
        seen.append(moml.backward(losses, weighting, **options))
        seen += [p.grad.clone() for p in net.parameters() if p.grad is not None and p.grad.any()]
    return seen


def check(wrap, method, **options):
    plain, net = Net(), Net()
    expected = gradients(plain, method, plain)
    found = gradients(net, method, wrap(net), **options)
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-11)


def said(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "moml"]


@pytest.mark.supported
@pytest.mark.parametrize("method", [MGDA, CAGrad, PCGrad, UPGrad])
@pytest.mark.parametrize("option", ["find_unused_parameters", "static_graph"])
def test_data_parallel_module_that_looks_for_unused_parameters(alone, option, method):
    """Its outputs come from one operation; heads are not shared for that."""
    check(lambda net: DistributedDataParallel(net, **{option: True}), method)


@pytest.mark.supported
@pytest.mark.parametrize("method", [MGDA, UPGrad])
def test_replicas_of_data_parallel_on_several_devices(method):
    check(Replicated, method)


@pytest.mark.supported
def test_heads_inside_a_compiled_network_with_shared_parameters_named(caplog):
    with functorch.patch(donated_buffer=False):
        net = Net()
        expected = gradients(net, MGDA, net)
        compiled = torch.compile(net, backend="aot_eager")
        found = gradients(net, MGDA, compiled, shared=list(net.encoder.parameters()))
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-11)
    assert not said(caplog)


@pytest.mark.supported
def test_heads_inside_a_compiled_network_count_as_shared_and_it_is_said(caplog):
    with functorch.patch(donated_buffer=False):
        net = Net()
        found = gradients(net, MGDA, torch.compile(net, backend="aot_eager"))
        expected = gradients(
            net, MGDA, net, shared=[p for n, p in net.named_parameters() if "unused" not in n]
        )
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-11)
    (line,) = said(caplog)
    assert "Compile the encoder alone" in line
