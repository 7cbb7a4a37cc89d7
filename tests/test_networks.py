"""The gate over networks: fifteen that are not what they look like, against plain autograd.

Each is trained for three steps with a weighting of each level through every way into the library;
the parameters afterwards are those that `torch.autograd.grad`, one task after the other, gives.
"""

import pytest
import torch
import torch._functorch.config as functorch
import torch.distributed as dist
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.gradients.task_gradients import Evaluation
from moml.oracle import Accumulated, Direct, Distributed, Representation
from moml.training.callback import Callback
from moml.weighting import EW, MGDA, TrimmedMean
from tests.helpers import TASKS, flat_gradients, problem
from tests.networks import NETWORKS, RANDOM, build

METHODS = {"EW": EW, "MGDA": MGDA, "TrimmedMean": TrimmedMean}
STEPS, RATE = 3, 0.1


def model(name):
    encoder = build(name)
    torch.manual_seed(1)
    return HPS(encoder, {task: nn.Linear(8, 3).double() for task in TASKS})


def batches():
    """A batch a step, of other sizes and means: branches go both ways, experts are left out."""
    draw = torch.Generator().manual_seed(2)
    found = []
    for size, shift in ((8, 1.0), (4, -1.0), (10, 0.3)):
        x = torch.randn(size, 6, generator=draw, dtype=torch.float64) + shift
        found.append(Batch(x, {t: torch.randint(3, (size,), generator=draw) for t in TASKS}))
    return found


def trainable(network, names):
    return [p for n, p in network.named_parameters() if p.requires_grad and n.startswith(names)]


def losses_of(network, data):
    """The losses and the representation, in plain PyTorch."""
    features = network.encoder(data.inputs)
    loss = nn.functional.cross_entropy
    return features, [loss(network.heads[t](features), data.targets[t]) for t in TASKS]


def expected(name, method, *, representation=False):
    """Parameters after three steps of plain PyTorch, with the weighting on rows by autograd."""
    network, weighting = model(name), METHODS[method]()
    weighting.setup(TASKS)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    for step, data in enumerate(batches()):
        optimizer.zero_grad()
        torch.manual_seed(step)
        features, losses = losses_of(network, data)
        shared = trainable(network, "encoder")
        heads = [trainable(network, f"heads.{task}.") for task in TASKS]
        own = [
            torch.autograd.grad(x, h, retain_graph=True) for x, h in zip(losses, heads, strict=True)
        ]
        rows = [flat_gradients(x, [features] if representation else shared) for x in losses]
        holder = nn.Parameter(torch.zeros_like(rows[0]))
        evaluation = Evaluation.from_jacobian(
            torch.stack(rows), torch.stack(losses), names=TASKS, parameters=[holder]
        )
        weights = weighting.update(evaluation)
        if representation:
            cotangent = holder.grad.view_as(features)
            flat = flat_gradients((features * cotangent).sum(), shared)
        else:
            flat = holder.grad
        for p, piece in zip(shared, flat.split([p.numel() for p in shared]), strict=True):
            p.grad = piece.view_as(p)
        factors = [1.0] * len(TASKS) if weights is None else weights.tolist()
        for h, gradients, factor in zip(heads, own, factors, strict=True):
            for p, g in zip(h, gradients, strict=True):
                p.grad = g * factor
        optimizer.step()
    return network.state_dict()


class Seed(Callback):
    """Every step draws the same numbers as in the plain loop."""

    def start(self, training):
        torch.manual_seed(0)

    def after_step(self, training):
        torch.manual_seed(training.step)


def fitted(name, method, oracle):
    network = model(name)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    moml.fit(
        problem(network), oracle, METHODS[method](), optimizer, batches(), steps=STEPS,
        callbacks=[Seed()],
    )  # fmt: skip
    return network.state_dict()


def own_loop(name, method, **options):
    network, weighting = model(name), METHODS[method]()
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    for step, data in enumerate(batches()):
        optimizer.zero_grad()
        torch.manual_seed(step)
        features, losses = losses_of(network, data)
        if options:
            options["features"] = features
        moml.backward(dict(zip(TASKS, losses, strict=True)), weighting, **options)
        optimizer.step()
    return network.state_dict()


@pytest.fixture(autouse=True)
def _buffers_stay():
    """Compiled networks must be told that there are several backward passes."""
    with functorch.patch(donated_buffer=False):
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A process group of one."""
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path_factory.mktemp('group')}/meet", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


WAYS = {
    "fit": lambda n, m: fitted(n, m, Direct()),
    "rows by ghosts": lambda n, m: fitted(n, m, Direct(rows="ghost")),
    "rows by vmap": lambda n, m: fitted(n, m, Direct(rows="vmap")),
    "backward": own_loop,
    "backward with features": lambda n, m: own_loop(n, m, rows="auto"),
    "accumulated": lambda n, m: fitted(n, m, Accumulated(Direct(), parts=1)),
}


def same(found, plain):
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_way_into_the_library_on_fifteen_networks(name, way, method):
    if name == "a compiled network" and way == "rows by vmap":
        with pytest.raises(ValueError, match="'loop' or 'auto' with a compiled encoder"):
            WAYS[way](name, "MGDA")
        return
    same(WAYS[way](name, method), expected(name, method))


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_the_representation_on_fifteen_networks(name, method):
    plain = expected(name, method, representation=True)
    same(fitted(name, method, Representation()), plain)
    if method != "EW":
        same(own_loop(name, method, representation=True), plain)


@pytest.mark.refused("several backward passes need the buffers: `donated_buffer = False` is named")
def test_a_compiled_network_that_gives_its_buffers_away():
    torch._dynamo.reset()
    with functorch.patch(donated_buffer=True):
        with pytest.raises(ValueError, match="donated_buffer = False"):
            fitted("a compiled network", "MGDA", Direct())
        with pytest.raises(ValueError, match="donated_buffer = False"):
            own_loop("a compiled network", "MGDA")
    torch._dynamo.reset()


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in RANDOM])
def test_batches_in_parts_on_networks_that_draw_no_numbers(name, method):
    if name in ("a branch that depends on a value",):
        pytest.skip("its parts take other branches than the whole batch")
    same(fitted(name, method, Accumulated(Direct(), parts=2)), expected(name, method))


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_process_group_on_fifteen_networks(alone, name, method):
    same(fitted(name, method, Distributed(Direct())), expected(name, method))


def test_the_networks_are_what_they_claim_not_to_look_like():
    """Some draw numbers, some change their graph: the gate would notice if they stopped."""
    assert len(NETWORKS) == 15
    for name in RANDOM:
        network = build(name).train()
        x = torch.randn(64, 6, dtype=torch.float64)
        assert any(not torch.equal(network(x), network(x)) for _ in range(8)), name
