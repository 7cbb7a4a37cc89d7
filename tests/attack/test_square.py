import pytest
import torch
from torch import nn

from moml.attack import L1, L2, PGD, Linf, Square, Victim, margin, misclassified
from moml.attack._windows import Windows, area_share, bumps, window_size

BALLS = [Linf(0.1), L2(1.0)]


@pytest.mark.supported
@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_a_model_without_gradients_is_attacked(ball, weak, samples):
    """Rounded inputs: gradient attacks see nothing, a black-box attack nearly everything."""
    x, labels = (part[:60] for part in samples)

    class Rounded(nn.Module):
        def forward(self, x):
            return weak((8 * x).round() / 8)

    goal = Victim(Rounded()).objective(labels, loss=margin, success=misclassified)
    clean = float(goal.reached(x).double().mean())
    x_adv = Square(ball, queries=200).perturb(goal, x)
    assert float(goal.reached(x_adv).double().mean()) > clean + 0.4
    assert (ball.norm(x_adv - x) <= ball.eps * (1 + 1e-5)).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    noise = PGD(ball, steps=5).perturb(goal, x)  # the gradient of a rounding is zero
    assert goal.reached(noise).double().mean() < goal.reached(x_adv).double().mean() - 0.2


@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_losses_only_rise_and_finished_samples_are_left_alone(ball, weak, samples):
    x, labels = (part[:30] for part in samples)
    counts, losses = [], []

    def loss(logits, labels):
        values = margin(logits, labels)
        counts.append(len(values))
        losses.append(values)
        return values

    victim = Victim(weak)
    Square(ball, queries=60).perturb(victim.objective(labels, loss=loss, success=misclassified), x)
    assert counts == sorted(counts, reverse=True) and counts[-1] < counts[0] == 30
    losses.clear()
    x_adv = Square(ball, queries=60).perturb(victim.objective(labels, loss=loss), x)
    assert len(losses) == 60
    best = torch.stack(losses).amax(0)
    with torch.no_grad():
        assert torch.allclose(margin(weak(x_adv), labels), best, atol=1e-5)
    again = Square(ball, queries=60).perturb(victim.objective(labels, loss=margin), x)
    other = Square(ball, queries=60, seed=1).perturb(victim.objective(labels, loss=margin), x)
    assert torch.equal(again, x_adv) and not torch.equal(other, x_adv)


@pytest.mark.supported
@pytest.mark.parametrize("shape", [(7,), (2, 9), (3, 5, 8), (1, 1, 6), (1, 2, 2)], ids=str)
@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.5)], ids=str)
def test_tables_series_and_narrow_images_are_searched(ball, shape):
    torch.manual_seed(0)
    x, weight = torch.rand(6, *shape), torch.randn(shape)
    x_adv = Square(ball, queries=150).perturb(lambda x: (x * weight).flatten(1).sum(1), x)
    best = PGD(ball, steps=20).perturb(lambda x: (x * weight).flatten(1).sum(1), x)
    rise, most = (((y - x) * weight).flatten(1).sum(1) for y in (x_adv, best))
    assert (ball.norm(x_adv - x) <= ball.eps * (1 + 1e-5)).all()
    assert rise.mean() > 0.4 * most.mean()


def test_squares_shrink_as_published():
    shares = [area_share(0.8, query, 10_000) for query in (0, 10, 11, 51, 201, 501, 8001)]
    assert shares == [0.8, 0.8, 0.4, 0.2, 0.1, 0.05, 0.8 / 512]
    assert area_share(0.8, 4005, 5000) == 0.8 / 512
    image = torch.zeros(1, 3, 20, 20)
    assert window_size(image, 0.8, least=1, odd=False) == (18, 18)
    assert window_size(image, 0.2, least=3, odd=True) == (9, 9)
    assert window_size(torch.zeros(1, 1, 1, 30), 0.5, least=1, odd=False) == (1, 15)
    drawn = Windows.drawn(image.expand(500, 3, 20, 20), (18, 18), torch.Generator().manual_seed(0))
    assert set(drawn.top.tolist()) == set(drawn.left.tolist()) == {0, 1, 2}
    assert (drawn.mask(image.expand(500, 3, 20, 20)).sum((1, 2, 3)) == 18 * 18).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (3, 3), (4, 7)])
@pytest.mark.parametrize("across", [False, True])
def test_bumps_are_two_halves_of_length_one(size, across):
    bump = bumps(*size, across)
    assert bump.shape == size
    assert float(bump.norm()) == pytest.approx(1)
    if size != (1, 1):
        assert (bump > 0).any() and (bump < 0).any()


@pytest.mark.refused("the search knows squares of the Linf and the L2 ball, on images and tables")
def test_square_in_other_balls_and_on_videos():
    with pytest.raises(ValueError, match="`ball` should be Linf or L2 for Square"):
        Square(L1(1.0))
    with pytest.raises(ValueError, match="images, series or rows of a table"):
        Square(Linf(0.1)).perturb(lambda x: x.flatten(1).sum(1), torch.rand(1, 1, 2, 2, 2))
    with pytest.raises(ValueError, match="`queries` should be at least 1"):
        Square(Linf(0.1), queries=0)


def test_no_gradient_is_needed(samples):
    x = samples[0][:5]
    x_adv = Square(Linf(0.1), queries=20).perturb(lambda x: x.detach().flatten(1).sum(1), x)
    assert (x_adv.flatten(1).sum(1) > x.flatten(1).sum(1)).all()
