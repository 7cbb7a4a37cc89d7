"""Numbers about a step against their definitions on the gradients themselves."""

import pytest
import torch

from moml.logging._diagnostics import diagnostics
from moml.weighting import MGDA


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_definitions(scale):
    rows = torch.randn(3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64)
    found = diagnostics(scale**2 * rows @ rows.T, weights)
    longest = rows.norm(dim=1).max()
    step = weights @ rows / 3.5
    cosines = torch.nn.functional.cosine_similarity(rows, step[None])
    nearest = MGDA().weights(rows @ rows.T) @ rows
    values = torch.linalg.svdvals(rows / rows.norm(dim=1, keepdim=True))
    expected = {
        "stationarity": nearest.norm() / longest, "direction": step.norm() / longest,
        "worst cosine": cosines.min(), "condition": values[0] / values[-1],
    }  # fmt: skip
    assert found == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-6)


def test_where_gradients_vanish_or_depend():
    eye = torch.eye(2, dtype=torch.float64)
    assert diagnostics(0 * eye, torch.ones(2)) == {"stationarity": 0.0}
    twice = diagnostics(torch.ones(2, 2, dtype=torch.float64), torch.ones(2))
    assert twice["condition"] is None and twice["worst cosine"] == pytest.approx(1.0)
    opposite = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    found = diagnostics(opposite, torch.ones(2, dtype=torch.float64))
    assert found["stationarity"] == found["direction"] == 0.0 and "worst cosine" not in found
    assert "direction" not in diagnostics(eye, None)


def test_a_step_of_mgda_is_as_short_as_can_be():
    rows = torch.randn(4, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    gramian = rows @ rows.T
    found = diagnostics(gramian, MGDA().weights(gramian))
    assert found["direction"] == pytest.approx(found["stationarity"])
    assert found["worst cosine"] >= 0
