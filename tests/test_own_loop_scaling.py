"""Scaled losses, accumulation, epochs and further batches in a loop of one's own."""

import pytest
import torch
from torch import nn

import moml
from moml.weighting import (
    DBMTL,
    DWA,
    EW,
    FAMO,
    MGDA,
    RRUW,
    SI,
    STCH,
    UW,
    CAGrad,
    FairGrad,
    GradDrop,
    MoCo,
    MoDo,
    NashMTL,
    SDMGrad,
)
from tests.helpers import flat_grad
from tests.test_own_loop import TASKS, Trunk, gradients, inputs

METHODS = (
    EW, UW, RRUW, SI, FAMO, STCH, MGDA, NashMTL, FairGrad, CAGrad, DBMTL, MoCo, GradDrop,
)  # fmt: skip


def scaler(start=2.0**16):
    return torch.amp.GradScaler("cpu", init_scale=start, growth_interval=10**6)


def parameters(model, weighting):
    return torch.cat([p.detach().flatten() for p in (*model.parameters(), *weighting.parameters())])


def train(method, *, scaling, rows="auto", representation=False):
    model = Trunk()
    torch.manual_seed(0)
    weighting = method().setup(TASKS)
    optimizer = torch.optim.SGD([*model.parameters(), *weighting.parameters()], lr=0.01)
    grad_scaler = scaler() if scaling else None
    seen = []
    for seed in range(4):
        optimizer.zero_grad()
        z = model.encoder(inputs(seed))
        losses = model.heads_losses(z)
        seen.append(
            moml.backward(
                losses,
                weighting,
                features=z,
                rows=rows,
                representation=representation,
                scaler=grad_scaler,
            )
        )
        if scaling:
            grad_scaler.step(optimizer)
            grad_scaler.update()
        else:
            optimizer.step()
    return seen, parameters(model, weighting)


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
def test_gradient_scaler_changes_no_method(method):
    plain, scaled = train(method, scaling=False), train(method, scaling=True)
    for a, b in zip(plain[0], scaled[0], strict=True):
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(plain[1], scaled[1], rtol=1e-7, atol=1e-9)


@pytest.mark.supported
@pytest.mark.parametrize("rows", ["ghost", "layers"])
def test_gradient_scaler_with_every_way_to_form_rows(rows):
    plain, scaled = train(MGDA, scaling=False), train(MGDA, scaling=True, rows=rows)
    torch.testing.assert_close(plain[1], scaled[1], rtol=1e-7, atol=1e-9)


@pytest.mark.supported
@pytest.mark.parametrize("method", [EW, UW, MGDA, NashMTL, MoCo, DBMTL, GradDrop])
@pytest.mark.parametrize("where", ["gradient", "loss"])
def test_overflow_skips_the_step(method, where):
    """The scale goes down, nothing moves, and the method's state stays."""
    model, weighting = Trunk(torch.float32), method().setup(TASKS)
    optimizer = torch.optim.SGD([*model.parameters(), *weighting.parameters()], lr=0.1)
    grad_scaler = scaler()

    def step(factor):
        optimizer.zero_grad()
        losses = model.losses(inputs(dtype=torch.float32))
        losses["b"] = losses["b"] * factor
        weights = moml.backward(losses, weighting, scaler=grad_scaler)
        grad_scaler.step(optimizer)
        grad_scaler.update()
        return weights

    step(1.0)
    before = parameters(model, weighting)
    state = {key: value.clone() for key, value in weighting.state_dict().items()}
    step({"gradient": 1e36, "loss": torch.inf}[where])
    assert torch.equal(parameters(model, weighting), before)
    assert grad_scaler.get_scale() == 2.0**15
    for key, value in weighting.state_dict().items():
        assert torch.equal(value, state[key]), key
    step(1.0)
    assert not torch.equal(parameters(model, weighting), before)


@pytest.mark.supported
def test_scaler_that_is_off():
    model = Trunk()
    off = torch.amp.GradScaler("cpu", enabled=False)
    weights = moml.backward(model.losses(inputs()), MGDA(), scaler=off)
    assert weights.sum() == pytest.approx(1.0)


def test_something_else_as_a_scaler():
    with pytest.raises(ValueError, match=r"`scaler` should be .* found 2.0"):
        moml.backward(Trunk().losses(inputs()), MGDA(), scaler=2.0)


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
def test_accumulation_over_micro_batches_by_scale(method):
    """The method sees the losses as they are; what is written is a share."""

    def step(scale):
        model = Trunk()
        torch.manual_seed(0)
        weighting = method().setup(TASKS)
        weights = moml.backward(model.losses(inputs()), weighting, scale=scale)
        return weights, flat_grad([*model.parameters(), *weighting.parameters()])

    (weights, whole), (same, share) = step(1.0), step(0.25)
    torch.testing.assert_close(share, whole / 4)
    if weights is not None:
        torch.testing.assert_close(same, weights)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), "half", True])
def test_scale_that_is_none(scale):
    with pytest.raises(ValueError, match="`scale` should be a positive number"):
        moml.backward(Trunk().losses(inputs()), MGDA(), scale=scale)


# Epochs and further batches -----------------------------------------------------------------


@pytest.mark.supported
@pytest.mark.parametrize("build", [DWA, lambda: STCH(warmup=1)], ids=["DWA", "STCH"])
def test_methods_that_count_epochs_with_epoch(build):
    model, weighting = Trunk(), build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    for epoch in range(4):
        optimizer.zero_grad()
        losses = model.losses(inputs())
        first = 1.0 / torch.stack([x.detach() for x in losses.values()])
        seen.append((first, moml.backward(losses, weighting, epoch=epoch)))
        optimizer.step()
    if isinstance(weighting, STCH):
        torch.testing.assert_close(seen[0][1], seen[0][0])
        assert not torch.allclose(seen[1][1], seen[1][0])
    else:
        assert seen[1][1].tolist() == [1.0] * 3
        assert seen[3][1].tolist() != [1.0] * 3


@pytest.mark.refused("say `epoch=`")
@pytest.mark.parametrize("build", [DWA, lambda: STCH(warmup=1)], ids=["DWA", "STCH"])
def test_methods_that_count_epochs_without_epoch(build):
    with pytest.raises(ValueError, match="`epoch` should be given to"):
        moml.backward(Trunk().losses(inputs()), build())


@pytest.mark.supported
@pytest.mark.parametrize("method", [MoDo, SDMGrad])
@pytest.mark.parametrize("scaling", [False, True])
def test_methods_that_draw_with_further_batches(method, scaling):
    """As in `moml.fit`, by the products of two further batches' gradients."""
    model, weighting = Trunk(), method().setup(TASKS)
    rows = [gradients(model, model.losses(inputs(seed))) for seed in (2, 3)]
    draws = []

    def further(i):
        draws.append(i)
        return model.losses(inputs(1 + i))

    weights = moml.backward(
        model.losses(inputs(1)),
        weighting,
        further=further,
        scaler=scaler() if scaling else None,
    )
    assert draws == [1, 2]
    given = [moml.Evaluation.from_jacobian(r, torch.ones(3), names=TASKS) for r in rows]

    class Source:
        def further(self, i):
            return given[i - 1]

    by_hand = moml.Evaluation.from_jacobian(rows[0], torch.ones(3), names=TASKS)
    by_hand.source = Source()
    torch.testing.assert_close(weights, method().setup(TASKS).update(by_hand))


@pytest.mark.refused("pass `further=`")
@pytest.mark.parametrize("method", [MoDo, SDMGrad])
def test_methods_that_draw_without_further_batches(method):
    model = Trunk()
    with pytest.raises(ValueError, match="`further` should give the losses of independent batches"):
        moml.backward(model.losses(inputs()), method())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.refused("representations of other batches cannot be compared")
def test_methods_that_draw_with_gradients_of_the_representation():
    model = Trunk()
    z = model.encoder(inputs())
    with pytest.raises(ValueError, match="`further` should be left out with `representation=True`"):
        moml.backward(
            model.heads_losses(z),
            MoDo(),
            features=z,
            representation=True,
            further=lambda i: model.losses(inputs(i)),
        )


# Arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weighting": MGDA}, r"found the class MGDA. Make an instance: `MGDA\(\)`"),
        ({"weighting": "MGDA"}, "`weighting` should be a Weighting, found 'MGDA'"),
        ({"rows": "fast"}, "`rows` should be 'auto', .* found 'fast'"),
        ({"heads": "none"}, "`heads` should be 'unit' or 'weighted', found 'none'"),
        ({"shared": "encoder"}, "`shared` should be a collection of parameters, found str"),
        ({"shared": nn.Linear(1, 1)}, r"found Linear. Pass `module.parameters\(\)`"),
        ({"inputs": [1.0]}, "`inputs` should be parameters, leaves of the graph, found float"),
        ({"features": "z"}, "`features` should be a tensor or several, found str"),
        ({"features": {"z": 1}}, "`features` should be a tensor or several, found dict"),
        ({"representation": True}, "`features` should be given for representation gradients"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_arguments_end_in_a_sentence(arguments, message):
    model = Trunk()
    chosen = {"weighting": MGDA(), **arguments}
    weighting = chosen.pop("weighting")
    with pytest.raises(ValueError, match=message):
        moml.backward(model.losses(inputs()), weighting, **chosen)
    assert all(p.grad is None for p in model.parameters())


def wrong_losses():
    losses = Trunk().losses(inputs())
    return [
        (sum(losses.values()), "Pass the losses themselves, not their sum"),
        ([loss.detach().numpy() for loss in losses.values()], "found ndarray for task '0'"),
        ([loss.item() for loss in losses.values()], "found float for task '0'"),
        (nn.Linear(1, 1), "should be a mapping from task to loss or a list, found Linear"),
        ("losses", "found str"),
        ([loss.detach() for loss in losses.values()], "requires_grad=False"),
        ([loss * torch.ones(2) for loss in losses.values()], r"shape \(2,\).*`.mean\(\)`"),
        ([loss * 1j for loss in losses.values()], "complex128"),
        ({}, "the loss of at least one task, found none"),
    ]


@pytest.mark.parametrize("case", range(9))
def test_wrong_losses_end_in_a_sentence(case):
    losses, message = wrong_losses()[case]
    with pytest.raises(ValueError, match=message):
        moml.backward(losses, MGDA())
