"""Office-31 and Office-Home: lists and class folders."""

import numpy as np
import pytest
import torch
from PIL import Image

from tasks import Office31, OfficeHome
from tasks._files.images import IMAGENET_MEAN, IMAGENET_STD
from tests.trees import office, office31, office_home


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return office31(tmp_path_factory.mktemp("office31"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return office_home(tmp_path_factory.mktemp("office_home"))


def test_lists_say_what_is_in_a_split(lists):
    suite = Office31(lists, size=12)
    assert suite.found.layout == "list files"
    sources = suite.sources("val")
    assert {domain: len(source) for domain, source in sources.items()} == dict.fromkeys(
        ("amazon", "dslr", "webcam"), 31
    )
    batch = sources["dslr"].batch(torch.tensor([4]))
    assert batch.targets["dslr"].tolist() == [4]
    with Image.open(lists / "dslr/images/kind 04/frame_0001.jpg") as image:
        written = np.asarray(image.resize((12, 12), Image.Resampling.BILINEAR)) / 255
    expected = (written - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(batch.inputs[0].permute(1, 2, 0), expected, atol=1e-5)


def test_pictures_for_attacks_lie_between_0_and_1(lists):
    batch = Office31(lists, size=12, normalize=False).loader("test", batch_size=8).batch(0)
    assert all(0 <= x.min() < 0.2 and 0.8 < x.max() <= 1 for x in batch.inputs.values())


def test_class_folders_are_divided_within_each_class(folders):
    suite = OfficeHome(folders, size=12)
    assert suite.found.layout == "class folders"
    for split in ("train", "val", "test"):
        for domain, source in suite.sources(split).items():
            labels = source.batch(torch.arange(len(source))).targets[domain]
            assert labels.bincount(minlength=65).tolist() == [1] * 65
    other = OfficeHome(folders, size=12, seed=1)._items["Art"]["val"]
    assert other != suite._items["Art"]["val"]


def test_some_domains_only(tmp_path):
    office(tmp_path, ("webcam",), 31)
    suite = Office31(tmp_path, domains=["webcam"], size=12)
    assert list(suite.tasks) == ["webcam"]
    with pytest.raises(ValueError, match=r"without amazon"):
        Office31(tmp_path)
    with pytest.raises(ValueError, match="`domains` should be distinct and among"):
        Office31(tmp_path, domains=["sketch"])


def rewritten(root, text):
    office31(root)
    (root / "dslr_val.txt").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dslr/images/kind 00/frame_0000.jpg", r"Line 1 of '.*' should be a path and a class"),
        ("dslr/images/kind 00/frame_0000.jpg 31", r"class 0..30, found 'dslr"),
        ("dslr/images/kind 00/gone.jpg 0", r"1 files missing .*'dslr_val.txt' names; the first"),
        ("\n", "should list at least one picture"),
    ],
)
def test_wrong_lists(text, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Office31(rewritten(tmp_path, text))


def test_incomplete_classes(tmp_path):
    office(tmp_path, ("Art", "Clipart", "Product", "Real_World"), 3)
    with pytest.raises(ValueError, match="all 65 classes of Office-Home, found 3 folders"):
        OfficeHome(tmp_path)


def test_a_truncated_picture(tmp_path):
    file = office31(tmp_path) / "amazon/images/kind 00/frame_0000.jpg"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"whole pictures, found '.*frame_0000.jpg': \w"):
        Office31(tmp_path).sources("train")["amazon"].batch(torch.tensor([0]))
