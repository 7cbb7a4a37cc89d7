"""Masks and weights of a batch are what they look like, or are refused."""

import pytest
import torch

from moml.data import Batch

nan = float("nan")
X, Y = torch.zeros(4, 2), torch.tensor([0, 1, 2, 0])


def masked(mask):
    return Batch(X, {"a": Y, "b": Y}, present={"b": mask})


@pytest.mark.supported
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_a_mask_of_labels_given_as_numbers_0_and_1(dtype):
    data = masked(torch.tensor([0, 1, 0, 1], dtype=dtype))
    assert data.present["b"].dtype == torch.bool
    assert data.labelled("b", Y)[1].tolist() == [1, 0]
    assert data.to("cpu").split(2)[0].labelled("b", Y[:2])[1].tolist() == [1]


@pytest.mark.refused("a mask says yes or no of every sample, and is no list of rows")
@pytest.mark.parametrize("mask", [[0, 1, 2, 0], [0.5, 1, 0, 1], [1, 0], [[1], [0], [1], [0]]])
def test_a_mask_of_labels_with_other_numbers_or_of_another_shape(mask):
    with pytest.raises(ValueError, match=r"^`present\['b'\]` should (be|have) .*, found .*\.$"):
        masked(torch.tensor(mask))


@pytest.mark.refused("a weight counts a sample of a mean: one number per sample, 0 or more")
@pytest.mark.parametrize(
    "weights", [[[1.0]] * 4, [1.0, 2.0], [1.0, -1, 1, 1], [1, nan, 1, 1], [1, float("inf"), 1, 1]]
)
def test_sample_weights_that_are_negative_nan_or_of_another_shape(weights):
    with pytest.raises(ValueError, match=r"^`weights\['a'\]` should (be|have) .*, found .*\.$"):
        Batch(X, {"a": Y}, weights={"a": torch.tensor(weights)})
