"""The share of each task in the optimizer's steps."""

import pytest
import torch

import moml
from moml.data import Loader, TensorSource
from moml.logging import Dominance
from moml.optim import AdaTask, GradientStep
from moml.oracle import Direct
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, CAGrad, GradDrop
from tests.helpers import batch, network, problem
from tests.optim.test_ada_task import Quadratics

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "dampening": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, dampening=0.3),
    "Nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.0),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01),
    "RMSprop momentum": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.8, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.05, lr_decay=0.1),
}


class Exact(Callback):
    """The parts of every step sum to the step."""

    def __init__(self, dominance, shared):
        self.dominance, self.shared, self.steps = dominance, list(shared), 0

    def before_update(self, training):
        self.before = [p.detach().clone() for p in self.shared]

    def after_step(self, training):
        parts = self.dominance.parts.values()
        for i, (parameter, before) in enumerate(zip(self.shared, self.before, strict=True)):
            total = sum(part[i] for part in parts)
            torch.testing.assert_close(total, parameter.detach() - before, rtol=1e-9, atol=1e-12)
        assert sum(self.dominance.shares.values()) == pytest.approx(1.0)
        self.steps += 1


def loader():
    data = batch(size=40)
    source = TensorSource(data.inputs, data.targets, {"b": torch.arange(40) < 10})
    return Loader(source, 4, shuffle=True)


@pytest.mark.parametrize("clip", (None, 0.2))
@pytest.mark.parametrize("weighting", (EW, CAGrad))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_parts_sum_to_the_step(name, weighting, clip):
    model, dominance = network(), Dominance()
    exact = Exact(dominance, problem(model).shared_parameters())
    updater = GradientStep(
        OPTIMIZERS[name](model.parameters()),
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 2),
        clip_norm=clip,
    )
    moml.fit(problem(model), Direct(), weighting(), updater, loader(), steps=8,
             callbacks=[dominance, exact])  # fmt: skip
    assert exact.steps == 8


def test_the_large_task_dominates_adam():
    toy, dominance = Quadratics([1.0, -1.0], [1.0, 1e4]), Dominance()
    optimizer = torch.optim.Adam(toy.module.parameters(), 0.01)
    moml.fit(toy, Direct(), EW(), optimizer, [None], steps=5, callbacks=[dominance])
    assert dominance.shares["task1"] > 0.99999


def test_it_resumes(tmp_path):
    def train(steps, resume=None):
        model, dominance = network(), Dominance()
        checkpoint = None if resume is None else Checkpoint(tmp_path, every=1, resume=resume)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        moml.fit(problem(model), Direct(), EW(), optimizer, loader(), steps=steps,
                 callbacks=[dominance], checkpoint=checkpoint)  # fmt: skip
        return dominance.shares

    whole = train(7)
    train(4, resume=False)
    assert train(7, resume=True) == whole


def test_what_it_cannot_decompose_is_explained():
    model = network()
    with pytest.raises(ValueError, match="should be one of SGD, Adam"):
        moml.fit(problem(model), Direct(), EW(), AdaTask(model.parameters()), loader(), steps=1,
                 callbacks=[Dominance()])  # fmt: skip
    with pytest.raises(ValueError, match="found a direction"):
        moml.fit(problem(model), Direct(), GradDrop(), torch.optim.SGD(model.parameters(), 0.1),
                 loader(), steps=1, callbacks=[Dominance()])  # fmt: skip
    with pytest.raises(ValueError, match="`decay` should be"):
        Dominance(decay=1.0)
