"""Evaluations of given rows, and the two ways to look at a step differently."""

import pytest
import torch
from torch import nn

import moml
from moml.errors import NonFiniteError
from moml.oracle import Direct
from tests.helpers import batch, network, problem

JACOBIAN = torch.tensor([[1.0, 0.0, 2.0], [-1.0, 3.0, 0.0]], dtype=torch.float64)
LOSSES = torch.tensor([0.5, 4.0])


def test_from_jacobian():
    e = moml.Evaluation.from_jacobian(JACOBIAN, LOSSES)
    assert e.names == ("0", "1")
    assert e.known_gramian is None
    assert e.gramian.tolist() == [[5.0, -1.0], [-1.0, 10.0]]
    assert e.known_gramian is e.gramian
    assert e.pullback(torch.tensor([2.0, 1.0])).tolist() == [1.0, 3.0, 4.0]


def test_apply_writes_to_the_parameters_given():
    a, b = nn.Parameter(torch.zeros(1, 2).double()), nn.Parameter(torch.zeros(1).double())
    e = moml.Evaluation.from_jacobian(JACOBIAN, LOSSES, parameters=[a, b], names=["x", "y"])
    e.apply(torch.tensor([2.0, 1.0]))
    e.assign(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    assert a.grad.tolist() == [[1.0, 3.0]]
    assert b.grad.tolist() == [5.0]


def test_scaled_is_the_evaluation_of_scaled_losses():
    factors = torch.tensor([0.5, 10.0], dtype=torch.float64)
    scaled = moml.Evaluation.from_jacobian(JACOBIAN, LOSSES).scaled(factors)
    direct = moml.Evaluation.from_jacobian(factors[:, None] * JACOBIAN, factors * LOSSES)
    torch.testing.assert_close(scaled.losses, direct.losses)
    torch.testing.assert_close(scaled.gramian, direct.gramian)
    torch.testing.assert_close(scaled.jacobian, direct.jacobian)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    torch.testing.assert_close(scaled.pullback(weights), direct.pullback(weights))


def test_reweighted_changes_what_is_applied_only():
    base = moml.Evaluation.from_jacobian(JACOBIAN, LOSSES)
    seen = base.reweighted(lambda w: 2 * w)
    assert seen.gramian is base.gramian
    assert seen.pullback(torch.tensor([1.0, 0.0])).tolist() == [2.0, 0.0, 4.0]


@pytest.mark.parametrize(
    ("jacobian", "losses", "options", "message"),
    [
        (torch.zeros(3), torch.zeros(3), {}, r"shape \(m, n\), found \(3,\)"),
        (JACOBIAN, torch.zeros(3), {}, r"one entry per row of `jacobian` \(2\)"),
        (JACOBIAN, LOSSES, {"names": ["x"]}, "2 entries, found 1"),
        (JACOBIAN, LOSSES, {"parameters": [nn.Parameter(torch.zeros(2))]}, r"\(3\), found 2"),
    ],
)
def test_wrong_shapes(jacobian, losses, options, message):
    with pytest.raises(ValueError, match=message):
        moml.Evaluation.from_jacobian(jacobian, losses, **options)


def test_infinite_gradient_names_the_task():
    rows = JACOBIAN.clone()
    rows[1, 0] = float("inf")
    e = moml.Evaluation.from_jacobian(rows, LOSSES, names=["depth", "normals"])
    with pytest.raises(NonFiniteError, match="gradient of task 'normals'"):
        _ = e.gramian


def test_scaled_and_reweighted_steps_keep_the_rest_of_a_step():
    """Selection, gradients by parameter and the known Gramian pass through wrappers."""
    model, data = network(), batch()
    step = Direct()(problem(model), data)
    factors = torch.tensor([2.0, 3.0, 0.5], dtype=torch.float64)
    for wrapped, expected in (
        (step.scaled(factors), factors),
        (step.reweighted(lambda weights: weights), torch.ones(3, dtype=torch.float64)),
    ):
        assert (wrapped.known_gramian is None) == (step.known_gramian is None)
        gramian = wrapped.gramian
        torch.testing.assert_close(wrapped.known_gramian, gramian)
        parameters, rows = wrapped.task_gradients()
        flat = torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])
        torch.testing.assert_close(flat @ flat.T, gramian)
        assert parameters == step.task_gradients()[0]
        chosen = torch.tensor([2, 0])
        part = wrapped.select(chosen)
        assert part.names == ("c", "a")
        torch.testing.assert_close(part.gramian, gramian[chosen][:, chosen])
        weights = torch.tensor([1.0, 4.0], dtype=torch.float64)
        torch.testing.assert_close(
            part.pullback(weights), (weights * expected[chosen]) @ step.jacobian[chosen]
        )
