"""Running statistics per lower step: found in training, used in evaluation, part of the state."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from moml.bilevel import (
    Bilevel,
    Checkpointed,
    Compiled,
    ConjugateGradient,
    FirstOrder,
    InnerSGD,
    Unrolled,
)
from moml.few_shot import Clean, FewShot, adapted
from moml.few_shot.method import MAMLPlusPlus, Setup
from moml.losses import CrossEntropy
from moml.training.validation import evaluating
from tests.few_shot.test_few_shot import episodes, mlp

STEPS, RATE = 2, 0.2


def network(momentum=0.1):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.Tanh(),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, momentum=momentum), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip


def data(seed=1):
    return episodes((1, 6, 6), count=2, seed=seed)


def problem(net=None, **options):
    return FewShot(
        net or network(), CrossEntropy(3), inner_steps=STEPS, statistics="per_step", **options
    )


def meta_step(found, batch, method=None):
    oracle = Bilevel(InnerSGD(RATE, steps=STEPS), method or Unrolled())
    oracle(found, batch).apply(torch.ones(1))
    oracle.advance(found)


def by_hand(batch):
    """Statistics of the first layer's and the second's batches, step by step, a row per episode."""
    net, ce = network(), nn.functional.cross_entropy
    found = {step: [] for step in range(STEPS + 1)}

    def see(theta, inputs, step):
        seen = []
        hooks = [
            net[i].register_forward_pre_hook(lambda m, a: seen.append(a[0].detach()))
            for i in (1, 4)
        ]
        out = functional_call(net, theta, (inputs,))
        for hook in hooks:
            hook.remove()
        found[step].append([(x.mean((0, 2, 3)), x.var((0, 2, 3))) for x in seen])
        return out

    for e in range(len(batch)):
        theta = dict(net.named_parameters())
        for step in range(STEPS):
            loss = ce(see(theta, batch.support.inputs[e], step), batch.support.targets["class"][e])
            grads = torch.autograd.grad(loss, list(theta.values()))
            pairs = zip(theta.items(), grads, strict=True)
            theta = {n: (t - RATE * g).detach().requires_grad_() for (n, t), g in pairs}
        see(theta, batch.query.inputs[e], STEPS)
    return found


@pytest.mark.parametrize(
    "method",
    [Unrolled(), FirstOrder(), Checkpointed(), ConjugateGradient(2, on_invalid="ignore")],
    ids=lambda m: type(m).__name__,
)
def test_each_step_gathers_its_own(method):
    batch = data()
    found = problem(proximal=0.0 if not isinstance(method, ConjugateGradient) else 1e-12)
    meta_step(found, batch, method)
    for step, rows in by_hand(batch).items():
        kept = found.learner.statistics.at(step)
        for layer, name in enumerate(("1", "4")):
            mean = torch.stack([row[layer][0] for row in rows]).mean(0)
            variance = torch.stack([row[layer][1] for row in rows]).mean(0)
            torch.testing.assert_close(kept[f"{name}.running_mean"], 0.1 * mean)
            torch.testing.assert_close(kept[f"{name}.running_var"], 0.9 + 0.1 * variance)
    first, last = (found.learner.statistics.at(s)["4.running_mean"] for s in (0, STEPS))
    assert not torch.allclose(first, last)


def test_training_goes_by_the_batch():
    rows = [
        Bilevel(InnerSGD(RATE, steps=STEPS), Unrolled())(one, data()).jacobian
        for one in (problem(), FewShot(network(), CrossEntropy(3), inner_steps=STEPS))
    ]
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-12, atol=1e-14)


def test_evaluation_goes_by_the_step_and_no_query_leaks():
    found, inner = problem(), InnerSGD(RATE, steps=STEPS)
    for seed in range(3):
        meta_step(found, data(seed))
    before = {k: v.clone() for k, v in found.module.state_dict().items() if "extra" not in k}
    batch = data(7)
    with evaluating(found.module):
        queries = list(adapted(found, inner, batch))
        together = queries[0].prediction
        alone = torch.cat([queries[0].predict(x[None]) for x in queries[0].inputs])
    torch.testing.assert_close(together, alone)
    net = network().eval()
    state = {**queries[0].theta, **found.learner.statistics.at(STEPS)}
    expected = functional_call(net, state, (queries[0].inputs,))
    torch.testing.assert_close(together, expected)
    # Adapted by the first step's own statistics, not by the last one's
    theta = dict(net.named_parameters())
    for step in range(STEPS):
        state = {**theta, **found.learner.statistics.at(step)}
        out = functional_call(net, state, (batch.support.inputs[0],))
        loss = nn.functional.cross_entropy(out, batch.support.targets["class"][0])
        grads = torch.autograd.grad(loss, list(theta.values()))
        theta = {n: t - RATE * g for (n, t), g in zip(theta.items(), grads, strict=True)}
    for name, t in theta.items():
        torch.testing.assert_close(queries[0].theta[name], t.detach())
    assert all(torch.equal(found.module.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize("training", [True, False])
def test_adapting_moves_nothing(training):
    found = problem()
    found.module.train(training)
    for query in adapted(found, InnerSGD(RATE, steps=STEPS), data()):
        assert torch.isfinite(query.prediction).all()
    found.advance()
    assert torch.equal(found.learner.statistics.at(0)["1.running_mean"], torch.zeros(4).double())
    assert all(not b.any() for n, b in found.function.network.named_buffers() if "mean" in n)


def test_without_a_momentum_it_is_the_mean_of_all_meta_steps():
    found, means = problem(network(momentum=None)), []
    for seed in range(3):
        means.append(torch.stack([r[0][0] for r in by_hand(data(seed))[0]]).mean(0))
        oracle = Bilevel(InnerSGD(RATE, steps=STEPS), Unrolled())
        oracle(found, data(seed))  # no update of the start: the same network every time
        oracle.advance(found)
    kept = found.learner.statistics.at(0)["1.running_mean"]
    torch.testing.assert_close(kept, torch.stack(means).mean(0))


def test_state_goes_on():
    first, second = problem(), problem()
    meta_step(first, data(1))
    second.module.load_state_dict(first.module.state_dict())
    for one in (first, second):
        meta_step(one, data(2))
    for a, b in zip(first.module.buffers(), second.module.buffers(), strict=True):
        assert torch.equal(a, b)
    assert int(first.learner.statistics.updates) == 2


def test_maml_plus_plus_takes_it():
    net = nn.Sequential()
    net.add_module("encoder", network()[:-1])
    net.add_module("head", nn.Linear(16, 3).double())
    setup = Setup(
        net, CrossEntropy(3), "class", {"clean": Clean()}, inner_lr=RATE, inner_steps=STEPS,
        eval_inner_steps=4, steps=10,
    )  # fmt: skip
    made = MAMLPlusPlus(step_statistics=True).compose(setup)
    made.oracle(made.problem, data()).apply(torch.ones(1))
    made.oracle.advance(made.problem)
    with evaluating(made.problem.module):
        assert all(torch.isfinite(query.prediction).all() for query in made.adapt(data(2)))
    plain = MAMLPlusPlus().compose(setup).problem
    assert plain.learner.statistics is None


def test_what_does_not_go_with_it_is_said():
    with pytest.raises(ValueError, match="without running statistics"):
        FewShot(mlp(), CrossEntropy(3), statistics="per_step", stacked=False)
    with pytest.raises(ValueError, match="`stacked` should be off with statistics='per_step'"):
        problem(stacked=True)
    oracle = Compiled(Bilevel(InnerSGD(RATE, steps=STEPS), Unrolled()), backend=None)
    with pytest.raises(ValueError, match="running statistics per step are state"):
        oracle(problem(), data())
