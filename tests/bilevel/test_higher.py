"""Agreement with the library `higher`, on its own terms."""

import copy
from functools import partial

import higher
import pytest
import torch
from torch import nn
from torch.nn import functional

from moml.backbone import Conv4
from moml.bilevel import Bilevel, Checkpointed, HigherOptimizer, InnerAdam, InnerSGD, Unrolled
from moml.data import Batch, EpisodeBatch
from moml.few_shot import FewShot, adapted
from moml.losses import CrossEntropy


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def conv4():
    torch.manual_seed(0)
    encoder = Conv4((16, 16), width=4)
    for module in encoder.modules():
        assert not isinstance(module, nn.BatchNorm2d)
    return nn.Sequential(encoder, nn.Linear(encoder.out_features, 3)).double()


def conv_with_stock_norms():
    torch.manual_seed(0)
    blocks = [
        layer
        for a, b in ((1, 4), (4, 4), (4, 4), (4, 4))
        for layer in (nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4, 3)).double()


def episodes(shape, count=2):
    generator = torch.Generator().manual_seed(1)

    def part(size):
        inputs = torch.randn(count, size, *shape, generator=generator, dtype=torch.float64)
        return Batch(inputs, {"class": torch.randint(3, (count, size), generator=generator)})

    return EpisodeBatch(part(9), part(12))


NETWORKS = {"mlp": (mlp, (6,)), "conv4": (conv4, (1, 16, 16)),
            "stock norms": (conv_with_stock_norms, (1, 16, 16))}  # fmt: skip


def higher_gradient(network, batch, make_optimizer, steps):
    """The recipe of higher's documentation."""
    total = [torch.zeros_like(p) for p in network.parameters()]
    for e in range(len(batch)):
        inner = make_optimizer(network.parameters())
        with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (fnet, rule):
            for _ in range(steps):
                prediction = fnet(batch.support.inputs[e])
                rule.step(functional.cross_entropy(prediction, batch.support.targets["class"][e]))
            loss = functional.cross_entropy(
                fnet(batch.query.inputs[e]), batch.query.targets["class"][e]
            )
            grads = torch.autograd.grad(loss, list(network.parameters()))
        total = [t + g / len(batch) for t, g in zip(total, grads, strict=True)]
    return torch.cat([t.flatten() for t in total])


RULES = {
    "sgd": (partial(torch.optim.SGD, lr=0.2), lambda steps: InnerSGD(0.2, steps=steps)),
    "momentum": (
        partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        lambda steps: InnerSGD(0.1, momentum=0.9, steps=steps),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning:higher")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("rule", RULES)
def test_meta_gradients_equal_those_of_higher(network, rule):
    build, shape = NETWORKS[network]
    make, own = RULES[rule]
    model, batch, steps = build(), episodes(shape), 3
    before = {k: v.clone() for k, v in model.state_dict().items()}
    expected = higher_gradient(model, batch, make, steps)
    problem = FewShot(model, CrossEntropy(3))
    for inner in (own(steps), HigherOptimizer(make, steps=steps)):
        found = Bilevel(inner, Unrolled())(problem, batch).jacobian[0]
        assert float((found - expected).norm() / expected.norm()) <= 1e-12
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} was written to"


@pytest.mark.supported
@pytest.mark.filterwarnings("ignore::UserWarning:higher")
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_through_higher_takes_the_steps_of_pytorch(amsgrad):
    model, batch = mlp(), episodes((6,))
    make = partial(torch.optim.Adam, lr=0.05, eps=1e-2, amsgrad=amsgrad)
    problem = FewShot(model, CrossEntropy(3), stacked=False)
    query = next(iter(adapted(problem, HigherOptimizer(make, steps=4), batch)))
    expected = copy.deepcopy(model)
    optimizer = make(expected.parameters())
    for _ in range(4):
        optimizer.zero_grad()
        loss = functional.cross_entropy(
            expected(batch.support.inputs[0]), batch.support.targets["class"][0]
        )
        loss.backward()
        optimizer.step()
    for name, p in expected.named_parameters():
        torch.testing.assert_close(query.theta[name], p.detach(), rtol=1e-10, atol=1e-12)
    if not amsgrad:
        rows = [
            Bilevel(inner, Unrolled())(problem, batch).jacobian[0]
            for inner in (HigherOptimizer(make, steps=4), InnerAdam(0.05, eps=1e-2, steps=4))
        ]
        assert float((rows[0] - rows[1]).norm() / rows[1].norm()) <= 1e-9


def test_adam_equals_that_of_higher_where_both_mean_the_same():
    # `higher` adds eps before the bias correction, as PyTorch did long ago: only tiny ones agree.
    model, batch = mlp(), episodes((6,))
    make = partial(torch.optim.Adam, lr=0.05, eps=1e-16)
    expected = higher_gradient(model, batch, make, 3)
    problem = FewShot(model, CrossEntropy(3))
    # Steps of sign(g) amplify rounding where g is small: 1e-10 between two ways to write them.
    for inner in (InnerAdam(0.05, eps=1e-16, steps=3), HigherOptimizer(make, steps=3)):
        found = Bilevel(inner, Unrolled())(problem, batch).jacobian[0]
        assert float((found - expected).norm() / expected.norm()) <= 1e-10


def test_any_stock_optimizer_that_higher_knows_can_be_checkpointed():
    model, batch = mlp(), episodes((6,))
    make = partial(torch.optim.Adadelta, lr=1.0)
    problem = FewShot(model, CrossEntropy(3))
    expected = higher_gradient(model, batch, make, 4)
    for method in (Unrolled(), Checkpointed(2)):
        found = Bilevel(HigherOptimizer(make, steps=4), method)(problem, batch).jacobian[0]
        assert float((found - expected).norm() / expected.norm()) <= 1e-12


def test_what_higher_does_not_know_is_said():
    problem = FewShot(mlp(), CrossEntropy(3))
    oracle = Bilevel(HigherOptimizer(torch.optim.AdamW), Unrolled())
    with pytest.raises(ValueError, match="should be one that `higher` knows, found AdamW"):
        oracle(problem, episodes((6,)))
    learnt = FewShot(mlp(), CrossEntropy(3), rates="layer")
    with pytest.raises(ValueError, match="where the problem learns its rates"):
        Bilevel(HigherOptimizer(partial(torch.optim.SGD, lr=0.1)), Unrolled())(
            learnt, episodes((6,))
        )
