"""Networks as functions: nothing is written, threads do not meet, queries do not leak."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from moml.backbone import MLP, LinearHead, SeededDropout
from moml.bilevel import Functional, Stacked
from moml.bilevel._chain import chain
from moml.bilevel.stacked import worth_stacking


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    ).double()


def images(n, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 6, 6, dtype=torch.float64, generator=generator)


def own(net):
    return {n: p.detach() for n, p in net.named_parameters()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("statistics", ["batch", "running", "support"])
def test_nothing_is_written_to_the_network(statistics, training):
    net = network().train(training)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    function = Functional(net, statistics=statistics)
    function(own(net), images(5))
    function.reference(own(net), images(5), images(4))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training == training
    assert all(m.training == training for m in net.modules())


def test_batch_statistics_are_those_of_training_mode_and_running_ones_of_evaluation():
    net, x = network(), images(5)
    net(images(30, seed=2))
    expected = {"running": net.eval()(x), "batch": net.train()(x)}
    for statistics, output in expected.items():
        fresh = Functional(net, statistics=statistics)(own(net), x)
        if statistics == "batch":
            torch.testing.assert_close(fresh, output)
    net = network()
    net(images(30, seed=2))
    running = Functional(net, statistics="running")(own(net), x)
    torch.testing.assert_close(running, net.eval()(x))


@pytest.mark.supported
@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
def test_few_shot_with_a_frozen_batch_normalisation_inside_a_network_that_trains(statistics):
    """It goes by its stored statistics, in evaluation mode, too."""
    net, x = network(), images(5)
    net(images(30, seed=2))
    net[1].eval()
    function, expected = Functional(net, statistics=statistics), net(x)
    torch.testing.assert_close(function(own(net), x), expected)
    torch.testing.assert_close(function.reference(own(net), images(4), x), expected)
    net.eval()
    torch.testing.assert_close(function(own(net), x), expected)
    net.train()  # unfrozen
    free = Functional(net, statistics=statistics)(own(net), x)
    torch.testing.assert_close(function(own(net), x), free)


def test_a_query_does_not_leak_into_the_others_with_support_statistics():
    net = network()
    support, queries = images(20, seed=2), images(5)
    other = queries.clone()
    other[0] += 10.0
    safe = Functional(net, statistics="support")
    first, second = (safe.reference(own(net), support, x)[1:] for x in (queries, other))
    assert torch.equal(first, second)
    leaky = Functional(net)
    first, second = (leaky(own(net), x)[1:] for x in (queries, other))
    assert not torch.allclose(first, second)


def test_threads_take_turns():
    net = network()
    function, weights = Functional(net), own(net)

    def gradient(seed):
        params = {n: p + 0.01 * seed for n, p in weights.items()}
        leaves = {n: p.requires_grad_() for n, p in params.items()}
        loss = function(leaves, images(8, seed)).square().sum()
        grads = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        again = torch.autograd.grad(sum(g.square().sum() for g in grads), list(leaves.values()))
        return torch.cat([g.flatten() for g in again])

    expected = [gradient(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(gradient, [*range(8)] * 4))
    assert all(torch.equal(f, e) for f, e in zip(found, expected * 4, strict=True))


def test_tied_weights_stay_tied():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    net[2].weight = net[0].weight
    assert "2.weight" not in own(net)
    other, x = torch.randn(3, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    found = Functional(net)({**own(net), "0.weight": other}, x)
    hidden = (x @ other.T + net[0].bias).tanh()
    torch.testing.assert_close(found, hidden @ other.T + net[2].bias)


@pytest.mark.parametrize("batched", [True, False])
def test_chains_of_linear_layers_become_batched_products(batched):
    torch.manual_seed(0)
    net = nn.Sequential(MLP(12, hidden=(8, 8)), nn.Tanh(), LinearHead(8, 2)).double()
    sets = {n: torch.randn(3, *p.shape, dtype=torch.float64) for n, p in net.named_parameters()}
    shared = frozenset() if batched else frozenset({"0.layers.0.weight", "2.bias"})
    params = {n: p[0] if n in shared else p for n, p in sets.items()}
    stacked = Stacked(Functional(net))
    assert chain(net) is not None
    x = torch.randn(3, 5, 3, 4, dtype=torch.float64)
    found = stacked(params, x, batched=frozenset(params) - shared)
    for e in range(3):
        single = {n: p if n in shared else p[e] for n, p in params.items()}
        torch.testing.assert_close(found[e], Functional(net)(single, x[e]))


def test_looking_for_a_chain_leaves_the_network_alone():
    net = nn.Sequential(nn.Linear(4, 4), SeededDropout(0.5))
    before = set(net.__dict__)
    Stacked(Functional(net))
    assert set(net.__dict__) == before


def test_other_networks_are_vectorised():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(x + self.a(x).tanh())

    torch.manual_seed(0)
    net = Odd().double()
    stacked = Stacked(Functional(net))
    assert chain(net) is None
    params = {n: torch.randn(3, *p.shape, dtype=torch.float64) for n, p in net.named_parameters()}
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    for e in range(3):
        single = Functional(net)({n: p[e] for n, p in params.items()}, x[e])
        torch.testing.assert_close(stacked(params, x)[e], single)


def test_what_is_worth_stacking_follows_from_the_kinds_of_layers():
    assert worth_stacking(MLP(4))
    assert not worth_stacking(network())


def test_unknown_statistics_are_refused():
    with pytest.raises(ValueError, match="`statistics` should be one of batch, running, support"):
        Functional(network(), statistics="none")
