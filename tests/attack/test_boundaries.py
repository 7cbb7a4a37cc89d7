"""What is refused at the boundary, in one sentence, instead of clamped or failing further down."""

import pytest
import torch
from torch import nn

from moml.architecture import HPS
from moml.attack import (
    FAB,
    L2,
    PGD,
    UAP,
    Linf,
    Square,
    Victim,
    cross_entropy,
    each_target,
    misclassified,
    robustness_card,
)
from moml.attack._base import inside
from moml.attack.generator import (
    MTA,
    Aim,
    Generator,
    ImageDecoder,
    ImageEncoder,
    PreferenceGenerator,
)
from moml.attack.training import TRADES, Adversarial
from moml.data import Batch, TaskInputs
from moml.losses import CrossEntropy

X = torch.rand(4, 1, 8, 8)
LABELS = torch.tensor([0, 1, 2, 0])
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
OUTSIDE = 4 * X - 1  # standardised data, say


def network(*tasks):
    encoder = ImageEncoder(1, width=8)
    return HPS(encoder, {t: ImageDecoder(encoder.out_features) for t in tasks})


def preference_generator():
    encoder = ImageEncoder(1, width=8)
    decoder = ImageDecoder(encoder.out_features)
    return PreferenceGenerator(("a", "b"), encoder=encoder, decoder=decoder, ball=Linf(0.001))


def robust(kind):
    model = HPS(nn.Flatten(), {"a": nn.Linear(64, 3)})
    return kind(model, {"a": CrossEntropy(3)}, PGD(Linf(0.01), steps=1))


ON_DATA = {
    "generator": lambda x: Generator(network("a"), ball=Linf(0.001))(x),
    "generator of inputs per task": lambda x: Generator(network("a"), ball=Linf(0.001))(
        TaskInputs({"a": x})
    ),
    "universal generator": lambda x: Generator(network("a"), ball=Linf(0.001), universal=(1, 8, 8))(
        x
    ),
    "preference generator": lambda x: preference_generator()(x, torch.tensor([0.5, 0.5])),
    "training a generator": lambda x: MTA(
        Generator(network("a"), ball=Linf(0.001)), {"a": Aim(Victim(MODEL))}
    ).losses(Batch(x, {"a": LABELS})),
    "applying a universal perturbation": lambda x: UAP(Linf(0.1)).apply(torch.zeros(1, 1, 8, 8), x),
    "learning a universal perturbation": lambda x: UAP(Linf(0.1)).fit(
        [(Victim(MODEL).objective(LABELS, loss=cross_entropy), x)]
    ),
    "projection": lambda x: inside(x, x, ball=Linf(0.1), bounds=(0.0, 1.0)),
    "adversarial training": lambda x: robust(Adversarial).losses(Batch(x, {"a": LABELS})),
    "TRADES": lambda x: robust(TRADES).losses(Batch(x, {"a": LABELS})),
    "the nearest input": lambda x: FAB(L2(1.0), steps=2).nearest(
        Victim(MODEL).objective(LABELS, loss=cross_entropy, success=misclassified), x
    ),
    "random search": lambda x: Square(L2(1.0), queries=2).perturb(
        Victim(MODEL).objective(LABELS, loss=cross_entropy), x
    ),
    "each target": lambda x: each_target(Victim(MODEL), LABELS, x),
}


@pytest.mark.refused("data outside the bounds; to clamp them would move them beyond the ball")
@pytest.mark.parametrize("what", ON_DATA)
def test_data_outside_the_bounds_are_never_clamped(what):
    ON_DATA[what](X)
    with pytest.raises(ValueError, match=r"should be finite and lie within its bounds \(0\.0, 1"):
        ON_DATA[what](OUTSIDE)


def test_rounding_of_a_conversion_is_no_data_outside_the_bounds():
    goal = Victim(MODEL).objective(LABELS, loss=cross_entropy)
    PGD(Linf(0.01), steps=1).perturb(goal, X.clamp(0, 1) + 5e-7)
    low, high = -0.4242, 2.8215  # digits after the usual normalisation
    x = (X > 0.5).bfloat16() * (high - low) + low
    attack = PGD(Linf(0.1), steps=1, bounds=(low, high))
    attack.perturb(lambda x: x.float().flatten(1).sum(1), x)


@pytest.mark.refused("an attack changes one tensor; close over the other inputs")
@pytest.mark.parametrize("inputs", [{"input_ids": X, "mask": X}, (X, X), [X]], ids=type)
def test_models_with_several_inputs(inputs):
    sentence = r"`x` should be one tensor, found (dict|tuple|list)\. Attack one of the inputs"
    goal = Victim(MODEL).objective(LABELS, loss=cross_entropy)
    for attack in (PGD(Linf(0.1)), Square(Linf(0.1)), FAB(Linf(0.1)), UAP(Linf(0.1))):
        with pytest.raises(ValueError, match=sentence):
            attack.perturb(goal, inputs)
    with pytest.raises(ValueError, match=sentence):
        UAP(Linf(0.1)).fit([(goal, inputs)])
    with pytest.raises(ValueError, match=sentence):
        Victim(MODEL)(inputs)
    if isinstance(inputs, list):
        return
    batch = Batch(inputs, {"a": LABELS})
    with pytest.raises(ValueError, match=sentence):
        robustness_card(MODEL, [batch], {"a": CrossEntropy(3)}, Linf(0.1))
    with pytest.raises(ValueError, match=sentence):
        robust(Adversarial).losses(batch)


@pytest.mark.supported
def test_one_input_of_several_is_attacked_with_the_others_closed_over():
    both = nn.Bilinear(64, 3, 3)
    other = torch.rand(4, 3)

    def loss(x):
        return cross_entropy(both(x.flatten(1), other), LABELS)

    x_adv = PGD(Linf(0.1)).perturb(loss, X)
    assert (loss(x_adv) > loss(X)).all()


class Outputs(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(MODEL(x))


@pytest.mark.refused("a loss of logits looks at one tensor; say which output is meant")
@pytest.mark.parametrize(
    "wrap",
    [lambda z: (z, z), lambda z: {"logits": z}, lambda z: [z]],
    ids=["tuple", "dict", "list"],
)
def test_models_whose_outputs_are_no_single_tensor(wrap):
    sentence = r"`logits` should be one tensor, found (dict|tuple|list)\. Say which output"
    victim = Victim(Outputs(wrap))
    goal = victim.objective(LABELS, loss=cross_entropy, success=misclassified)
    with pytest.raises(ValueError, match=sentence):
        PGD(Linf(0.1)).perturb(goal, X)
    with pytest.raises(ValueError, match=sentence):
        each_target(victim, LABELS, X)
    with pytest.raises(ValueError, match=sentence):
        Aim(victim).measure(X, LABELS)


@pytest.mark.supported
def test_one_output_of_several_is_attacked():
    by_position = Victim(Outputs(lambda z: (z, 0 * z))).objective(
        LABELS,
        loss=lambda output, labels: cross_entropy(output[0], labels),
        success=lambda output, labels: misclassified(output[0], labels),
    )
    by_name = Victim(Outputs(lambda z: {"logits": z})).objective(
        {"logits": LABELS}, loss={"logits": cross_entropy}, success={"logits": misclassified}
    )
    plain = Victim(MODEL).objective(LABELS, loss=cross_entropy, success=misclassified)
    expected = PGD(Linf(0.1)).perturb(plain, X)
    assert torch.equal(PGD(Linf(0.1)).perturb(by_position, X), expected)
    assert torch.equal(PGD(Linf(0.1)).perturb(by_name, X), expected)


@pytest.mark.refused("an output that the model does not have")
def test_losses_of_outputs_that_are_not_there():
    goal = Victim(Outputs(lambda z: {"logits": z})).objective(
        {"depth": LABELS}, loss={"depth": cross_entropy}
    )
    with pytest.raises(ValueError, match=r"name outputs of the model, found \['depth'\], not"):
        PGD(Linf(0.1)).perturb(goal, X)
    goal = Victim(MODEL).objective({"depth": LABELS}, loss={"depth": cross_entropy})
    with pytest.raises(ValueError, match=r"found \['depth'\], not Tensor"):
        PGD(Linf(0.1)).perturb(goal, X)
