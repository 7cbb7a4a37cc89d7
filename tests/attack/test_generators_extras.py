import pytest
import torch
from torch import nn

import moml
from moml.attack import PGD, Linf, Victim, cross_entropy, misclassified
from moml.attack.generator import (
    MTA,
    Aim,
    Generator,
    ImageDecoder,
    ImageEncoder,
    PreferenceAttack,
    PreferenceGenerator,
    SideBySide,
    decoder_only,
    stealth,
)
from moml.attack.one_delta import OneDelta
from moml.data import Batch, TaskInputs
from moml.oracle import Direct
from moml.weighting import EW
from tests.attack.test_generators import SHAPE, count, data, separate, shared


def models(tasks="ab", *, seed=0, classes=3):
    torch.manual_seed(seed)
    parts = {t: nn.Sequential(nn.Flatten(), nn.Linear(72, classes, bias=False)) for t in tasks}
    with torch.no_grad():
        for part in parts.values():
            part[1].weight *= 5
    return parts


def labelled(net, x):
    with torch.no_grad():
        return {t: logits.argmax(1) for t, logits in net(x).items()}


def fit(problem, batch, steps, *, rate=3e-3):
    parameters = [p for p in problem.module.parameters() if p.requires_grad]
    moml.fit(problem, Direct(), EW(), torch.optim.Adam(parameters, rate), [batch], steps=steps)
    return problem


def preference_problem(seed=0):
    net = SideBySide(models())
    encoder = ImageEncoder(1, width=8)
    generator = PreferenceGenerator(
        "ab", encoder=encoder, decoder=ImageDecoder(encoder.out_features), ball=Linf(0.05)
    )
    x = data()
    aims = {t: Aim(Victim(m)) for t, m in net.models.items()}
    return PreferenceAttack(generator, aims, seed=seed), Batch(x, labelled(net, x))


def test_one_network_holds_the_whole_trade_off():
    problem, batch = preference_problem()
    fit(problem, batch, 80)

    def losses(*preference):
        with torch.no_grad():
            x_adv = problem.generator(batch.inputs, torch.tensor(preference))
            return [problem.aims[t].measure(x_adv, batch.targets[t])[0].mean().item() for t in "ab"]

    front = [losses(w, 1 - w) for w in (0.0, 0.25, 0.5, 0.75, 1.0)]
    first, second = zip(*front, strict=True)
    assert list(first) == sorted(first)  # more preference, more damage
    assert list(second) == sorted(second, reverse=True)
    assert first[-1] > 1.05 * first[0]
    assert second[0] > 1.05 * second[-1]


def test_preferences_lie_on_the_simplex_and_resume():
    problem, _ = preference_problem()
    state = problem.module.state_dict()
    drawn = problem.preferences(1000)
    torch.testing.assert_close(drawn.sum(1), torch.ones(1000))
    assert drawn.min() >= 0
    assert 0.4 < (drawn.amax(1) == 1).float().mean() < 0.6
    again, _ = preference_problem(seed=7)
    again.module.load_state_dict(state)
    assert torch.equal(again.preferences(1000), drawn)


def test_wrong_preferences():
    problem, batch = preference_problem()
    with pytest.raises(ValueError, match="`preference` should have one weight for each"):
        problem.generator(batch.inputs, torch.ones(3))
    many = Batch(TaskInputs(dict.fromkeys("ab", batch.inputs)), batch.targets)
    with pytest.raises(ValueError, match=r"`batch\.inputs` should be one tensor"):
        problem.losses(many)
    with pytest.raises(ValueError, match="`corners` should be between 0 and 1"):
        PreferenceAttack(problem.generator, problem.aims, corners=2)
    with pytest.raises(ValueError, match="`tasks` should hold at least two"):
        PreferenceGenerator("a", encoder=nn.Identity(), decoder=nn.Identity(), ball=Linf(0.1))


def test_stealth_hurts_one_task_and_spares_the_other():
    parts = models()
    with torch.no_grad():  # much in common: what hurts a hurts b too
        parts["b"][1].weight += parts["a"][1].weight
    net, x, ball = SideBySide(parts), data(size=256), Linf(0.15)
    target = labelled(net, x)
    goal = stealth(Victim(net), target, hurt=["a"], keep=["b"], slack=0.05)
    plain = Victim(net).objective(target, loss={"a": cross_entropy}, success={"a": misclassified})

    def quiet(x_adv):
        after = labelled(net, x_adv)
        return ((after["a"] != target["a"]) & (after["b"] == target["b"])).float().mean()

    hidden = quiet(PGD(ball, steps=20, ascent=OneDelta(EW(), ball=ball)).perturb(goal, x))
    assert hidden > quiet(PGD(ball, steps=20).perturb(plain, x)) + 0.08
    assert hidden > quiet(PGD(ball, steps=20, early_stop=False).perturb(plain, x)) + 0.4


@pytest.mark.parametrize(("hurt", "keep"), [((), ("a",)), (("a",), ("a", "b"))])
def test_stealth_needs_something_to_hurt(hurt, keep):
    with pytest.raises(ValueError, match="`hurt` should name at least one task"):
        stealth(Victim(nn.Identity()), {}, hurt=hurt, keep=keep)


def trained(universal=None):
    net, x = SideBySide(models("abc")), data()
    aims = {t: Aim(Victim(m)) for t, m in net.models.items()}
    targets = labelled(net, x)
    generator = Generator(shared("ab"), ball=Linf(0.05), universal=universal)
    problem = MTA(generator, {t: aims[t] for t in "ab"})
    fit(problem, Batch(x, {t: targets[t] for t in "ab"}), 40)
    return problem, aims["c"], Batch(x, {"c": targets["c"]})


def test_a_new_victim_needs_a_decoder_and_few_steps():
    problem, aim, batch = trained()
    before = {k: v.clone() for k, v in problem.module.state_dict().items()}
    new = decoder_only(problem, "c", aim)
    trainable = sum(p.numel() for p in new.module.parameters() if p.requires_grad)
    assert trainable < 0.15 * count(new.module)
    start = new.evaluate([batch])["c"]["loss"]
    adapted = fit(new, batch, 10).evaluate([batch])["c"]["loss"]
    fresh = MTA(Generator(separate("c"), ball=Linf(0.05)), {"c": aim})
    scratch = fit(fresh, batch, 10).evaluate([batch])["c"]["loss"]
    assert adapted > start
    assert adapted > scratch
    assert all(torch.equal(before[k], v) for k, v in problem.module.state_dict().items())


def test_adaptation_keeps_universal_noise_and_needs_shared_features():
    problem, aim, _ = trained(universal=SHAPE)
    new = decoder_only(problem, "c", aim, decoder=ImageDecoder(32))
    assert torch.equal(new.generator.noise, problem.generator.noise)
    apart = MTA(Generator(separate("a"), ball=Linf(0.1)), {"a": aim})
    with pytest.raises(ValueError, match="`problem` should have a generator with HPS"):
        decoder_only(apart, "c", aim)


def test_side_by_side_needs_a_model():
    with pytest.raises(ValueError, match="`models` should hold at least one"):
        SideBySide({})
