import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tasks import TwoDigits
from tasks._overlay import OverlaySource

SPLITS = ("train", "val", "test")
COUNTS = (1200, 100, 497)


def same(a, b):
    return torch.equal(a.inputs, b.inputs) and all(
        torch.equal(a.targets[t], b.targets[t]) for t in a.targets
    )


def test_splits_share_no_source_digit():
    items = {s: set(TwoDigits().sources(s).pairs.flatten().tolist()) for s in SPLITS}
    assert not items["train"] & items["val"]
    assert not items["train"] & items["test"]
    assert not items["val"] & items["test"]
    assert [len(items[s]) for s in SPLITS] == list(COUNTS)  # and every digit is used


def test_overlay_equals_the_hand_computation():
    digits = load_digits()
    source = TwoDigits(seed=3).sources("test")
    batch = source.batch(torch.arange(20))
    assert batch.inputs.shape == (20, 1, 10, 10)
    for k in range(20):
        left, right = source.pairs[k].tolist()
        canvas = np.zeros((2, 10, 10))
        canvas[0, :8, :8] = digits.images[left] / 16
        canvas[1, 2:, 2:] = digits.images[right] / 16
        np.testing.assert_allclose(batch.inputs[k, 0], canvas.max(0), atol=1e-7)
        assert batch.targets["left"][k] == digits.target[left]
        assert batch.targets["right"][k] == digits.target[right]


def test_a_batch_does_not_write_into_the_digits():
    images = torch.rand(2, 8, 8)
    before = images.clone()
    source = OverlaySource(images, torch.tensor([1, 2]), torch.tensor([[0, 1], [1, 0]]), offset=2)
    source.batch(torch.tensor([0, 1, 1]))
    assert torch.equal(images, before)


def test_data_depend_on_the_seed_alone():
    for split in SPLITS:
        one, again, other = (TwoDigits(seed=s).loader(split).batch(0) for s in (0, 0, 1))
        assert same(one, again)
        assert not same(one, other)


def test_multi_input_gives_every_task_pairs_of_its_own():
    batch = TwoDigits(multi_input=True).loader("train", batch_size=16).batch(0)
    assert list(batch.inputs) == list(batch.targets) == ["left", "right"]
    assert not torch.equal(batch.inputs["left"], batch.inputs["right"])
    shared = TwoDigits().sources("train").pairs
    own = TwoDigits(multi_input=True).sources("train")
    assert not torch.equal(own["left"].pairs, own["right"].pairs)
    assert not torch.equal(own["left"].pairs, shared)
    assert list(own["left"].batch(torch.arange(2)).targets) == ["left"]


@pytest.mark.parametrize("multi_input", [False, True])
def test_missing_drops_that_share_of_training_labels_only(multi_input):
    suite = TwoDigits(missing=0.75, multi_input=multi_input)
    train = suite.loader("train", batch_size=20_000).batch(0)
    assert {t: int(p.sum()) for t, p in train.present.items()} == {"left": 5000, "right": 5000}
    assert not torch.equal(train.present["left"], train.present["right"])
    assert suite.loader("test").batch(0).present is None
    again = TwoDigits(missing=0.75, multi_input=multi_input).loader("train", batch_size=20_000)
    assert torch.equal(again.batch(0).present["left"], train.present["left"])


@pytest.mark.parametrize("missing", [-0.1, 1.0])
def test_missing_out_of_range(missing):
    with pytest.raises(ValueError, match="`missing` should be at least 0 and below 1"):
        TwoDigits(missing=missing)


def test_every_label_passes_its_losss_check_and_networks_fit():
    suite = TwoDigits()
    batch = suite.loader("val").batch(0)
    encoder = suite.encoder()
    features = encoder(batch.inputs)
    for task, spec in suite.tasks.items():
        assert spec.loss.check(batch.targets[task]) is None
        prediction = suite.head(task, encoder.out_features)(features)
        assert spec.loss(prediction, batch.targets[task]).item() == pytest.approx(2.3, abs=0.2)


def test_accuracy_is_the_share_of_right_answers():
    spec = TwoDigits().tasks["left"]
    metric = spec.metrics()[spec.main]
    metric.update(torch.eye(10)[:4], torch.tensor([0, 1, 2, 9]))
    metric.update(torch.eye(10)[:1], torch.tensor([5]))
    assert metric.compute().item() == pytest.approx(3 / 5)
    assert metric.higher_is_better is True
