"""Loaders, streams and sources."""

import pytest
import torch

from moml.data import (
    Batch,
    DatasetSource,
    Loader,
    MultiLoader,
    Stream,
    TensorSource,
    hold_out,
)
from moml.data.subset import TaskSubset, _FewerTargets


def source(n=10):
    return TensorSource(torch.arange(n), {"a": torch.arange(n), "b": torch.arange(n)})


def test_an_epoch_holds_every_sample_once_in_an_order_of_its_own():
    loader = Loader(source(), 3, shuffle=True, seed=4)
    epochs = [
        torch.cat([loader.batch(e * 4 + i).inputs for i in range(4)]).tolist() for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[1] == torch.cat([Loader(source(), 3, shuffle=True, seed=4).batch(4 + i).inputs for i in range(4)]).tolist()  # fmt: skip # noqa: E501
    other = Loader(source(), 10, shuffle=True, seed=5).batch(0).inputs.tolist()
    assert other != epochs[0]


def test_ragged_last_batches():
    assert [len(b.inputs) for b in Loader(source(), 4)] == [4, 4, 2]
    assert [len(b.inputs) for b in Loader(source(), 4, drop_last=True)] == [4, 4]
    assert [len(b.inputs) for b in Loader(source(), 40, drop_last=True)] == [10]


def test_multi_input_loaders_cycle_at_their_own_length():
    loader = MultiLoader(
        {"a": Loader(TensorSource(torch.arange(4), {"a": torch.arange(4)}), 2),
         "b": Loader(TensorSource(torch.arange(100, 106), {"b": torch.arange(6)}), 2)}
    )  # fmt: skip
    assert loader.batches_per_epoch == 3
    third = loader.batch(2)
    assert third.multi_input
    assert third.inputs["a"].tolist() == [0, 1]
    assert third.inputs["b"].tolist() == [104, 105]


def test_a_stream_continues_anywhere():
    stream = Stream.of(Loader(source(), 3, shuffle=True))
    for _ in range(6):
        next(stream)
    assert stream.epoch == 1
    other = Stream.of(Loader(source(), 3, shuffle=True))
    other.load_state_dict(stream.state_dict())
    assert torch.equal(next(stream).inputs, next(other).inputs)


def test_a_stream_of_a_plain_list():
    stream = Stream.of([10, 20, 30])
    assert [next(stream) for _ in range(4)] == [10, 20, 30, 10]
    assert stream.epoch == 1
    other = Stream.of([10, 20, 30])
    other.load_state_dict(stream.state_dict())
    assert next(other) == 20


class Items:
    """Item 1 has no label for ``b``; nobody has one for ``c``."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return torch.full((2,), float(i)), {"a": i, "b": None if i == 1 else i, "c": None}


def test_map_style_data_sets_with_missing_labels():
    batch = DatasetSource(Items(), ["a", "b", "c"]).batch(torch.tensor([2, 1]))
    assert batch.inputs.tolist() == [[2.0, 2.0], [1.0, 1.0]]
    assert batch.targets["a"].tolist() == [2, 1]
    assert batch.present["b"].tolist() == [True, False]
    assert not batch.has_labels("c")


def test_labelled_selects():
    batch = Batch(torch.zeros(3), {"a": torch.arange(3)}, {"a": torch.tensor([True, False, True])})
    prediction, target = batch.labelled("a", torch.arange(3) * 10)
    assert prediction.tolist() == [0, 20]
    assert target.tolist() == [0, 2]


def test_fewer_tasks():
    from tasks import TwoDigits

    subset = TaskSubset(TwoDigits(), ["right"])
    batch = subset.loader("val", batch_size=8).batch(0)
    assert list(subset.tasks) == list(batch.targets) == list(subset.heads(4)) == ["right"]
    whole = TwoDigits().loader("val", batch_size=8).batch(0)
    assert torch.equal(batch.targets["right"], whole.targets["right"])
    with pytest.raises(ValueError, match=r"among \['left', 'right'\], found \['top'\]"):
        TaskSubset(TwoDigits(), ["top"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorSource(torch.zeros(0), {}), "found an empty data set"),
        (lambda: DatasetSource([], ["a"]), "found an empty data set"),
        (lambda: TensorSource(torch.zeros(3), {"a": torch.zeros(2)}), "2 rows for task 'a'"),
        (lambda: Loader(source(), 0), "at least 1, found 0"),
    ],
)
def test_bad_data(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Jittered(TensorSource):
    """Views are samples plus noise."""

    def view(self, indices, generator):
        batch = self.batch(indices)
        noise = torch.rand(len(indices), generator=generator)
        return Batch(batch.inputs + noise, batch.targets)


def test_views_are_for_training_only_and_a_function_of_seed_and_number():
    data = Jittered(torch.arange(10.0), {"a": torch.arange(10), "b": torch.arange(10)})
    train = Loader(data, 5, shuffle=True, seed=1)
    first = train.batch(0)
    assert torch.equal(first.inputs.floor(), first.targets["a"].float())
    assert (first.inputs != first.targets["a"]).all()
    assert torch.equal(first.inputs, Loader(data, 5, shuffle=True, seed=1).batch(0).inputs)
    fractions = [train.batch(i).inputs.frac() for i in range(4)]
    assert len({tuple(f.tolist()) for f in fractions}) == 4
    assert torch.equal(Loader(data, 10).batch(0).inputs, torch.arange(10.0))


def test_parts_and_subsets_pass_views_on():
    data = Jittered(torch.arange(10.0), {"a": torch.arange(10), "b": torch.arange(10)})
    generator = torch.Generator().manual_seed(0)
    rest, held = hold_out(data, 0.3)
    for source in (rest, held, _FewerTargets(data, ["b"])):
        batch = source.view(torch.arange(2), generator)
        assert (batch.inputs != source.batch(torch.arange(2)).inputs).all()
    assert list(batch.targets) == ["b"]
