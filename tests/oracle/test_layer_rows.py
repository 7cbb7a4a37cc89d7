"""Rows of one layer at a time: the same numbers as formed rows, in the memory of one layer."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from moml.backbone import MLP
from moml.gradients.by_layer import LayerRows
from moml.gradients.segments import segments
from moml.oracle import Direct
from tests.helpers import flat_grad, problem
from tests.oracle.test_ghost import ENCODERS, WEIGHTS, images, model_of


@pytest.mark.parametrize("name", ENCODERS)
def test_everything_equals_formed_rows(name):
    encoder, data = ENCODERS[name]
    model, data = model_of(encoder), data()
    formed = Direct(rows="loop")(problem(model), data)
    layers = Direct(rows="layers")(problem(model), data)
    assert isinstance(layers.former, LayerRows)
    torch.testing.assert_close(layers.gramian, formed.gramian, rtol=1e-10, atol=1e-14)
    assert "rows" not in layers.__dict__
    layers.apply(WEIGHTS)
    found = flat_grad(model.parameters())
    model.zero_grad()
    formed.apply(WEIGHTS)
    torch.testing.assert_close(found, flat_grad(model.parameters()))
    torch.testing.assert_close(layers.jacobian, formed.jacobian)


def test_a_chain_is_cut_at_every_layer():
    net = MLP(6, hidden=(5, 4, 3))
    found = segments([net(torch.randn(2, 6))], list(net.parameters()))
    assert [s.parameters for s in found if s.parameters] == [(4, 5), (2, 3), (0, 1)]
    assert found[-1].below is None


def test_residual_blocks_are_cut_between_blocks_and_tied_weights_belong_to_the_first():
    encoder, _ = ENCODERS["resnet8"]
    model = encoder()
    parts = segments([model(images().inputs.float())], list(model.parameters()))
    assert len(parts) >= 4
    assert sorted(i for s in parts for i in s.parameters) == list(range(len([*model.parameters()])))
    tied = nn.Linear(4, 4)
    chain = nn.Sequential(tied, nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), tied)
    parts = segments([chain(torch.randn(2, 4))], [*tied.parameters(), *chain[2].parameters()])
    assert [s.parameters for s in parts if s.parameters] == [(0, 1), (2, 3)]


PEAK = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
from moml.architecture import HPS
from moml.backbone import MLP
from moml.data import Batch
from moml.losses import CrossEntropy
from moml.oracle import Direct
import moml
def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith(key)).split()[1]) / 1024
names = [f"t{{i}}" for i in range(6)]
def step(width):
    net = HPS(MLP(width, hidden=(width,) * 8), {{n: torch.nn.Linear(width, 3) for n in names}})
    problem = moml.MultiTask(net, {{n: CrossEntropy(3) for n in names}})
    targets = {{n: torch.randint(3, (4,)) for n in names}}
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    evaluation = Direct(rows={rows!r})(problem, Batch(torch.randn(4, width), targets))
    if {gramian}:
        evaluation.gramian
    evaluation.apply(torch.ones(6, dtype=torch.float64))
    return status("VmHWM") - before
step(7)  # libraries allocate once
print(step(700))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts the peak")
def test_memory_is_that_of_the_largest_layers_rows():
    def peak(rows, *, gramian=True):
        code = PEAK.format(root=str(Path(__file__).parents[2]), rows=rows, gramian=gramian)
        command = [sys.executable, "-c", code]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    layer = 700 * 701 * 4 / 2**20  # MiB of one layer's gradient
    equal = peak("loop", gramian=False)
    assert peak("loop") > equal + 6 * 7 * layer
    assert peak("layers") < equal + 6 * layer * 1.25
