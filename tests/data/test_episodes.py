"""Episodes: pure functions of their number, disjoint support and query, relabelled classes."""

import pytest
import torch

from moml.data import (
    Batch,
    BilevelBatch,
    ClassEpisodes,
    EpisodeBatch,
    EpisodeList,
    EpisodeLoader,
    Stream,
)

SIZES = (7, 5, 9, 6, 5, 8)  # samples of classes 10, 11, ...


def source(ways=4, shots=2, queries=3, **options):
    """The input of a sample is ``(its class, its number)``: nothing is hidden."""
    labels = torch.cat([torch.full((n,), 10 + i) for i, n in enumerate(SIZES)])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    inputs = torch.stack([labels, torch.arange(len(labels))], dim=1)
    return ClassEpisodes(
        inputs[order], labels[order], ways=ways, shots=shots, queries=queries, **options
    )


def draw(count=500, **options):
    return source(**options).sample(torch.Generator().manual_seed(0), count)


def same(a, b):
    return all(
        torch.equal(x.inputs, y.inputs) and torch.equal(x.targets["class"], y.targets["class"])
        for x, y in ((a.support, b.support), (a.query, b.query))
    )


def test_shapes():
    batch = draw(count=7)
    assert len(batch) == 7
    assert batch.support.inputs.shape == (7, 8, 2)
    assert batch.query.inputs.shape == (7, 12, 2)
    assert batch.support.targets["class"].shape == (7, 8)
    assert batch.query.targets["class"].shape == (7, 12)


def test_support_and_query_hold_distinct_samples_of_the_right_class():
    batch = draw()
    for i in range(len(batch)):
        episode = batch.episode(i)
        (support,), query = episode.lower, episode.upper
        numbers = torch.cat([support.inputs[:, 1], query.inputs[:, 1]])
        assert len(numbers.unique()) == len(numbers)
        kinds = {}  # new label -> class
        for part in (support, query):
            for label, kind in zip(
                part.targets["class"].tolist(), part.inputs[:, 0].tolist(), strict=True
            ):
                assert kinds.setdefault(label, kind) == kind
        assert sorted(kinds) == [0, 1, 2, 3]
        assert len(set(kinds.values())) == 4
        assert support.targets["class"].bincount().tolist() == [2, 2, 2, 2]
        assert query.targets["class"].bincount().tolist() == [3, 3, 3, 3]


def test_every_class_is_as_likely_to_get_every_label_and_every_sample_is_used():
    batch = draw(count=3000)
    first = batch.support.inputs[:, ::2, 0] - 10  # (E, N): class behind each label
    for label in range(4):
        shares = first[:, label].bincount(minlength=6) / 3000
        assert (shares - 1 / 6).abs().max() < 0.03
    drawn = torch.cat(
        [batch.support.inputs[..., 1].flatten(), batch.query.inputs[..., 1].flatten()]
    )
    assert len(drawn.unique()) == sum(SIZES)
    last_class = batch.support.inputs[batch.support.inputs[..., 0] == 15][:, 1]  # 8 samples
    shares = (last_class - last_class.min()).bincount(minlength=8) / len(last_class)
    assert (shares - 1 / 8).abs().max() < 0.03


def test_as_many_samples_as_there_are_can_be_asked_for():
    batch = draw(ways=6, shots=2, queries=3, count=20)
    assert batch.query.inputs.shape == (20, 18, 2)


def test_augmentation_draws_from_the_episodes_generator():
    def shift(inputs, generator):
        return inputs + torch.rand(inputs.shape, generator=generator)

    torch.manual_seed(1)
    a = draw(count=3, augment=shift)
    torch.manual_seed(2)
    assert same(a, draw(count=3, augment=shift))
    assert (a.support.inputs != a.support.inputs.floor()).any()


def test_a_meta_batch_is_a_function_of_seed_and_number():
    loader = EpisodeLoader(source(), 4, seed=3)
    later = loader.batch(250)
    loader.batch(7)
    assert same(later, EpisodeLoader(source(), 4, seed=3).batch(250))
    assert not same(later, loader.batch(251))
    assert not same(later, EpisodeLoader(source(), 4, seed=4).batch(250))


def test_a_stream_resumes_at_any_position():
    stream = Stream.of(EpisodeLoader(source(), 4, batches_per_epoch=5))
    for _ in range(7):
        next(stream)
    assert stream.epoch == 1
    other = Stream.of(EpisodeLoader(source(), 4, batches_per_epoch=5))
    other.load_state_dict(stream.state_dict())
    assert same(next(stream), next(other))


def test_a_list_holds_the_same_episodes_however_many_share_a_batch():
    lists = [EpisodeList(source(), 10, meta_batch_size=size, seed=2) for size in (3, 10, 64)]
    assert [len(batch) for batch in lists[0]] == [3, 3, 3, 1]
    assert [len(batch) for batch in lists[2]] == [10]
    wholes = [EpisodeBatch.cat(list(one)) for one in lists]
    assert same(wholes[0], wholes[1])
    assert same(wholes[0], wholes[2])
    assert same(lists[0].batch(1), lists[0].batch(5))  # again from the start
    assert not same(wholes[0], EpisodeList(source(), 10, meta_batch_size=10, seed=3).batch(0))


def test_one_episode_and_stacking_are_inverse():
    batch = draw(count=3)
    episodes = [batch.episode(i) for i in range(3)]
    assert all(isinstance(one, BilevelBatch) for one in episodes)
    assert same(batch, EpisodeBatch.stack([(one.lower[0], one.upper) for one in episodes]))
    assert same(batch, batch.to("cpu"))


def test_fit_takes_episodes_and_resumes_to_the_same_bits(tmp_path):
    from torch import nn

    from moml import fit
    from moml.oracle import Direct
    from moml.problem import Problem
    from moml.training.checkpoint import Checkpoint
    from moml.weighting import EW

    class Regression(Problem):
        """Pooled over episodes: no inner loop, but the loop's own path for episodes."""

        def __init__(self):
            torch.manual_seed(0)
            self.net = nn.Linear(1, 1)

        @property
        def tasks(self):
            return ("support", "query")

        @property
        def module(self):
            return self.net

        def losses(self, batch):
            parts = {"support": batch.support, "query": batch.query}
            return {
                name: (self.net(part.inputs) - part.targets["value"]).pow(2).mean()
                for name, part in parts.items()
            }

        def shared_parameters(self):
            return self.net.parameters()

        def private_parameters(self, task):
            return ()

    def run(steps, folder, resume=False):
        from tasks import Sinusoid

        problem = Regression()
        fit(
            problem, Direct(), EW(), torch.optim.Adam(problem.net.parameters()),
            Sinusoid().episodes("train", meta_batch_size=3, seed=5), steps=steps,
            checkpoint=Checkpoint(folder, every=4, resume=resume),
        )  # fmt: skip
        return problem.net.weight

    whole = run(9, tmp_path / "a")
    run(4, tmp_path / "b")
    assert torch.equal(whole, run(9, tmp_path / "b", resume=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: source(ways=7), r"`ways` should be at most the number of classes \(6\), found 7"),
        (lambda: source(shots=3), r"should be at most 5, .* found 3 \+ 3. Support and query"),
        (lambda: source(queries=0), "`queries` should be at least 1, found 0"),
        (
            lambda: ClassEpisodes(torch.zeros(3, 2), torch.zeros(2), ways=1, shots=1, queries=1),
            r"`labels` should be one integer per input, of shape \(3,\), found \(2,\)",
        ),
        (lambda: EpisodeLoader(source(), 0), "`meta_batch_size` should be at least 1, found 0"),
        (
            lambda: EpisodeLoader(source(), 2, batches_per_epoch=0),
            "`batches_per_epoch` should be at least 1, found 0",
        ),
        (lambda: EpisodeList(source(), 0, meta_batch_size=2), "`count` should be at least 1"),
    ],
)
def test_bad_episodes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_episode_batch_of_other_tasks_keeps_its_names():
    part = Batch(torch.zeros(2, 3, 1), {"value": torch.ones(2, 3, 1)})
    one = EpisodeBatch(part, part).episode(1)
    assert list(one.upper.targets) == ["value"]
