"""Typefaces as domains: splits by (face, character), and the semi-supervised view."""

import pytest
import torch

from moml.data import Stream
from tasks import FontAdaptation, FontDomains, _font_images
from tasks._distortion import Distortion
from tasks._font_images import CHARACTERS, DOMAINS, FACES, VIEWS, items
from tasks._glyph_images import stacked

SPLITS = ("train", "val", "test")


def test_every_face_of_a_character_is_in_one_split():
    for domain in DOMAINS:
        every = torch.cat([items(domain, split, 0) for split in SPLITS], dim=1)  # (47, 4)
        assert torch.equal(every.sort(1).values, torch.arange(4).expand(47, 4))
        used = items(domain, "test", 0).flatten().bincount(minlength=4)
        assert used.min() > 3  # every face occurs in every split
    assert not torch.equal(items("sans", "test", 0), items("sans", "test", 1))
    assert not torch.equal(items("sans", "test", 0), items("serif", "test", 0))


def test_faces_draw_different_images():
    for domain, faces in FACES.items():
        flat = stacked(faces, CHARACTERS).flatten(2)  # (47, 4, 784)
        for i, image in enumerate(flat):
            apart = torch.cdist(image, image) + 9 * torch.eye(4)
            assert apart.min() > 0.5, (domain, CHARACTERS[i])


@pytest.mark.parametrize("split", SPLITS)
def test_sizes_and_ranges(split):
    sources = FontDomains(domains=DOMAINS).sources(split)
    assert list(sources) == list(DOMAINS)
    for domain, source in sources.items():
        faces = 2 if split == "train" else 1
        assert len(source) == 47 * faces * VIEWS[split][domain]
        assert source.inputs.shape[1:] == (1, 28, 28)
        assert (source.inputs.min(), source.inputs.max()) == (0, 1)
        assert (source.targets[domain].bincount() == len(source) // 47).all()
    said = {"train": [940, 752, 564, 564, 376], "val": [94] * 5, "test": [188] * 5}
    assert [len(source) for source in sources.values()] == said[split]


def test_images_show_their_label_in_a_face_of_their_split(monkeypatch):
    """Without the random views, every image is a character as printed."""
    monkeypatch.setattr(_font_images, "RANDOM", Distortion())
    for domain, faces in FACES.items():
        printed = stacked(faces, CHARACTERS)
        for split in SPLITS:
            images, labels = _font_images.views.__wrapped__(domain, split, 0)
            copies, chosen = VIEWS[split][domain], items(domain, split, 0)
            for k in range(0, len(images), 37):
                label = int(labels[k])
                place = (k // copies) % chosen.shape[1]
                face = chosen[label, place]
                torch.testing.assert_close(images[k, 0], printed[label, face], atol=1e-5, rtol=0)


def test_data_depend_on_the_seed_alone():
    a, other = (FontDomains(domains=["mono"], seed=s).sources("val")["mono"].inputs for s in (0, 1))
    again = FontDomains(domains=["tex", "mono"]).sources("val")["mono"].inputs
    assert torch.equal(a, again)
    assert not torch.equal(a, other)


def test_loader_and_networks_fit():
    suite = FontDomains()
    batch = suite.loader("train", batch_size=8).batch(0)
    assert batch.multi_input
    encoder = suite.encoder()
    for task, spec in suite.tasks.items():
        prediction = suite.head(task, encoder.out_features)(encoder(batch.inputs[task]))
        assert spec.loss.check(batch.targets[task]) is None
        assert spec.loss(prediction, batch.targets[task]).item() == pytest.approx(3.85, abs=1.2)
        assert spec.metrics()[spec.main].higher_is_better


def test_adaptation_gives_three_inputs_and_two_targets():
    data = FontAdaptation(source="serif", target="tex", shots=3)
    batch = next(Stream.of(data.loader("train", batch_size=16)))
    assert list(batch.inputs) == ["source", "target_labelled", "target_unlabelled"]
    assert list(batch.targets) == ["source", "target_labelled"]
    assert all(x.shape == (16, 1, 28, 28) for x in batch.inputs.values())
    loader = data.loader("train", batch_size=16)
    assert loader.batches_per_epoch == 752 // 16  # the longest set


def test_adaptation_keeps_a_few_labels_and_hides_the_rest():
    data = FontAdaptation(source="serif", target="tex", shots=3)
    sources = data.sources()
    assert [len(s) for s in sources.values()] == [752, 3 * 47, 376 - 3 * 47]
    labelled = sources["target_labelled"]
    assert (labelled.targets["target_labelled"].bincount() == 3).all()
    assert not sources["target_unlabelled"].targets
    everything = FontDomains(domains=["tex"]).sources("train")["tex"].inputs
    parts = torch.cat([labelled.inputs, sources["target_unlabelled"].inputs])
    ink, whole = (images.flatten(1).sum(1).sort().values for images in (parts, everything))
    assert torch.equal(ink, whole)
    other = FontAdaptation(source="serif", target="tex", shots=3, seed=1).sources()
    assert not torch.equal(other["target_labelled"].inputs, labelled.inputs)


def test_adaptation_is_judged_on_target_faces_not_seen():
    data = FontAdaptation()
    (batch,) = data.loader("test", batch_size=188)
    assert torch.equal(batch.inputs, FontDomains(domains=["stix"]).sources("test")["stix"].inputs)
    assert data.task.loss.check(batch.targets["class"]) is None
    assert data.encoder()(batch.inputs[:2]).shape == (2, 32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FontDomains(domains=()), "`domains` should be distinct and among"),
        (lambda: FontDomains(domains=("sans", "comic")), "`domains` should be distinct and among"),
        (
            lambda: FontAdaptation(source="tex", target="tex"),
            "`source` and `target` should be d",
        ),
        (lambda: FontAdaptation(target="tex", shots=8), "between 1 and 7, for 'tex' has 8 .* 8"),
        (lambda: FontAdaptation(shots=0), "`shots` should be between 1 and 11"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
