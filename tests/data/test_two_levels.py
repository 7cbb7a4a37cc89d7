"""Held-out parts and batches of two levels: nothing shared, everything by number."""

import pytest
import torch

from moml.data import Loader, Part, TensorSource, TwoLevels, hold_out, loader_of
from moml.data.stream import LoaderStream


def source(n=50):
    return TensorSource(torch.arange(n).float()[:, None], {"a": torch.arange(n)})


def numbers(part):
    return set(part.batch(torch.arange(len(part))).targets["a"].tolist())


@pytest.mark.parametrize("share", [0.001, 0.2, 0.999])
def test_the_parts_are_disjoint_and_whole(share):
    rest, held = hold_out(source(), share, seed=3)
    assert numbers(rest) | numbers(held) == set(range(50))
    assert not numbers(rest) & numbers(held)
    assert len(held) == min(max(round(share * 50), 1), 49)


def test_the_seed_decides():
    assert numbers(hold_out(source(), 0.2, seed=1)[1]) == numbers(
        hold_out(source(), 0.2, seed=1)[1]
    )
    assert numbers(hold_out(source(), 0.2, seed=1)[1]) != numbers(
        hold_out(source(), 0.2, seed=2)[1]
    )


def test_every_task_of_multi_input_data_is_divided():
    rest, held = hold_out({"a": source(), "b": source(10)}, 0.2)
    assert (len(rest["a"]), len(held["a"]), len(rest["b"]), len(held["b"])) == (40, 10, 8, 2)


def test_bad_shares_and_sources():
    with pytest.raises(ValueError, match="`share` should be above 0 and below 1, found 1"):
        hold_out(source(), 1.0)
    with pytest.raises(ValueError, match="at least two samples"):
        hold_out(source(1), 0.5)
    with pytest.raises(ValueError, match="at least one sample"):
        Part(source(), torch.arange(0))
    with pytest.raises(ValueError, match="at least one loader"):
        TwoLevels([], Loader(source(), 4))


def test_a_stream_of_two_levels_resumes_in_place():
    rest, held = hold_out(source(), 0.2)
    loader = TwoLevels(
        [loader_of(part, 4, train=True, seed=1) for part in (rest, source())],
        loader_of(held, 4, train=True, seed=2),
    )
    assert loader.batches_per_epoch == 12
    assert LoaderStream(loader).loader is loader
    stream, again = LoaderStream(loader), LoaderStream(loader)
    for _ in range(17):
        next(stream)
    again.load_state_dict(stream.state_dict())
    one, two = next(stream), next(again)
    assert stream.epoch == again.epoch == 1
    assert len(one.lower) == 2
    for a, b in zip([*one.lower, one.upper], [*two.lower, two.upper], strict=True):
        assert torch.equal(a.inputs, b.inputs)
    assert set(one.upper.targets["a"].tolist()) <= numbers(held)
    assert set(one.lower[0].targets["a"].tolist()) <= numbers(rest)
