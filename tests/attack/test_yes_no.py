"""Single logits, several yes/no outputs, labels in a column, and every mark of undefined labels."""

import math
from argparse import Namespace

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
    each_target,
    ignoring,
    margin,
    misclassified,
    mostly_misclassified,
    robustness_card,
    standardized,
    targeted,
    targeted_dlr,
    worst_case,
    yes_no,
)
from moml.attack._judge import Judge
from moml.attack._one_task import OneTask
from moml.attack.generator import Aim
from moml.attack.training import TRADES
from moml.data import Batch
from moml.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

LOSSES = [cross_entropy, margin, dlr, standardized(cross_entropy)]


def column(shape):
    torch.manual_seed(0)
    z = 3 * torch.randn(20, dtype=torch.float64)
    return z.reshape(20, *shape), (torch.rand(20) < 0.5)


@pytest.mark.supported
@pytest.mark.parametrize("shape", [(), (1,)], ids=str)
@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float32], ids=str)
@pytest.mark.parametrize("column_of_labels", [False, True])
def test_a_model_with_a_single_yes_no_logit_is_attacked(shape, kind, column_of_labels):
    z, yes = column(shape)
    labels = yes.to(kind)
    labels = labels[:, None] if column_of_labels else labels
    flat = z.reshape(20)
    expected = functional.binary_cross_entropy_with_logits(flat, yes.double(), reduction="none")
    assert torch.allclose(cross_entropy(z, labels), expected)
    assert torch.allclose(margin(z, labels), torch.where(yes, -flat, flat))
    wrong = (flat > 0) != yes
    assert torch.equal(misclassified(z, labels), wrong)
    assert torch.equal(classified_as(z, labels), ~wrong)
    assert torch.equal(mostly_misclassified(1.0)(z, labels), wrong)
    perfect = torch.where(yes, 5.0, -5.0).reshape(20, *shape)
    assert not misclassified(perfect, labels).any()


@pytest.mark.supported
def test_several_yes_no_outputs_of_one_model_are_attacked():
    torch.manual_seed(0)
    z, labels = torch.randn(6, 4, dtype=torch.float64), torch.randint(-1, 2, (6, 4))
    known = labels >= 0
    values = functional.binary_cross_entropy_with_logits(
        z, labels.clamp(min=0).double(), reduction="none"
    )
    expected = (values * known).sum(1) / known.sum(1).clamp(min=1)
    assert torch.allclose(yes_no(cross_entropy)(z, labels), expected)
    wrong = ((z > 0) != (labels == 1)) & known
    share = wrong.sum(1) / known.sum(1).clamp(min=1)
    reached = yes_no(mostly_misclassified(0.5))(z, labels)
    assert torch.equal(reached, (share >= 0.5) & known.any(1))


@pytest.mark.refused("a one-hot row is not a class; say `argmax(1)` or wrap in `yes_no`")
@pytest.mark.parametrize("compare", [*LOSSES, misclassified, classified_as])
def test_one_hot_labels_as_many_as_classes(compare):
    z = torch.randn(4, 4)
    with pytest.raises(ValueError, match=r"one-hot.*yes_no"):
        compare(z, torch.eye(4).long())
    with pytest.raises(ValueError, match=r"one-hot.*yes_no"):
        compare(z, torch.eye(4))


@pytest.mark.supported
def test_class_labels_in_a_column_of_their_own():
    z, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    for compare in (*LOSSES, misclassified, classified_as):
        assert torch.equal(compare(z, labels[:, None]), compare(z, labels))


@pytest.mark.refused("a class that does not exist")
def test_labels_beyond_the_number_of_classes():
    for compare in (*LOSSES, misclassified):
        with pytest.raises(ValueError, match=r"classes from 0 to 2.*found 99"):
            compare(torch.randn(2, 3), torch.tensor([0, 99]))
        with pytest.raises(ValueError, match=r"classes from 0 to 1.*found 99"):
            compare(torch.randn(2, 1), torch.tensor([0, 99]))
        with pytest.raises(ValueError, match="should be integers"):
            compare(torch.randn(2, 3), torch.tensor([0.0, 1.0]))


@pytest.mark.supported
@pytest.mark.parametrize("mark", [-1, -100, 255])
def test_undefined_labels_are_marked_by_any_number(mark):
    z, labels = torch.randn(6, 3), torch.tensor([0, mark, 2, 1, mark, 0])
    known = labels != mark
    plain = z[known], labels[known]
    for compare in LOSSES:
        read = ignoring(compare, mark) if mark > 0 else compare
        assert torch.equal(read(z, labels)[known], compare(*plain))
        assert (read(z, labels)[~known] == 0).all()
    read = ignoring(misclassified, mark)
    assert torch.equal(read(z, labels)[known], misclassified(*plain))
    assert not read(z, labels)[~known].any()
    judge = Judge(Victim(nn.Identity(), bounds=None), z, labels, CrossEntropy(3, ignore_index=mark))
    assert torch.equal(judge.scores(z)[known], (z.argmax(1) == labels)[known].double())
    assert torch.equal(judge.plain()(z)[known], cross_entropy(*plain))
    assert not judge.plain().reached(z)[~known].any()


@pytest.mark.parametrize("undefined", [-1.0, math.nan, 7.0])
@pytest.mark.parametrize("outputs", [1, 3])
def test_yes_no_tasks_are_judged_by_their_answers(undefined, outputs):
    torch.manual_seed(0)
    z = torch.randn(8, outputs)
    labels = (torch.rand(8, outputs) < 0.5).float()
    labels[0, 0] = undefined
    judge = Judge(
        Victim(nn.Identity(), bounds=None), z, labels, BinaryCrossEntropy(undefined=undefined)
    )
    assert judge.score_name == "accuracy" and judge.dense is (outputs > 1)
    known = torch.ones_like(labels, dtype=torch.bool)
    known[0, 0] = False
    right = (((z > 0) == (labels == 1)) & known).double().sum(1) / known.sum(1).clamp(min=1)
    assert torch.allclose(judge.scores(z), right)
    assert torch.allclose(judge.plain()(z), judge.loss.per_sample(z, labels), atol=1e-6)
    if outputs == 1:
        assert torch.equal(judge.plain().reached(z), (right == 0) & known[:, 0])


@pytest.mark.supported
def test_tasks_with_a_loss_of_torch_nn_are_judged_by_their_labels():
    from moml.losses.given import as_loss

    z, labels = torch.randn(6, 3), torch.tensor([0, -100, 2, 1, -100, 0])
    judge = Judge(Victim(nn.Identity(), bounds=None), z, labels, as_loss(nn.CrossEntropyLoss()))
    known = labels >= 0
    assert judge.score_name == "accuracy" and judge.count == 3
    assert torch.equal(judge.scores(z)[known], (z.argmax(1) == labels)[known].double())
    yes = (z > 0.5).float()
    answers = Judge(Victim(nn.Identity(), bounds=None), z, yes, as_loss(nn.BCEWithLogitsLoss()))
    assert answers.dense and answers.count == 2
    assert torch.allclose(answers.scores(z), ((z > 0) == (yes == 1)).double().mean(1))
    assert torch.allclose(answers.plain()(z), answers.loss.per_sample(z, yes), atol=1e-6)
    numbers = Judge(Victim(nn.Identity(), bounds=None), z, z + 1, as_loss(nn.MSELoss()))
    assert numbers.score_name == "loss" and torch.allclose(
        numbers.scores(z), torch.ones(6).double()
    )


def test_apgd_leaves_its_start_on_two_classes():
    """Every ratio of two logits is a constant; the margin is what such a loss stands for."""
    torch.manual_seed(0)
    model = nn.Linear(16, 1).double()
    x = torch.rand(30, 16, dtype=torch.float64)
    labels = (model(x)[:, 0] > 0).long()

    class Two(nn.Module):
        def forward(self, x):
            return torch.cat([-50 * model(x), 50 * model(x)], dim=1)

    ball = Linf(0.02)
    for victim in (Victim(model), Victim(Two())):
        best = margin(
            victim(PGD(ball, early_stop=False).perturb(victim.objective(labels, loss=margin), x)),
            labels,
        )
        for loss in (dlr, standardized(cross_entropy), targeted(standardized(targeted(dlr)))):
            x_adv = APGD(ball, steps=20).perturb(victim.objective(labels, loss=loss), x)
            assert torch.allclose(margin(victim(x_adv), labels), best, rtol=1e-6)
        (towards,) = each_target(victim, labels, x)
        x_adv = APGD(ball, steps=20).perturb(towards.without_goal(), x)
        assert torch.allclose(margin(victim(x_adv), labels), best, rtol=1e-6)


@pytest.mark.refused("a loss that broadcasts (B, 1) against (B,) is no number a sample")
def test_regression_outputs_in_a_column_against_flat_targets():
    model, x, y = nn.Linear(3, 1), torch.rand(5, 3), torch.rand(5)
    goal = Victim(model).objective(y, loss=lambda output, target: (output - target).abs())
    with pytest.raises(ValueError, match="broadcast"):
        PGD(Linf(0.1)).perturb(goal, x)
    aim = Aim(Victim(model), loss=lambda output, target: (output - target).abs(), success=None)
    with pytest.raises(ValueError, match="broadcast"):
        aim.measure(x, y)
    judge = Judge(Victim(model), x, y, MeanSquaredError())
    assert judge.plain()(PGD(Linf(0.1)).perturb(judge.plain(), x)).shape == (5,)


class Heads(nn.Module):
    """Digits above four, three bits of the digit, and its class, from one layer."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU())
        self.heads = nn.ModuleDict(
            {"high": nn.Linear(32, 1), "bits": nn.Linear(32, 3), "digit": nn.Linear(32, 10)}
        )

    def forward(self, x, tasks):
        features = self.trunk(x)
        return {task: self.heads[task](features) for task in tasks}


@pytest.fixture(scope="module")
def several():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    bits = torch.stack([(y >> k) & 1 for k in range(3)], dim=1).float()
    targets = {"high": (y > 4).float(), "bits": bits, "digit": y}
    losses = {"high": BinaryCrossEntropy(), "bits": BinaryCrossEntropy(), "digit": CrossEntropy(10)}
    torch.manual_seed(0)
    model = Heads()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for rows in (r for _ in range(4) for r in torch.randperm(1200).split(64)):
        outputs = model(x[rows], list(losses))
        optimizer.zero_grad()
        sum(losses[t](outputs[t], targets[t][rows]) for t in losses).backward()
        optimizer.step()
    return model, Batch(x[1200:1280], {t: v[1200:1280] for t, v in targets.items()}), losses


@pytest.mark.supported
def test_a_robustness_card_of_yes_no_tasks(several):
    model, batch, losses = several
    card = robustness_card(model, [batch], losses, Linf(0.1), steps=10, curve=(0.0, 1.0))
    for name, task in card.tasks.items():
        assert task.score == "accuracy" and task.clean > 0.8, name
        assert task.worst <= min(task.attacks.values()) < task.clean - 0.2, name
        assert task.curve[0][1] == pytest.approx(task.clean)
    assert "APGD-T" in card.tasks["high"].attacks and "APGD-DLR" in card.tasks["bits"].attacks
    by_hand = (
        ((model(batch.inputs, ["high"])["high"][:, 0] > 0) == (batch.targets["high"] == 1))
        .double()
        .mean()
    )
    assert card.tasks["high"].clean == pytest.approx(float(by_hand))


@pytest.mark.supported
@pytest.mark.parametrize(("task", "target"), [("high", 1), ("bits", 0), ("digit", 3)])
def test_the_command_leads_every_kind_of_logits_to_a_target(several, task, target):
    from moml.cli.attack import _aim, _goal, _hits

    model, batch, losses = several
    victim = Victim(OneTask(model, task))
    judge = Judge(victim, batch.inputs, batch.targets[task], losses[task])
    options = Namespace(method="PGD", loss="cross_entropy", target=target)
    x_adv = PGD(Linf(0.3), steps=20).perturb(_goal(judge, options), judge.x)
    hits = _hits({task: judge}, {"PGD": {task: x_adv}}, target)[task]

    def share(x):
        outputs = victim(x)
        return float(
            (outputs.argmax(1) == target if task == "digit" else (outputs > 0) == (target == 1))
            .double()
            .mean()
        )

    assert hits == pytest.approx({"clean": share(judge.x), "PGD": share(x_adv)})
    assert hits["PGD"] > hits["clean"] + 0.2
    loss, reached = _aim(judge, options).measure(x_adv, judge.target)
    assert loss.shape == reached.shape == (80,)
    if not judge.dense:
        assert float(reached.double().mean()) == pytest.approx(hits["PGD"])


def test_the_worst_case_of_a_single_logit(several):
    model, batch, _ = several
    victim = Victim(nn.Sequential(model.trunk, model.heads["high"]))
    labels = batch.targets["high"]
    goals = each_target(victim, labels, batch.inputs)
    x_adv = worst_case([(APGD(Linf(0.1), steps=20), goal) for goal in goals], batch.inputs)
    best = PGD(Linf(0.1), steps=20).perturb(
        victim.objective(labels, loss=margin, success=misclassified), batch.inputs
    )
    fooled = misclassified(victim(x_adv), labels).double().mean()
    assert fooled >= misclassified(victim(best), labels).double().mean() > 0.5


def test_trades_measures_answers_by_their_divergence(several):
    model, _, losses = several
    from moml.architecture import HPS

    network = HPS(model.trunk, {"bits": model.heads["bits"]})
    problem = TRADES(network, {"bits": losses["bits"]}, PGD(Linf(0.05), steps=2))
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    p, q = b.sigmoid(), a.sigmoid()
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert torch.allclose(problem._distance("bits")(a, b), expected.mean(1), atol=1e-5)


def test_targeted_losses_of_two_and_three_classes_follow_their_own_gradient():
    """A step along the gradient never lowers the loss: no detached part that moves by itself."""
    torch.manual_seed(0)
    for classes in (2, 3):
        z = torch.randn(50, classes, dtype=torch.float64, requires_grad=True)
        labels = torch.randint(classes, (50,))
        target = {"label": labels, "towards": (labels + 1) % classes}
        before = targeted_dlr(z, target)
        (gradient,) = torch.autograd.grad(before.sum(), z)
        assert (targeted_dlr(z + 1e-3 * gradient, target) > before).all()
