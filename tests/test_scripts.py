"""Benchmarks run on what is in the tree: their networks take their batches."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def bench_step(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_step

    yield bench_step
    sys.modules.pop("bench_step")


@pytest.mark.parametrize("name", ["mlp2", "multi8", "linear32s", "resnet8", "transformer3"])
def test_settings_of_the_step_benchmark(bench_step, name):
    network, batch = bench_step.SETTINGS[name].build()
    assert set(network(batch.inputs)) == set(batch.targets)
