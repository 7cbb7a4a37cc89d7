"""Few-shot problems: stacked, looped and compiled are the same; each option does what it says."""

import copy

import pytest
import torch
from torch import nn

from moml.attack import FGSM, PGD, Linf
from moml.backbone import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, SeededDropout
from moml.bilevel import (
    Bilevel,
    BlockConjugateGradient,
    Checkpointed,
    Cholesky,
    Compiled,
    ConjugateGradient,
    FirstOrder,
    InnerAdam,
    InnerSGD,
    Neumann,
    Truncated,
    Unrolled,
)
from moml.data import Batch, EpisodeBatch
from moml.few_shot import Calibration, Clean, Distance, FewShot, Robust
from moml.losses import CrossEntropy


def episodes(shape=(6,), *, count=3, ways=3, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def part(size):
        inputs = torch.rand(count, size, *shape, generator=generator, dtype=torch.float64)
        return Batch(inputs, {"class": torch.randint(ways, (count, size), generator=generator)})

    return EpisodeBatch(part(6), part(9))


def mlp():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh())
    net = nn.Sequential()
    net.add_module("encoder", body)
    net.add_module("head", nn.Linear(5, 3))
    return net.double()


def normed(make):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), make(4), nn.Tanh(), nn.Conv2d(4, 4, 3), make(4), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def rows(network, batch, *, stacked, inner=None, method=None, **options):
    problem = FewShot(network, CrossEntropy(3), stacked=stacked, **options)
    return Bilevel(inner or InnerSGD(0.2, steps=3), method or Unrolled())(problem, batch).jacobian


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


NORMS = {
    "batch": BatchNorm,
    "instance": InstanceNorm,
    "group": lambda c: GroupNorm(2, c),
    "layer": lambda c: LayerNorm((c, 4, 4)),
    "stock batch": nn.BatchNorm2d,
    "stock group": lambda c: nn.GroupNorm(2, c),
    "stock instance": lambda c: nn.InstanceNorm2d(c, affine=True),
    "dropout": lambda c: SeededDropout(0.3, seed=5),
}


@pytest.mark.parametrize("norm", NORMS)
def test_stacked_meta_gradients_equal_the_loop_with_every_norm(norm):
    make = NORMS[norm]
    if norm == "layer":
        sizes = iter(((4, 4, 4), (4, 2, 2)))
        network = normed(lambda c: LayerNorm(next(sizes)))
    else:
        network = normed(make)
    batch = episodes((1, 6, 6))
    expected = rows(network, batch, stacked=False)
    assert error(rows(network, batch, stacked=True), expected) <= 1e-10


OPTIONS = {
    "maml": {},
    "anil": {"adapt": "head"},
    "boil": {"adapt": "body"},
    "meta-sgd": {"rates": "variable"},
    "maml++": {"rates": "layer_step", "inner_steps": 3, "multi_step": 9},
    "proximal": {"proximal": 0.5},
    "all objectives": {
        "objectives": {
            "clean": Clean(),
            "robust": Robust(PGD(Linf(0.05), steps=2, random_start=False)),
            "calibrated": Calibration(),
            "reptile": Distance(),
        }
    },
}


@pytest.mark.parametrize("method", [Unrolled, FirstOrder, Checkpointed])
@pytest.mark.parametrize("options", OPTIONS)
def test_stacked_equals_the_loop_with_every_option(options, method):
    batch, settings = episodes(), OPTIONS[options]
    expected = rows(mlp(), batch, stacked=False, method=method(), **settings)
    assert error(rows(mlp(), batch, stacked=True, method=method(), **settings), expected) <= 1e-12


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConjugateGradient(5, on_invalid="ignore"),
        lambda: BlockConjugateGradient(5, on_invalid="ignore"),
        lambda: Neumann(6, on_invalid="ignore"),
        lambda: Cholesky(on_invalid="ignore"),
    ],
)
def test_linear_systems_are_solved_episode_by_episode(make):
    # Few rounds: equal only if every episode has a Krylov space of its own.
    options = {"proximal": 3.0, "objectives": {"clean": Clean(), "calibrated": Calibration()}}
    found = [
        rows(mlp(), episodes(), stacked=s, method=make(), inner=InnerSGD(0.1, steps=30), **options)
        for s in (True, False)
    ]
    assert error(*found) <= 1e-9


def test_compiled_steps_equal_the_oracle():
    batch = episodes()
    options = {"objectives": {"clean": Clean(), "calibrated": Calibration()}, "rates": "layer"}
    problem = FewShot(mlp(), CrossEntropy(3), **options)
    inner = InnerAdam(0.1, eps=1e-3, steps=2)
    plain = Bilevel(inner, Unrolled())(problem, batch)
    traced = Compiled(Bilevel(inner, Unrolled()), backend=None)
    for _ in range(2):  # traced, then called again
        found = traced(problem, batch)
        assert error(found.jacobian, plain.jacobian) <= 1e-12
        torch.testing.assert_close(found.losses, plain.losses)
    found.apply(torch.ones(2))
    for p, g in zip(problem.upper_parameters().values(), plain.jacobian.sum(0).split(
        [p.numel() for p in problem.upper_parameters().values()]), strict=True):  # fmt: skip
        torch.testing.assert_close(p.grad.flatten(), g)
        p.grad = None


def linear_with(make):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Linear(3, 4), make(), nn.Tanh(), nn.Linear(4, 4), make(),
        nn.Tanh(), nn.Flatten(), nn.Linear(8, 3),
    ).double()  # fmt: skip
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


SLOW = pytest.mark.slow
PLAIN_NORMS = {
    "batch": lambda: BatchNorm(2),
    "instance": lambda: InstanceNorm(2),
    "group": lambda: GroupNorm(1, 2),
    "layer": lambda: LayerNorm((2, 4)),
    "dropout": lambda: SeededDropout(0.3, seed=5),
}


@pytest.mark.parametrize(
    "norm",
    [n if n == "dropout" else pytest.param(n, marks=SLOW) for n in PLAIN_NORMS],
)
def test_traced_and_stacked_steps_equal_the_loop_with_every_norm(norm):
    batch = episodes(count=2)
    network = linear_with(PLAIN_NORMS[norm])
    expected = rows(network, batch, stacked=False)
    assert error(rows(network, batch, stacked=True), expected) <= 1e-10
    traced = Compiled(Bilevel(InnerSGD(0.2, steps=3), Unrolled()), backend=None)
    for stacked in (True, False):
        problem = FewShot(network, CrossEntropy(3), stacked=stacked)
        assert error(traced(problem, batch).jacobian, expected) <= 1e-10
        traced = Compiled(Bilevel(InnerSGD(0.2, steps=3), Unrolled()), backend=None)


@pytest.mark.slow
@pytest.mark.parametrize("norm", PLAIN_NORMS)
def test_compiled_steps_equal_the_loop_with_every_norm(norm):
    batch, network = episodes(count=2), linear_with(PLAIN_NORMS[norm])
    inner = InnerSGD(0.2, steps=1)
    expected = rows(network, batch, stacked=False, inner=inner)
    found = Compiled(Bilevel(inner, Unrolled()))(FewShot(network, CrossEntropy(3)), batch)
    assert error(found.jacobian, expected) <= 1e-10


@pytest.mark.slow
def test_what_the_compiler_gets_wrong_is_noticed():
    # PyTorch 2.13's compiler, with second derivatives of convolutions on a CPU. If this fails
    # because nothing is raised, it was mended: compare with the loop instead.
    problem = FewShot(normed(NORMS["group"]), CrossEntropy(3), stacked=False)
    with pytest.raises(ValueError, match="The compiler is wrong for this network"):
        Compiled(Bilevel(InnerSGD(0.2), Unrolled()))(problem, episodes((1, 6, 6), count=1))


def test_a_step_that_looks_at_values_is_not_compiled():
    robust = {"robust": Robust(FGSM(Linf(0.1)))}
    problem = FewShot(mlp(), CrossEntropy(3), objectives=robust)
    with pytest.raises(ValueError, match="A compiled step should be a function of its tensors"):
        Compiled(Bilevel(InnerSGD(0.1), Unrolled()), backend=None)(problem, episodes())
    with pytest.raises(ValueError, match="which looks at values"):
        Compiled(Bilevel(InnerSGD(0.1), Cholesky()))
    with pytest.raises(ValueError, match="`oracle` should start afresh"):
        Compiled(Bilevel(InnerSGD(0.1), Unrolled(), warm_start=True))


def test_truncation_below_the_number_of_steps_cuts_off_the_start():
    problem = FewShot(mlp(), CrossEntropy(3))
    with pytest.raises(ValueError, match="found no path"):
        Bilevel(InnerSGD(0.1, steps=3), Truncated(2))(problem, episodes()).apply(torch.ones(1))


def test_robust_queries_are_harder_than_clean_ones():
    objectives = {"clean": Clean(), "robust": Robust(PGD(Linf(0.1), steps=5))}
    problem = FewShot(mlp(), CrossEntropy(3), objectives=objectives)
    losses = Bilevel(InnerSGD(0.5, steps=5), Unrolled())(problem, episodes()).losses
    assert losses[1] > losses[0] + 0.01


def test_multi_step_weights_anneal_to_the_last_step():
    problem = FewShot(mlp(), CrossEntropy(3), multi_step=10)
    assert problem.step_weights(5) == pytest.approx(dict.fromkeys(range(1, 6), 0.2))
    for _ in range(9):
        problem.advance()
    weights = problem.step_weights(5)
    assert weights[1] == pytest.approx(0.02)
    assert sum(weights.values()) == pytest.approx(1.0)
    problem.advance()
    assert problem.step_weights(5) == {5: 1.0}


def test_step_norms_are_learnt_per_step_and_not_adapted():
    network = normed(BatchNorm)
    names = [n for n, _ in network.named_parameters()]
    problem = FewShot(network, CrossEntropy(3), step_norms=True, inner_steps=2, stacked=False)
    assert not {n for n in names if n.startswith(("1.", "4."))} & set(problem.learner.adapted)
    evaluation = Bilevel(InnerSGD(0.2, steps=2), Unrolled())(problem, episodes((1, 6, 6)))
    evaluation.apply(torch.ones(1))
    for parameter in problem.learner.norms.values():
        assert parameter.shape[0] == 3
        assert all(bool(step.abs().sum() > 0) for step in parameter.grad)


def test_state_holds_counters_and_generators():
    def build():
        attack = PGD(Linf(0.1), steps=1, seed=3)
        return FewShot(mlp(), CrossEntropy(3), objectives={"robust": Robust(attack)}), attack

    (first, attack), (second, other) = build(), build()
    Bilevel(InnerSGD(0.1), Unrolled())(first, episodes())
    first.advance()
    second.module.load_state_dict(first.module.state_dict())
    assert second.learner.steps_done == 1
    assert torch.equal(attack.generator.get_state(), other.generator.get_state())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"adapt": "tail"}, "`adapt` should be one of"),
        ({"rates": "many"}, "`rates` should be one of"),
        ({"proximal": -1.0}, "`proximal` should not be negative"),
        ({"statistics": "running", "stacked": True}, "`stacked` should be off"),
    ],
)
def test_bad_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        FewShot(mlp(), CrossEntropy(3), **options)


def test_a_network_without_a_head_cannot_adapt_it():
    with pytest.raises(ValueError, match="needs a child of that name"):
        FewShot(nn.Linear(3, 2), CrossEntropy(2), adapt="head")


@pytest.mark.parametrize(
    "method", [Unrolled(), FirstOrder(), Checkpointed(segment=2), Cholesky(on_invalid="ignore")]
)
def test_one_objective_pulls_its_episodes_back_one_by_one(method):
    batch = episodes()
    problem = FewShot(mlp(), CrossEntropy(3), stacked=False, proximal=0.5)
    oracle = Bilevel(InnerSGD(0.2, steps=3), method)
    alone = oracle(problem, batch)
    together = oracle.evaluate(problem, problem.upper_parameters(), batch)
    assert len(alone.live) == 1 and not alone.live[0].requires_grad  # no graph is kept
    torch.testing.assert_close(alone.losses, together.losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(alone.jacobian, together.jacobian, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(alone.gramian, together.gramian, rtol=1e-12, atol=1e-15)
    alone.apply(torch.tensor([0.5]))
    written = [p.grad.flatten() for p in problem.upper_parameters().values()]
    torch.testing.assert_close(
        torch.cat(written), together.pullback(torch.tensor([0.5])), rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("backend", [None, pytest.param("inductor", marks=pytest.mark.slow)])
def test_masks_are_renewed_after_every_meta_step(backend):
    batch, network = episodes(count=2), linear_with(PLAIN_NORMS["dropout"])
    problem, same = (FewShot(copy.deepcopy(network), CrossEntropy(3)) for _ in range(2))
    oracle = Bilevel(InnerSGD(0.2, steps=1), Unrolled())
    traced = Compiled(Bilevel(InnerSGD(0.2, steps=1), Unrolled()), backend=backend)
    found = []
    for _ in range(3):
        found.append(oracle(problem, batch).jacobian)
        torch.testing.assert_close(traced(same, batch).jacobian, found[-1])
        for used in (oracle, traced):
            used.advance(problem if used is oracle else same)
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])
    resumed = FewShot(copy.deepcopy(network), CrossEntropy(3))
    resumed.module.load_state_dict(problem.module.state_dict())
    assert torch.equal(oracle(resumed, batch).jacobian, oracle(problem, batch).jacobian)
