import pytest
import torch

from moml.data import EpisodeBatch
from tasks import Sinusoid


def values(part):
    return part.targets["value"][..., 0].double()


def test_every_episode_is_a_sine_of_the_papers_range():
    batch = Sinusoid(shots=5, queries=15).episodes("train", meta_batch_size=300).batch(0)
    assert batch.support.inputs.shape == (300, 5, 1)
    assert batch.query.inputs.shape == (300, 15, 1)
    x, y = batch.query.inputs[..., 0].double(), values(batch.query)
    basis = torch.stack([x.sin(), x.cos()], dim=-1)  # (E, Q, 2): a sin(x - p) is in its span
    fit = torch.linalg.lstsq(basis, y[..., None]).solution
    torch.testing.assert_close((basis @ fit)[..., 0], y, atol=1e-5, rtol=0)
    amplitude = fit.norm(dim=1)[:, 0]
    phase = torch.atan2(-fit[:, 1, 0], fit[:, 0, 0])
    assert 0.1 <= amplitude.min() < 0.5
    assert 4.5 < amplitude.max() <= 5 + 1e-4
    assert -1e-3 < phase.min() < 0.2
    assert 2.9 < phase.max() < torch.pi + 1e-3
    support = batch.support.inputs[..., 0].double()
    basis = torch.stack([support.sin(), support.cos()], dim=-1)
    torch.testing.assert_close((basis @ fit)[..., 0], values(batch.support), atol=1e-4, rtol=0)
    assert x.min() > -5 and x.max() < 5 and x.std() == pytest.approx(10 / 12**0.5, abs=0.1)


def test_splits_and_seeds_are_sequences_of_their_own_and_evaluation_is_fixed():
    first = {
        (split, seed): Sinusoid().episodes(split, meta_batch_size=2, seed=seed).batch(0)
        for split in ("train", "val", "test")
        for seed in (0, 1)
    }

    def inputs(split, seed):
        return first[split, seed].support.inputs

    assert not torch.equal(inputs("train", 0), inputs("train", 1))
    assert torch.equal(inputs("val", 0), inputs("val", 1))
    assert torch.equal(inputs("test", 0), inputs("test", 1))
    assert not torch.equal(inputs("val", 0), inputs("test", 0))
    assert not torch.equal(inputs("train", 0)[0], inputs("val", 0)[0])
    other = Sinusoid(seed=1).episodes("val", meta_batch_size=2).batch(0)
    assert not torch.equal(inputs("val", 0), other.support.inputs)


def test_mean_square_is_what_the_docstring_says():
    whole = EpisodeBatch.cat(list(Sinusoid().episodes("test", count=2000)))
    assert len(whole) == 2000
    assert values(whole.query).pow(2).mean().item() == pytest.approx(4.25, abs=0.2)


def test_network_loss_and_metric_fit():
    suite = Sinusoid()
    network = suite.network()
    assert [name for name, _ in network.named_children()] == ["encoder", "head"]
    assert [tuple(p.shape) for p in network.parameters()] == [
        (40, 1), (40,), (40, 40), (40,), (1, 40), (1,)
    ]  # fmt: skip
    query = suite.episodes("val").batch(0).episode(0).upper
    spec = suite.tasks["value"]
    prediction = network(query.inputs)
    assert spec.loss(prediction, query.targets["value"]).isfinite()
    assert spec.loss.check(query.targets["value"]) is None
    metric = spec.metrics()[spec.main]
    metric.update(prediction.detach(), query.targets["value"])
    assert metric.compute().item() == pytest.approx(
        spec.loss(prediction, query.targets["value"]).item(), rel=1e-5
    )
    assert metric.higher_is_better is False


@pytest.mark.parametrize("name", ["shots", "queries"])
def test_no_points(name):
    with pytest.raises(ValueError, match=f"`{name}` should be at least 1, found 0"):
        Sinusoid(**{name: 0})
