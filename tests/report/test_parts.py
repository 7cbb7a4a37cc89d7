import math

import pytest

from moml.report.heat_map import column, merge, strip
from moml.report.line_chart import thin
from moml.report.scale import fit_scale, steps_scale
from moml.report.text import duration, number, percent, spread, tick


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.81234, "0.8123"), (12.3456, "12.35"), (1234.5, "1234"), (0.001234, "0.001234"),
        (-0.5, "−0.5000"), (1e-7, "1.00e-7"), (2.5e8, "2.50e8"), (0.0, "0"), (7, "7"),
        (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text.replace("e-", "e−")


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (0.81234, 0.01234, "0.8123 ± 0.0123"), (-12.3456, 1.5, "−12.35 ± 1.50"),
        (0.5, None, "0.5000"), (None, None, "–"), (0.0, 0.0, "0 ± 0"),
    ],
)  # fmt: skip
def test_spread(mean, std, text):
    assert spread(mean, std) == text


def test_percent_and_duration():
    assert percent(-1.234) == "−1.23 %"
    assert percent(2.0, 0.5) == "+2.00 ± 0.50 %"
    assert [duration(s) for s in (3.14159, 119, 7260)] == ["3.1 s", "2 min", "2 h 01 min"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (2500, "2500"), (20_000, "20k"), (1e-5, "1e−5"), (3e7, "3e7")],
)
def test_tick(value, text):
    assert tick(value) == text


@pytest.mark.parametrize(
    "values",
    [[0.1, 0.9], [3.0, 3.0], [0.0], [-5.0, 200.0], [1e-12, 2e-12], [1e-6, 1e3], [1e9, 1.1e9], []],
)
def test_scales_hold_their_values_and_have_few_ticks(values):
    scale = fit_scale(values)
    assert all(-1e-9 <= scale(value) <= 1 + 1e-9 for value in values)
    assert 2 <= len(scale.ticks) <= 8
    assert scale.log == (len(values) > 1 and values[0] > 0 and values[1] / values[0] >= 100)


@pytest.mark.parametrize("last", [0, 1, 7, 60, 1500, 123_456])
def test_step_axes_start_at_zero(last):
    scale = steps_scale(last)
    assert scale.low == scale.ticks[0] == 0
    assert scale.ticks[-1] <= max(last, 1)
    assert len(scale.ticks) <= 6


def test_long_curves_are_thinned_by_means():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    thinned = thin(points, most=250)
    assert len(thinned) == 250
    assert {value for _, value in thinned} == {0.5}
    assert thinned[-1][0] == 999
    assert thin(points[:10]) == points[:10]


def test_columns_are_in_task_order_and_merge_by_means():
    record = {"tasks": ["b", "a"], "cosines": [[1.0, -0.5], [-0.5, 1.0]]}
    assert column(record, ["a", "b", "c"]) == {("a", "b"): -0.5}
    pair = ("a", "b")
    assert merge([{pair: 1.0}, {pair: 0.0}, {}, {}], most=2) == [{pair: 0.5}, {}]


def test_strips_join_equal_neighbours():
    svg = strip([1.0, 1.0, None, -1.0], "a < b")
    assert 'class="h20" d="M0 0h2v1h-2z"' in svg
    assert 'class="hx" d="M2 0h1v1h-1z"' in svg
    assert 'class="h0" d="M3 0' in svg
    assert "a &lt; b" in svg
