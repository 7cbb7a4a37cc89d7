"""The bounds that suites declare hold on their data, raw and as training sees them."""

import pytest
import torch

import tasks
from moml.data import Source
from moml.data.bounds import leaves_bounds
from moml.data.subset import TaskSubset
from tasks._files.images import colour_bounds, normalized

PICTURES = ["DigitAttributes", "Digits", "FontDomains", "OfficeDigits", "Rooms", "TwoDigits"]


@pytest.mark.parametrize("name", PICTURES)
def test_inputs_keep_to_the_bounds_of_their_suite(name):
    suite = getattr(tasks, name)()
    assert suite.bounds == (0.0, 1.0)
    for split in ("train", "val"):
        sources = suite.sources(split)
        for source in [sources] if isinstance(sources, Source) else sources.values():
            some = torch.arange(min(64, len(source)))
            for batch in (source.batch(some), source.view(some, torch.Generator().manual_seed(0))):
                assert leaves_bounds(batch.inputs, suite.bounds) == ""


def test_normalized_pictures_have_bounds_per_channel():
    low, high = colour_bounds(normalize=True)
    assert low.shape == high.shape == (3, 1, 1)
    x = normalized(torch.rand(5, 3, 4, 4))
    assert leaves_bounds(x, (low, high)) == ""
    x[0, 0, 0, 0] = high[0, 0, 0] + 0.01  # valid in blue, not in red
    assert high[0, 0, 0] + 0.01 < high[2, 0, 0]
    assert leaves_bounds(x, (low, high)) != ""
    assert colour_bounds(normalize=False) == (0.0, 1.0)


def test_a_subset_of_tasks_keeps_the_bounds():
    assert TaskSubset(tasks.TwoDigits(), ["left"]).bounds == (0.0, 1.0)
