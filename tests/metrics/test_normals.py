import pytest
import torch

from moml.metrics import MeanAngle, MedianAngle, WithinAngle
from moml.metrics.normals import angles


def pair(degrees):
    """Normals at these angles from each other, of any length, and one undefined."""
    a = torch.deg2rad(torch.tensor(degrees))
    prediction = 3 * torch.stack([a.cos(), a.sin(), 0 * a])
    target = torch.tensor([1.0, 0.0, 0.0])[:, None].repeat(1, len(degrees))
    prediction, target = [
        torch.cat([x, end], dim=1)
        for x, end in [(prediction, torch.ones(3, 1)), (target, torch.zeros(3, 1))]
    ]
    return prediction[None], target[None]  # (1, 3, N + 1)


def measured(metric, *batches):
    for batch in batches:
        metric.update(*pair(batch))
    return metric.compute().item()


def test_hand_numbers_over_two_batches_of_different_size():
    batches = [[2.0], [11.0, 20.0, 29.0, 95.0]]
    assert measured(MeanAngle(), *batches) == pytest.approx(157 / 5, rel=1e-6)
    assert measured(MedianAngle(), *batches) == pytest.approx(20, abs=0.006)
    shares = [measured(WithinAngle(d), *batches) for d in (11.25, 22.5, 30.0)]
    assert shares == pytest.approx([0.4, 0.6, 0.8])


def test_median_of_an_even_number_lies_between():
    assert measured(MedianAngle(), [10.0, 40.0, 1.0], [90.0]) == pytest.approx(25, abs=0.006)


@pytest.mark.parametrize("count", [1, 2, 501, 1000])
def test_median_agrees_with_sorting(count):
    degrees = 180 * torch.rand(count, generator=torch.Generator().manual_seed(count)) ** 2
    expected = degrees.double().quantile(0.5).item()
    assert measured(MedianAngle(), degrees.tolist()) == pytest.approx(expected, abs=0.006)


def test_directions():
    assert WithinAngle(30.0).higher_is_better is True
    assert MeanAngle().higher_is_better is False
    assert MedianAngle().higher_is_better is False


@pytest.mark.parametrize("degrees", [0.0, 0.01, 90.0, 179.99, 180.0])
def test_small_and_large_angles_are_precise(degrees):
    assert angles(*pair([degrees])).item() == pytest.approx(degrees, abs=1e-4)


@pytest.mark.parametrize("metric", [MeanAngle(), MedianAngle(), WithinAngle(30.0)])
def test_nothing_defined_is_nan(metric):
    metric.update(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    assert metric.compute().isnan()


def test_normals_whose_components_sum_to_zero_count():
    target = torch.tensor([0.6, -0.6, 0.0])[None, :, None]
    assert angles(torch.tensor([1.0, 1.0, 0.0])[None, :, None], target).item() == pytest.approx(90)
