"""Losses against hand numbers; undefined entries must not matter, whatever they hold."""

import math

import pytest
import torch

from moml.losses import BinaryCrossEntropy, CosineDistance, CrossEntropy, MaskedL1, MeanSquaredError

nan = math.nan

# loss, prediction, target with something undefined, the number expected, per sample
HAND = {
    "cross entropy": (
        CrossEntropy(2),
        torch.tensor([[0.0, math.log(3)], [0.0, 0.0], [5.0, 5.0]]),
        torch.tensor([1, -1, 0]),
        [math.log(4 / 3), 0.0, math.log(2)],
        (math.log(4 / 3) + math.log(2)) / 2,
    ),
    "binary cross entropy": (
        BinaryCrossEntropy(),
        torch.tensor([[math.log(3), 0.0], [7.0, -math.log(3)]]),
        torch.tensor([[1.0, 0.5], [-1.0, 1.0]]),
        [(math.log(4 / 3) + math.log(2)) / 2, math.log(4)],
        (math.log(4 / 3) + math.log(2) + math.log(4)) / 3,
    ),
    "squared error": (
        MeanSquaredError(),
        torch.tensor([[1.0], [4.0]]),
        torch.tensor([[3.0], [3.0]]),
        [4.0, 1.0],
        2.5,
    ),
    "masked L1": (
        MaskedL1(),
        torch.tensor([[1.0, 9.0], [2.0, 2.0]]),
        torch.tensor([[3.0, 0.0], [1.0, 6.0]]),
        [2.0, 2.5],
        7 / 3,
    ),
    "masked L1, nan": (
        MaskedL1(undefined=nan),
        torch.tensor([[1.0, 9.0], [2.0, 2.0]]),
        torch.tensor([[3.0, nan], [0.0, 6.0]]),
        [2.0, 3.0],
        8 / 3,
    ),
    # The second target's components sum to zero, yet it is defined; the third is not.
    "cosine distance": (
        CosineDistance(),
        torch.tensor([[[2.0, -3.0, 1.0], [0.0, 3.0, 1.0], [0.0, 0.0, 1.0]]]),
        torch.tensor([[[0.0, 0.5, 0.0], [0.0, -0.5, 0.0], [1.0, 0.0, 0.0]]]),
        [1.5],
        1.5,
    ),
}

# The same losses on a target of which nothing is defined.
UNDEFINED = {
    "cross entropy": (CrossEntropy(3), (2, 3, 4, 4), torch.full((2, 4, 4), -1)),
    "cross entropy, 255": (
        CrossEntropy(3, ignore_index=255),
        (2, 3),
        torch.full((2,), 255),
    ),
    "binary cross entropy": (BinaryCrossEntropy(), (2, 4), torch.full((2, 4), -1.0)),
    "masked L1": (MaskedL1(), (2, 1, 4, 4), torch.zeros(2, 1, 4, 4)),
    "masked L1, nan": (MaskedL1(undefined=nan), (2, 4), torch.full((2, 4), nan)),
    "cosine distance": (CosineDistance(), (2, 3, 4, 4), torch.zeros(2, 3, 4, 4)),
    "squared error, no sample": (MeanSquaredError(), (0, 1), torch.zeros(0, 1)),
    "cross entropy, no sample": (CrossEntropy(3), (0, 3), torch.zeros(0, dtype=torch.long)),
}


@pytest.mark.parametrize("name", HAND)
def test_hand_numbers(name):
    loss, prediction, target, per_sample, mean = HAND[name]
    assert loss(prediction, target).item() == pytest.approx(mean, rel=1e-6)
    assert loss.per_sample(prediction, target).tolist() == pytest.approx(per_sample, rel=1e-6)


@pytest.mark.parametrize("name", UNDEFINED)
def test_nothing_defined_is_zero_with_zero_gradient(name):
    loss, shape, target = UNDEFINED[name]
    prediction = torch.randn(shape, requires_grad=True)
    value = loss(prediction, target)
    (gradient,) = torch.autograd.grad(value, prediction)
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros(shape))
    assert torch.equal(loss.per_sample(prediction, target), torch.zeros(len(target)))


@pytest.mark.parametrize("name", HAND)
def test_what_is_predicted_at_undefined_entries_does_not_matter(name):
    loss, prediction, target, _, mean = HAND[name]
    prediction = prediction.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(prediction, target), prediction)
    if name == "cosine distance":
        undefined = (target == 0).all(1, keepdim=True).expand_as(prediction)
    elif name == "cross entropy":
        undefined = (target == -1)[:, None].expand_as(prediction)
    else:
        marker = getattr(loss, "undefined", None)
        undefined = (
            target.isnan() if "nan" in name else target == (nan if marker is None else marker)
        )
    changed = torch.where(undefined, 1e3, prediction)
    assert (gradient[undefined] == 0).all() and gradient.isfinite().all()
    assert (gradient != 0).any()
    assert loss(changed, target).item() == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_per_sample_is_the_loss_of_each_sample_alone(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 3, 4, 4, generator=generator)
    labels = torch.randint(-1, 3, (5, 4, 4), generator=generator)
    normals = torch.randn(5, 3, 4, 4, generator=generator)
    normals[:, :, :2] = 0
    for loss, target in [(CrossEntropy(3), labels), (CosineDistance(), normals)]:
        alone = [loss(logits[i : i + 1], target[i : i + 1]) for i in range(5)]
        torch.testing.assert_close(loss.per_sample(logits, target), torch.stack(alone))


def test_zero_prediction_of_a_normal_has_a_finite_gradient():
    prediction = torch.zeros(1, 3, 2, 2, requires_grad=True)
    CosineDistance()(prediction, torch.ones(1, 3, 2, 2)).backward()
    assert prediction.grad.isfinite().all()


def test_column_predictions_fit_flat_targets_without_broadcasting():
    prediction, target = torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])
    assert MeanSquaredError()(prediction, target) == 0
    assert MaskedL1().per_sample(prediction, target).tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"target's shape \(2,\), found \(2, 3\)"):
        MeanSquaredError()(torch.zeros(2, 3), target)


@pytest.mark.parametrize(
    ("loss", "target", "sentence"),
    [
        (CrossEntropy(3), torch.tensor([0.0, 1.0]), "integer class labels, found torch.float32"),
        (CrossEntropy(3), torch.tensor([-1, 0, 3]), "labels in 0..2, found 0..3"),
        (CrossEntropy(3), torch.tensor([[-2, 1]]), "labels in 0..2, found -2..1"),
        (BinaryCrossEntropy(), torch.tensor([0, 2]), "labels between 0 and 1, found 0..2"),
        (MeanSquaredError(), torch.tensor([1.0, nan]), "finite numbers, found 1 that are NaN"),
        (MaskedL1(), torch.tensor([math.inf, nan, 0]), "finite numbers, found 2 that are NaN"),
        (CosineDistance(), torch.tensor([[nan, 1, 0]]), "finite numbers, found 1 that are NaN"),
        (CosineDistance(), torch.zeros(4), "vectors along dimension 1, found shape (4,)"),
    ],
)
def test_check_says_what_is_wrong(loss, target, sentence):
    assert loss.check(target).startswith(sentence)


@pytest.mark.parametrize("name", HAND)
def test_check_accepts_what_is_right(name):
    loss, _, target, _, _ = HAND[name]
    assert loss.check(target) is None


def test_check_accepts_labels_that_are_all_undefined():
    assert CrossEntropy(3).check(torch.tensor([[-1, -1]])) is None
