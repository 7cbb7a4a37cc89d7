import pytest
import torch

from tasks import DigitAttributes
from tasks._digit_images import digits, enlarged, items

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def whole():
    return DigitAttributes().sources("test").batch(torch.arange(994))


def test_counts():
    assert [len(DigitAttributes().sources(s)) for s in SPLITS] == [4800, 400, 994]


def test_attributes_follow_from_the_digit(whole):
    digit = whole.targets["digit"]
    assert torch.equal(digit, digits()[1][items("test", 0)].repeat(2))
    for value in range(10):
        here = digit == value
        assert (whole.targets["parity"][here] == value % 2).all()
        assert (whole.targets["high"][here] == (value > 4)).all()
        assert (whole.targets["loop"][here] == (value in {0, 6, 8, 9})).all()


def test_place_and_background_are_independent_of_the_digit(whole):
    for task, number in (("corner", 4), ("background", 2)):
        for value in range(10):
            share = whole.targets[task][whole.targets["digit"] == value].bincount(minlength=number)
            assert (share > 0.1 * share.sum()).all()


def test_the_digit_is_in_its_corner(whole):
    strokes = enlarged(digits()[0][items("test", 0)], 12)
    for k in range(20):
        corner = int(whole.targets["corner"][k])
        top, left = 4 * (corner // 2), 4 * (corner % 2)
        assert (whole.inputs[k, 0, top : top + 12, left : left + 12] >= strokes[k]).all()
        ring = whole.inputs[k, 0].clone()
        ring[top : top + 12, left : left + 12] = 0
        assert ring.max() <= 0.6


def test_data_depend_on_the_seed_alone():
    a, again, other = (DigitAttributes(seed=s).sources("val").inputs for s in (0, 0, 1))
    assert torch.equal(a, again)
    assert not torch.equal(a, other)


def test_networks_and_labels_fit(whole):
    suite = DigitAttributes()
    encoder = suite.encoder()
    features = encoder(whole.inputs[:8])
    for task, spec in suite.tasks.items():
        prediction = suite.head(task, encoder.out_features)(features)
        assert spec.loss.check(whole.targets[task]) is None
        assert spec.loss(prediction, whole.targets[task][:8]).isfinite()
        assert spec.metrics()[spec.main].higher_is_better
