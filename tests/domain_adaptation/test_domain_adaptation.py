"""Domain adaptation: the game's step, the three objectives, and their exact hypergradients."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from moml import fit
from moml.bilevel import Bilevel, Cholesky, FiniteDifference, FirstOrder, InnerSGD, Unrolled
from moml.data import Batch, TaskInputs
from moml.domain_adaptation import CosineClassifier, DomainAdaptation, MinimaxEntropy
from moml.domain_adaptation.cosine_classifier import adversarial_entropy, reverse_gradient
from moml.oracle import Direct
from moml.weighting import EW, MGDA, GradientNormalization


def model(norm=False, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(5, 7), *([nn.BatchNorm1d(7)] if norm else []), nn.Tanh()]
    encoder = nn.Sequential(*layers)
    encoder.out_features = 7
    return CosineClassifier(encoder, 3, temperature=0.5).double()


def data(seed=0, n=9):
    draw = torch.Generator().manual_seed(seed)
    names = ("source", "target_labelled", "target_unlabelled")
    inputs = {d: torch.randn(n, 5, generator=draw, dtype=torch.float64) + i
              for i, d in enumerate(names)}  # fmt: skip
    targets = {d: inputs[d][:, :3].argmax(1) for d in names[:2]}
    return Batch(TaskInputs(inputs), targets)


def test_reversal_keeps_values_and_turns_all_derivatives():
    x = torch.randn(50, requires_grad=True)
    y = reverse_gradient(x)
    assert torch.equal(x, y)
    (g,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    torch.testing.assert_close(g, -3 * x**2)
    (h,) = torch.autograd.grad(g.sum(), x)
    # derivative of -3 y(x)^2, with dy/dx = -1
    torch.testing.assert_close(h, 6 * x)


def test_prototypes_raise_the_entropy_and_the_encoder_lowers_it():
    net, x = model(), data().inputs["target_unlabelled"]
    before = adversarial_entropy(net(x))
    adversarial = adversarial_entropy(net(x, adversarial=True))
    assert float(before.detach()) == pytest.approx(float(adversarial.detach()))
    grads = torch.autograd.grad(adversarial, list(net.parameters()))
    plain = torch.autograd.grad(before, list(net.parameters()))
    names = [n for n, _ in net.named_parameters()]
    for name, g, p in zip(names, grads, plain, strict=True):
        torch.testing.assert_close(g, p if name.startswith("prototypes") else -p)


def by_hand(net, batch, rate):
    """The three objectives as functions of the weights, one step of the game inside.

    The step is against the entropy's gradient, whose encoder part has the other sign: no layer that
    turns gradients around is differentiated twice.
    """
    ce = nn.functional.cross_entropy
    omega = {n: p.detach().clone().requires_grad_() for n, p in net.named_parameters()}
    x = batch.inputs["target_unlabelled"]
    game = 0.1 * adversarial_entropy(functional_call(net, omega, (x,)))
    grads = torch.autograd.grad(game, list(omega.values()), create_graph=True)
    signs = [1.0 if n.startswith("prototypes") else -1.0 for n in omega]
    theta = {n: p - rate * s * g for (n, p), g, s in zip(omega.items(), grads, signs, strict=True)}
    losses = [
        ce(functional_call(net, theta, (batch.inputs[d],)), batch.targets[d])
        for d in ("source", "target_labelled")
    ]
    losses.append(
        0.1 * adversarial_entropy(functional_call(net, omega, (x,), {"adversarial": True}))
    )
    rows = [torch.autograd.grad(v, list(omega.values()), retain_graph=True) for v in losses]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def test_hypergradients_are_exact():
    net, batch = model(), data()
    evaluation = Bilevel(InnerSGD(2.0), Unrolled())(DomainAdaptation(net), batch)
    expected = by_hand(net, batch, 2.0)
    assert evaluation.names == ("source", "target", "entropy")
    torch.testing.assert_close(evaluation.jacobian, expected, rtol=1e-11, atol=1e-13)
    first = Bilevel(InnerSGD(2.0), FirstOrder())(DomainAdaptation(net), batch)
    assert (first.jacobian - expected)[:2].abs().max() > 1e-4
    torch.testing.assert_close(first.jacobian[2], expected[2], rtol=1e-11, atol=1e-13)


@pytest.mark.supported
def test_a_game_below_is_differentiated_as_finite_differences_say():
    net, batch, rate, eps = model(), data(), 2.0, 1e-5
    problem, oracle = DomainAdaptation(net), Bilevel(InnerSGD(2.0), Unrolled())
    assert problem.ascends() == {"encoder.0.weight", "encoder.0.bias"}
    rows = oracle(problem, batch).jacobian[:2]
    weights = list(net.parameters())
    torch.manual_seed(1)
    along = [torch.randn_like(p) for p in weights]

    def moved(step):
        with torch.no_grad():
            for p, v in zip(weights, along, strict=True):
                p.add_(v, alpha=step)
        losses = oracle(problem, batch).losses[:2]
        with torch.no_grad():
            for p, v in zip(weights, along, strict=True):
                p.sub_(v, alpha=step)
        return losses

    slope = (moved(eps) - moved(-eps)) / (2 * eps)
    flat = torch.cat([v.flatten() for v in along])
    torch.testing.assert_close(rows @ flat, slope, rtol=1e-6, atol=1e-8)
    differences = Bilevel(InnerSGD(rate), FiniteDifference(1e-4))(problem, batch).jacobian[:2]
    torch.testing.assert_close(differences, rows, rtol=1e-5, atol=1e-7)


@pytest.mark.refused("a game's lower level has no Hessian to invert")
def test_a_game_below_with_an_implicit_hypergradient():
    with pytest.raises(ValueError, match="found variables that climb"):
        Bilevel(InnerSGD(0.1), Cholesky())(DomainAdaptation(model()), data())


def test_it_trains_and_the_base_module_moves_by_the_updater_alone():
    net = model()
    batches = [data(s) for s in range(4)]
    history = fit(
        DomainAdaptation(net), Bilevel(InnerSGD(0.1), Unrolled()),
        GradientNormalization(MGDA(), by="l2"), torch.optim.Adam(net.parameters(), 1e-2),
        batches, steps=40,
    )  # fmt: skip
    for name in ("source", "target"):
        values = history.losses(name)
        assert sum(values[-4:]) < 0.8 * sum(values[:4])


def test_running_statistics_follow_the_labelled_samples():
    net = model(norm=True)
    oracle = Bilevel(InnerSGD(0.1), Unrolled())
    oracle(DomainAdaptation(net), data())
    assert int(net.encoder[1].num_batches_tracked) == 2


def test_the_base_problems():
    batch = data()
    losses = MinimaxEntropy(model()).losses(batch)
    assert list(losses) == ["source", "target", "entropy"]
    assert list(MinimaxEntropy(model(), entropy=None).losses(batch)) == ["source", "target"]
    net = model()
    fit(MinimaxEntropy(net), Direct(), EW(), torch.optim.SGD(net.parameters(), 0.1),
        [batch], steps=3)  # fmt: skip
    one = Bilevel(InnerSGD(0.0), Unrolled())(DomainAdaptation(model()), batch)
    expected = torch.stack([v.detach() for v in losses.values()])
    torch.testing.assert_close(one.losses, expected)  # a step of length zero is the base


def test_bad_input():
    with pytest.raises(ValueError, match="`entropy` should be positive"):
        DomainAdaptation(model(), entropy=0.0)
    with pytest.raises(ValueError, match="integer attribute `out_features`"):
        CosineClassifier(nn.Sequential(nn.Linear(2, 2)), 3)
    with pytest.raises(ValueError, match="`temperature` should be positive"):
        CosineClassifier(model().encoder, 3, temperature=0.0)
    with pytest.raises(ValueError, match=r"should have 'target_unlabelled', found \['source'"):
        batch = data()
        inputs = {d: batch.inputs[d] for d in ("source", "target_labelled")}
        Bilevel(InnerSGD(0.1), Unrolled())(
            DomainAdaptation(model()), Batch(TaskInputs(inputs), batch.targets)
        )


def test_the_suite_of_typefaces_fits():
    from tasks import FontAdaptation

    suite = FontAdaptation()
    batch = suite.loader("train", batch_size=4).batch(0)
    net = CosineClassifier(suite.encoder(), suite.classes)
    evaluation = Bilevel(InnerSGD(0.01), Unrolled())(DomainAdaptation(net), batch)
    assert evaluation.gramian.shape == (3, 3)
