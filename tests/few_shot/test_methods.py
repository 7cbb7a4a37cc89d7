"""Every few-shot method: it trains, and is what its paper says."""

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

import moml.few_shot.method as methods
from moml.backbone import MLP, norms
from moml.bilevel import Bilevel, InnerSGD, Unrolled
from moml.data import Batch, EpisodeBatch
from moml.few_shot import Clean, FewShot, QueryMetrics, Robust, adapted, judge
from moml.few_shot.method import IMAML, FewShotComposition, Setup
from moml.jobs import catalog
from moml.losses import CrossEntropy, MeanSquaredError
from tasks import Glyphs, Sinusoid

METHODS = catalog.names("meta_methods")
ADAPTING = [name for name in METHODS if name != "ProtoNet"]


def glyphs(episodes=4):
    return Glyphs(queries=3).episodes("val", meta_batch_size=episodes, count=episodes).batch(0)


def sinusoid(episodes=8, dtype=torch.float32):
    batch = Sinusoid().episodes("val", meta_batch_size=episodes, count=episodes).batch(0)

    def cast(part):
        return Batch(part.inputs.to(dtype), {"value": part.targets["value"].to(dtype)})

    return EpisodeBatch(cast(batch.support), cast(batch.query))


def setup_for(name, **changes):
    torch.manual_seed(0)
    steps = {"inner_steps": 3, "eval_inner_steps": 3, "steps": 30}
    if name == "ProtoNet":
        network = nn.Sequential(
            OrderedDict(encoder=MLP(784, hidden=(32, 32)), head=nn.Linear(32, 5))
        )
        own = {"network": network, "loss": CrossEntropy(5), "target": "class", "inner_lr": 0.1}
    else:
        network = Sinusoid().network()
        own = {"network": network, "loss": MeanSquaredError(), "target": "value", "inner_lr": 0.01}
    return Setup(**{**own, **steps, "objectives": {"clean": Clean()}, **changes})


def composed(name, **changes) -> tuple[FewShotComposition, EpisodeBatch]:
    options = {"on_invalid": "ignore"} if name == "IMAML" else {}
    made = getattr(methods, name)(**options).compose(setup_for(name, **changes))
    return made, glyphs() if name == "ProtoNet" else sinusoid()


def clean_loss(made, batch):
    suite = Glyphs() if "class" in batch.query.targets else Sinusoid()
    spec = next(iter(suite.tasks.values()))
    return judge(made.adapt, [batch], {"clean": QueryMetrics(spec)})["clean"].loss


def meta_step(made, batch, optimizer):
    optimizer.zero_grad()
    evaluation = made.oracle(made.problem, batch)
    evaluation.apply(torch.ones(len(evaluation.names), dtype=torch.float64))
    optimizer.step()
    made.oracle.advance(made.problem)


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_gets_a_gradient_and_the_clean_objective_falls(name):
    slow = name == "Reptile"  # it never looks at a query
    made, batch = composed(name, inner_steps=10 if slow else 3)
    named = dict(made.problem.trainable())
    optimizer = torch.optim.Adam(named.values(), lr=5e-3)
    before = clean_loss(made, batch)
    for step in range(80 if slow else 30):
        meta_step(made, batch, optimizer)
        if step == 0:
            for parameter in named.values():
                assert parameter.grad is not None
                assert torch.isfinite(parameter.grad).all()
            missing = [n for n, p in named.items() if not p.grad.any() and "rates" not in n]
            assert not missing
    assert clean_loss(made, batch) < 0.9 * before


@pytest.mark.parametrize("name", [n for n in METHODS if n != "Reptile"])
def test_several_objectives_with_any_method(name):
    from moml.attack import PGD, Linf

    bounds = (0.0, 1.0) if name == "ProtoNet" else (-5.0, 5.0)
    attack = PGD(Linf(0.05 if name == "ProtoNet" else 0.25), steps=3, bounds=bounds)
    made, batch = composed(name, objectives={"clean": Clean(), "robust": Robust(attack)})
    evaluation = made.oracle(made.problem, batch)
    assert evaluation.names == ("clean", "robust")
    assert evaluation.losses[1] > evaluation.losses[0]
    gramian = evaluation.gramian
    assert gramian.shape == (2, 2)
    assert torch.linalg.matrix_rank(gramian / gramian.diagonal().max()) == 2


def theta_of(made, batch):
    return [query.theta for query in made.adapt(batch)]


@pytest.mark.parametrize(("name", "moved"), [("ANIL", "head."), ("BOIL", "encoder.")])
def test_what_is_adapted(name, moved):
    made, batch = composed(name)
    (theta,) = theta_of(made, batch)
    assert theta
    assert all(key.startswith(moved) for key in theta)
    start = made.problem.learner.start(made.problem.upper_parameters())
    assert all(not torch.equal(theta[key][0], start[key]) for key in theta)


def test_first_order_maml_is_maml_without_second_derivatives():
    """The gradient at the adapted parameters, averaged over episodes."""
    made, batch = composed("FOMAML")
    evaluation = made.oracle(made.problem, batch)
    (theta,) = theta_of(made, batch)
    leaves = {n: t.clone().requires_grad_() for n, t in theta.items()}
    problem = made.problem
    upper = problem.episodes(batch)[0].upper
    query = problem.query(leaves, problem.upper_parameters(), upper, 3)
    grads = torch.autograd.grad(Clean()(query), list(leaves.values()))
    expected = torch.cat([g.sum(0).flatten() for g in grads])
    names = [f"network.{n}" for n in leaves]
    assert names == [n for n, _ in problem.trainable()]
    torch.testing.assert_close(evaluation.jacobian[0], expected)


def test_reptile_moves_towards_the_adapted_parameters():
    made, batch = composed("Reptile")
    evaluation = made.oracle(made.problem, batch)
    assert evaluation.names == ("distance",)
    (theta,) = theta_of(made, batch)
    start = made.problem.learner.start(made.problem.upper_parameters())
    expected = torch.cat([(start[n] - theta[n]).mean(0).flatten() for n in theta])
    torch.testing.assert_close(evaluation.jacobian[0], expected)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("Reptile", {"objectives": {"clean": Clean(), "more": QueryMetrics}}, "found more too"),
        ("Reptile", {"inner_steps": 1}, "at least 2 with Reptile, found 1"),
        ("ProtoNet", {"loss": MeanSquaredError()}, "Prototypes are of classes"),
    ],
)
def test_what_does_not_go_together(name, changes, message):
    with pytest.raises(ValueError, match=message):
        getattr(methods, name)().compose(setup_for(name, **changes))


def test_options_out_of_range():
    with pytest.raises(ValueError, match="`proximal` should be positive, found 0"):
        IMAML(proximal=0)
    with pytest.raises(ValueError, match="`multi_step` should be between 0 and 1, found 2"):
        methods.MAMLPlusPlus(multi_step=2)


@pytest.mark.parametrize(("name", "shape"), [("MetaSGD", (40, 1)), ("MAMLPlusPlus", (3,))])
def test_rates_start_equal_and_are_learnt(name, shape):
    made, batch = composed(name)
    problem = made.problem

    def rates():
        return problem.inner_rates(dict(problem.module.named_parameters()), 0)

    before = {name: rate.clone() for name, rate in rates().items()}
    assert problem.learner.rates["encoder/layers/0/weight"].shape == shape
    assert all((rate == 0.01).all() for rate in before.values())
    meta_step(made, batch, torch.optim.Adam(problem.module.parameters(), lr=1e-3))
    for name, rate in rates().items():  # Adam's step is its own rate, here of multiples of 0.01
        assert (rate - before[name]).abs().max().item() == pytest.approx(1e-5, rel=0.01)


def test_maml_plus_plus_keeps_norms_per_step_and_anneals_its_losses():
    network = Sinusoid().network()
    network.encoder.layers.insert(1, norms.LayerNorm(40))
    made, batch = composed("MAMLPlusPlus", network=network, steps=100)
    learner = made.problem.learner
    assert learner.norms["encoder/layers/1/weight"].shape == (4, 40)
    assert "encoder.layers.1.weight" not in learner.adapted
    assert made.problem.step_weights(3) == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 1 / 3})
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    for _ in range(15):
        meta_step(made, batch, optimizer)
    assert made.problem.step_weights(3) == {3: 1.0}
    steps = learner.norms["encoder/layers/1/weight"]
    assert not torch.equal(steps[0], steps[1])


def test_implicit_equals_unrolled_at_convergence():
    """A convex lower level, solved to the end: the end does not remember the way."""
    torch.manual_seed(0)
    network = nn.Sequential(OrderedDict(encoder=nn.Tanh(), head=nn.Linear(1, 1))).double()
    batch = sinusoid(dtype=torch.float64)
    setup = setup_for("IMAML", network=network, inner_lr=0.2)
    implicit = IMAML(proximal=0.5, inner_steps=200, rounds=20, on_invalid="raise").compose(setup)
    problem = FewShot(
        copy.deepcopy(network), MeanSquaredError(), objectives={"clean": Clean()},
        target="value", proximal=0.5, inner_steps=200,
    )  # fmt: skip
    unrolled = Bilevel(InnerSGD(0.2, steps=200), Unrolled())(problem, batch).jacobian
    found = implicit.oracle(implicit.problem, batch).jacobian
    torch.testing.assert_close(found, unrolled, rtol=1e-9, atol=1e-12)
    assert found.abs().max() > 1e-3


def test_prototypes_are_class_means_and_logits_squared_distances():
    made, batch = composed("ProtoNet")
    encoder = made.problem.encoder
    for i, query in enumerate(made.adapt(batch)):
        episode = batch.episode(i)
        support, labels = episode.lower[0].inputs, episode.lower[0].targets["class"]
        means = torch.stack([encoder(support)[labels == n].mean(0) for n in range(5)])
        embedded = encoder(episode.upper.inputs)
        torch.testing.assert_close(query.prediction, -torch.cdist(embedded, means) ** 2,
                                   rtol=1e-3, atol=1e-3)  # fmt: skip
    losses = made.problem.losses(batch)
    by_hand = [Clean()(query) for query in made.adapt(batch)]
    torch.testing.assert_close(losses["clean"], torch.stack(by_hand).mean())


def test_adaptation_changes_nothing_and_is_one_plain_loop():
    problem = FewShot(Sinusoid().network(), MeanSquaredError(), target="value", inner_steps=3)
    before = copy.deepcopy(problem.module.state_dict())
    batch = sinusoid(episodes=2)
    (query,) = adapted(problem, InnerSGD(0.01, steps=3), batch)
    assert all(torch.equal(before[n], t) for n, t in problem.module.state_dict().items()
               if isinstance(t, torch.Tensor))  # fmt: skip
    for i in range(2):
        network = copy.deepcopy(problem.learner.network)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            prediction = network(batch.support.inputs[i])
            (prediction - batch.support.targets["value"][i]).square().mean().backward()
            optimizer.step()
        expected = network(batch.query.inputs[i])
        torch.testing.assert_close(query.prediction.unflatten(0, (2, -1))[i], expected)
