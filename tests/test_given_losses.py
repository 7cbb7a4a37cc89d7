"""Losses of PyTorch beside moml's: the same values, also per sample and over parts."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from moml import MultiTask, fit
from moml.architecture import HPS
from moml.data import Batch
from moml.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from moml.losses.given import as_loss
from moml.oracle import Direct
from moml.weighting import MGDA

WEIGHTS = torch.tensor([0.2, 1.0, 3.0])


def logits(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def labels(*shape, low=-1):
    return torch.randint(low, 3, shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.supported
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS.tolist()])
@pytest.mark.parametrize("shape", [(6,), (6, 4, 4)])
def test_class_weights_and_label_smoothing(shape, weights, smoothing):
    loss = CrossEntropy(3, class_weights=weights, label_smoothing=smoothing)
    table = None if weights is None else WEIGHTS
    prediction, target = logits(6, 3, *shape[1:]), labels(*shape)
    options = {"weight": table, "ignore_index": -1, "label_smoothing": smoothing}
    expected = functional.cross_entropy(prediction, target, **options)
    torch.testing.assert_close(loss(prediction, target), expected)
    parts = [loss(prediction[i : i + 2], target[i : i + 2]) for i in (0, 2, 4)]
    counts = torch.stack([torch.as_tensor(loss.count(target[i : i + 2])) for i in (0, 2, 4)])
    torch.testing.assert_close((torch.stack(parts) * counts).sum() / counts.sum(), expected)
    own = loss.per_sample(prediction, target)
    for i in range(6):
        alone = functional.cross_entropy(prediction[i : i + 1], target[i : i + 1], **options)
        torch.testing.assert_close(own[i], alone.nan_to_num(0.0))


@pytest.mark.supported
def test_weights_of_positive_labels_and_smoothing_of_yes_and_no():
    prediction, target = logits(6, 4), labels(6, 4, low=0).clamp(max=1).float()
    factor = torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = nn.BCEWithLogitsLoss(pos_weight=factor)(prediction, target)
    loss = BinaryCrossEntropy(positive_weight=factor)
    torch.testing.assert_close(loss(prediction, target), expected)
    smooth = BinaryCrossEntropy(label_smoothing=0.2)(prediction, target)
    softened = functional.binary_cross_entropy_with_logits(prediction, target * 0.8 + 0.1)
    torch.testing.assert_close(smooth, softened)


MODULES = {
    "classes": (nn.CrossEntropyLoss(ignore_index=-1), (6, 3), labels(6)),
    "weighted pixels": (
        nn.CrossEntropyLoss(WEIGHTS, ignore_index=-1, label_smoothing=0.1),
        (6, 3, 4, 4),
        labels(6, 4, 4),
    ),
    "likelihood": (nn.NLLLoss(WEIGHTS), (6, 3), labels(6, low=0)),
    "probabilities": (nn.CrossEntropyLoss(), (6, 3), logits(6, 3).softmax(1)),
    "squares": (nn.MSELoss(), (6, 4), logits(6, 4)),
    "a column": (nn.SmoothL1Loss(), (6, 1), logits(6)),
    "yes and no": (nn.BCEWithLogitsLoss(), (6, 4), labels(6, 4, low=0).clamp(max=1).float()),
}


@pytest.mark.supported
@pytest.mark.parametrize("kind", MODULES)
def test_loss_modules_of_torch(kind):
    module, shape, target = MODULES[kind]
    loss, prediction = as_loss(module), logits(*shape)
    fitting = prediction[:, 0] if kind == "a column" else prediction
    expected = module(fitting, target)
    torch.testing.assert_close(loss(prediction, target), expected)
    parts, counts = [], []
    for i in (0, 1, 4):
        rows = slice(i, {0: 1, 1: 4, 4: 6}[i])
        parts.append(loss(prediction[rows], target[rows]).nan_to_num(0.0))
        counts.append(torch.as_tensor(loss.count(target[rows])))
    counts = torch.stack(counts)
    torch.testing.assert_close((torch.stack(parts) * counts).sum() / counts.sum(), expected)
    own, each = loss.per_sample(prediction, target), loss.counts(target)
    torch.testing.assert_close((own * each).sum() / each.sum(), expected)


@pytest.mark.supported
def test_a_function_as_a_loss():
    def hinge(prediction, target):
        return (1 - prediction * target).clamp(min=0).mean()

    loss, prediction, target = as_loss(hinge), logits(6), labels(6, low=0).sub(1).sign().float()
    assert loss(prediction, target) == hinge(prediction, target)
    torch.testing.assert_close(
        loss.per_sample(prediction, target).mean(), hinge(prediction, target)
    )
    assert loss.count(target) == 6


def test_entries_are_never_broadcast():
    with pytest.raises(ValueError, match=r"target's shape \(6,\), found \(6, 4\)"):
        as_loss(nn.MSELoss())(logits(6, 4), logits(6))


def test_a_subclass_of_a_torch_loss_is_not_taken_for_it():
    class Twice(nn.CrossEntropyLoss):
        def forward(self, prediction, target):
            return 2 * super().forward(prediction, target).sum()

    loss = as_loss(Twice())
    assert loss.count(torch.full((4,), -100)) == 4


def test_losses_of_ones_own_count_samples_unless_they_know_better():
    class Own(Loss):
        def __call__(self, prediction, target):
            return (prediction - target).abs().mean()

        def per_sample(self, prediction, target):
            return (prediction - target).abs()

    assert Own().count(torch.zeros(5)) == 5
    assert as_loss(loss := Own()) is loss


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CrossEntropy(3, class_weights=[1.0, 2.0]), r"one entry per class \(3\).*\(2,\)"),
        (lambda: CrossEntropy(3, label_smoothing=1.0), "at least 0 and below 1, found 1.0"),
        (lambda: BinaryCrossEntropy(label_smoothing=-0.1), "at least 0 and below 1, found -0.1"),
        (lambda: as_loss(nn.L1Loss(reduction="none")), "should average, found reduction='none'"),
    ],
)
def test_bad_settings(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_numbers_of_which_some_are_undefined():
    loss = MeanSquaredError(undefined=float("nan"))
    prediction = logits(4).requires_grad_()
    target = torch.tensor([1.0, float("nan"), 2.0, float("nan")])
    value = loss(prediction, target)
    torch.testing.assert_close(value, (prediction[::2] - target[::2]).square().mean())
    value.backward()
    assert prediction.grad.isfinite().all()
    assert loss.check(target) is None
    assert float(loss.count(target)) == 2


@pytest.mark.refused("a class's weight in a mean is finite and at least 0")
@pytest.mark.parametrize("weights", [[1, -2, 1], [1, float("nan"), 1], [0, 0, 0]])
def test_class_weights_that_are_negative_nan_or_all_zero(weights):
    with pytest.raises(ValueError, match=r"`class_weights` should .*finite"):
        CrossEntropy(3, class_weights=weights)


@pytest.mark.refused("the number of classes is known, and a positive integer")
@pytest.mark.parametrize("classes", [0, -1, "3", 2.0, True])
def test_a_number_of_classes_that_is_none(classes):
    with pytest.raises(ValueError, match=r"`num_classes` should be (an integer|at least 1), found"):
        CrossEntropy(classes)


@pytest.mark.refused("the head has one output per class")
def test_a_head_with_more_outputs_than_the_loss_has_classes():
    with pytest.raises(ValueError, match=r"one logit per class \(3\), found 7"):
        CrossEntropy(3)(logits(6, 7), labels(6, low=0))


@pytest.mark.refused("the label that marks what is undefined is named: `ignore_index`")
def test_labels_of_minus_100_that_the_loss_does_not_know():
    problem = MultiTask(HPS(nn.Linear(2, 2), {"a": nn.Linear(2, 3)}), {"a": CrossEntropy(3)})
    data = Batch(logits(4, 2), {"a": torch.tensor([0, 1, -100, 2])})
    with pytest.raises(ValueError, match="pass `ignore_index=-100`"):
        problem.losses(data)


@pytest.mark.supported
@pytest.mark.parametrize(
    "loss", [nn.PoissonNLLLoss(), nn.KLDivLoss(reduction="batchmean"), nn.HingeEmbeddingLoss()]
)
def test_a_prediction_column_against_a_target_vector_in_other_losses_of_torch(loss):
    prediction, target = logits(6), labels(6, low=0).float()
    found = as_loss(loss)(prediction[:, None], target)
    torch.testing.assert_close(found, loss(prediction, target))


@pytest.mark.refused("all pairs of samples would be compared: the shapes are named")
@pytest.mark.parametrize("turned", [False, True])
def test_a_function_that_broadcasts_a_prediction_column_against_a_target_vector(turned):
    prediction, target = logits(6, 1), logits(6) + 1
    if turned:
        prediction, target = target, prediction
    with pytest.raises(ValueError, match="which the loss broadcasts to all pairs of samples"):
        as_loss(lambda p, y: (p - y).square().mean())(prediction, target)


@pytest.mark.supported
@pytest.mark.parametrize("flat", [lambda p: p[:, 0], lambda p: p.squeeze(), lambda p: p.view(-1)])
def test_a_function_that_flattens_a_prediction_column_itself(flat):
    prediction, target = logits(6, 1), logits(6) + 1
    found = as_loss(lambda p, y: (flat(p) - y).square().mean())(prediction, target)
    torch.testing.assert_close(found, torch.tensor(1.0))


class Centers(nn.Module):
    """Distances to learnt centers of classes, in place of logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.centers = nn.Parameter(torch.randn(3, 8))

    def forward(self, features, target):
        return functional.cross_entropy(-torch.cdist(features, self.centers), target)


def with_centers(*, held):
    torch.manual_seed(0)
    loss, model = Centers(), HPS(nn.Linear(4, 8), {"a": nn.Identity(), "b": nn.Linear(8, 1)})
    if held:
        model.centers = loss
    problem = MultiTask(model, {"a": loss, "b": nn.MSELoss()})
    optimizer = torch.optim.SGD(
        [*model.parameters(), *(loss.parameters() if not held else ())], 0.1
    )
    batch = Batch(logits(6, 4), {"a": labels(6, low=0), "b": logits(6, 1)})
    fit(problem, Direct(), MGDA(), optimizer, [batch], steps=1)
    return loss, model


@pytest.mark.supported
def test_a_loss_with_parameters_of_its_own_that_the_network_holds():
    loss, model = with_centers(held=True)
    assert (loss.centers - Centers().centers).abs().max() > 0
    assert "centers.centers" in model.state_dict()


@pytest.mark.refused("parameters that the network does not hold would be in no checkpoint")
def test_a_loss_with_parameters_of_its_own_that_nobody_holds():
    with pytest.raises(ValueError, match=r"`losses\['a'\]`.*found 'centers' outside.*model.loss"):
        with_centers(held=False)


@pytest.mark.refused("class labels are integers; probabilities have a dimension of classes")
def test_class_labels_as_floats_for_a_loss_of_torch():
    model = HPS(nn.Linear(4, 8), {"a": nn.Linear(8, 3)})
    problem = MultiTask(model, {"a": nn.CrossEntropyLoss()})
    batch = Batch(logits(6, 4), {"a": labels(6, low=0).float()})
    with pytest.raises(ValueError, match=r"'a' should be int64 class labels, found torch\.float32"):
        problem.losses(batch)
