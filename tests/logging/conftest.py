"""Two quadratics pulling one vector apart; every other batch has no labels for the second."""

import pytest
import torch
from torch import nn

from moml.problem import Problem
from moml.training.callback import Callback


class Pull(Problem):
    def __init__(self):
        self.net = nn.Linear(2, 1, bias=False)
        nn.init.constant_(self.net.weight, 0.3)

    @property
    def tasks(self):
        return ("up", "down")

    @property
    def module(self):
        return self.net

    def losses(self, batch):
        out = self.net(batch["x"]).squeeze()
        losses = {"up": (out - 1).square().mean()}
        if batch["both"]:
            losses["down"] = (out + 2).square().mean()
        return losses

    def shared_parameters(self):
        return self.net.parameters()

    def private_parameters(self, task):
        return ()


class Kill(Callback):
    """Dies after a step, as a run that is killed does."""

    def __init__(self, step):
        self.step = step

    def after_step(self, training):
        if training.step == self.step:
            raise KeyboardInterrupt


class Spy(Callback):
    """Keeps what the loop has seen."""

    def __init__(self):
        self.records, self.gramians = [], {}

    def after_step(self, training):
        self.records.append(training.record)
        self.gramians[training.step] = training.evaluation.known_gramian


@pytest.fixture
def pull():
    return Pull


@pytest.fixture
def kill():
    return Kill


@pytest.fixture
def spy():
    return Spy()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [{"x": torch.randn(4, 2, generator=generator), "both": i % 2 == 0} for i in range(10)]
