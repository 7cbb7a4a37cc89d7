import hashlib

import pytest
import torch

from moml.data import EpisodeBatch
from tasks import Glyphs
from tasks._glyph_classes import CHARACTERS
from tasks._glyph_images import STYLES, glyphs, stacked

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def images():
    return {split: stacked(STYLES, CHARACTERS[split]) for split in SPLITS}


def test_sizes(images):
    assert {s: tuple(images[s].shape) for s in SPLITS} == {
        "train": (441, 12, 28, 28),
        "val": (110, 12, 28, 28),
        "test": (139, 12, 28, 28),
    }
    assert len(set("".join(CHARACTERS.values()))) == 690
    assert all(image.min() == 0 and image.max() > 0.5 for image in images.values())


def test_no_shape_is_in_two_splits(images):
    """Closest pair of characters across splits, in the style where they are closest."""
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        for style in range(12):
            apart = torch.cdist(images[a][:, style].flatten(1), images[b][:, style].flatten(1))
            assert apart.min() >= 1.0, (a, b, STYLES[style])


def test_no_class_is_there_twice(images):
    every = torch.cat(list(images.values())).flatten(2).transpose(0, 1)  # (12, 690, 784)
    apart = torch.cdist(every, every).mean(0)
    assert apart[~torch.eye(690, dtype=torch.bool)].min() > 1


def test_look_alikes_share_a_split():
    where = {c: split for split, characters in CHARACTERS.items() for c in characters}
    assert not set("ΑАОІ") & set(where)  # drawn like Latin A, A, O, I
    for alike in ("ΘƟO", "KК", "πп", "3З", "Ʒʒ", "⎤⎫", "∀Ɐ"):
        assert len({where[c] for c in alike}) == 1, alike


def test_glyphs_are_upright_centred_and_the_same_everywhere():
    one = glyphs("DejaVuSans", "L⊤")
    assert one[0, :, :14].sum() > 2 * one[0, :, 14:].sum()  # stem on the left
    assert one[0, 14:].sum() > 1.5 * one[0, :14].sum()  # foot at the bottom
    assert one[1, :14].sum() > 1.2 * one[1, 14:].sum()
    for image in glyphs("DejaVuSerif", "Ѣჴ∑"):
        rows, columns = (image > 0).nonzero(as_tuple=True)
        for index in (rows, columns):
            assert abs(int(index.min() + index.max()) - 27) <= 1
    bits = stacked(STYLES[::5], "aЖ∇").mul(255).round().to(torch.uint8)
    digest = hashlib.sha256(bits.numpy().tobytes()).hexdigest()
    assert digest[:16] == "f9badf3f80c09cfc"


def test_episodes_hold_twelve_different_images_of_each_class(images):
    suite = Glyphs(ways=3, shots=5, queries=7, distortion=0)
    batch = suite.episodes("train", meta_batch_size=20).batch(0)
    assert batch.support.inputs.shape == (20, 15, 1, 28, 28)
    assert batch.query.inputs.shape == (20, 21, 1, 28, 28)
    assert (batch.support.inputs.amin(), batch.support.inputs.amax()) == suite.bounds
    one = batch.episode(0)
    kind = torch.cat([one.lower[0].inputs[:5], one.upper.inputs[:7]]).flatten(1)
    apart = torch.cdist(kind, images["train"].flatten(0, 1).flatten(1)).argmin(1)
    assert len((apart // 12).unique()) == 1
    assert sorted((apart % 12).tolist()) == list(range(12))


def nearest_pixels(**options):
    """Accuracy of the nearest support image on meta-test episodes, five ways."""
    whole = EpisodeBatch.cat(list(Glyphs(**options).episodes("test", count=100)))
    apart = torch.cdist(whole.query.inputs.flatten(2), whole.support.inputs.flatten(2))
    labels = whole.support.targets["class"].gather(1, apart.argmin(-1))
    return (labels == whole.query.targets["class"]).float().mean().item()


def test_views_make_the_benchmark_hard_for_pixels():
    printed, seen, more_shots = (nearest_pixels(**options) for options in (
        {"distortion": 0}, {}, {"shots": 5}
    ))  # fmt: skip
    assert printed > 0.85
    assert 0.35 < seen < 0.55
    assert 0.6 < more_shots < 0.8


def test_views_are_fresh_in_every_episode_and_keep_to_the_bounds():
    loader = Glyphs().episodes("train", meta_batch_size=8)
    batch, again = loader.batch(1), Glyphs().episodes("train", meta_batch_size=8).batch(1)
    assert torch.equal(batch.support.inputs, again.support.inputs)
    assert batch.query.inputs.min() == 0
    assert batch.query.inputs.max() == 1
    episodes = Glyphs(ways=1, shots=1, queries=11).episodes("train", meta_batch_size=1)
    assert not torch.equal(episodes.batch(0).query.inputs, episodes.batch(1).query.inputs)


def test_network_loss_and_metric_fit():
    suite = Glyphs(ways=7)
    one = suite.episodes("val").batch(0).episode(0).upper
    logits = suite.network()(one.inputs)
    spec = suite.tasks["class"]
    assert logits.shape == (35, 7)
    assert spec.loss.check(one.targets["class"]) is None
    assert spec.loss(logits, one.targets["class"]).item() == pytest.approx(1.95, abs=0.7)
    metric = spec.metrics()[spec.main]
    metric.update(torch.eye(7)[:4], torch.tensor([0, 1, 2, 6]))
    assert metric.compute().item() == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shots": 5, "queries": 8}, r"at most 12, the images there are of .*, found 5 \+ 8"),
        ({"distortion": -1.0}, "`distortion` should be at least 0, found -1.0"),
        ({"ways": 111}, "`ways` should be at most 110, .* found 111"),
        ({"ways": 0}, "`ways` should be at least 1, found 0"),
    ],
)
def test_impossible_episodes(options, message):
    with pytest.raises(ValueError, match=message):
        Glyphs(**options)
