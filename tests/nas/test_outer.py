"""Outer loops: exact improvement, the small Gaussian process, and searches that resume."""

import hashlib

import moocore
import numpy as np
import pytest
import torch
from scipy.optimize import check_grad

from moml.nas.outer import (
    NSGA2,
    ListedSearch,
    ParetoSearch,
    RandomSearch,
    RegularizedEvolution,
    StratifiedSearch,
)
from moml.nas.outer._expected_improvement import expected_improvement
from moml.nas.outer._gaussian_process import GaussianProcess
from search_spaces import DARTS, NBDigits

SPACE = NBDigits(3, ("none", "skip", "conv1", "conv3", "avg3"))
SEARCHES = [NSGA2, ParetoSearch, RandomSearch, RegularizedEvolution, StratifiedSearch]


def errors(genotype, space=SPACE):
    """Errors that fall with the size and with 3×3 convolutions, as in the tables."""
    live = dict(space.cell.live(genotype.by_name["cell"]))
    size = np.log(space.num_parameters(genotype)) / 20
    clean = 0.8 - size - 0.05 * sum(op == "conv3" for op in live.values())
    return clean, clean + 0.1 + 0.05 * len(live)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_expected_improvement_is_the_mean_of_improvements(known):
    random = np.random.default_rng(0)
    dimension = 2 + known
    front, reference = random.random((6, dimension)), np.full(dimension, 0.9)
    mean = np.log(0.1 + 0.7 * random.random((3, dimension)))
    deviation = random.random((3, dimension))
    deviation[:, 2:] = 0
    exact = expected_improvement(mean, deviation, front, reference)
    volume = moocore.Hypervolume(ref=reference)
    before = volume(front)
    for i in range(len(mean)):
        drawn = np.exp(mean[i] + deviation[i] * random.standard_normal((1000, dimension)))
        gains = np.array([volume(np.vstack([front, point])) - before for point in drawn])
        assert exact[i] == pytest.approx(gains.mean(), abs=5 * gains.std() / 1000**0.5 + 1e-5)


def test_improvement_of_what_is_known_is_the_volume():
    random = np.random.default_rng(1)
    front, points, reference = random.random((8, 3)), random.random((20, 3)), np.ones(3)
    exact = expected_improvement(np.log(points), np.zeros((20, 3)), front, reference)
    volume = moocore.Hypervolume(ref=reference)
    expected = [volume(np.vstack([front, point])) - volume(front) for point in points]
    np.testing.assert_allclose(exact, expected, atol=1e-12)


def test_gaussian_process():
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(-3, 3, 25))
    near = np.exp(-0.5 * (x[:, None] - x[None]) ** 2)
    values = 5 + 2 * np.sin(x) + 0.05 * random.standard_normal(25)
    process = GaussianProcess(np.stack([near, np.outer(x, x)]), values)
    loss, gradient = (lambda w: process._loss(w)[0]), (lambda w: process._loss(w)[1])
    assert check_grad(loss, gradient, np.array([-1.0, 0.3, -0.5])) < 1e-4
    new = np.linspace(-2.5, 2.5, 20)
    cross = np.stack([np.exp(-0.5 * (new[:, None] - x[None]) ** 2), np.outer(new, x)])
    mean, deviation = process.predict(cross, np.stack([np.ones(20), new**2]))
    truth = 5 + 2 * np.sin(new)
    assert np.abs(mean - truth).max() < 0.2
    assert np.mean(np.abs(mean - truth) < 2.5 * deviation) > 0.9


def test_what_is_given_first_is_asked_first():
    space = NBDigits(3)
    listed = list(space.enumerate())
    given = [listed[5], listed[2], listed[9]]
    search = ParetoSearch(space, candidates=listed[:9], first=given, prior_cost=1.5, seed=0)
    search.tell(listed[2], (0.5, 0.6))  # known already
    assert search.ask() == listed[5] and search.cost == 1.5
    search.tell(listed[5], (0.4, 0.5))
    assert search.ask() not in given  # the last one is no candidate


@pytest.mark.parametrize("kind", SEARCHES)
def test_searches_resume_and_never_ask_twice(kind):
    whole, first = kind(SPACE, seed=3), kind(SPACE, seed=3)
    asked = []
    for _ in range(16):
        genotype = whole.ask()
        asked.append(SPACE.canonical(genotype))
        whole.tell(genotype, errors(genotype))
    assert len(set(asked)) == 16
    first.run(errors, budget=9)
    second = kind(SPACE, seed=3)
    second.load_state_dict(first.state_dict())
    second.run(errors, budget=16)
    assert second.history == whole.history


@pytest.mark.parametrize("kind", SEARCHES)
def test_searches_end_when_all_is_trained(kind):
    candidates = list(SPACE.enumerate())[::3]
    search = kind(SPACE, candidates=candidates, known=("parameters", "flops"))
    front = search.run(errors, budget=100)
    assert {SPACE.canonical(t.genotype) for t in search.history} == set(candidates)
    assert len(search.history) == len(candidates)
    points = np.array([t.objectives for t in search.history])
    assert len(front) == len(moocore.filter_dominated(points))
    with pytest.raises(ValueError, match="all 20 architectures"):
        search.ask()


def test_pareto_search_needs_fewer_trainings_than_random_search():
    unit = np.array([1.0, 1.0, 1.1e4])
    points = np.array([(*errors(g), SPACE.num_parameters(g)) for g in SPACE.enumerate()]) / unit
    volume = moocore.Hypervolume(ref=[1.0, 1.0, 1.0])

    def reached(kind, seed):
        front = kind(SPACE, seed=seed).run(errors, budget=20)
        return volume(np.array([t.objectives for t in front]) / unit) / volume(points)

    ours = np.mean([reached(ParetoSearch, seed) for seed in range(3)])
    theirs = np.mean([reached(RandomSearch, seed) for seed in range(6)])
    assert ours > 0.97 and theirs < 0.95


def test_pareto_search_in_a_space_too_large_to_list():
    space = NBDigits(5)
    search = ParetoSearch(space, proposals=40, prior=lambda g: [len(g.by_name)], prior_cost=2.0)
    front = search.run(lambda g: errors(g, space), budget=10)
    assert len(search.history) == 8 and len(front) >= 3
    assert len({space.key(t.genotype) for t in search.history}) == 8


def listed(space=SPACE):
    return ListedSearch(space, list(space.enumerate())[:20])


MAKERS = {
    **{kind.__name__: kind for kind in SEARCHES},
    "ListedSearch": lambda space, seed=0: listed(space),
    "ProposedStart": lambda space, seed=0: ParetoSearch(
        space, first=list(space.enumerate())[5:8], seed=seed
    ),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.supported
def test_a_search_that_is_asked_for_a_batch_proposes_different_cells(name):
    search = MAKERS[name](SPACE, seed=1)
    for _ in range(4):
        batch = [search.ask() for _ in range(4)]
        assert search.pending == tuple(batch)
        for genotype in reversed(batch):  # they end in any order
            search.tell(genotype, errors(genotype))
    assert len({SPACE.key(trained.genotype) for trained in search.history}) == 16
    assert not search.pending


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.supported
def test_failed_trainings_are_not_proposed_again_also_after_a_resume(name):
    def half(genotype):
        return None if sum(map(ord, SPACE.key(genotype))) % 2 else errors(genotype)

    whole, first, second = (MAKERS[name](SPACE, seed=2) for _ in range(3))
    whole.run(half, budget=16)
    first.run(half, budget=9)
    assert first.failed and first.spent == 9
    waiting = first.ask()  # stopped while this one was being trained
    second.load_state_dict(first.state_dict())
    assert second.pending == (waiting,) and second.failed == first.failed
    second.run(half, budget=16)
    assert second.history == whole.history and second.failed == whole.failed
    keys = [SPACE.key(g) for g in (*(t.genotype for t in whole.history), *whole.failed)]
    assert len(set(keys)) == 16


def test_what_failed_may_succeed_later():
    search = RandomSearch(SPACE)
    genotype = search.ask()
    search.tell(genotype, None)
    assert search.failed == (genotype,) and not search.is_new(genotype)
    search.tell(genotype, errors(genotype))
    assert not search.failed and search.front()[0].genotype == genotype


def test_what_is_asked_one_by_one_is_what_it_was_before_batches():
    """Digests of 14 proposals, taken when searches knew nothing of pending architectures."""
    golden = {
        "NSGA2": "2cb4e6575b5b",
        "ParetoSearch": "f93ff2734e2b",
        "RandomSearch": "a0ec27f8f21a",
        "RegularizedEvolution": "a43457f539d4",
        "StratifiedSearch": "1295d6728bb0",
    }
    for kind in SEARCHES:
        search = kind(SPACE, seed=4)
        search.run(errors, budget=14)
        text = "".join(trained.genotype.to_json() for trained in search.history)
        assert hashlib.sha256(text.encode()).hexdigest()[:12] == golden[kind.__name__]


def test_a_pending_cell_is_believed_to_turn_out_as_predicted():
    random = np.random.default_rng(0)
    x, new = np.sort(random.uniform(-3, 3, 8)), np.linspace(-4, 4, 30)
    kernel = lambda a, b: np.exp(-0.5 * (a[:, None] - b[None]) ** 2)[None]  # noqa: E731
    process = GaussianProcess(kernel(x, x), np.sin(x))
    both = np.concatenate([x, [1.5, 3.5]])
    believing = process.believing(kernel(both, both))
    mean, deviation = process.predict(kernel(new, x), np.ones((1, 30)))
    after, less = believing.predict(kernel(new, both), np.ones((1, 30)))
    np.testing.assert_allclose(after, mean, atol=1e-5)
    assert (less <= deviation + 1e-9).all() and less[new > 3].max() < 0.8 * deviation.max()


def test_objectives_above_one_move_the_reference_point(caplog):
    scaled = [ParetoSearch(SPACE, seed=0), ParetoSearch(SPACE, seed=0, reference=(9.0, 9.0, 2e4))]
    for search in scaled:
        search.run(lambda g: tuple(5 * e for e in errors(g)), budget=12)
    derived, declared = scaled
    largest = max(trained.objectives[0] for trained in derived.front())
    assert derived.reference[0] == pytest.approx(1.05 * largest)
    assert declared.reference.tolist() == [9.0, 9.0, 2e4]
    assert sum("reference point" in line for line in caplog.messages) == 1
    gains = derived._gains(derived.new_pool())
    assert (gains > 0).any()


def test_a_space_that_cannot_be_listed_ends_when_all_is_trained(monkeypatch):
    monkeypatch.setattr("moml.nas.outer._base.MOST_DRAWS", 300)
    space = DARTS(1, ("skip", "max_pool_3x3"), channels=2, layers=3, image=(1, 4, 4))
    search = RandomSearch(space)
    search.run(lambda genotype: (0.5, 0.5), budget=100)
    assert 1 < len(search.history) <= 16  # two edges and two operations in either cell
    with pytest.raises(ValueError, match="found none that is new in 300 draws"):
        search.ask()


def test_strata_hold_one_size_each():
    sizes = sorted(SPACE.num_parameters(g) for g in SPACE.enumerate())
    bounds = np.quantile(sizes, [0.2, 0.4, 0.6, 0.8])
    for seed in range(5):
        search = StratifiedSearch(SPACE, seed=seed)
        search.run(errors, budget=5)
        found = [SPACE.num_parameters(t.genotype) for t in search.history]
        assert sorted(np.searchsorted(bounds, found)) == [0, 1, 2, 3, 4]


def test_what_makes_no_sense():
    genotype = SPACE.sample(torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="2 finite numbers"):
        RandomSearch(SPACE).tell(genotype, [0.1])
    with pytest.raises(ValueError, match="2 finite numbers"):
        RandomSearch(SPACE).tell(genotype, [0.1, float("nan")])
    for wrong in (0.1, "ab", [[0.1, 0.2]], [None, 0.1]):
        with pytest.raises(ValueError, match=r"2 finite numbers.*failed as None"):
            RandomSearch(SPACE).tell(genotype, wrong)
    with pytest.raises(ValueError, match="`known` should be among"):
        RandomSearch(SPACE, known=("latency",))
    with pytest.raises(ValueError, match="`measured`"):
        RandomSearch(SPACE, measured=0)
    with pytest.raises(ValueError, match="`reference` should have 3 numbers"):
        ParetoSearch(SPACE, reference=(1.0, 1.0))
    with pytest.raises(ValueError, match="logarithms"):
        ParetoSearch(SPACE).tell(genotype, [0.1, -0.1])
    with pytest.raises(ValueError, match="`start`"):
        ParetoSearch(SPACE, start=1)
    with pytest.raises(ValueError, match="`sample`"):
        RegularizedEvolution(SPACE, population=2)
    with pytest.raises(ValueError, match="`strata`"):
        StratifiedSearch(SPACE, strata=1)
    with pytest.raises(ValueError, match="`population`"):
        NSGA2(SPACE, population=1)
