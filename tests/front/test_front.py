"""Fronts: the analytic problems, the spread, the indicators, and what methods reach."""

import json

import numpy as np
import pytest
import torch

from moml.__main__ import main
from moml.front import (
    VLMOP1,
    VLMOP2,
    ZDT1,
    ZDT2,
    hypervolume,
    igd_plus,
    non_dominated,
    refine,
    solver,
    spread,
    trace,
)
from moml.weighting import COSMOS, EPO, MGDA, PBI, PMGDA, PMTL, STCH, Constant, Tchebycheff

PROBLEMS = (VLMOP1, VLMOP2, ZDT1, ZDT2)


@pytest.mark.parametrize("make", PROBLEMS)
def test_no_point_beats_the_front_and_it_is_attained(make):
    problem = make()
    front = problem.front(400)
    assert non_dominated(front).all()
    torch.testing.assert_close(front.amax(0), torch.tensor(problem.nadir, dtype=torch.float64))
    draw = torch.Generator().manual_seed(0)
    for scale in (0.3, 1.0, 3.0):
        for _ in range(300):
            x = scale * torch.randn(problem.num_variables, generator=draw, dtype=torch.float64)
            values = torch.stack(problem.values(x))
            assert not ((values < front - 1e-9).all(1)).any()


def test_points_of_the_sets_lie_on_the_fronts():
    x = torch.full((3,), 0.7, dtype=torch.float64)
    first, second = VLMOP1(num_variables=3).values(x)
    assert first.sqrt() + second.sqrt() == pytest.approx(2.0)
    x = torch.full((2,), 0.2 / 2**0.5, dtype=torch.float64)
    values = torch.stack(VLMOP2().values(x))
    expected = [1 - np.exp(-0.64), 1 - np.exp(-1.44)]
    assert values.tolist() == pytest.approx(expected)
    x = torch.zeros(30, dtype=torch.float64)
    x[0] = np.arcsin(0.5)  # y = 1/4
    assert torch.stack(ZDT1().values(x)).tolist() == pytest.approx([0.25, 0.5])
    assert torch.stack(ZDT2().values(x)).tolist() == pytest.approx([0.25, 1 - 0.0625])


def test_spread():
    two = spread(2, 5)
    assert two[0].tolist() == [1.0, 0.0]
    assert two[-1].tolist() == [0.0, 1.0]
    angles = torch.atan2(two[:, 1], two[:, 0])
    torch.testing.assert_close(angles.diff(), torch.full((4,), torch.pi / 8, dtype=torch.float64))
    for tasks, number in ((3, 3), (3, 10), (4, 17), (8, 20)):
        found = spread(tasks, number)
        assert found.shape == (number, tasks)
        assert torch.allclose(found.sum(1), torch.ones(number, dtype=torch.float64))
        assert len(found.unique(dim=0)) == number
        assert {tuple(corner) for corner in torch.eye(tasks).tolist()} <= {
            tuple(p) for p in found.tolist()
        }
    with pytest.raises(ValueError, match="at least one per task"):
        spread(3, 2)


def test_hypervolume_and_igd_plus_by_hand():
    points = torch.tensor([[1.0, 3.0], [2.0, 1.0], [2.5, 2.5]])
    assert hypervolume(points, [4.0, 4.0]) == pytest.approx(3 * 1 + 2 * 2)
    assert hypervolume(points, [1.0, 1.0]) == 0.0
    front = torch.tensor([[1.0, 2.0], [2.0, 0.0]])
    # worse by (0, 1) or (1, 0); and by (0, 1)
    assert igd_plus(points, front) == pytest.approx(1.0)
    assert non_dominated(points).tolist() == [True, True, False]


def best_of_the_front(front, number, reference):
    """The largest hypervolume of so many points of a front, by dynamic programming."""
    front = front.numpy()[front[:, 0].argsort().numpy()]
    widths = reference[0] - front[:, 0]
    best = widths * (reference[1] - front[:, 1])
    for _ in range(number - 1):
        drops = front[:, 1][:, None] - front[:, 1][None]  # from i down to j
        table = best[:, None] + widths[None] * drops
        best = np.where(np.tri(len(front), dtype=bool), -np.inf, table).max(0)
    return best.max()


@pytest.mark.slow
@pytest.mark.parametrize("make", (VLMOP1, VLMOP2))
@pytest.mark.parametrize(
    "method", [lambda p: STCH(preference=p, mu=0.01), lambda p: EPO(preference=p)],
    ids=["STCH", "EPO"],
)  # fmt: skip
def test_ten_preferences_cover_the_front(make, method):
    """0.99 of the front's hypervolume at three times the nadir, and of what ten points can have.

    Near the nadir no ten points have 0.99 of the whole front's: 0.967 (VLMOP1) and 0.909 (VLMOP2)
    at 1.1 times the nadir is the most.
    """
    problem = make()
    _, points = refine(solver(make, method, steps=500), 10, ray=False)
    front = problem.front(4001)
    far, near = ([factor * worst for worst in problem.nadir] for factor in (3.0, 1.1))
    assert hypervolume(points, far) >= 0.99 * hypervolume(front, far)
    possible = best_of_the_front(problem.front(400), 10, near)
    assert possible <= hypervolume(front, near)
    assert hypervolume(points, near) >= 0.99 * possible
    assert igd_plus(points, front) <= 0.03 * problem.nadir[0]


def test_linear_scalarization_misses_a_concave_front():
    preferences = spread(2, 6)
    points = trace(solver(VLMOP2, lambda p: Constant(preference=p), steps=300), preferences)
    assert (points.amin(1) < 0.01).all()  # the ends only


@pytest.mark.parametrize(
    "make", (VLMOP2, ZDT2, *(pytest.param(m, marks=pytest.mark.slow) for m in (VLMOP1, ZDT1)))
)
@pytest.mark.parametrize("weights", ([0.3, 0.7], pytest.param([0.6, 0.4], marks=pytest.mark.slow)))
@pytest.mark.parametrize(
    "method",
    [
        lambda p: STCH(preference=p, mu=0.005),
        lambda p: Tchebycheff(preference=p),
        lambda p: EPO(preference=p),
    ],
    ids=["STCH", "Tchebycheff", "EPO"],
)
def test_weighted_losses_become_equal(method, weights, make):
    (point,) = trace(solver(make, method, steps=600), torch.tensor([weights])).tolist()
    a, b = (w * f for w, f in zip(weights, point, strict=True))
    assert a == pytest.approx(b, rel=0.1)
    nearest = (make().front(4001) - torch.tensor(point)).norm(dim=1).min()
    assert nearest < 0.02 * max(make().nadir)


@pytest.mark.slow
@pytest.mark.parametrize("make", (VLMOP1, VLMOP2))
@pytest.mark.parametrize("ray", ([0.3, 0.7], [0.6, 0.4]))
def test_losses_lie_along_the_ray(ray, make):
    for kind in (PBI, PMGDA):
        method = solver(make, lambda p, kind=kind: kind(preference=p), steps=600)
        (point,) = trace(method, torch.tensor([ray]))
        assert (point / point.sum()).tolist() == pytest.approx(ray, abs=0.02)
        assert (make().front(4001) - point).norm(dim=1).min() < 0.02 * max(make().nadir)
    others = spread(2, 9).tolist()
    method = solver(make, lambda p: PMTL(preference=p, others=others), steps=600)
    (point,) = trace(method, torch.tensor([ray]))
    rays = torch.tensor(others, dtype=torch.float64)
    rays = rays / rays.norm(dim=1, keepdim=True)
    aim = torch.tensor(ray, dtype=torch.float64) / torch.tensor(ray).norm()
    assert aim @ point >= (rays @ point).max() - 0.01  # in the ray's cone
    assert (make().front(4001) - point).norm(dim=1).min() < 0.02 * max(make().nadir)


def test_every_preference_argument_says_what_it_means():
    every = (STCH, Tchebycheff, EPO, PBI, COSMOS, PMTL, PMGDA, MGDA)
    kinds = {cls: cls.preference_is for cls in every}
    assert list(kinds.values()) == ["importance"] * 3 + ["ray"] * 4 + ["no argument"]


# ------------------------------------------------------------------------------------ command line


def test_front_of_a_problem(tmp_path, capsys):
    options = ["--preferences", "4", "--steps", "150", "--output", str(tmp_path / "out")]
    assert main(["front", "--problem", "VLMOP1", *options]) == 0
    record = json.loads((tmp_path / "out" / "front.json").read_text())
    assert record["reference_point"] == pytest.approx([4.4, 4.4])
    assert len(record["points"]) == len(record["preferences"]) == 4
    assert 0 < record["hypervolume"] < record["hypervolume_of_front"]
    assert "Hypervolume over that of the true front" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "out" / "front.svg").read_text()
    assert main(["front", "--problem", "VLMOP1", *options]) == 2  # in use


@pytest.mark.parametrize("method", ("PMTL", "PMGDA", "EPO", "COSMOS"))
def test_front_by_other_methods(method, tmp_path):
    options = ["--preferences", "3", "--steps", "20", "--output", str(tmp_path)]
    assert main(["front", "--problem", "ZDT2", "--weighting", method, "--adaptive", "false",
                 *options]) == 0  # fmt: skip


def test_front_of_a_suite(tmp_path):
    options = ["--preferences", "3", "--steps", "3", "--batch_size", "8"]
    assert main(["front", "--suite", "TwoDigits", *options, "--output", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "front.json").read_text())
    assert record["names"] == ["left: 1 − accuracy", "right: 1 − accuracy"]
    assert len(record["points"]) == 3
    assert (tmp_path / "02" / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problem", "VLMP1"], "Did you mean 'VLMOP1'"),
        (["--problem", "VLMOP1", "--weighting", "MGDA"], "should take a preference, as"),
        (["--problem", "VLMOP1", "--preferences", "1"], "at least one per task"),
    ],
)
def test_mistakes_are_explained(arguments, message, tmp_path, capsys):
    assert main(["front", *arguments, "--output", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
