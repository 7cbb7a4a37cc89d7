"""Architectures in the loop: schedules and regularisers arrive, and a broken run goes on."""

import pytest
import torch

import moml
from moml.architecture import LTB, DSelectK, SafeMTL
from moml.oracle import Direct
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA
from tests.helpers import TASKS, batch, network, problem

MAKE = {
    "LTB": lambda e, h: LTB(e, h, seed=3),
    "SafeMTL lite": lambda e, h: SafeMTL(e, h, gate="hard", seed=3),
    "DSelectK": lambda e, h: DSelectK(e, h, entropy=0.1),
}
BATCHES = [batch(seed=i, dtype=torch.float32) for i in range(5)]


def build(name):
    base = network(dtype=torch.float32)
    base.encoder.example_input = torch.zeros(1, 6)
    return MAKE[name](base.encoder, dict(base.heads.items()))


def train(model, steps, *, weighting=None, **options):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    weighting = weighting or MGDA()
    moml.fit(problem(model), Direct(), weighting, optimizer, BATCHES, steps=steps, **options)
    return model


class Broken(Exception):
    pass


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, training):
        if training.step == self.step:
            raise Broken


@pytest.mark.parametrize("name", MAKE)
def test_a_broken_run_goes_on_with_the_same_bits(name, tmp_path):
    whole = train(build(name), 9)
    with pytest.raises(Broken):
        train(build(name), 9, callbacks=[Stop(4)], checkpoint=Checkpoint(tmp_path, every=3))
    fresh = build(name)
    torch.manual_seed(77)  # what is drawn comes from generators of the architecture's own
    options = {"callbacks": [Stop(99)], "checkpoint": Checkpoint(tmp_path, resume=True)}
    train(fresh, 9, **options)
    for a, b in zip(whole.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_loop_cools_what_cools():
    model = train(build("LTB"), 6)
    assert float(model.temperature) == pytest.approx(0.1)


def test_the_loop_minimises_the_regulariser_whatever_the_weighting():
    """With losses that weigh nothing, only the gates move."""

    class Nothing(EW):
        def weights(self, losses, *, tasks=None):
            return torch.zeros_like(losses)

    model = build("DSelectK")
    before = {n: p.clone() for n, p in model.named_parameters()}
    train(model, 3, weighting=Nothing())
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved
    assert all(name.startswith("gates.") for name in moved)
    assert {name.split(".")[1] for name in moved} == set(TASKS)
