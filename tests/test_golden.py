"""Golden traces: losses of the first 20 steps, so that a refactoring that changes numbers shows.

To renew them after a change that is meant to: ``python tests/test_golden.py``.
"""

import json
from pathlib import Path

import pytest
import torch

import moml
from moml.data import Loader
from moml.oracle import Direct, Representation
from moml.weighting import EW, UW, CAGrad, NashMTL, PCGrad, UPGrad
from tests.helpers import TASKS, batch, network, problem

FILE = Path(__file__).parent / "golden.json"
JOBS = {
    "EW": (EW, Direct),
    "UW": (UW, Direct),
    "PCGrad": (lambda: PCGrad(seed=0), Direct),
    "CAGrad": (CAGrad, Direct),
    "NashMTL": (NashMTL, Direct),
    "UPGrad on representations": (UPGrad, Representation),
}


def trace(name):
    make, oracle = JOBS[name]
    model, data = network(), batch(size=40)
    source = moml.data.TensorSource(data.inputs, data.targets)
    history = moml.fit(
        problem(model),
        oracle(),
        make(),
        torch.optim.Adam(model.parameters(), 1e-2),
        Loader(source, 16, shuffle=True),
        steps=20,
    )
    return {task: history.losses(task) for task in TASKS}


@pytest.mark.parametrize("name", JOBS)
def test_the_trace_is_the_stored_one(name):
    stored, found = json.loads(FILE.read_text())[name], trace(name)
    for task in TASKS:
        assert found[task] == pytest.approx(stored[task], rel=1e-9)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: trace(name) for name in JOBS}, indent=1) + "\n")
