from operator import attrgetter

import pytest
import torch
from torch import nn
from torch.nn import functional

from moml.attack import (
    APGD,
    PGD,
    Linf,
    Victim,
    classified_as,
    cross_entropy,
    dlr,
    loss_above,
    margin,
    misclassified,
    mostly_misclassified,
    standardized,
    targeted,
    targeted_dlr,
)

LOSSES = [cross_entropy, margin, dlr, standardized(cross_entropy)]


def logits(classes, batch=50):
    torch.manual_seed(0)
    return 3 * torch.randn(batch, classes, dtype=torch.float64), torch.randint(classes, (batch,))


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_values_by_hand(classes):
    z, labels = logits(classes)
    for row, y, m, d, wrong in zip(
        z, labels, margin(z, labels), dlr(z, labels), misclassified(z, labels), strict=True
    ):
        other = max(v for i, v in enumerate(row.tolist()) if i != y)
        assert float(m) == pytest.approx(other - float(row[y]))
        assert bool(wrong) == (other > float(row[y])) == bool(m > 0)
        if classes > 2:
            ordered = sorted(row.tolist(), reverse=True)
            assert float(d) == pytest.approx(float(m) / (ordered[0] - ordered[2]))
    expected = functional.cross_entropy(z, labels, reduction="none")
    assert torch.allclose(cross_entropy(z, labels), expected)
    towards = (labels + 1) % classes
    found = targeted_dlr(z, {"label": labels, "towards": towards})
    for row, y, t, value in zip(z, labels, towards, found, strict=True):
        ordered = sorted(row.tolist(), reverse=True)
        if classes > 3:
            below = (ordered[2] + ordered[3]) / 2
            assert float(value) == pytest.approx(float(row[t] - row[y]) / (ordered[0] - below))


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize(
    "loss", [dlr, targeted_dlr, standardized(cross_entropy)], ids=attrgetter("__name__")
)
def test_no_logit_scale_hides_the_gradient(loss, classes):
    z, _ = logits(classes)
    labels = z.argmax(1)  # where the label comes third the ratio is a constant
    target = labels
    if loss is targeted_dlr:
        target = {"label": labels, "towards": (labels + 1) % classes}
    directions = []
    for scale in (1.0, 50.0, 1e4):
        leaf = (z * scale).requires_grad_()
        loss(leaf, target).sum().backward()
        directions.append(functional.normalize(leaf.grad))
    assert (directions[0].norm(dim=1) > 0.99).all()  # no constant
    for direction in directions[1:]:
        assert torch.allclose(direction, directions[0], atol=1e-5)


def test_every_loss_rises_towards_the_wrong_class():
    z, labels = logits(5)
    for loss in LOSSES:
        leaf = z.clone().requires_grad_()
        loss(leaf, labels).sum().backward()
        assert (leaf.grad.gather(1, labels[:, None]) <= 1e-12).all()
        lowered = targeted(loss)(z, labels)
        assert torch.equal(lowered, -loss(z, labels))


@pytest.mark.parametrize("loss", LOSSES, ids=attrgetter("__name__"))
def test_dense_outputs_are_averaged_over_labelled_positions(loss):
    torch.manual_seed(0)
    z, labels = torch.randn(4, 5, 3, 3), torch.randint(5, (4, 3, 3))
    labels[0, :2] = -1
    labels[1] = -1
    each = torch.stack([loss(z[:, :, i, j], labels[:, i, j]) for i in range(3) for j in range(3)])
    known = (labels != -1).flatten(1).T
    expected = (each * known).sum(0) / known.sum(0).clamp(min=1)
    assert torch.allclose(loss(z, labels), expected, atol=1e-6)
    assert float(loss(z, labels)[1]) == 0


def test_goals():
    z = torch.zeros(3, 2, 4)
    z[:, 1] = torch.tensor([[1.0, 1, 1, 1], [1, -1, -1, -1], [-1, -1, -1, -1]])
    labels = torch.zeros(3, 4, dtype=torch.long)
    labels[0, 3] = -1
    assert misclassified(z, labels).tolist() == [True, False, False]
    assert mostly_misclassified(0.25)(z, labels).tolist() == [True, True, False]
    assert classified_as(z, labels).tolist() == [False, False, True]
    assert not misclassified(z, torch.full((3, 4), -1)).any()
    above = loss_above(lambda output, target: (output - target).abs(), 0.5)
    assert above(torch.tensor([0.0, 2.0]), torch.tensor([0.4, 1.0])).tolist() == [False, True]


def test_logits_times_50_do_not_make_a_network_look_robust(robust, samples):
    class Louder(nn.Module):
        def forward(self, x):
            return 50 * robust(x)

    x, labels = samples

    def accuracy(model, loss):
        goal = Victim(model).objective(labels, loss=loss, success=misclassified)
        return 1 - float(goal.reached(APGD(Linf(0.1), steps=20).perturb(goal, x)).double().mean())

    honest = accuracy(robust, cross_entropy)
    assert accuracy(Louder(), cross_entropy) > honest + 0.02  # masked
    for loss in (margin, dlr, standardized(cross_entropy)):
        assert accuracy(Louder(), loss) <= honest + 0.02
        assert abs(accuracy(Louder(), loss) - accuracy(robust, loss)) <= 0.01


def test_pgd_with_every_loss_fools(weak, samples):
    x, labels = samples
    for loss in LOSSES:
        goal = Victim(weak).objective(labels, loss=loss, success=misclassified)
        assert goal.reached(PGD(Linf(0.1)).perturb(goal, x)).double().mean() > 0.8
