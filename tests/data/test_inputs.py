"""Inputs as real encoders take them; several per batch are declared, never guessed from keys."""

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch, TaskInputs
from moml.losses import CrossEntropy
from moml.oracle import Accumulated, Direct
from moml.weighting import MGDA


class Words(nn.Module):
    """An encoder with keyword arguments, one of them optional, and a table beside the batch."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 8)

    def forward(self, input_ids, attention_mask=None, positions=None):
        made = self.table(input_ids)
        if positions is not None:
            made = made + positions[:, None]
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return (made * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def words(size=6):
    draw = torch.Generator().manual_seed(0)
    mask = torch.arange(5) < torch.randint(1, 6, (size, 1), generator=draw)
    return {
        "input_ids": torch.randint(20, (size, 5), generator=draw),
        "attention_mask": mask.long(),
        "positions": torch.arange(5) / 5,
    }


def targets(size=6):
    draw = torch.Generator().manual_seed(1)
    return {t: torch.randint(3, (size,), generator=draw) for t in ("a", "b")}


def problem(encoder=None, tasks=("a", "b")):
    torch.manual_seed(0)
    heads = {task: nn.Linear(8, 3) for task in tasks}
    model = HPS(Words() if encoder is None else encoder, heads)
    return moml.MultiTask(model, {task: CrossEntropy(3) for task in tasks})


@pytest.mark.supported
def test_inputs_are_keyword_arguments_of_the_encoder():
    one, data = problem(), words()
    losses = one.losses(Batch(data, targets()))
    made = one.architecture.encoder(**data)
    for task, y in targets().items():
        expected = nn.functional.cross_entropy(one.architecture.heads[task](made), y)
        torch.testing.assert_close(losses[task], expected)


@pytest.mark.supported
def test_keyword_inputs_called_like_tasks_are_still_keyword_inputs():
    class Encoder(nn.Linear):
        def forward(self, a, b):
            return super().forward(a + b)

    one = problem(Encoder(4, 8))
    x = torch.randn(6, 4)
    losses = one.losses(Batch({"a": x, "b": 2 * x}, targets()))
    expected = one.losses(Batch((x, 2 * x), targets()))
    assert losses == expected


@pytest.mark.supported
def test_inputs_are_several_positional_arguments_of_the_encoder():
    one, data = problem(), words()
    named = one.losses(Batch(data, targets()))
    assert one.losses(Batch(tuple(data.values()), targets())) == named


@pytest.mark.supported
def test_keyword_inputs_of_each_task_of_its_own():
    one, data, y = problem(), words(), targets()
    own = one.losses(Batch(TaskInputs({"a": data, "b": data}), y))
    torch.testing.assert_close(dict(own), dict(one.losses(Batch(data, y))))


@pytest.mark.supported
@pytest.mark.parametrize("parts", [2, 4])
def test_keyword_inputs_in_parts_with_tensors_that_belong_to_no_sample(parts):
    one, data = problem(), Batch(words(), targets())
    whole, cut = Direct()(one, data), Accumulated(Direct(), parts=parts)(one, data)
    torch.testing.assert_close(cut.losses, whole.losses)
    torch.testing.assert_close(cut.jacobian, whole.jacobian)


def test_keyword_inputs_are_trained_on():
    one = problem()
    optimizer = torch.optim.Adam(one.module.parameters(), 0.05)
    history = moml.fit(one, Direct(), MGDA(), optimizer, [Batch(words(), targets())], steps=60)
    assert history.losses("a")[-1] < 0.7 * history.losses("a")[0]


def test_moves_what_is_nested():
    batch = Batch({"x": (torch.zeros(2), [torch.ones(2)]), "flag": True}, {"a": torch.zeros(2)})
    moved = batch.to("meta").inputs
    assert moved["x"][0].device.type == moved["x"][1][0].device.type == "meta"
    assert moved["flag"] is True


@pytest.mark.refused("inputs of each task's own are declared with `TaskInputs`")
def test_inputs_by_task_in_a_plain_dictionary():
    x = torch.randn(6, 4)
    with pytest.raises(ValueError, match=r"keyword arguments of Linear\(input\).*TaskInputs"):
        problem(nn.Linear(4, 8)).losses(Batch({"a": x, "b": x}, targets()))


def test_too_many_positional_inputs():
    x = torch.randn(6, 4)
    with pytest.raises(ValueError, match=r"fit Linear\(input\), found 2 positional arguments"):
        problem(nn.Linear(4, 8)).losses(Batch((x, x), targets()))


def test_an_error_inside_the_encoder_stays_what_it_is():
    class Broken(nn.Module):
        def forward(self, x):
            return x + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        problem(Broken()).losses(Batch((torch.ones(6),), targets()))


@pytest.mark.parametrize("field", ["targets", "present", "weights"])
def test_integers_name_tasks_and_arrays_are_refused(field):
    values = {0: torch.ones(2), "b": torch.ones(2)}
    given = {"targets": values, field: values}
    assert list(getattr(Batch(torch.ones(2), **given), field)) == ["0", "b"]
    bad = {**given, field: {"b": torch.ones(2).numpy()}}
    with pytest.raises(ValueError, match=rf"`{field}\['b'\]` should be a tensor, found ndarray"):
        Batch(torch.ones(2), **bad)
    twice = {**given, field: {0: torch.ones(2), "0": torch.ones(2)}}
    with pytest.raises(ValueError, match="one entry per task"):
        Batch(torch.ones(2), **twice)
