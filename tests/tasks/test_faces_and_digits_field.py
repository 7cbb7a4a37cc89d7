"""CelebA and MultiMNIST."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from moml.metrics import BinaryAccuracy, BinaryF1
from tasks import CelebA, MultiMNIST
from tests.tree_tools import rng
from tests.trees import ATTRIBUTES, celeba, celeba_tables, faces, idx, mnist


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return celeba(tmp_path_factory.mktemp("celeba"))


def moved(source, root, names):
    """The same files under other names."""
    for old, new in names.items():
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / new).write_bytes((source / old).read_bytes())
    return root


def test_attributes_and_splits_are_those_of_the_lists(published):
    names, signs, parts = faces(rng())
    suite = CelebA(published, size=18)
    assert list(suite.tasks) == list(ATTRIBUTES)
    for number, split in enumerate(("train", "val", "test")):
        rows = [i for i, part in enumerate(parts) if part == number]
        batch = suite.sources(split).batch(torch.arange(len(rows)))
        found = torch.stack(list(batch.targets.values()), 1)
        np.testing.assert_array_equal(found, (signs[rows] + 1) / 2)
        with Image.open(published / "Img/img_align_celeba" / names[rows[0]]) as image:
            written = np.asarray(image.resize((18, 18), Image.Resampling.BILINEAR)) / 255
        np.testing.assert_allclose(batch.inputs[0].permute(1, 2, 0), written, atol=1e-6)


def test_chosen_attributes(published):
    suite = CelebA(published, size=18, attributes=["Attribute_31", "Attribute_02"])
    every = CelebA(published, size=18).sources("val").batch(torch.arange(4)).targets
    some = suite.sources("val").batch(torch.arange(4)).targets
    assert list(some) == ["Attribute_31", "Attribute_02"]
    assert torch.equal(some["Attribute_31"], every["Attribute_31"])
    with pytest.raises(ValueError, match=r"`attributes` should be among .* found Bald"):
        CelebA(published, attributes=["Bald"])


def test_other_layouts(published, tmp_path):
    tables = CelebA(celeba_tables(tmp_path / "tables"), size=18)
    assert tables.found.layout == "comma-separated tables"
    flat = {f"{a}/{n}.txt": f"celeba/{n}.txt" for a, n in (
        ("Anno", "list_attr_celeba"), ("Eval", "list_eval_partition")
    )}  # fmt: skip
    for name in faces(rng())[0]:
        flat[f"Img/img_align_celeba/{name}"] = f"celeba/img_align_celeba/{name}"
    torchvision = CelebA(moved(published, tmp_path / "flat", flat), size=18)
    assert torchvision.found.layout == "torchvision's folder"
    plain = CelebA(published, size=18).sources("test").batch(torch.arange(4))
    for other in (tables, torchvision):
        batch = other.sources("test").batch(torch.arange(4))
        assert all(torch.equal(y, batch.targets[task]) for task, y in plain.targets.items())


def test_png_files_under_names_of_jpg(tmp_path):
    root = celeba(tmp_path)
    for file in (root / "Img/img_align_celeba").iterdir():
        other = root / "Img/img_align_celeba_png" / f"{file.stem}.png"
        other.parent.mkdir(exist_ok=True)
        with Image.open(file) as image:
            image.save(other)
        file.unlink()
    (root / "Img/img_align_celeba").rmdir()
    assert CelebA(root, size=18).sources("train").batch(torch.arange(2)).inputs.max() > 0.5


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Anno/list_attr_celeba.txt", " 1", " 0", "should hold -1 or 1 for each of 40 attributes"),
        ("Anno/list_attr_celeba.txt", "-1", "no", "should hold -1 and 1 below the names"),
        ("Eval/list_eval_partition.txt", ".jpg 2", ".jpg 3", "0, 1 or 2, found '000003.jpg 3'"),
        ("Eval/list_eval_partition.txt", "000005", "000099", "found '000099.jpg 1'"),
    ],
)
def test_damaged_lists(file, old, new, message, tmp_path):
    path = celeba(tmp_path) / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        CelebA(tmp_path)


def test_missing_faces(tmp_path):
    (celeba(tmp_path) / "Img/img_align_celeba/000004.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 pictures of the lists missing .* is 000004.jpg"):
        CelebA(tmp_path)


def test_scores_of_logits():
    """All logits between 0 and 1: still logits."""
    logits, answers = torch.tensor([0.1, 0.2, 0.9, -0.1]), torch.tensor([1.0, 0.0, 1.0, 1.0])
    f1, accuracy = BinaryF1(), BinaryAccuracy()
    for part in (slice(0, 2), slice(2, 4)):
        f1.update(logits[part, None], answers[part])
        accuracy.update(logits[part, None], answers[part])
    assert f1.compute() == pytest.approx(2 * 2 / (3 + 3))
    assert accuracy.compute() == pytest.approx(1 / 2)
    f1.reset()
    f1.update(-logits[:3], 0 * answers[:3])
    assert f1.compute() == 0


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return mnist(tmp_path_factory.mktemp("mnist"))


def test_pairs_are_overlaid_on_36_pixels_and_read_at_28(digits):
    suite = MultiMNIST(digits)
    source = suite.sources("test")
    batch = source.batch(torch.arange(6))
    raw = (digits / "t10k-images-idx3-ubyte").read_bytes()[16:]
    images = np.frombuffer(raw, np.uint8).reshape(6, 28, 28) / 255
    rows = np.arange(28) * 36 // 28
    for k, (left, right) in enumerate(source.pairs.tolist()):
        canvas = np.zeros((2, 36, 36))
        canvas[0, :28, :28], canvas[1, 6:34, 6:34] = images[left], images[right]
        expected = canvas.max(0)[rows][:, rows]
        np.testing.assert_allclose(batch.inputs[k, 0], expected, atol=1e-6)
        assert batch.targets["left"][k] == left % 10
        assert batch.targets["right"][k] == right % 10


def test_no_digit_is_in_two_splits(digits):
    pairs = {s: MultiMNIST(digits).sources(s).pairs for s in ("train", "val")}
    assert [len(p) for p in pairs.values()] == [20, 4]
    assert not set(pairs["train"].flatten().tolist()) & set(pairs["val"].flatten().tolist())


def test_missing_labels_of_pairs(digits):
    batch = MultiMNIST(digits, missing=0.5).loader("train", batch_size=20).batch(0)
    assert {task: int(mask.sum()) for task, mask in batch.present.items()} == {
        "left": 10, "right": 10
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], r"of 18832 bytes .*, found 18831"),
        ("train-images-idx3-ubyte", lambda b: b"\0\0\x08\x01" + b[4:], "the number 2051, found"),
        ("train-labels-idx1-ubyte.gz", lambda b: b[:-9], "whole files, found '.*gz'"),
        ("train-labels-idx1-ubyte.gz", lambda b: b"plain", "whole files, found '.*gz'"),
        ("train-labels-idx1-ubyte.gz", lambda b: gzip.compress(idx(np.arange(24))),
         "classes 0..9, found .* up to 23"),
    ],
)  # fmt: skip
def test_damaged_files_of_digits(name, change, message, tmp_path):
    file = mnist(tmp_path) / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=message):
        MultiMNIST(tmp_path).sources("train")
