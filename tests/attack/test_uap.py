import pytest
import torch

from moml.attack import L2, UAP, Linf, Victim, margin, misclassified


def fooled(model, x, labels):
    goal = Victim(model).objective(labels, loss=margin, success=misclassified)
    return float(goal.reached(x).double().mean())


@pytest.mark.parametrize("ball", [Linf(0.12), L2(1.0)], ids=str)
@pytest.mark.parametrize(
    "optimizer", [None, lambda deltas: torch.optim.Adam(deltas, lr=0.02)], ids=["steepest", "adam"]
)
def test_one_perturbation_from_a_loader_fools_unseen_samples(ball, optimizer, weak, samples):
    from tasks import TwoDigits

    loader = TwoDigits().loader("val", batch_size=100)
    batches = [
        (Victim(weak).objective(b.targets["left"], loss=margin), b.inputs)
        for b, _ in zip(loader, range(4), strict=False)
    ]
    uap = UAP(ball, epochs=8, optimizer=optimizer)
    delta = uap.fit(batches)
    x, labels = samples
    assert delta.shape == (1, *x.shape[1:]) and not delta.requires_grad
    assert float(ball.norm(delta)) <= ball.eps * (1 + 1e-5)
    x_adv = uap.apply(delta, x)
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    noise = uap.apply(ball.sample(x[:1], torch.Generator().manual_seed(1)), x)
    assert fooled(weak, x_adv, labels) > fooled(weak, noise, labels) + 0.1
    assert torch.equal(UAP(ball, epochs=8, optimizer=optimizer).fit(batches), delta)


def test_errors():
    with pytest.raises(ValueError, match="`batches` should hold a batch"):
        UAP(Linf(0.1)).fit([])
    with pytest.raises(ValueError, match="`step_size` should be positive"):
        UAP(Linf(0.1), step_size=-1.0)
