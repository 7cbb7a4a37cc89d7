"""Problems of peers' suites: values by hand, fronts that nothing beats, and their command."""

import json
from math import cos, exp, pi, sin, sqrt

import pytest
import torch

from moml import front
from moml.__main__ import main
from moml.front import non_dominated

KNOWN = ("ZDT3", "ZDT4", "ZDT6", *(f"DTLZ{i}" for i in range(1, 8)), "RE21", "RE37")


def problem(name, **options):
    return getattr(front, name)(**options)


@pytest.mark.parametrize("name", KNOWN)
def test_nothing_beats_the_front_and_it_ends_at_the_nadir(name):
    one = problem(name)
    points = one.front(300)
    assert points.shape == (300, len(one.tasks))
    assert non_dominated(points.unique(dim=0)).all()
    nadir = torch.tensor(one.nadir, dtype=torch.float64)
    torch.testing.assert_close(points.amax(0), nadir, rtol=1e-9, atol=0.07 * (name == "RE37"))
    draw = torch.Generator().manual_seed(0)
    for scale in (0.05, 1.0):  # near a corner, and everywhere
        y = scale * torch.rand(one.num_variables, 400, generator=draw, dtype=torch.float64)
        for point in y.T:
            values = torch.stack(one.at(point))
            near = 1e-9 if name != "RE37" else 0.02  # a grid's front
            assert not (values < points - near).all(1).any()


@pytest.mark.parametrize("name", KNOWN)
def test_losses_and_gradients_are_finite_on_the_faces_of_the_box(name):
    one = problem(name)
    for value in (0.0, pi / 2, pi / 4, 0.7):
        x = torch.full((one.num_variables,), value, dtype=torch.float64, requires_grad=True)
        losses = one.values(x)
        assert all(torch.isfinite(loss) for loss in losses)
        rest = sum(losses[1:]) if name.startswith("ZDT") and value == 0.0 else sum(losses)
        if not (name in ("ZDT3", "ZDT4") and value == 0.0):  # their fronts are vertical there
            (gradient,) = torch.autograd.grad(rest, x)
            assert torch.isfinite(gradient).all()


def at(name, y, **options):
    one = problem(name, **options)
    full = torch.full((one.num_variables,), y[-1], dtype=torch.float64)
    full[: len(y) - 1] = torch.tensor(y[:-1], dtype=torch.float64)
    return [float(value) for value in one.at(full)]


def test_values_by_hand():
    """One point of each, with the formulas of the papers written out."""
    assert at("ZDT3", [0.25, 0.0]) == pytest.approx([0.25, 1 - 0.5 - 0.25 * sin(2.5 * pi)])
    assert at("ZDT3", [0.25, 0.5]) == pytest.approx(
        [0.25, 5.5 * (1 - sqrt(0.25 / 5.5) - 0.25 / 5.5 * sin(2.5 * pi))]
    )
    assert at("ZDT4", [0.25, 0.5]) == pytest.approx([0.25, 0.5])  # the others are zero
    g = 1 + 9 * (10 + 6.25 - 10 * cos(10 * pi))  # at 0.75: z = 2.5
    assert at("ZDT4", [0.25, 0.75]) == pytest.approx([0.25, g * (1 - sqrt(0.25 / g))])
    f = 1 - exp(-0.4) * sin(0.6 * pi) ** 6
    assert at("ZDT6", [0.1, 0.0]) == pytest.approx([f, 1 - f**2])
    assert at("ZDT6", [0.1, 1 / 16]) == pytest.approx([f, 5.5 * (1 - (f / 5.5) ** 2)])
    assert at("DTLZ1", [0.4, 0.7, 0.5]) == pytest.approx([0.14, 0.06, 0.3])
    away = 0.5 * (1 + 100 * 5 * (1 + 0.01 - cos(2 * pi)))  # five variables at 0.6
    assert at("DTLZ1", [0.4, 0.7, 0.6]) == pytest.approx([0.28 * away, 0.12 * away, 0.6 * away])
    a, b = 0.2 * pi, 0.35 * pi
    angles = [cos(a) * cos(b), cos(a) * sin(b), sin(a)]
    assert at("DTLZ2", [0.4, 0.7, 0.5]) == pytest.approx(angles)
    assert at("DTLZ2", [0.4, 0.7, 0.7]) == pytest.approx([1.32 * v for v in angles])
    assert at("DTLZ3", [0.4, 0.7, 0.6]) == pytest.approx([9.0 * v for v in angles])
    bent = [0.5 * pi * v**100 for v in (0.99, 0.999)]
    assert at("DTLZ4", [0.99, 0.999, 0.5]) == pytest.approx(
        [cos(bent[0]) * cos(bent[1]), cos(bent[0]) * sin(bent[1]), sin(bent[0])]
    )
    second = 0.5 * pi * (1 + 0.64 * 0.7) / 2.64
    assert at("DTLZ5", [0.4, 0.7, 0.7]) == pytest.approx(
        [1.32 * cos(a) * cos(second), 1.32 * cos(a) * sin(second), 1.32 * sin(a)]
    )
    assert at("DTLZ6", [0.4, 0.7, 0.0]) == pytest.approx(
        [cos(a) * sqrt(0.5), cos(a) * sqrt(0.5), sin(a)]
    )
    taken = 0.4 * (1 + sin(1.2 * pi)) + 0.7 * (1 + sin(2.1 * pi))
    assert at("DTLZ7", [0.4, 0.7, 0.5]) == pytest.approx([0.4, 0.7, 6.5 * 3 - taken])
    light = [200 * (2 + 2 + 2**0.25 + 1), 0.01 * (2 + 2 - 2 + 2)]
    assert at("RE21", [0.0, 0.0]) == pytest.approx(light)
    assert at("RE37", [0.0, 0.0]) == pytest.approx([0.692, 0.153, 0.370])
    assert at("RE37", [1.0, 1.0]) == pytest.approx([0.20514, 0.8774, 0.2838])


def test_ends_of_the_fronts_are_those_of_the_suites():
    """Ideal points that the authors of the RE suite give; pieces of ZDT3 and DTLZ7."""
    ideal = problem("RE21").front(50).amin(0).tolist()
    assert ideal == pytest.approx([1237.8414230005742, 0.002761423749158419])
    ideal = problem("RE37").front(2254).amin(0).tolist()
    assert ideal == pytest.approx([0.00889341391106, 0.00488, -0.431499999825], abs=1e-4)
    f1 = problem("ZDT3").front(20_001)[:, 0]
    gaps = f1.diff().topk(4).indices.sort().values
    assert f1[gaps].tolist() == pytest.approx(
        [0.0830015, 0.2577624, 0.4538821, 0.6525117], abs=2e-5
    )
    assert f1[gaps + 1].tolist() == pytest.approx(
        [0.1822288, 0.4093137, 0.6183968, 0.8233318], abs=2e-5
    )
    first = problem("DTLZ7").front(400)[:, 0].unique()
    assert first.max() == pytest.approx(0.8594008566)
    assert not ((first > 0.2514119) & (first < 0.6316265)).any()


def test_more_losses_than_three():
    for name in ("DTLZ1", "DTLZ2", "DTLZ7"):
        one = problem(name, num_losses=5)
        assert one.front(60).shape == (60, 5) and len(one.losses(None)) == 5
    with pytest.raises(ValueError, match="`num_losses` should be 2 or 3"):
        problem("DTLZ5", num_losses=4)
    with pytest.raises(ValueError, match="`num_variables` should be at least 2"):
        problem("ZDT4", num_variables=1)


@pytest.mark.supported
def test_the_front_of_a_problem_with_three_losses_is_traced(tmp_path, capsys):
    options = ["--weighting", "STCH", "--preferences", "4", "--steps", "60"]
    assert main(["front", "--problem", "DTLZ2", *options, "--output", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "front.json").read_text())
    assert record["names"] == ["f1", "f2", "f3"] and len(record["points"][0]) == 3
    assert all(0.9 < sum(f**2 for f in point) ** 0.5 < 1.5 for point in record["points"])
    assert "<svg" in (tmp_path / "out" / "front.svg").read_text()
