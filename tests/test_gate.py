"""The gate: whatever is combined with whatever, every parameter that a loss can reach trains."""

import inspect
import random

import pytest
import torch
from torch import nn

import moml
import moml.architecture as room
from moml.data import Batch, TaskInputs
from moml.optim import GradientStep
from moml.oracle import Direct, Representation
from tests.helpers import TASKS, network, problem
from tests.weightings import all_weightings

ARCHITECTURES = [
    name
    for name in room.__all__
    if isinstance(getattr(room, name), type)
    and issubclass(getattr(room, name), room.Architecture)
    and not inspect.isabstract(getattr(room, name))
    and name != "WholeModel"  # which is any module, not an encoder and heads
]


VARIANTS = {
    "DSelectK static": lambda *parts: room.DSelectK(*parts, static=True),
    "DenseExchange, distillation": lambda *parts: room.DenseExchange(
        *parts, attention=False, intermediate=1.0
    ),
    "SafeMTL lite": lambda *parts: room.SafeMTL(*parts, gate="hard", temperature=1.0),
    "SafeMTL of decoders": lambda *parts: room.SafeMTL(*parts, where="decoder"),
    "SharingTable across": lambda *parts: room.SharingTable(
        *parts, table={"a": [0, 0], "b": [1, 0], "c": [1, 1]}
    ),
}
# One weighting of each level on every architecture, here and in seconds; all of them on hard
# sharing; and a random sample of the product, in minutes.
LEVELS = ("EW", "MGDA", "GradDrop")
WITH_HPS = [("HPS", name) for name in all_weightings()]
EVERY_LEVEL = [(a, w) for a in (*ARCHITECTURES, *VARIANTS) if a != "HPS" for w in LEVELS]
SAMPLE = random.Random(0).sample(
    [(a, w) for a in (*ARCHITECTURES, *VARIANTS) for w in all_weightings()], 200
)


def build(name):
    """Tanh keeps every unit alive, so a gradient of zero means a path that is missing."""
    base = network(dtype=torch.float32)
    base.encoder.example_input = torch.zeros(1, 6)
    make = VARIANTS.get(name) or getattr(room, name)
    return make(base.encoder, dict(base.heads.items()))


def draw(generator, multi_input):
    def inputs():
        return torch.randn(16, 6, generator=generator)

    targets = {t: torch.randint(3, (16,), generator=generator) for t in TASKS}
    return Batch(TaskInputs({t: inputs() for t in TASKS}) if multi_input else inputs(), targets)


@pytest.mark.parametrize(
    ("oracle", "multi_input"),
    [
        pytest.param(Direct, True, id="direct-multi"),
        pytest.param(Representation, False, id="representation-single"),
        pytest.param(Direct, False, id="direct-single", marks=pytest.mark.slow),
        pytest.param(Representation, True, id="representation-multi", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("architecture", "weighting"), WITH_HPS + EVERY_LEVEL)
def test_every_parameter_trains(architecture, weighting, oracle, multi_input):
    check(
        architecture,
        weighting,
        oracle,
        multi_input,
        steps=20 if "HPS" in architecture or "lite" in architecture else 6,
    )


@pytest.mark.slow
@pytest.mark.parametrize("multi_input", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("oracle", [Direct, Representation])
@pytest.mark.parametrize(("architecture", "weighting"), SAMPLE)
def test_every_parameter_trains_whatever_is_combined(architecture, weighting, oracle, multi_input):
    # A hard gate and a weighting that picks tasks have to agree before an encoder gets a gradient.
    check(architecture, weighting, oracle, multi_input, steps=80 if "lite" in architecture else 20)


def check(architecture, weighting, oracle, multi_input, *, steps):
    model, method = build(architecture), all_weightings()[weighting]()
    if weighting == "TrimmedMean" and oracle is Representation and multi_input:
        pytest.skip("representations that no two tasks share: refused, see the next test")
    if architecture == "SharingTable across" and oracle is Representation:
        pytest.skip("task a has layers of its own before a shared one: refused, see below")
    task_problem, compute = problem(model), oracle()
    private = {p: task for task in TASKS for p in model.private_parameters(task)}
    owners = {name: private.get(p) for name, p in model.named_parameters()}
    method.setup(task_problem.tasks)
    updater = GradientStep(torch.optim.SGD(model.parameters(), lr=0.05))
    updater.adopt(method.parameters())
    known = set(updater.parameters())
    moved, weighed = {}, dict.fromkeys(TASKS, 0.0)
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        updater.zero_grad()
        evaluation = compute(task_problem, draw(generator, multi_input))
        penalty = task_problem.penalty()
        method.learn(evaluation.losses, tasks=evaluation.tasks)
        weights = method.update(evaluation)
        if penalty is not None:
            penalty.backward()
        found = [1.0] * len(TASKS) if weights is None else weights.tolist()  # a direction: heads 1
        for task, weight in zip(TASKS, found, strict=True):
            weighed[task] = max(weighed[task], abs(weight))
        named = [*model.named_parameters(), *method.named_parameters(prefix="weighting")]
        for name, parameter in named:
            assert parameter in known, f"{name} is not in the optimizer"
            assert parameter.grad is not None, f"{name} has no gradient"
            assert torch.isfinite(parameter.grad).all(), f"{name} has no finite gradient"
            moved[name] = moved.get(name, False) or bool(parameter.grad.any())
        updater.step(evaluation, weights)
        task_problem.after_step(step + 1, steps)
    for name, trains in moved.items():
        owner = owners.get(name)
        if owner is None or weighed[owner] > 0:
            assert trains, f"{name} never got a gradient"


def test_trimmed_mean_refuses_representations_that_no_two_tasks_share():
    model, method = build("HPS"), moml.weighting.TrimmedMean()
    evaluation = Representation()(problem(model), draw(torch.Generator(), True))
    with pytest.raises(ValueError, match="entries that more than 1 tasks reach"):
        method.update(evaluation)


def test_representation_refuses_a_task_that_shares_nothing_through_it():
    """Its row would be zero, and MGDA would let the others go."""
    with pytest.raises(ValueError, match="nothing for a: shared layers follow"):
        Representation()(problem(build("SharingTable across")), draw(torch.Generator(), False))


def test_the_gate_catches_a_detached_path():
    """The gate itself can fail: an architecture that cuts the graph does not pass."""

    class Cut(room.HPS):
        def features(self, inputs, tasks=None):
            return {k: v.detach() for k, v in super().features(inputs, tasks).items()}

    base = network(dtype=torch.float32)
    model = Cut(base.encoder, dict(base.heads.items()))
    evaluation = Direct()(problem(model), draw(torch.Generator(), False))
    moml.weighting.EW().update(evaluation)
    assert all(p.grad is None for p in model.encoder.parameters())


def test_heads_keep_training_at_weight_zero_with_unit_heads():
    class Only(moml.weighting.LossWeighting):
        def weights(self, losses, *, tasks=None):
            return torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)

    for heads, trains in (("weighted", False), ("unit", True)):
        model = build("HPS")
        data = draw(torch.Generator().manual_seed(0), False)
        Only().update(Direct(heads=heads)(problem(model), data))
        assert bool(model.heads["b"].weight.grad.any()) is trains
    assert isinstance(model.heads["b"], nn.Linear)
