"""Both oracles against one plain autograd call per task."""

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.gradients.rows import gramian_of_rows
from moml.oracle import Direct, Representation
from tests.helpers import TASKS, batch, flat_grad, flat_gradients, network, problem

WEIGHTS = torch.tensor([0.2, 0.0, 1.7], dtype=torch.float64)


def rows_by_autograd(task_problem, data):
    shared = list(task_problem.shared_parameters())
    losses = task_problem.losses(data)
    return torch.stack([flat_gradients(loss, shared) for loss in losses.values()]), shared


@pytest.mark.parametrize("multi_input", [False, True])
@pytest.mark.parametrize("rows", ["auto", "loop", "vmap", "chunk", "ghost", "layers"])
def test_rows_gramian_and_direction_equal_plain_autograd(rows, multi_input):
    task_problem, data = problem(network()), batch(multi_input=multi_input)
    expected, _ = rows_by_autograd(task_problem, data)
    evaluation = Direct(rows=rows)(task_problem, data)
    torch.testing.assert_close(evaluation.jacobian, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(evaluation.gramian, expected @ expected.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ expected)


@pytest.mark.parametrize("oracle", [Direct, Representation])
@pytest.mark.parametrize("heads", ["unit", "weighted"])
@pytest.mark.parametrize("formed", [False, True])
@pytest.mark.parametrize("multi_input", [False, True])
def test_apply_writes_the_weighted_gradient(oracle, heads, formed, multi_input):
    model = network()
    task_problem, data = problem(model), batch(multi_input=multi_input)
    expected, shared = rows_by_autograd(task_problem, data)
    losses = task_problem.losses(data)
    own = {t: flat_gradients(losses[t], list(task_problem.private_parameters(t))) for t in TASKS}
    evaluation = oracle(heads=heads)(task_problem, data)
    if formed:
        assert evaluation.gramian.shape == (3, 3)
    torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ expected)
    evaluation.apply(WEIGHTS)
    torch.testing.assert_close(flat_grad(shared), WEIGHTS @ expected)
    for task, weight in zip(TASKS, WEIGHTS, strict=True):
        factor = 1.0 if heads == "unit" else weight
        found = flat_grad(list(task_problem.private_parameters(task)))
        torch.testing.assert_close(found, factor * own[task])


def test_apply_accumulates_like_backward():
    model = network()
    task_problem, data = problem(model), batch()
    for _ in range(2):
        Direct()(task_problem, data).apply(torch.ones(3, dtype=torch.float64))
    twice = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    (2 * sum(task_problem.losses(data).values())).backward()
    for found, p in zip(twice, model.parameters(), strict=True):
        torch.testing.assert_close(found, p.grad)


def test_representation_gramian_is_flat_over_batch_and_features():
    task_problem, data = problem(network()), batch()
    features = task_problem.features(data)
    z = features["shared"].detach().requires_grad_()
    losses = task_problem.losses_from({"shared": z}, data)
    rows = torch.stack([torch.autograd.grad(loss, z)[0].flatten() for loss in losses.values()])
    gramian = Representation()(task_problem, data).gramian
    torch.testing.assert_close(gramian, rows @ rows.T)


def test_multi_input_representations_are_orthogonal():
    gramian = Representation()(problem(network()), batch(multi_input=True)).gramian
    assert torch.equal(gramian, torch.diag(gramian.diagonal()))
    assert (gramian.diagonal() > 0).all()


def test_representation_direction_in_an_invertible_linear_encoder_is_that_of_parameters():
    """With an orthogonal encoder and one sample per feature, both give MGDA the same weights."""
    torch.manual_seed(0)
    encoder = nn.Linear(6, 6, bias=False).double()
    encoder.out_features = 6
    model = HPS(encoder, {t: nn.Linear(6, 3).double() for t in TASKS})
    data = batch(size=6)
    data = Batch(torch.linalg.qr(data.inputs)[0], data.targets)  # orthogonal inputs
    direct, upper = Direct()(problem(model), data), Representation()(problem(model), data)
    torch.testing.assert_close(direct.gramian, upper.gramian)


def test_nested_features_and_a_path_around_them_are_counted_once():
    """Features that depend on one another, and a shared parameter also used by the heads."""

    class Nested(moml.FactoredProblem):
        def __init__(self):
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(6, 5).double(), nn.Linear(5, 4).double()
            self.heads = nn.ModuleDict({t: nn.Linear(9, 3).double() for t in TASKS})
            self.all = nn.ModuleList([self.first, self.second, self.heads])

        tasks = TASKS
        module = property(lambda self: self.all)

        def shared_parameters(self):
            return [*self.first.parameters(), *self.second.parameters()]

        def private_parameters(self, task):
            return self.heads[task].parameters()

        def features(self, data):
            early = torch.tanh(self.first(data.inputs))
            return {"early": early, "late": torch.tanh(self.second(early))}

        def losses_from(self, features, data):
            late = features["late"] * self.second.bias  # reached beside the representation too
            both = torch.cat([features["early"], late], 1)
            return {
                t: nn.functional.cross_entropy(self.heads[t](both), data.targets[t]) for t in TASKS
            }

    task_problem, data = Nested(), batch()
    expected, _ = rows_by_autograd(task_problem, data)
    torch.testing.assert_close(Direct()(task_problem, data).jacobian, expected)
    for oracle in (Direct(), Representation()):
        evaluation = oracle(task_problem, data)
        torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ expected)
        _ = evaluation.gramian
        torch.testing.assert_close(evaluation.pullback(WEIGHTS), WEIGHTS @ expected)


def test_tied_parameter_between_encoder_and_head_is_shared():
    encoder = nn.Linear(6, 6).double()
    encoder.out_features = 6
    heads = {t: nn.Linear(6, 6).double() for t in TASKS}
    heads["a"].weight = encoder.weight
    model = HPS(encoder, heads)
    assert any(p is encoder.weight for p in model.shared_parameters())
    assert all(p is not encoder.weight for p in model.private_parameters("a"))
    task_problem, data = problem(model, classes=6), batch()
    expected, _ = rows_by_autograd(task_problem, data)
    torch.testing.assert_close(Direct()(task_problem, data).jacobian, expected)


def test_head_used_by_two_tasks_is_shared():
    head = nn.Linear(8, 3).double()
    model = network()
    model = HPS(model.encoder, {"a": head, "b": head, "c": nn.Linear(8, 3).double()})
    shared = model.shared_parameters()
    assert any(p is head.weight for p in shared)
    assert not model.private_parameters("a")
    task_problem, data = problem(model), batch()
    expected, _ = rows_by_autograd(task_problem, data)
    torch.testing.assert_close(Direct()(task_problem, data).jacobian, expected)


def test_absent_task_has_no_row_and_its_head_no_gradient():
    model = network()
    task_problem, data = problem(model), batch()
    targets = {t: y for t, y in data.targets.items() if t != "b"}
    evaluation = Direct()(task_problem, Batch(data.inputs, targets))
    assert evaluation.names == ("a", "c")
    assert evaluation.tasks.tolist() == [0, 2]
    assert evaluation.gramian.shape == (2, 2)
    evaluation.apply(torch.ones(2, dtype=torch.float64))
    assert all(p.grad is None for p in model.private_parameters("b"))
    assert all(p.grad is not None for p in model.private_parameters("a"))


def test_missing_labels_are_selected_away():
    """Same losses as on the labelled samples alone, and no NaN from what stands in their place."""
    model = network()
    task_problem, data = problem(model), batch()
    mask = torch.arange(12) % 3 == 0
    garbage = data.targets["a"].clone()
    garbage[~mask] = 99
    partly = Batch(data.inputs, {**data.targets, "a": garbage}, {"a": mask})
    losses = task_problem.losses(partly)
    alone = Batch(data.inputs[mask], {"a": data.targets["a"][mask]})
    torch.testing.assert_close(losses["a"], task_problem.losses(alone)["a"])
    torch.testing.assert_close(losses["b"], task_problem.losses(data)["b"])


def test_task_without_a_label_in_the_batch_is_absent():
    task_problem, data = problem(network()), batch()
    none = Batch(data.inputs, data.targets, {"b": torch.zeros(12, dtype=torch.bool)})
    assert Direct()(task_problem, none).names == ("a", "c")


def test_a_batch_without_any_label_says_so():
    with pytest.raises(ValueError, match="label for at least one task, found none"):
        Direct()(problem(network()), Batch(batch().inputs, {}))


def test_frozen_and_unused_shared_parameters_stay_out():
    model = network()
    first = model.encoder[0]
    first.requires_grad_(False)
    model.encoder.register_parameter("unused", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    task_problem, data = problem(model), batch()
    evaluation = Direct()(task_problem, data)
    assert evaluation.jacobian.shape == (
        3,
        sum(p.numel() for p in model.encoder[2].parameters()) + 3,
    )
    evaluation.apply(torch.ones(3, dtype=torch.float64))
    assert first.weight.grad is None
    assert model.encoder.unused.grad is None
    assert model.encoder[2].weight.grad.abs().sum() > 0


def test_fully_frozen_encoder_trains_heads_only():
    model = network()
    model.encoder.requires_grad_(False)
    task_problem, data = problem(model), batch()
    evaluation = Direct()(task_problem, data)
    assert torch.equal(evaluation.gramian, torch.zeros(3, 3, dtype=torch.float64))
    evaluation.apply(torch.ones(3, dtype=torch.float64))
    assert all(p.grad.abs().sum() > 0 for t in TASKS for p in model.heads[t].parameters())
    with pytest.raises(ValueError, match="Unfreeze the encoder, or use `Direct`"):
        Representation()(task_problem, data)


def test_undeclared_and_wrongly_private_parameters_are_errors():
    class Wrong(moml.MultiTask):
        def private_parameters(self, task):
            return [] if task == "a" else super().private_parameters(task)

    with pytest.raises(ValueError, match=r"declared shared or private.*reached by \['a'\]"):
        Direct()(Wrong(network(), problem(network()).task_losses), batch())

    class Stolen(moml.MultiTask):
        def shared_parameters(self):
            return []

        def private_parameters(self, task):
            own = list(super().private_parameters(task))
            return [*own, *self.architecture.encoder.parameters()] if task == "a" else own

    with pytest.raises(ValueError, match=r"reached by that task only.*Declare it shared"):
        Direct()(Stolen(network(), problem(network()).task_losses), batch())


def test_representation_needs_a_factored_problem():
    class Plain(moml.Problem):
        tasks = ("a",)
        module = nn.Linear(1, 1)

        def losses(self, data):
            return {"a": self.module.weight.sum()}

        def shared_parameters(self):
            return self.module.parameters()

        def private_parameters(self, task):
            return []

    with pytest.raises(ValueError, match="FactoredProblem, found Plain"):
        Representation()(Plain(), None)
    assert Direct()(Plain(), None).jacobian.tolist() == [[1.0, 0.0]]


def plan_of(task_problem, data, rows="auto"):
    return Direct(rows=rows)(task_problem, data).layout.plan.name


def test_the_plan_is_a_count_of_operations():
    eight = tuple("abcdefgh")
    assert plan_of(problem(network(eight)), batch(eight)) == "chunk of 8"  # small passes: one
    assert plan_of(problem(network(width=600)), batch()) == "ghost, loop"


def test_convolutions_are_looped():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 8))
    names = tuple("abcdefgh")
    model = HPS(encoder, {t: nn.Linear(8, 3) for t in names})
    targets = {t: torch.randint(3, (4,)) for t in names}
    plan = plan_of(problem(model), Batch(torch.randn(4, 1, 6, 6), targets))
    assert plan == "ghost, loop"  # the linear layer behind them is not formed


@pytest.mark.parametrize("option", [{"heads": "both"}, {"rows": "fast"}])
def test_unknown_options(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        Direct(**option)


def exact_gramian(rows):
    whole = torch.stack([row[0].double() for row in rows])
    return whole @ whole.T


def norms_of(gramian):
    norms = gramian.diagonal().sqrt()
    return norms.outer(norms)


def test_gramian_of_float32_rows_is_right_to_2e_7_of_the_norms():
    torch.manual_seed(0)
    for m in (2, 8, 32):
        rows = [[torch.randn(70_000) * 10.0 ** (i % 5 - 3)] for i in range(m)]
        exact = exact_gramian(rows)
        assert ((gramian_of_rows(rows) - exact).abs() / norms_of(exact)).max() < 2e-7


@pytest.mark.parametrize("case", ["nearly stationary", "tiny", "huge", "one tiny"])
def test_gramian_is_exact_where_it_matters(case):
    """Where float32 products could upset a solver, they are float64."""
    torch.manual_seed(0)
    a, b = torch.randn(70_000), torch.randn(70_000)
    first = {"tiny": 1e-22, "huge": 1e18}.get(case, 1.0)
    rows = [[a * first], [b * (1e-30 if case == "one tiny" else first)]]
    if case == "nearly stationary":
        rows = [[a], [-a + 1e-6 * b]]
    exact = exact_gramian(rows)
    torch.testing.assert_close(gramian_of_rows(rows), exact, rtol=1e-12, atol=0)


def test_only_what_is_asked_for_is_differentiated(monkeypatch):
    """Equal weighting: one backward call, no rows. MGDA: all heads, then the encoder per task."""
    calls = {"grad": 0, "backward": 0}
    for name in calls:
        original = getattr(torch.autograd, name)

        def counted(*args, _original=original, _name=name, **kwargs):
            calls[_name] += 1
            return _original(*args, **kwargs)

        monkeypatch.setattr(torch.autograd, name, counted)
    task_problem, data = problem(network()), batch()
    moml.weighting.EW().update(Direct()(task_problem, data))
    assert calls == {"grad": 0, "backward": 1}
    moml.weighting.MGDA().update(Direct()(task_problem, data))
    assert calls == {"grad": 1 + 3, "backward": 1}
    moml.weighting.MGDA().update(Representation()(task_problem, data))
    assert calls == {"grad": 1 + 3 + 2, "backward": 1}


def test_a_head_that_changes_the_representation_in_place_is_refused():
    model = network()
    model.heads["a"] = nn.Sequential(nn.ReLU(inplace=True), model.heads["a"])
    with pytest.raises(ValueError, match="Heads should leave the representation as it is"):
        Direct()(problem(model), batch())


def test_an_oracle_may_move_on_to_another_network():
    oracle = Direct()
    for width in (8, 5):
        model, data = network(width=width), batch()
        expected, _ = rows_by_autograd(problem(model), data)
        torch.testing.assert_close(oracle(problem(model), data).jacobian, expected)
