"""Lower solvers take the steps of PyTorch's optimizers."""

from functools import partial

import pytest
import torch

from moml.bilevel import (
    Bilevel,
    FirstOrder,
    InnerAdagrad,
    InnerAdam,
    InnerAdamW,
    InnerRMSprop,
    InnerSGD,
)
from tasks import LinearMAML

PAIRS = {
    "sgd": (InnerSGD, torch.optim.SGD, {"lr": 0.1}),
    "momentum": (InnerSGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    "nesterov": (InnerSGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (InnerAdam, torch.optim.Adam, {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.1}),
    "adamw": (InnerAdamW, torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.1}),
    "rmsprop": (InnerRMSprop, torch.optim.RMSprop, {"lr": 0.1, "alpha": 0.9}),
    "adagrad": (InnerAdagrad, torch.optim.Adagrad, {"lr": 0.1, "eps": 1e-3}),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_steps_are_those_of_the_optimizer(pair):
    own, stock, settings = PAIRS[pair]
    problem = LinearMAML()
    oracle = Bilevel(own(steps=7, **settings), FirstOrder())
    oracle(problem, None)
    weights = problem.upper.values["w"].detach().clone().requires_grad_()
    optimizer = partial(stock, **settings)([weights])
    for _ in range(7):
        optimizer.zero_grad()
        problem.lower_loss({"w": weights}, {}, None).backward()
        optimizer.step()
    found = oracle._solutions[0].theta[0]
    torch.testing.assert_close(found, weights.detach(), rtol=1e-13, atol=1e-14)
