"""CIFAR-10 and CIFAR-100: pictures as written, views, and pickles that want more than arrays."""

import pickle
import tarfile

import numpy as np
import pytest
import torch

from tasks import CIFAR10, CIFAR100
from tasks._cifar_files import CifarSource
from tasks._files.pickles import read_pickle
from tests.trees import cifar10, cifar100


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    return cifar10(tmp_path_factory.mktemp("cifar10"))


def stored(root, file):
    return pickle.loads((root / "cifar-10-batches-py" / file).read_bytes())  # our own, just written


def test_pictures_are_those_in_the_files(ten):
    content = stored(ten, "test_batch")
    batch = CIFAR10(ten).sources("test").batch(torch.arange(4))
    np.testing.assert_allclose(batch.inputs.flatten(1) * 255, content["data"], atol=1e-4)
    assert batch.targets["class"].tolist() == content["labels"]


def test_all_five_batches_are_for_training(ten):
    parts = {s: CIFAR10(ten, held_out=0.25).sources(s) for s in ("train", "val")}
    assert {s: len(p) for s, p in parts.items()} == {"train": 15, "val": 5}


def test_the_archive_is_read_as_it_is(ten, tmp_path):
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as packed:
        packed.add(ten / "cifar-10-batches-py", "cifar-10-batches-py")
    suite = CIFAR10(tmp_path)
    assert suite.found.layout == "tar file"
    unpacked = CIFAR10(ten)
    for split in ("train", "val", "test"):
        one, other = (s.sources(split).batch(torch.arange(2)).inputs for s in (suite, unpacked))
        assert torch.equal(one, other)
    assert [p.name for p in tmp_path.iterdir()] == ["cifar-10-python.tar.gz"]
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(ValueError, match="should be the whole published archive"):
        CIFAR10(tmp_path).sources("train")


def test_views_are_moved_and_mirrored_pictures():
    pictures = torch.arange(1, 3 * 32 * 32 + 1).remainder(251).add(1).to(torch.uint8)
    source = CifarSource(pictures.reshape(1, 3, 32, 32), {"class": torch.zeros(1)}, augment=True)
    plain = torch.nn.functional.pad(source.batch(torch.tensor([0])).inputs, [4] * 4)
    possible = {}
    for i in range(9):
        for j in range(9):
            crop = plain[0, :, i : i + 32, j : j + 32]
            possible[crop.numpy().tobytes()] = (i, j, False)
            possible[crop.flip(-1).contiguous().numpy().tobytes()] = (i, j, True)
    views = source.view(torch.zeros(500, dtype=torch.long), torch.Generator().manual_seed(0)).inputs
    found = {possible[view.numpy().tobytes()] for view in views}
    assert len(found) > 140  # of 162


def test_twenty_tasks_of_five_classes(tmp_path):
    root = cifar100(tmp_path)
    suite = CIFAR100(root, by_sort=True)
    batch = suite.loader("test", batch_size=2).batch(0)
    assert list(batch.inputs) == [f"sort_{i:02d}" for i in range(20)]
    assert all(y.tolist() == [0, 1] for y in batch.targets.values())
    whole = CIFAR100(root).sources("test").batch(torch.arange(40))
    assert torch.equal(whole.targets["class"] // 5, whole.targets["sort"])
    assert torch.equal(batch.inputs["sort_07"], whole.inputs[14:16])


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


class Subtle:
    """Asks numpy itself to unpickle."""

    def __reduce__(self):
        return np.loads if hasattr(np, "loads") else np.load, ("x.npy", None, True)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays_are_read(protocol, tmp_path):
    content = {
        "data": np.arange(12, dtype=np.uint8).reshape(3, 4), "names": ["a"], "one": np.float32(2)
    }  # fmt: skip
    (tmp_path / "x").write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_pickle(tmp_path / "x")
    np.testing.assert_array_equal(found["data"], content["data"])
    assert found["names"] == ["a"]
    assert found["one"] == 2


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_malicious_pickles_are_not_executed(protocol, tmp_path):
    root, trace = cifar10(tmp_path / "data"), tmp_path / "trace"
    file = root / "cifar-10-batches-py/data_batch_2"
    file.write_bytes(pickle.dumps({"data": Evil(trace)}, protocol=protocol))
    with pytest.raises(ValueError, match=r"data_batch_2.*asks for \w+.exec. It was not executed"):
        CIFAR10(root).sources("train")
    assert not trace.exists()
    file.write_bytes(pickle.dumps({"data": Subtle()}, protocol=protocol))
    with pytest.raises(ValueError, match=r"asks for numpy.*load"):
        CIFAR10(root).sources("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"data": np.zeros((2, 100), np.uint8), "labels": [0, 1]},
            r"N x 3072, found uint8 \(2, 10",
        ),
        ({"data": np.zeros((2, 3072)), "labels": [0, 1]}, r"found float64"),
        ({"labels": [0, 1]}, "found NoneType"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "2 integers as `labels`, found 1"),
        ([1, 2], "should hold a dictionary, found list"),
    ],
)
def test_wrong_contents(content, message, tmp_path):
    root = cifar10(tmp_path)
    (root / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ValueError, match=message):
        CIFAR10(root).sources("test")


def test_a_truncated_pickle(tmp_path):
    file = cifar10(tmp_path) / "cifar-10-batches-py/test_batch"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"test_batch' should be a whole pickle .*truncated"):
        CIFAR10(tmp_path).sources("test")
