"""Omniglot, miniImageNet and CIFAR-FS: which class a picture belongs to, in every layout."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from tasks import CIFARFS, MiniImageNet, Omniglot
from tasks._cifar_fs_files import NAMES, ORDER
from tests.few_shot_trees import (
    cifar_fs,
    classes_in_splits,
    mini_imagenet,
    mini_imagenet_lists,
    omniglot,
)
from tests.tree_tools import noise, rng
from tests.trees import cifar100

SPLITS = ("train", "val", "test")


def whole(suite, split):
    """All pictures of a split and their classes."""
    source = suite.source(split)
    kinds = [[i for i in row.tolist() if i >= 0] for row in source.members]
    return [source.inputs[torch.tensor(kind)] for kind in kinds]


@pytest.fixture(scope="module")
def characters(tmp_path_factory):
    return omniglot(tmp_path_factory.mktemp("omniglot"))


def test_ink_is_one_and_rotations_are_classes(characters):
    plain = Omniglot(characters, rotations=False, ways=2, queries=2)
    for kind in whole(plain, "train"):
        assert kind.shape == (3, 1, 28, 28)
        assert kind[:, 0, 14:, 14:].max() == 0  # paper
        assert kind[:, 0, 10:14, 3:5].min() > 0.99  # the stroke at the left
        assert kind[:, 0, 2, 25].min() > 0.9  # the dot at the top right
    turned = whole(Omniglot(characters, ways=2, queries=2), "train")
    straight = whole(plain, "train")
    assert len(turned) == 4 * len(straight)
    for k in range(4):
        for one, other in zip(turned[k * len(straight) :], straight, strict=False):
            torch.testing.assert_close(one, other.rot90(k, (2, 3)))


def test_characters_are_in_one_split_only(characters):
    names = Omniglot(characters, ways=2, queries=2)._characters
    assert [len(names[s]) for s in SPLITS] == [20, 2, 8]
    assert len(set().union(*names.values())) == 30
    assert names["train"].keys() != Omniglot(characters, ways=2, seed=1)._characters["train"].keys()


def test_alphabets_are_in_one_split_only(characters):
    names = Omniglot(characters, ways=2, by_alphabet=True)._characters
    alphabets = {split: {n.split("/")[0] for n in found} for split, found in names.items()}
    assert alphabets["test"] == {"D", "E"}
    assert alphabets["train"] | alphabets["val"] == {"A", "B", "C"}
    assert not alphabets["train"] & alphabets["val"]


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_labels_of_the_pickles_come_from_their_dictionary(validation, tmp_path):
    suite = MiniImageNet(mini_imagenet(tmp_path, validation=validation), queries=2)
    for split, name in (("train", "train"), ("val", validation), ("test", "test")):
        content = pickle.loads((tmp_path / f"mini-imagenet-cache-{name}.pkl").read_bytes())
        kinds = whole(suite, split)
        assert len(kinds) == len(content["class_dict"])
        for kind, rows in zip(kinds, content["class_dict"].values(), strict=True):
            written = content["image_data"][sorted(rows)].transpose(0, 3, 1, 2)
            np.testing.assert_allclose(kind * 255, written, atol=1e-4)


def test_lists_and_class_folders(tmp_path):
    listed = MiniImageNet(mini_imagenet_lists(tmp_path / "a"), queries=2)
    assert listed.found.layout == "pictures and lists"
    with Image.open(tmp_path / "a/images/nva00000300000001.jpg") as image:
        written = np.asarray(image.resize((84, 84), Image.Resampling.BILINEAR))
    found = whole(listed, "val")[3][1]
    np.testing.assert_allclose(found.permute(1, 2, 0) * 255, written, atol=1e-4)
    foldered = MiniImageNet(classes_in_splits(tmp_path / "b", 84, ending="jpg"), queries=2)
    assert foldered.found.layout == "class folders"
    assert [len(whole(foldered, split)) for split in SPLITS] == [6, 5, 5]


def test_a_picture_is_decoded_once(tmp_path):
    suite = MiniImageNet(mini_imagenet_lists(tmp_path), queries=2)
    first = whole(suite, "val")
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    assert all(torch.equal(x, y) for x, y in zip(first, whole(suite, "val"), strict=True))


def test_a_drawing_is_decoded_once(tmp_path):
    root = omniglot(tmp_path)
    suite = Omniglot(root, ways=2, queries=2)
    first = whole(suite, "test")
    for file in root.glob("*/*/*/*.png"):
        file.unlink()
    assert all(torch.equal(x, y) for x, y in zip(first, whole(suite, "test"), strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"image_data": np.zeros((2, 32, 32, 3), np.uint8)}, "N x 84 x 84 x 3, found .2, 32"),
        ({"image_data": np.zeros((2, 84, 84, 3), np.uint8), "class_dict": {"a": [0]}}, "1 pict"),
        ({"image_data": np.zeros((1, 84, 84, 3)), "class_dict": {"a": [0]}}, "bytes.*float64"),
    ],
)  # fmt: skip
def test_wrong_pickles(content, message, tmp_path):
    mini_imagenet(tmp_path)
    (tmp_path / "mini-imagenet-cache-val.pkl").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=message):
        MiniImageNet(tmp_path).source("val")


def test_the_published_split_of_cifar_100():
    assert [len(NAMES[split]) for split in SPLITS] == [64, 16, 20]
    assert len(set(ORDER)) == 100
    assert (ORDER[0], ORDER[1], ORDER[53], ORDER[99]) == (
        "apple",
        "aquarium_fish",
        "orange",
        "worm",
    )


def test_cifar_fs_from_cifar_100(tmp_path):
    root = cifar100(tmp_path)
    suite = CIFARFS(root, ways=2, shots=1, queries=1)
    assert suite.found.layout == "CIFAR-100's pickled batches"
    content = {
        f: pickle.loads((root / "cifar-100-python" / f).read_bytes()) for f in ("train", "test")
    }
    present = set(content["train"]["fine_labels"])
    for split in SPLITS:
        kinds = whole(suite, split)
        expected = sorted(ORDER.index(n) for n in NAMES[split] if ORDER.index(n) in present)
        assert len(kinds) == len(expected)
        for kind, label in zip(kinds, expected, strict=True):
            rows = [
                np.asarray(c["data"])[np.array(c["fine_labels"]) == label] for c in content.values()
            ]
            np.testing.assert_allclose(kind.flatten(1) * 255, np.concatenate(rows), atol=1e-4)


def test_cifar_fs_in_its_other_layouts(tmp_path):
    listed = CIFARFS(cifar_fs(tmp_path / "a"), queries=2)
    with Image.open(tmp_path / "a/cifar100/data/val_2/1.png") as image:
        np.testing.assert_allclose(
            whole(listed, "val")[2][1].permute(1, 2, 0) * 255, np.asarray(image), atol=1e-4
        )
    foldered = CIFARFS(classes_in_splits(tmp_path / "b", 32), queries=2)
    assert [len(whole(foldered, split)) for split in SPLITS] == [6, 5, 5]
    (tmp_path / "c").mkdir()
    for split in SPLITS:
        content = {"data": noise(rng(), 15, 32, 32, 3), "labels": [i % 5 for i in range(15)]}
        (tmp_path / f"c/CIFAR_FS_{split}.pickle").write_bytes(pickle.dumps(content))
    pickled = CIFARFS(tmp_path / "c", queries=2)
    written = content["data"][2::5].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(whole(pickled, "test")[2] * 255, written, atol=1e-4)
