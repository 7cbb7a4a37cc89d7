"""Whether training with a weighting on hypergradients ends where it should."""

import pytest
import torch

import moml
from moml.bilevel import Bilevel, Cholesky, InnerSGD, Unrolled
from moml.weighting import MGDA
from moml.weighting._base import LossWeighting
from tasks import DebSinha, QuadraticBilevel


class Preference(LossWeighting):
    def __init__(self, weights):
        super().__init__()
        self.fixed = weights

    def weights(self, losses, *, tasks=None):
        return self.fixed


def implicit():
    return Bilevel(InnerSGD(0.5, steps=1), Cholesky(on_invalid="ignore"), warm_start=True)


def released():
    """MOML as released: the derivative of a single lower step."""
    return Bilevel(InnerSGD(0.5, steps=1), Unrolled(), warm_start=True)


def trained(problem, oracle, weighting, steps, rate=None):
    parameters = list(problem.upper_parameters().values())
    if rate is None:
        rate = 1 / float(torch.linalg.eigvalsh(problem.curvature())[-1])
    moml.fit(problem, oracle, weighting, torch.optim.SGD(parameters, rate), [None], steps=steps)
    return problem


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_implicit_with_warm_start_ends_on_the_pareto_set_where_one_unrolled_step_does_not(seed):
    problem = trained(QuadraticBilevel(seed=seed), implicit(), MGDA(), 400)
    assert problem.distance(problem.x) <= 1e-4
    problem = trained(QuadraticBilevel(seed=seed), released(), MGDA(), 400)
    assert problem.distance(problem.x) >= 0.1


@pytest.mark.parametrize(
    "start", [0.7, *(pytest.param(s, marks=pytest.mark.slow) for s in (-2.0, 0.2, 1.5, 4.0))]
)
def test_every_start_ends_on_the_interval_of_deb_and_sinha(start):
    problem = trained(DebSinha(start), implicit(), MGDA(), 400, rate=0.1)
    assert 0.5 - 1e-8 <= problem.x <= 1 + 1e-8


@pytest.mark.slow
def test_ten_preferences_cover_the_pareto_set():
    lattice = [(i / 3, j / 3, (3 - i - j) / 3) for i in range(4) for j in range(4 - i)]
    assert len(lattice) == 10
    corners = QuadraticBilevel().minimisers()
    gaps = []
    for weights in lattice:
        weights = torch.tensor(weights, dtype=torch.float64)
        problem = trained(QuadraticBilevel(), implicit(), Preference(weights), 150)
        gaps.append(float((problem.x - weights @ corners).norm()) / problem.diameter())
    assert sum(gaps) / 10 <= 0.02  # IGD over the analytic points of the same preferences
