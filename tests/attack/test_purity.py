"""An attack leaves a model as it was, also after errors: modes, buffers, gradients."""

import copy

import pytest
import torch
from torch import nn

from moml.attack import APGD, FGSM, L2, PGD, UAP, Linf, Victim, cross_entropy, misclassified

ATTACKS = [FGSM(Linf(0.1)), PGD(L2(0.5), steps=3, restarts=2), APGD(Linf(0.1), steps=6)]
ATTACKS += [UAP(Linf(0.1), epochs=2)]


class StubbornNorm(nn.BatchNorm2d):
    """Refuses `train` and `eval`, as frozen layers do."""

    def train(self, mode=True):
        raise AssertionError("modes are not the attack's to announce")


def state(model):
    return (
        [m.training for m in model.modules()],
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
    )


def same(before, after):
    assert before[0] == after[0]
    assert all(torch.equal(before[1][name], after[1][name]) for name in before[1])
    for (needed, gradient), (needs, now) in zip(before[2], after[2], strict=True):
        assert needed == needs and (gradient is None) == (now is None)
        assert gradient is None or torch.equal(gradient, now)


@pytest.fixture
def model(weak):
    """Training, but for a frozen first part; some gradients are accumulated, some are None."""
    model = copy.deepcopy(weak).train()
    norm = StubbornNorm(8)
    norm.load_state_dict(model[1].state_dict())
    model[1] = norm
    norm.training = False
    for parameter in [*model[0].parameters(), *norm.parameters()]:
        parameter.requires_grad_(False)
    model[8].weight.grad = torch.full_like(model[8].weight, 0.3)
    return model


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_nothing_changes(attack, model, weak, samples):
    x, labels = (part[:20] for part in samples)
    before = state(model)
    goal = Victim(model).objective(labels, loss=cross_entropy, success=misclassified)
    x_adv = attack.perturb(goal, x)
    goal.reached(x_adv)
    same(before, state(model))
    assert not x.requires_grad and x.grad is None
    with torch.no_grad():  # it saw the model in evaluation mode
        assert torch.equal(goal(x), Victim(weak).objective(labels, loss=cross_entropy)(x))


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@pytest.mark.parametrize("fails_at", [1, 3])
def test_nothing_changes_after_an_exception(attack, model, samples, fails_at):
    x, labels = (part[:20] for part in samples)
    calls = []

    def loss(logits, labels):
        calls.append(1)
        assert not any(m.training for m in model.modules())
        if len(calls) == fails_at:
            raise RuntimeError("on purpose")
        return cross_entropy(logits, labels)

    before = state(model)
    if isinstance(attack, FGSM | UAP):
        fails_at = 1
        calls.clear()
    try:
        attack.perturb(Victim(model).objective(labels, loss=loss), x)
    except RuntimeError as error:
        assert "on purpose" in str(error)
    same(before, state(model))


def test_a_model_that_raises_gets_its_modes_back(model, samples):
    handle = model[4].register_forward_hook(lambda *_: 1 / 0)
    before = state(model)
    with pytest.raises(ZeroDivisionError):
        Victim(model)(samples[0][:2])
    same(before, state(model))
    handle.remove()


def test_a_plain_function_keeps_modes_and_gradients_too(model, samples):
    x, labels = (part[:20] for part in samples)
    model.apply(lambda m: setattr(m, "training", False))
    before = state(model)
    PGD(Linf(0.1), steps=3).perturb(
        lambda x: nn.functional.cross_entropy(model(x), labels, reduction="none"), x
    )
    same(before, state(model))


def test_training_goes_on_as_if_there_had_been_no_attack(weak, samples):
    def gradients(attacked):
        model = copy.deepcopy(weak).train()
        torch.manual_seed(0)
        x, labels = samples[0][:20], samples[1][:20]
        loss = nn.functional.cross_entropy(model(x), labels)
        if attacked:
            goal = Victim(model).objective(labels, loss=cross_entropy)
            PGD(Linf(0.1), steps=2).perturb(goal, x)
        loss.backward()
        return [p.grad for p in model.parameters()]

    for plain, attacked in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, attacked)
