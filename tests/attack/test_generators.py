import copy

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS, LTB, DSelectK
from moml.attack import L1, L2, Linf, Victim, cross_entropy, margin
from moml.attack.generator import (
    GAP,
    MTA,
    Aim,
    Generator,
    ImageDecoder,
    ImageEncoder,
)
from moml.attack.generator._into_ball import into_ball
from moml.data import Batch, TaskInputs
from moml.losses import MaskedL1
from moml.oracle import Direct, Representation
from moml.weighting import EW, MGDA, CAGrad, PCGrad

SHAPE = (1, 9, 8)  # neither even nor square: nothing may depend on it


class Norm(nn.Module):
    """A victim with everything an attack could change: BatchNorm, dropout, a frozen part."""

    def __init__(self, classes=3):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
            nn.Flatten(), nn.Linear(4 * SHAPE[1] * SHAPE[2], classes),
        )  # fmt: skip
        self.net[0].weight.requires_grad_(False)
        self.net[1].eval()

    def forward(self, x):
        return self.net(x)


def count(module):
    return sum(p.numel() for p in module.parameters())


def shared(tasks, *, width=8, **options):
    encoder = ImageEncoder(1, width=width, **options)
    return HPS(encoder, {t: ImageDecoder(encoder.out_features) for t in tasks})


def separate(tasks, *, width=8):
    return GAP(tasks, encoder=lambda: ImageEncoder(1, width=width), decoder=ImageDecoder)


def data(*, size=64, multi_input=False, seed=0):
    draw = torch.Generator().manual_seed(seed)
    inputs = TaskInputs({t: torch.rand(size, *SHAPE, generator=draw) for t in "ab"})
    return inputs if multi_input else inputs["a"]


def problem(
    *, make=shared, ball=None, multi_input=False, universal=False, seed=0, loss=cross_entropy
):
    """An MTA against two random victims, and a batch with their own predictions as labels."""
    torch.manual_seed(seed)
    victims = {t: Victim(Norm()) for t in "ab"}
    generator = Generator(
        make("ab"), ball=Linf(0.1) if ball is None else ball, universal=SHAPE if universal else None
    )
    inputs = data(multi_input=multi_input)
    with torch.no_grad():
        targets = {t: v(inputs[t] if multi_input else inputs).argmax(1) for t, v in victims.items()}
    aims = {t: Aim(v, loss=loss) for t, v in victims.items()}
    return MTA(generator, aims), Batch(inputs, targets)


def train(one, batch, *, weighting=EW, oracle=Direct, steps=40):
    optimizer = torch.optim.Adam(one.module.parameters(), 3e-3)
    moml.fit(one, oracle(), weighting(), optimizer, [batch], steps=steps)
    return one


@pytest.mark.parametrize("universal", [False, True])
@pytest.mark.parametrize("multi_input", [False, True])
@pytest.mark.parametrize("make", [shared, separate])
def test_a_trained_generator_beats_noise_of_the_same_norm_on_every_task(
    make, multi_input, universal
):
    one, batch = problem(make=make, multi_input=multi_input, universal=universal)
    train(one, batch)
    draw = torch.Generator().manual_seed(0)
    found = one.evaluate([batch])
    for task, x_adv in one.generator(batch.inputs).items():
        x = batch.inputs[task] if multi_input else batch.inputs
        noise = 0.1 * torch.where(torch.rand(x.shape, generator=draw) < 0.5, -1.0, 1.0)
        with torch.no_grad():
            loss, reached = one.aims[task].measure((x + noise).clamp(0, 1), batch.targets[task])
        assert (x_adv - x).abs().max() <= 0.1 + 1e-6
        assert found[task]["loss"] > loss.mean()
        assert found[task]["fooled"] > reached.double().mean() + 0.05


@pytest.mark.parametrize("oracle", [Direct, Representation])
@pytest.mark.parametrize("weighting", [MGDA, PCGrad, CAGrad])
def test_two_weightings_give_different_generators(weighting, oracle):
    state = {}
    for method in (EW, weighting):
        one, batch = problem()
        train(one, batch, weighting=method, oracle=oracle, steps=4)
        state[method] = torch.cat(
            [p.flatten() for p in one.generator.architecture.shared_parameters()]
        )
    assert not torch.allclose(state[EW], state[weighting])


@pytest.mark.parametrize("weighting", [EW, MGDA])
def test_victims_stay_as_they_are(weighting):
    one, batch = problem()
    models = [aim.victim.model for aim in one.aims.values()]
    for model in models:
        model.net[5].weight.grad = torch.ones_like(model.net[5].weight)

    def photograph():
        return [
            (
                copy.deepcopy(model.state_dict()),
                [m.training for m in model.modules()],
                [p.requires_grad for p in model.parameters()],
                [None if p.grad is None else p.grad.clone() for p in model.parameters()],
            )
            for model in models
        ]

    before = photograph()
    train(one, batch, weighting=weighting, steps=3)
    one.evaluate([batch])
    broken = Aim(one.aims["a"].victim, loss=lambda output, target: output["oops"])
    with pytest.raises((TypeError, IndexError)):
        broken.measure(batch.inputs, batch.targets["a"])
    for old, new in zip(before, photograph(), strict=True):
        assert all(torch.equal(old[0][k], new[0][k]) for k in old[0])
        assert old[1:3] == new[1:3]
        for a, b in zip(old[3], new[3], strict=True):
            assert (a is None and b is None) or torch.equal(a, b)
    names = {name for name, _ in one.module.named_parameters()}
    assert all(name.startswith("architecture.") for name in names)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.7), L1(3.0)], ids=repr)
def test_perturbations_lie_inside_ball_and_bounds(ball, size):
    raw = size * torch.randn(20, *SHAPE)
    delta = into_ball(raw, ball)
    assert (ball.norm(delta) <= ball.eps * (1 + 1e-5)).all()
    assert (ball.norm(delta) > 0).all()
    one, batch = problem(ball=ball)
    with torch.no_grad():
        for parameter in one.module.parameters():
            parameter *= 3
    for x_adv in one.generator(batch.inputs).values():
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        assert (ball.norm(x_adv - batch.inputs) <= ball.eps * (1 + 1e-5)).all()


def test_zero_is_no_perturbation_and_has_a_gradient():
    for ball in (Linf(0.1), L2(0.5), L1(1.0)):
        raw = torch.zeros(2, *SHAPE, requires_grad=True)
        delta = into_ball(raw, ball)
        assert not delta.any()
        (gradient,) = torch.autograd.grad(delta.sum(), raw)
        assert (gradient > 0).all()


def test_universal_is_one_perturbation_for_all_inputs_in_one_encoder_pass():
    one, batch = problem(universal=True, multi_input=True)
    one.generator.bounds = None  # clamping would differ from input to input
    calls = []
    one.generator.architecture.encoder.register_forward_hook(lambda *_: calls.append(1))
    perturbed = one.generator(batch.inputs)
    assert len(calls) == 1
    for task, x_adv in perturbed.items():
        delta = x_adv - batch.inputs[task]
        torch.testing.assert_close(delta, delta[:1].expand_as(delta))
        assert delta.any()
    assert "noise" in one.module.state_dict()


@pytest.mark.parametrize(("num_tasks", "saved"), [(3, 0.55), (5, 0.70)])
def test_a_shared_encoder_saves_storage(num_tasks, saved):
    tasks = [f"t{i}" for i in range(num_tasks)]
    assert count(shared(tasks)) <= (1 - saved) * count(separate(tasks))


def test_gap_of_matched_size():
    tasks, target = "abc", count(shared("abc"))
    matched = GAP.matched(target, [lambda w=w: separate(tasks, width=w) for w in range(2, 9)])
    assert abs(count(matched) - target) < 0.25 * target
    assert count(separate(tasks)) > 2 * target


def test_joint_training_of_gap_is_separate_training():
    def prepared(tasks):
        one, batch = problem(make=separate)
        net = one.generator.architecture
        alone = GAP(tasks, encoder=lambda: ImageEncoder(1, width=8), decoder=ImageDecoder)
        for task in tasks:
            alone.encoders[task].load_state_dict(net.encoders[task].state_dict())
            alone.decoders[task].load_state_dict(net.decoders[task].state_dict())
        aims = {t: one.aims[t] for t in tasks}
        batch = Batch(batch.inputs, {t: batch.targets[t] for t in tasks})
        return train(MTA(Generator(alone, ball=Linf(0.1)), aims), batch, steps=3), alone

    _, both = prepared("ab")
    for task in "ab":
        _, alone = prepared([task])
        for p, q in zip(
            both.encoders[task].parameters(), alone.encoders[task].parameters(), strict=True
        ):
            torch.testing.assert_close(p, q)


def test_targeted_attacks_lead_to_their_class():
    one, batch = problem()
    one.aims = {t: a.towards(i + 1) for i, (t, a) in enumerate(one.aims.items())}
    before = one.evaluate([batch])
    train(one, batch, steps=60)
    for task, found in one.evaluate([batch]).items():
        assert found["reached"] > before[task]["reached"]
        assert found["fooled"] > 0.2
    swapped = one.aims["a"].towards(lambda labels: (labels + 1) % 3)
    labels = torch.tensor([0, 2])
    assert swapped.relabel(labels).tolist() == [1, 0]


def test_dense_outputs_and_any_closure():
    torch.manual_seed(0)

    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.depth, self.classes = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)

        def forward(self, x):
            return {"depth": self.depth(x), "classes": self.classes(x)}

    victim, x = Victim(Dense()), data()
    aims = {
        "depth": Aim(victim, loss=MaskedL1().per_sample, success=None, output="depth"),
        "classes": Aim(victim, loss=margin, output="classes"),
    }
    one = MTA(Generator(shared(["depth", "classes"]), ball=Linf(0.2)), aims)
    with torch.no_grad():
        clean = victim(x)
    targets = {"depth": clean["depth"] + 0.01, "classes": clean["classes"].argmax(1)}
    batch = Batch(x, targets)
    before = one.evaluate([batch])
    assert set(before["depth"]) == {"loss", "clean_loss"}
    after = train(one, batch).evaluate([batch])
    assert all(after[t]["loss"] > before[t]["loss"] for t in aims)


def test_missing_labels_are_left_out():
    one, batch = problem()
    present = torch.arange(64) < 32
    targets = dict(batch.targets)
    targets["a"] = torch.where(present, targets["a"], -7)  # would raise if it were looked at
    partly = Batch(batch.inputs, targets, {"a": present})
    half = Batch(batch.inputs[:32], {t: y[:32] for t, y in batch.targets.items()})
    torch.testing.assert_close(one.losses(partly)["a"], one.losses(half)["a"])
    assert list(one.losses(Batch(batch.inputs, {"b": batch.targets["b"]}))) == ["b"]


def test_fooled_counts_those_that_were_not_there_before():
    class Threshold(nn.Module):
        def forward(self, x):
            mean = x.flatten(1).mean(1)
            return torch.stack([0.5 - mean, mean - 0.5], 1)  # bright is class 1

    class Brighter(HPS):
        def decode(self, features, tasks=None):
            return {t: 9 * torch.ones_like(features["shared"]) for t in self.select(tasks)}

    generator = Generator(Brighter(nn.Identity(), {"a": nn.Identity()}), ball=Linf(0.2))
    one = MTA(generator, {"a": Aim(Victim(Threshold()))})
    x = torch.tensor([0.1, 0.4, 0.6, 0.7])[:, None, None, None].expand(4, *SHAPE)
    found = one.evaluate([Batch(x, {"a": torch.tensor([0, 0, 0, 1])})])["a"]
    assert found["clean_reached"] == pytest.approx(1 / 4)  # the third is wrong by itself
    assert found["reached"] == pytest.approx(2 / 4)
    assert found["fooled"] == pytest.approx(1 / 3)


def test_what_does_not_fit_is_said():
    one, _ = problem()
    with pytest.raises(ValueError, match="`aims` should have the generator's tasks"):
        MTA(one.generator, {"a": one.aims["a"]})
    wide = Generator(shared("ab"), ball=Linf(0.1), bounds=(-1.0, 1.0))
    with pytest.raises(ValueError, match="`bounds` of the victim of 'a' should be"):
        MTA(wide, one.aims)
    with pytest.raises(ValueError, match="`bounds` should be"):
        Generator(shared("ab"), ball=Linf(0.1), bounds=(1.0, 0.0))
    small = HPS(ImageEncoder(1, width=8), {"a": ImageDecoder(32, doublings=1)})
    with pytest.raises(ValueError, match="perturbations at least as large as the inputs"):
        Generator(small, ball=Linf(0.1))(data())
    with pytest.raises(ValueError, match="`in_features` should be at least 8"):
        ImageDecoder(6)
    with pytest.raises(ValueError, match="`halvings` should be at least 0"):
        ImageEncoder(halvings=-1)
    with pytest.raises(ValueError, match="`encoder` should have its width"):
        GAP("a", encoder=nn.Identity, decoder=ImageDecoder)


@pytest.mark.parametrize("kind", [DSelectK, LTB])
def test_the_architecture_keeps_its_regulariser_and_schedule(kind):
    def make(tasks):
        encoder = ImageEncoder(1, width=8)
        encoder.example_input = torch.rand(1, *SHAPE)
        return kind(encoder, {t: ImageDecoder(encoder.out_features) for t in tasks}, stages=2)

    one, batch = problem(make=make)
    architecture = one.generator.architecture
    one.losses(batch)
    if kind is DSelectK:
        assert one.penalty().detach() > 0
    else:
        before = float(architecture.temperature)
        one.after_step(5, 10)
        assert one.penalty() is None and float(architecture.temperature) < before
