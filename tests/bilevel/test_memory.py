"""Graphs of lower levels are gone before new ones are built."""

import weakref

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from moml import fit
from moml.bilevel import Bilevel, Checkpointed, FirstOrder, InnerSGD, Truncated, Unrolled
from moml.few_shot import Clean, Distance, FewShot
from moml.losses import CrossEntropy
from moml.weighting import EW, MGDA
from tasks import QuadraticBilevel
from tests.few_shot.test_few_shot import episodes, mlp


class Saved:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor):
        self.tensor = tensor


def kept_at_start(problem, run):
    """How many tensors graphs keep whenever a lower level starts, and the most at any time."""
    alive, starts, most = weakref.WeakSet(), [], [0]
    begin = problem.lower_init

    def pack(tensor):
        saved = Saved(tensor.detach())  # with its graph it would keep itself alive
        alive.add(saved)
        most[0] = max(most[0], len(alive))
        return saved

    def lower_init(*arguments):
        starts.append(len(alive))
        return begin(*arguments)

    problem.lower_init = lower_init
    with saved_tensors_hooks(pack, lambda saved: saved.tensor):
        run()
    return starts, most[0]


@pytest.mark.parametrize("method", [Unrolled(), Truncated(1), FirstOrder(), Checkpointed()])
@pytest.mark.parametrize("objective", [Clean(), Distance()])
def test_an_episode_of_a_single_objective_leaves_no_graph(method, objective):
    problem = FewShot(mlp(), CrossEntropy(3), objectives={"one": objective}, stacked=False)
    if isinstance(method, Truncated):
        problem.proximal = 0.5  # the only path that truncation leaves
    oracle = Bilevel(InnerSGD(0.2, steps=3), method)
    starts, most = kept_at_start(problem, lambda: oracle(problem, episodes()))
    assert starts == [0, 0, 0]
    assert most > 0


def test_checkpointing_holds_the_graph_of_one_segment():
    problem = QuadraticBilevel()
    most = {
        method: kept_at_start(
            problem, lambda m=method: Bilevel(InnerSGD(0.5, steps=64), m)(problem, None).jacobian
        )[1]
        for method in (Unrolled(), Checkpointed(8), Checkpointed(64))
    }
    whole, eighth, all_at_once = most.values()
    assert all_at_once == pytest.approx(whole, rel=0.1)
    assert eighth < whole / 7


@pytest.mark.parametrize("weighting", [EW, MGDA])
@pytest.mark.parametrize("warm", [False, True])
def test_a_step_leaves_no_graph(weighting, warm):
    problem = QuadraticBilevel()
    oracle = Bilevel(InnerSGD(0.5, steps=4), Unrolled(), warm_start=warm)
    upper = torch.optim.SGD(problem.upper_parameters().values(), 0.1)

    def run():
        fit(problem, oracle, weighting(), upper, [None], steps=3)

    starts, most = kept_at_start(problem, run)
    assert starts == [0, 0, 0]
    assert most > 0
