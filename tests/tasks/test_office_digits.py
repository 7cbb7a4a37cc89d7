import pytest
import torch

from moml.data import Source
from tasks import OfficeDigits
from tasks._digit_images import BANDS, items, patches, photographs
from tasks.office_digits import COPIES, DOMAINS, _outlines

SPLITS = ("train", "val", "test")


def test_splits_share_no_source_digit_in_any_domain():
    chosen = {split: set(items(split, 0).tolist()) for split in SPLITS}
    assert [len(chosen[s]) for s in SPLITS] == [1200, 100, 497]
    assert len(set.union(*chosen.values())) == 1797


def test_photographs_are_cut_into_bands_that_do_not_overlap():
    edges = [edge for split in SPLITS for edge in BANDS[split]]
    assert edges == sorted(edges)
    height, width = photographs()[0].shape
    assert width * (BANDS["val"][1] - BANDS["val"][0]) >= 24 <= height  # the largest patch fits


def test_a_patch_is_a_piece_of_its_photograph():
    which = torch.tensor([0, 1])
    found = patches(which, 16, "test", torch.Generator().manual_seed(0))
    for photo, patch in zip(photographs(), found, strict=True):
        band = photo[:, round(0.75 * photo.shape[1]) :]
        windows = band.unfold(0, 16, 1).unfold(1, 16, 1)
        assert (windows == patch).flatten(2).all(2).any()


@pytest.mark.parametrize("split", SPLITS)
def test_every_domain_has_a_source_of_its_own(split):
    sources = OfficeDigits(domains=DOMAINS).sources(split)
    assert list(sources) == list(DOMAINS)
    for domain, source in sources.items():
        assert isinstance(source, Source)
        batch = source.batch(torch.arange(len(source)))
        assert batch.inputs.shape[1:] == (1, 16, 16)
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() <= 1
        assert list(batch.targets) == [domain]
        copies = COPIES[domain] if split == "train" else 1
        assert len(source) == {"train": 1200, "val": 100, "test": 497}[split] * copies


def test_domains_show_the_same_digits_differently():
    suite = OfficeDigits(domains=DOMAINS)
    plain, *others = (suite.sources("test")[d].batch(torch.arange(497)) for d in DOMAINS)
    for domain, batch in zip(DOMAINS[1:], others, strict=True):
        assert torch.equal(batch.targets[domain], plain.targets["plain"])
        assert (batch.inputs - plain.inputs).abs().mean() > 0.05
    turned = others[DOMAINS.index("turned") - 1].inputs
    assert turned.mean() > 0.5 > plain.inputs.mean()  # inverted


def test_outlines_of_a_step_are_where_it_is():
    image = torch.zeros(1, 6, 6)
    image[:, :, 3:] = 1.0
    assert torch.equal(_outlines(image)[0, 2], torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))


def test_data_depend_on_the_seed_alone():
    for domain in ("photo", "noisy"):
        a, other = (
            OfficeDigits(domains=[domain], seed=s).sources("val")[domain].inputs for s in (0, 1)
        )
        again = OfficeDigits(domains=["plain", domain]).sources("val")[domain].inputs
        assert torch.equal(a, again)
        assert not torch.equal(a, other)


def test_loader_and_networks_fit():
    suite = OfficeDigits(size=12)
    batch = suite.loader("train", batch_size=8).batch(0)
    assert batch.multi_input
    encoder = suite.encoder()
    for task, spec in suite.tasks.items():
        prediction = suite.head(task, encoder.out_features)(encoder(batch.inputs[task]))
        assert spec.loss.check(batch.targets[task]) is None
        assert spec.loss(prediction, batch.targets[task]).item() == pytest.approx(2.3, abs=0.3)
        assert spec.metrics()[spec.main].higher_is_better


@pytest.mark.parametrize("domains", [(), ("plain", "plain"), ("plain", "dslr")])
def test_wrong_domains(domains):
    with pytest.raises(ValueError, match="`domains` should be distinct and among"):
        OfficeDigits(domains=domains)


def test_wrong_size():
    with pytest.raises(ValueError, match="`size` should be between 8 and 24"):
        OfficeDigits(size=32)
