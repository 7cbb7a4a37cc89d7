"""What evaluation says, against numbers by hand."""

import itertools
import math

import pytest
import torch

from moml.attack import PGD, Linf
from moml.few_shot import CalibrationMetrics, Query, QueryMetrics
from moml.losses import CrossEntropy
from tasks import Glyphs


def query_of(logits, targets):
    """A network that answers with these logits whatever it is asked, plus the input."""

    def predict(x):
        return logits + x

    return Query(predict=predict, frozen=predict, inputs=torch.zeros_like(logits), targets=targets,
                 loss=CrossEntropy(logits.shape[1]), start={}, theta={}, omega={})  # fmt: skip


def drawn(episodes=3, queries=10, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(episodes * queries, classes, generator=generator)
    return logits, torch.randint(classes, (episodes * queries,), generator=generator)


def test_means_and_intervals_over_episodes():
    logits, targets = drawn()
    measure = QueryMetrics(Glyphs().tasks["class"])
    measure.add(query_of(logits[:20], targets[:20]), 2)
    measure.add(query_of(logits[20:], targets[20:]), 1)
    found = measure.result()
    right = (logits.argmax(1) == targets).double().unflatten(0, (3, 10)).mean(1)
    assert found.metrics == {"accuracy": pytest.approx(float(right.mean()))}
    half = 1.96 * float(right.std()) / math.sqrt(3)
    assert found.intervals == {"accuracy": pytest.approx(half)}
    assert found.loss == pytest.approx(float(CrossEntropy(5)(logits, targets)))


def test_no_interval_of_one_episode():
    measure = QueryMetrics(Glyphs().tasks["class"])
    measure.add(query_of(*drawn(episodes=1)), 1)
    assert measure.result().intervals == {}


def test_a_fresh_attack_perturbs_alike_every_time():
    logits, targets = drawn()

    def accuracy():
        attack = PGD(Linf(0.5), steps=3, bounds=(-1.0, 1.0))
        measure = QueryMetrics(Glyphs().tasks["class"], attack=attack)
        measure.add(query_of(logits, targets), 3)
        return measure.result()

    clean = QueryMetrics(Glyphs().tasks["class"])
    clean.add(query_of(logits, targets), 3)
    assert accuracy() == accuracy()
    assert accuracy().metrics["accuracy"] < clean.result().metrics["accuracy"]


def test_calibration_by_hand():
    logits, targets = drawn(episodes=4, queries=25)
    measure = CalibrationMetrics()
    measure.add(query_of(logits[:50], targets[:50]), 2)
    measure.add(query_of(logits[50:], targets[50:]), 2)
    found = measure.result()
    probabilities = logits.softmax(1)
    labels = torch.nn.functional.one_hot(targets, 5)
    brier = (probabilities - labels).square().sum(1).mean()
    assert found.metrics["brier"] == pytest.approx(float(brier), rel=1e-5)
    assert "brier" in found.intervals
    assert "calibration_error" not in found.intervals
    confidence, said = probabilities.max(1)
    error, edges = 0.0, torch.linspace(0, 1, 16)
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = (said == targets)[inside].double().mean() - confidence[inside].mean()
            error += float(gap.abs()) * float(inside.double().mean())
    assert found.metrics["calibration_error"] == pytest.approx(error, abs=1e-5)
