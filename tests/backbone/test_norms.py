"""Own normalisation layers: PyTorch's values, and right meta-gradients in every order."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from moml.backbone import BatchNorm, Conv4, GroupNorm, InstanceNorm, LayerNorm, SeededDropout

PAIRS = {  # ours, PyTorch's, inputs
    "batch": (BatchNorm(6), nn.BatchNorm2d(6, track_running_stats=False), (5, 6, 4, 3)),
    "batch flat": (BatchNorm(6), nn.BatchNorm1d(6, track_running_stats=False), (5, 6)),
    "instance": (InstanceNorm(6), nn.InstanceNorm2d(6, affine=True), (5, 6, 4, 3)),
    "group": (GroupNorm(3, 6), nn.GroupNorm(3, 6), (5, 6, 4, 3)),
    "layer": (LayerNorm(7), nn.LayerNorm(7), (5, 7)),
    "layer 3d": (LayerNorm((6, 4, 3)), nn.LayerNorm((6, 4, 3)), (5, 6, 4, 3)),
}
EPISODES, SAMPLES, RATE = 3, 6, 0.5


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_values_and_parameters_are_pytorchs(name, dtype, tolerance):
    ours, theirs, shape = PAIRS[name]
    ours, theirs = ours.to(dtype), theirs.to(dtype)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.rand_like(parameter) + 0.5)
    ours.load_state_dict(theirs.state_dict())
    inputs = 3 * torch.randn(*shape, dtype=dtype) + 1
    torch.testing.assert_close(ours(inputs), theirs(inputs), rtol=tolerance, atol=3 * tolerance)
    assert torch.equal(ours.eval()(inputs), ours.train()(inputs))


def network(norm, dropout=None):
    layers = [nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *([dropout] if dropout else []), nn.Flatten(), nn.Linear(36, 3))


def meta_gradients(net, side=6):
    """Gradient of the mean query loss after one gradient step: a loop, and both vmapped orders."""
    net = net.double()
    parameters = {n: p.detach().clone() for n, p in net.named_parameters()}
    for value in parameters.values():  # away from weight 1, bias 0
        value += 0.3 * torch.randn_like(value)
    support, query = torch.randn(2, EPISODES, SAMPLES, 1, side, side, dtype=torch.float64)
    labels = torch.arange(SAMPLES) % 3

    def loss(parameters, inputs):
        return nn.functional.cross_entropy(functional_call(net, parameters, (inputs,)), labels)

    def episode(parameters, support, query):
        inner = grad(loss)(parameters, support)
        return loss({n: p - RATE * inner[n] for n, p in parameters.items()}, query)

    def mean(parameters):
        return vmap(episode, (None, 0, 0))(parameters, support, query).mean()

    loop = {n: torch.zeros_like(p) for n, p in parameters.items()}
    for i in range(EPISODES):
        leaves = {n: p.clone().requires_grad_() for n, p in parameters.items()}
        inner = torch.autograd.grad(
            loss(leaves, support[i]), list(leaves.values()), create_graph=True
        )
        moved = {n: p - RATE * g for (n, p), g in zip(leaves.items(), inner, strict=True)}
        outer = torch.autograd.grad(loss(moved, query[i]), list(leaves.values()))
        for name, gradient in zip(loop, outer, strict=True):
            loop[name] += gradient / EPISODES
    inside_out = vmap(grad(episode), (None, 0, 0))(parameters, support, query)
    return loop, grad(mean)(parameters), {n: g.mean(0) for n, g in inside_out.items()}


def error(ours, truth):
    a, b = (torch.cat([g.flatten() for g in one.values()]) for one in (ours, truth))
    return float((a - b).norm() / b.norm())


OWN = {
    "batch": lambda: BatchNorm(4),
    "instance": lambda: InstanceNorm(4),
    "group": lambda: GroupNorm(2, 4),
    "one group": lambda: GroupNorm(1, 4),
    "layer": lambda: LayerNorm((4, 6, 6)),
}


@pytest.mark.parametrize("name", OWN)
def test_meta_gradients_are_the_loops_in_every_order(name):
    loop, outer_over_vmap, vmap_over_outer = meta_gradients(network(OWN[name]()))
    assert error(outer_over_vmap, loop) < 1e-12
    assert error(vmap_over_outer, loop) < 1e-12


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group", "none"])
def test_conv4_meta_gradients_are_the_loops_in_every_order(norm):
    net = nn.Sequential(Conv4((16, 16), width=4, norm=norm), nn.Linear(4, 3))
    loop, outer_over_vmap, vmap_over_outer = meta_gradients(net, side=16)
    assert error(outer_over_vmap, loop) < 1e-10
    assert error(vmap_over_outer, loop) < 1e-10


def test_the_loop_agrees_with_pytorchs_layers():
    """So the truth above does not depend on how the layer is written."""
    for name, theirs in (
        ("batch", nn.BatchNorm2d(4, track_running_stats=False)),
        ("instance", nn.InstanceNorm2d(4, affine=True)),
        ("layer", nn.LayerNorm((4, 6, 6))),
    ):
        net = network(OWN[name]())
        twin = network(theirs)
        twin.load_state_dict(net.state_dict())
        torch.manual_seed(3)
        ours = meta_gradients(net)[0]
        torch.manual_seed(3)
        assert error(ours, meta_gradients(twin)[0]) < 1e-12


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.InstanceNorm2d(4, affine=True),
        nn.LayerNorm((4, 6, 6)),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_the_trap_pytorchs_own_layers_are_silently_wrong(norm):
    """If this fails, PyTorch has been mended: say so in `moml/backbone/norms.py`."""
    loop, outer_over_vmap, vmap_over_outer = meta_gradients(network(norm))
    assert error(outer_over_vmap, loop) > 1e-4
    assert error(vmap_over_outer, loop) < 1e-12


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group", "none"])
def test_conv4(norm):
    encoder = Conv4((20, 35), width=8, norm=norm)
    images = torch.randn(4, 1, 20, 35)
    features = encoder(images)
    assert features.shape == (4, encoder.out_features) == (4, 16)
    alone = encoder(images[:1])
    assert torch.allclose(alone, features[:1], atol=1e-5) == (norm != "batch")


def test_conv4_of_the_literature():
    encoder = Conv4()
    assert encoder.out_features == 32
    assert sum(p.numel() for p in encoder.parameters()) == 320 + 3 * 9248 + 4 * 64
    assert Conv4((84, 84), in_channels=3, width=64).out_features == 1600


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv4((12, 28)), "`image_size` should be 16 or more a side"),
        (lambda: Conv4(norm="spectral"), "`norm` should be one of .* found 'spectral'"),
        (lambda: GroupNorm(4, 6), r"`groups` should divide the number of channels \(6\), found 4"),
        (lambda: SeededDropout(1.0), "`p` should be at least 0 and below 1, found 1.0"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dropout_meta_gradients_are_the_loops():
    net = network(BatchNorm(4), SeededDropout(0.4, seed=3))
    loop, outer_over_vmap, vmap_over_outer = meta_gradients(net)
    assert error(outer_over_vmap, loop) < 1e-12
    assert error(vmap_over_outer, loop) < 1e-12
    assert error(meta_gradients(net.eval())[0], loop) > 1e-2


def test_dropout_takes_a_key_per_episode():
    layer = SeededDropout(0.5)
    keys, inputs = torch.tensor([5, 6]), torch.ones(2, 50)
    together = vmap(lambda key, x: functional_call(layer, {"key": key}, (x,)))(keys, inputs)
    for key, row in zip(keys, together, strict=True):
        assert torch.equal(row, functional_call(layer, {"key": key}, (torch.ones(50),)))
    assert not torch.equal(together[0], together[1])


def test_dropout_keeps_the_mean_and_its_masks_look_independent():
    layer, ones = SeededDropout(0.3, seed=1), torch.ones(400, 500)
    first = layer(ones)
    assert first.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    assert torch.equal(first, layer(ones))
    layer.renew()
    second = layer(ones)
    other = SeededDropout(0.3, seed=2)(ones)
    noise = 1 / ones.numel() ** 0.5  # standard deviation of a correlation of independent masks
    for a, b in ((first, second), (first, other), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):  # fmt: skip # noqa: E501
        assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 4 * noise
    assert torch.equal(layer.eval()(ones), ones)
    assert list(layer.state_dict()) == ["key"]
