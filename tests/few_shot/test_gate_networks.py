"""Few-shot learning on the fifteen networks of the gate, against plain autograd.

Two inner steps of gradient descent and two objectives; parameters after two meta-steps are those of
one episode after the other through `torch.func.functional_call`.
"""

import warnings
from functools import cache

import pytest
import torch
import torch._functorch.config as functorch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from moml.bilevel import Bilevel, InnerSGD, Unrolled
from moml.data import Batch, EpisodeBatch
from moml.few_shot import Calibration, Clean, FewShot
from moml.gradients.task_gradients import Evaluation
from moml.loop import fit
from moml.losses import CrossEntropy
from moml.weighting import EW, MGDA, TrimmedMean
from tests.networks import NETWORKS, RANDOM, build

METHODS = {"EW": EW, "MGDA": MGDA, "TrimmedMean": TrimmedMean}
OBJECTIVES = ("clean", "calibrated")
INNER, OUTER, STEPS, EPISODES = 0.5, 0.1, 2, 3


def learner(name, *, twin=False):
    encoder = build(name, twin=twin)
    torch.manual_seed(1)
    return nn.Sequential(encoder, nn.Linear(8, 3).double())


def batches():
    draw = torch.Generator().manual_seed(3)

    def part(size):
        x = torch.randn(EPISODES, size, 6, generator=draw, dtype=torch.float64) + 0.2
        return Batch(x, {"class": torch.randint(3, (EPISODES, size), generator=draw)})

    return [EpisodeBatch(part(6), part(9)) for _ in range(STEPS)]


def brier(logits, labels):
    hot = nn.functional.one_hot(labels, 3)
    return (logits.softmax(1) - hot).square().sum(1).mean()


def episode_losses(network, names, x, y, query, labels):
    """Both objectives after two inner steps, differentiable in the network's parameters."""
    now = {n: p.clone() for n, p in network.named_parameters() if n in names}
    for _ in range(2):
        loss = nn.functional.cross_entropy(functional_call(network, now, (x,)), y)
        found = torch.autograd.grad(loss, list(now.values()), create_graph=True, allow_unused=True)
        now = {
            n: p if g is None else p - INNER * g
            for (n, p), g in zip(now.items(), found, strict=True)
        }
    logits = functional_call(network, now, (query,))
    return nn.functional.cross_entropy(logits, labels), brier(logits, labels)


@cache
def expected(name, method):
    network, weighting = learner(name, twin=True), METHODS[method]()
    weighting.setup(OBJECTIVES)
    names = [n for n, p in network.named_parameters() if p.requires_grad]
    parameters = [dict(network.named_parameters())[n] for n in names]
    optimizer = torch.optim.SGD(parameters, lr=OUTER)
    for data in batches():
        optimizer.zero_grad()
        total = torch.zeros(2, sum(p.numel() for p in parameters), dtype=torch.float64)
        values = torch.zeros(2, dtype=torch.float64)
        for i in range(EPISODES):
            losses = episode_losses(
                network, names, data.support.inputs[i], data.support.targets["class"][i],
                data.query.inputs[i], data.query.targets["class"][i],
            )  # fmt: skip
            for k, loss in enumerate(losses):
                found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                flat = [
                    torch.zeros_like(p).flatten() if g is None else g.flatten()
                    for p, g in zip(parameters, found, strict=True)
                ]
                total[k] += torch.cat(flat) / EPISODES
                values[k] += loss.detach() / EPISODES
        weighting.update(
            Evaluation.from_jacobian(total, values, names=OBJECTIVES, parameters=parameters)
        )
        optimizer.step()
    return network.state_dict()


def fitted(name, method, **options):
    network = learner(name)
    task = FewShot(
        network, CrossEntropy(3), objectives={"clean": Clean(), "calibrated": Calibration()},
        **options,
    )  # fmt: skip
    oracle = Bilevel(InnerSGD(INNER, steps=2), Unrolled())
    optimizer = torch.optim.SGD([p for _, p in task.trainable()], lr=OUTER)
    fit(task, oracle, METHODS[method](), optimizer, batches(), steps=STEPS)
    return network.state_dict()


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stacked", [None, True, False], ids=["auto", "stacked", "one by one"])
@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in RANDOM | {"a compiled network"}])
def test_few_shot_learning_on_networks_that_are_not_what_they_look_like(name, stacked, method):
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivatives
        plain = expected(name, method)
        found = fitted(name, method, stacked=stacked)
    for key, value in plain.items():
        torch.testing.assert_close(found[key], value, rtol=1e-7, atol=1e-9, msg=key)


@pytest.mark.supported
@pytest.mark.parametrize("name", sorted(RANDOM))
def test_few_shot_learning_on_networks_that_draw_numbers_moves_every_parameter(name):
    before = learner(name).state_dict()
    after = fitted(name, "MGDA")
    for key, value in after.items():
        assert torch.isfinite(value).all()
        assert not torch.equal(value, before[key]), key


@pytest.mark.refused("a compiled network has no second derivatives: `FirstOrder` is named")
def test_a_compiled_network_in_few_shot_learning():
    with (
        functorch.patch(donated_buffer=False),
        pytest.raises(ValueError, match=r"compiled one, which has none.*FirstOrder"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the compiler's own
        fitted("a compiled network", "MGDA", stacked=False)
