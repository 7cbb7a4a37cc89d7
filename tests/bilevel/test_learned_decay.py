"""Weight decay as an upper variable: a term of the lower loss."""

import pytest
import torch
from torch import nn

import moml
from moml.bilevel import Bilevel, BilevelProblem, BlockConjugateGradient, InnerSGD, Unrolled
from moml.weighting import EW


class Ridge(BilevelProblem):
    """Least squares on one half of the data, its decay judged by the other half."""

    tasks = ("held out",)
    module = None

    def __init__(self):
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(24, 6, generator=draw, dtype=torch.float64)
        y = x[:, 0] + 1.5 * torch.randn(24, generator=draw, dtype=torch.float64)
        self.train, self.held_out = (x[:12], y[:12]), (x[12:], y[12:])
        self.module = nn.ParameterDict({"log decay": torch.tensor(-2.0, dtype=torch.float64)})
        self.log_decay = self.module["log decay"]

    def upper_parameters(self):
        return {"log decay": self.log_decay}

    def lower_init(self, omega, batch, previous):
        return previous or {"w": torch.zeros(6, dtype=torch.float64)}

    def lower_loss(self, theta, omega, batch):
        decay = omega["log decay"].exp() / 2 * theta["w"].square().sum()
        return self.error(theta["w"], self.train) / 2 + decay

    def upper_losses(self, theta, omega, batch):
        return {"held out": self.error(theta["w"], self.held_out)}

    @staticmethod
    def error(w, data):
        return (data[0] @ w - data[1]).square().mean()

    def held_out_at(self, log_decay):
        """In closed form."""
        x, y = self.train
        gram = x.T @ x / len(x) + log_decay.exp() * torch.eye(6, dtype=torch.float64)
        return self.error(torch.linalg.solve(gram, x.T @ y / len(x)), self.held_out)


@pytest.mark.supported
@pytest.mark.parametrize(
    "hypergradient", [Unrolled, lambda: BlockConjugateGradient(on_invalid="ignore")]
)
def test_a_weight_decay_that_the_upper_level_learns(hypergradient):
    problem = Ridge()
    expected = torch.autograd.grad(problem.held_out_at(problem.log_decay), problem.log_decay)[0]
    found = Bilevel(InnerSGD(0.2, steps=300), hypergradient())(problem, None).jacobian
    torch.testing.assert_close(found[0], expected[None], rtol=1e-5, atol=1e-9)


@pytest.mark.supported
def test_a_learned_weight_decay_ends_where_held_out_data_want_it():
    problem = Ridge()
    oracle = Bilevel(
        InnerSGD(0.2, steps=5), BlockConjugateGradient(on_invalid="ignore"), warm_start=True
    )
    optimizer = torch.optim.Adam([problem.log_decay], lr=0.2)
    moml.fit(problem, oracle, EW(), optimizer, [None], steps=100)
    grid = torch.linspace(-4, 4, 801, dtype=torch.float64)
    best = grid[int(torch.stack([problem.held_out_at(g) for g in grid]).argmin())]
    assert problem.log_decay.item() == pytest.approx(best.item(), abs=0.02)
