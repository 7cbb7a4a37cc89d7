"""Lower precision, compiled encoders: what each level of weighting then sees."""

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.backbone import ResNet8
from moml.data import Batch
from moml.losses import CrossEntropy
from moml.oracle import Accumulated, Direct, Representation
from moml.weighting import EW, MGDA, GradDrop
from tests.helpers import TASKS, batch, flat_grad, network, problem


def images():
    x = torch.randn(8, 1, 8, 8)
    return Batch(x, {t: torch.randint(3, (8,)) for t in TASKS})


def mixed(model):
    losses = {task: CrossEntropy(3) for task in TASKS}
    return moml.MultiTask(model, losses, precision="bfloat16")


def cosine(a, b):
    return float(a.flatten() @ b.flatten() / a.norm() / b.norm())


@pytest.mark.parametrize("name", ["mlp", "resnet8"])
@pytest.mark.parametrize(
    "oracle",
    [
        Direct(),
        Direct(rows="vmap"),
        Direct(rows="ghost"),
        Direct(rows="layers"),
        Accumulated(Direct(), parts=2),
    ],
    ids=["auto", "vmap", "ghost", "layers", "accumulated"],
)
def test_bfloat16_gives_float32_gradients_near_the_exact_ones(name, oracle):
    torch.manual_seed(0)
    if name == "mlp":
        model, data = network(dtype=torch.float32), batch(dtype=torch.float32)
    else:
        model = HPS(ResNet8(in_channels=1), {t: nn.Linear(64, 3) for t in TASKS}).eval()
        data = images()
    exact, rough = Direct()(problem(model), data), oracle(mixed(model), data)
    assert rough.losses.dtype == torch.float64
    torch.testing.assert_close(rough.losses, exact.losses, rtol=0.02, atol=0)
    assert rough.jacobian.dtype == torch.float32
    for a, b in zip(rough.jacobian, exact.jacobian, strict=True):
        assert cosine(a, b) > 0.99
    assert cosine(rough.gramian, exact.gramian) > 0.99
    torch.testing.assert_close(
        rough.gramian, rough.jacobian.double() @ rough.jacobian.double().T, rtol=1e-4, atol=1e-6
    )
    rough.apply(torch.ones(3))
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("oracle", [Direct, Representation])
@pytest.mark.parametrize("make", [EW, MGDA, GradDrop])
def test_bfloat16_trains_with_every_level(make, oracle):
    model, data = network(dtype=torch.float32), batch(dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    history = moml.fit(mixed(model), oracle(), make(), optimizer, [data], steps=60)
    first, last = history.records[0].losses, history.records[-1].losses
    assert sum(last.values()) < 0.8 * sum(first.values())


def test_unknown_precision():
    with pytest.raises(ValueError, match="`precision` should be 'float32' or 'bfloat16', found"):
        moml.MultiTask(network(), {t: CrossEntropy(3) for t in TASKS}, precision="float16")


def test_a_compiled_encoder_gives_the_same_rows():
    model, data = network(), batch()
    expected = Direct(rows="loop")(problem(model), data)
    model.encoder = torch.compile(model.encoder, backend="aot_eager")
    assert "Compiled" in model.features(data.inputs)["shared"].grad_fn.name()
    for rows in ("auto", "loop", "ghost", "layers"):
        found = Direct(rows=rows)(problem(model), data)
        torch.testing.assert_close(found.gramian, expected.gramian)
        torch.testing.assert_close(found.jacobian, expected.jacobian)
        model.zero_grad()
        found.apply(torch.ones(3, dtype=torch.float64))
        assert flat_grad(model.parameters()).isfinite().all()
    with pytest.raises(ValueError, match="`rows` should be 'loop' or 'auto' with a compiled enc"):
        _ = Direct(rows="vmap")(problem(model), data).gramian
