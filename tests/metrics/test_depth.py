import torch

from moml.metrics import DepthError


def test_error_over_the_set_is_not_the_mean_of_batch_means():
    absolute, relative = DepthError(), DepthError(relative=True)
    batches = [
        (torch.tensor([[[3.0, 7.0]]]), torch.tensor([[[2.0, 0.0]]])),  # one defined pixel, error 1
        (torch.tensor([[[4.0, 1.0]]]), torch.tensor([[[1.0, 4.0]]])),  # two, errors 3 and 3
    ]
    for batch in batches:
        absolute.update(*batch)
        relative.update(*batch)
    assert absolute.compute().item() == torch.tensor(7 / 3).item()
    torch.testing.assert_close(relative.compute(), torch.tensor((0.5 + 3 + 0.75) / 3))
    assert absolute.higher_is_better is False and relative.higher_is_better is False


def test_nothing_defined_is_nan_and_reset_forgets():
    metric = DepthError()
    metric.update(torch.ones(1, 2), torch.zeros(1, 2))
    assert metric.compute().isnan()
    metric.reset()
    metric.update(torch.ones(1, 2), torch.tensor([[3.0, 3.0]]))
    assert metric.compute() == 2


def test_a_channel_dimension_in_the_target_does_not_broadcast():
    metric = DepthError()
    metric.update(torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 2.0]]]))
    assert metric.compute() == 0
