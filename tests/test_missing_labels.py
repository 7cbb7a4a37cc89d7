"""Missing is missing: what has no defined label neither counts nor moves anything."""

import copy
import logging

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.losses import BinaryCrossEntropy, CosineDistance, CrossEntropy, MaskedL1, MeanSquaredError
from moml.oracle import Accumulated, Direct, Distributed, Representation
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA, NashMTL
from tests.helpers import TASKS, batch, network, problem

ORACLES = {
    "direct": Direct,
    "in parts": lambda: Accumulated(Direct(), parts=3),
    "representation": Representation,
}
nan = float("nan")


def sparse(number=24, seed=0):
    """Batches, most of them without a label."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for i in range(number):
        data = batch(seed=i)
        chosen = torch.rand((), generator=draw) < 0.3
        present = {t: (torch.rand(12, generator=draw) < 0.3) & chosen for t in TASKS}
        found.append(Batch(data.inputs, data.targets, present))
    return found


def fit(batches, *, steps, oracle=Direct, make=MGDA, checkpoint=None):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    history = moml.fit(
        problem(model), oracle(), make(), optimizer, batches, steps=steps, checkpoint=checkpoint
    )
    return model, history


@pytest.mark.supported
@pytest.mark.parametrize("oracle", ORACLES)
def test_batches_without_any_label_are_left_out_and_counted(oracle, caplog):
    data = sparse()
    labelled = [one for one in data if any(mask.any() for mask in one.present.values())]
    assert 3 < len(labelled) < 12
    model, history = fit(data, steps=len(labelled), oracle=ORACLES[oracle])
    expected, alone = fit(labelled, steps=len(labelled), oracle=ORACLES[oracle])
    assert [r.losses for r in history.records] == [r.losses for r in alone.records]
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
    last = max(i for i, one in enumerate(data) if any(m.any() for m in one.present.values()))
    assert history.skipped == last + 1 - len(labelled)
    assert alone.skipped == 0
    messages = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert sum("without any label" in message for message in messages) == 1


@pytest.mark.supported
def test_resuming_at_a_batch_without_any_label(tmp_path):
    data = sparse()
    unbroken, history = fit(data, steps=12)
    for steps in (3, 4, 7, 12):
        resumed, again = fit(
            data, steps=steps, checkpoint=Checkpoint(tmp_path, every=1, resume=True)
        )
    assert again.skipped == history.skipped > 3
    for a, b in zip(resumed.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.supported
def test_batches_without_any_label_move_no_running_statistics():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    model = HPS(encoder, {"a": nn.Linear(8, 3)}).double()
    data = batch(("a",))
    empty = Batch(data.inputs, data.targets, {"a": torch.zeros(12, dtype=torch.bool)})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    moml.fit(problem(model), Direct(), EW(), optimizer, [empty, data], steps=2)
    assert encoder[1].num_batches_tracked == 2


@pytest.mark.refused("there is nothing to learn from; said after an epoch")
def test_no_batch_of_an_epoch_has_a_label():
    data = batch()
    with pytest.raises(ValueError, match=r"should have labels of \['a', 'b', 'c'\], found none in"):
        fit([Batch(data.inputs, {})] * 3, steps=2)


UNDEFINED = {
    "class labels": (CrossEntropy(3), torch.full((12,), -1)),
    "another ignore label": (CrossEntropy(3, ignore_index=255), torch.full((12,), 255)),
    "labels of torch's own loss": (nn.CrossEntropyLoss(), torch.full((12,), -100)),
    "yes and no": (BinaryCrossEntropy(), torch.full((12, 3), -1.0)),
    "numbers": (MeanSquaredError(undefined=nan), torch.full((12, 3), nan)),
    "depths": (MaskedL1(), torch.zeros(12, 3)),
    "normals": (CosineDistance(), torch.zeros(12, 3)),
}


@pytest.mark.supported
@pytest.mark.parametrize("kind", UNDEFINED)
def test_a_task_whose_labels_are_all_undefined_is_absent(kind):
    """With a zero loss in its place MGDA would stand still."""
    loss, target = UNDEFINED[kind]
    model, data = network(dtype=torch.float32), batch(dtype=torch.float32)
    losses = {"a": CrossEntropy(3), "b": CrossEntropy(3), "c": loss}
    one = moml.MultiTask(model, losses)
    evaluation = Direct()(one, Batch(data.inputs, {**data.targets, "c": target}))
    assert evaluation.names == ("a", "b")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = copy.deepcopy(model.encoder.state_dict())
    batches = [Batch(data.inputs, {**data.targets, "c": target})]
    moml.fit(one, Direct(), MGDA(), optimizer, batches, steps=1)
    assert any(not torch.equal(v, before[n]) for n, v in model.encoder.state_dict().items())


# Shares --------------------------------------------------------------------------------------


def dense(seed=0, size=4):
    """Pixels of which each sample has another number of defined ones."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 2, 5, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(3, (size, 5, 5), generator=draw)
    for i in range(size):
        labels[i].view(-1)[: 6 * i] = -1
    depth = torch.rand(size, 1, 5, 5, generator=draw, dtype=torch.float64)
    depth[0, :, 1:] = 0
    return Batch(x, {"labels": labels, "depth": depth})


def dense_problem(weights=None, torch_loss=False):
    torch.manual_seed(0)
    model = HPS(
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh()),
        {"labels": nn.Conv2d(4, 3, 1), "depth": nn.Conv2d(4, 1, 1)},
    ).double()
    loss = CrossEntropy(3, class_weights=weights, label_smoothing=0.1)
    if torch_loss:
        table = None if weights is None else torch.tensor(weights, dtype=torch.float64)
        loss = nn.CrossEntropyLoss(table, ignore_index=-1, label_smoothing=0.1)
    return moml.MultiTask(model, {"labels": loss, "depth": MaskedL1()})


@pytest.mark.supported
@pytest.mark.parametrize("torch_loss", [False, True])
@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0]])
def test_parts_of_a_batch_count_by_defined_pixels_and_class_weights(weights, torch_loss):
    one, data = dense_problem(weights, torch_loss), dense()
    whole = Direct()(one, data)
    for parts in (2, 4):
        cut = Accumulated(Direct(), parts=parts)(one, data)
        torch.testing.assert_close(cut.losses, whole.losses)
        torch.testing.assert_close(cut.jacobian, whole.jacobian)
    table = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected = nn.functional.cross_entropy(
        one.architecture(data.inputs)["labels"], data.targets["labels"], weight=table,
        ignore_index=-1, label_smoothing=0.1,
    )  # fmt: skip
    torch.testing.assert_close(whole.losses[0], expected.detach())


@pytest.mark.supported
def test_weighted_samples():
    one, data = problem(network()), batch()
    weights = torch.rand(12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights[3] = 0
    present = {"a": torch.arange(12) % 3 > 0, "b": torch.ones(12, dtype=torch.bool)}
    weighted = Batch(data.inputs, data.targets, present, {"a": weights, "c": weights})
    evaluation = Direct()(one, weighted)
    made = one.architecture(data.inputs)
    for i, task in enumerate(TASKS):
        each = nn.functional.cross_entropy(made[task], data.targets[task], reduction="none")
        share = torch.ones_like(weights) if task == "b" else weights
        share = share * present.get(task, torch.ones(12, dtype=torch.bool))
        expected = (each * share).sum() / share.sum()
        torch.testing.assert_close(evaluation.losses[i], expected.detach())
    cut = Accumulated(Direct(), parts=5)(one, weighted)
    torch.testing.assert_close(cut.losses, evaluation.losses)
    torch.testing.assert_close(cut.jacobian, evaluation.jacobian)


def test_samples_of_zero_weight_are_missing():
    data = batch()
    zero = Batch(data.inputs, data.targets, None, {"b": torch.zeros(12)})
    assert Direct()(problem(network()), zero).names == ("a", "c")


@pytest.mark.supported
@pytest.mark.parametrize("make", [EW, NashMTL])
def test_a_distributed_step_of_one_process_counts_defined_pixels(make, tmp_path):
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        ends = []
        for oracle in (Direct(), Distributed(Direct())):
            one = dense_problem([0.2, 1.0, 3.0])
            optimizer = torch.optim.SGD(one.module.parameters(), 0.1)
            moml.fit(one, oracle, make(), optimizer, [dense()], steps=3)
            ends.append(torch.cat([p.detach().flatten() for p in one.module.parameters()]))
        torch.testing.assert_close(*ends)
    finally:
        torch.distributed.destroy_process_group()
