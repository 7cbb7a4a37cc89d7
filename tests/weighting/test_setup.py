"""Tasks are known before the first step: from `setup`, or from a state that was loaded."""

import copy
import json

import pytest
import torch
from torch import nn

import moml
from moml._support.replay import kept_state
from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Evaluation
from moml.weighting import EW, UW, GramianWeighting, JacobianAggregator, LossWeighting
from tests.weightings import all_weightings

NAMES = ("depth", "normal", 3)
METHODS = all_weightings()


def step(weighting, seed):
    """One step at random rows; what it wrote."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, 10, generator=generator, dtype=torch.float64)
    losses = torch.rand(3, generator=generator, dtype=torch.float64) + 0.1
    parameters = [nn.Parameter(torch.zeros(n, dtype=torch.float64)) for n in (4, 3, 2, 1)]
    evaluation = Evaluation.from_jacobian(rows, losses, names=NAMES, parameters=parameters)
    evaluation.step = evaluation.epoch = seed
    weighting.learn(evaluation.losses, tasks=evaluation.tasks)
    weighting.update(evaluation)
    with torch.no_grad():
        for parameter in weighting.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    return torch.cat([p.grad for p in parameters])


@pytest.mark.parametrize("name", METHODS)
def test_setup_returns_the_weighting(name):
    weighting = METHODS[name]()
    assert weighting.setup(NAMES) is weighting
    assert weighting.names == NAMES


@pytest.mark.parametrize("name", METHODS)
def test_state_loads_into_a_fresh_object(name, tmp_path):
    weighting = METHODS[name]().setup(NAMES)
    for seed in range(3):
        step(weighting, seed)
    torch.save(weighting.state_dict(), tmp_path / "state.pt")
    expected = [step(weighting, seed) for seed in range(3, 6)]
    fresh = METHODS[name]()
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert fresh.names == NAMES
    for seed, direction in zip(range(3, 6), expected, strict=True):
        assert torch.equal(step(fresh, seed), direction)


@pytest.mark.supported
def test_weighting_inside_a_module_resumes_from_the_modules_checkpoint():
    """As in a Lightning module, whose checkpoint holds all submodules."""

    def build():
        module = nn.Module()
        module.weighting = METHODS["CAGrad on losses scaled by UW"]()
        return module

    module = build()
    module.weighting.setup(NAMES)
    step(module.weighting, 0)
    fresh = build()
    fresh.load_state_dict(module.state_dict())
    assert torch.equal(step(fresh.weighting, 1), step(module.weighting, 1))


def test_state_of_other_tasks_is_refused():
    state = UW().setup(["a", "b"]).state_dict()
    with pytest.raises(ValueError, match=r"`names` should be \('b', 'a'\)"):
        UW().setup(["b", "a"]).load_state_dict(state)


def test_names_in_the_state_are_a_tensor():
    """Formats that hold tensors alone can store it."""
    state = EW().setup(NAMES).state_dict()
    assert json.loads(bytes(state["task_names"].tolist())) == list(NAMES)


def test_names_are_strings_or_integers():
    with pytest.raises(ValueError, match="`names` should be strings or integers"):
        EW().setup([("a", "b")])


class Answer(LossWeighting):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def weights(self, losses, *, tasks=None):
        return self.answer


class GramianAnswer(GramianWeighting):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def weights(self, gramian, losses=None, *, tasks=None):
        return self.answer


class Direction(JacobianAggregator):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def direction(self, jacobian, losses=None, *, tasks=None):
        return self.answer


@pytest.mark.parametrize("kind", [Answer, GramianAnswer])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.ones(3), r"should have shape \(2,\), one per task present, found \(3,\)"),
        (torch.ones(2, 2), r"found \(2, 2\)"),
        (torch.tensor([1.0, torch.nan]), "should be finite, found nan for task 'b'"),
        ([1.0, 1.0], r"should be a tensor of shape \(2,\), found list"),
        (None, "found NoneType"),
    ],
    ids=["three", "matrix", "nan", "list", "none"],
)
def test_wrong_weights_name_the_method_and_write_nothing(kind, answer, message):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=rf"`weights` of {kind.__name__} .*{message}"):
        moml.backward({"a": x.sum(), "b": (2 * x).sum()}, kind(answer))
    assert x.grad is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.ones(3), r"should have shape \(2,\), the combined gradient, found \(3,\)"),
        (torch.tensor([1.0, torch.inf]), "should be finite"),
        ([1.0, 1.0], "found list"),
    ],
    ids=["three", "infinite", "list"],
)
def test_wrong_directions_name_the_method_and_write_nothing(answer, message):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=rf"`direction` of Direction .*{message}"):
        moml.backward({"a": x.sum(), "b": (2 * x).sum()}, Direction(answer))
    assert x.grad is None


def test_a_direction_spoilt_by_a_gradient_names_the_task():
    x = torch.zeros(2, requires_grad=True)
    losses = {"fine": x.sum(), "root": x.abs().sqrt().sum()}
    with pytest.raises(NonFiniteError, match="gradient of task 'root'"):
        moml.backward(losses, METHODS["MoCo"]())
    assert x.grad is None


@pytest.mark.parametrize("name", METHODS)
def test_a_state_that_is_kept_stays_as_it_is(name):
    """A training loop keeps it until the step is known to be good."""
    weighting = METHODS[name]().setup(NAMES)
    step(weighting, 0)
    kept = kept_state(weighting)
    expected = copy.deepcopy(kept)
    step(weighting, 1)
    assert all(torch.equal(kept[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["MoCo", "DBMTL", "ExcessMTL"])
def test_a_gradient_per_task_is_kept_without_a_copy(name):
    weighting = METHODS[name]().setup(NAMES)
    step(weighting, 0)
    (memory,) = [part for part in weighting.modules() if hasattr(part, "replaces")]
    pointers = {value.data_ptr() for value in kept_state(weighting).values()}
    assert memory.values.data_ptr() in pointers
