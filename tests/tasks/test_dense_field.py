"""NYUv2 and Cityscapes: values as written, views that keep labels true, traps of the layouts."""

import json

import numpy as np
import pytest
import torch

from moml.__main__ import main
from tasks import Cityscapes, NYUv2
from tasks._dense_views import mirrored, zoomed_or_mirrored
from tests.tree_tools import picture
from tests.trees import cityscapes, cityscapes_raw, nyuv2


@pytest.fixture(scope="module")
def nyu(tmp_path_factory):
    return nyuv2(tmp_path_factory.mktemp("nyu"))


def test_values_are_those_in_the_files(nyu):
    batch = NYUv2(nyu).sources("test").batch(torch.tensor([2, 0]))
    for row, i in ((0, 2), (1, 0)):
        kinds = {
            k: np.load(nyu / f"val/{k}/{i}.npy") for k in ("image", "label", "depth", "normal")
        }
        np.testing.assert_array_equal(batch.inputs[row], kinds["image"].transpose(2, 0, 1))
        np.testing.assert_array_equal(batch.targets["segmentation"][row], kinds["label"])
        np.testing.assert_allclose(batch.targets["depth"][row, 0], kinds["depth"][..., 0])
        np.testing.assert_allclose(
            batch.targets["normals"][row], kinds["normal"].transpose(2, 0, 1), rtol=1e-6
        )


def test_numbers_not_names_order_the_scenes(nyu):
    assert NYUv2(nyu)._stems["train"] == [str(i) for i in range(12)]  # not 0, 1, 10, 11, 2


def test_training_scenes_are_divided_or_not(nyu):
    parts = {s: NYUv2(nyu, held_out=0.25).sources(s) for s in ("train", "val", "test")}
    assert {s: len(p) for s, p in parts.items()} == {"train": 9, "val": 3, "test": 3}
    whole = {s: NYUv2(nyu, held_out=0).sources(s) for s in ("train", "val")}
    assert {s: len(p) for s, p in whole.items()} == {"train": 12, "val": 12}


def test_a_zoom_of_a_ramp():
    """Depth, normals and labels that are known everywhere stay consistent in every view."""
    columns = torch.arange(60.0).expand(1, 40, 60)
    normals = torch.zeros(3, 40, 60)
    normals[0], normals[2] = 0.6, 0.8
    normals[:, :, :5] = 0
    sample = columns / 60, {
        "segmentation": columns[0].long(), "depth": 2 + 0 * columns, "normals": normals
    }  # fmt: skip
    seen = set()
    for seed in range(40):
        image, targets = zoomed_or_mirrored(sample, torch.Generator().manual_seed(seed))
        zoom = 2 / targets["depth"][0, 0, 0].item()
        flipped = image[0, 0, 0] > image[0, 0, -1]
        seen.add((round(zoom, 3), bool(flipped)))
        assert (targets["depth"] == targets["depth"][0, 0, 0]).all()
        # A class is the column it comes from; nearest and bilinear differ by a pixel or so.
        assert (image[0] * 60 - targets["segmentation"]).abs().max() <= 1.5
        defined = targets["normals"].norm(dim=0) > 1e-3
        unit = targets["normals"][:, defined] / targets["normals"][:, defined].norm(dim=0)
        expected = torch.tensor([-0.6 if flipped else 0.6, 0.0, 0.8])
        torch.testing.assert_close(unit, expected[:, None].expand_as(unit))
    assert seen == {(z, f) for z in (1.0, 1.2, 1.5) for f in (False, True)}


def test_mirror_images():
    sample = torch.arange(6.0).reshape(1, 2, 3), {"segmentation": torch.arange(6).reshape(2, 3)}
    kinds = {
        mirrored(sample, torch.Generator().manual_seed(s))[0][0, 0, 0].item() for s in range(9)
    }
    assert kinds == {0.0, 2.0}


def test_validation_is_never_augmented(nyu):
    suite = NYUv2(nyu)
    source = suite.sources("val")
    plain = source.batch(torch.arange(2)).inputs
    assert torch.equal(source.view(torch.arange(2), torch.Generator().manual_seed(0)).inputs, plain)
    assert torch.equal(suite.loader("val", batch_size=2).batch(0).inputs, plain)


def damaged(tmp_path, change, writer=nyuv2):
    root = writer(tmp_path / "data")
    change(root)
    return root


def cut(root):
    file = root / "train/depth/3.npy"
    file.write_bytes(file.read_bytes()[:200])


def pickled(root):
    np.save(root / "train/depth/3.npy", np.array([{}], dtype=object), allow_pickle=True)


def instead(kind, array):
    return lambda root: np.save(root / f"train/{kind}/3.npy", array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, r"whole .npy files, found '.*depth/3.npy'"),
        (pickled, r"found '.*depth/3.npy': .*Python objects in dtype.$"),
        (instead("label", np.zeros((8, 8))), r"of shape 32x48, found 8x8"),
        (instead("label", np.full((32, 48), 13)), r"classes -1..12, found 13..13"),
        (instead("normal", np.zeros((32, 48))), "shape 32x48x3, found 32x48"),
        (instead("image", np.zeros((32, 48, 4))), r"\*x\*x3, found 32x48x4"),
    ],
)
def test_damaged_files_are_named(change, message, tmp_path):
    suite = NYUv2(damaged(tmp_path, change), held_out=0)
    with pytest.raises(ValueError, match=message):
        suite.sources("train").batch(torch.arange(12))


def test_a_scene_without_one_of_its_maps(tmp_path):
    root = damaged(tmp_path, lambda r: (r / "train/depth/3.npy").unlink())
    with pytest.raises(ValueError, match=r"1 files missing in .*train.*the first is depth/3.npy"):
        NYUv2(root)


def test_a_folder_of_labels_for_each_number_of_classes(tmp_path):
    seven = cityscapes(tmp_path / "a")
    assert Cityscapes.discover(seven).layout == "MTAN's numpy files, label_7"
    with pytest.raises(ValueError, match=r"without train/label_19/\*.npy, val/label_19/\*.npy"):
        Cityscapes(seven, classes=19)
    plain = cityscapes(tmp_path / "b", classes=19, label="label")
    nineteen = Cityscapes(plain, classes=19)
    assert nineteen.sources("test").batch(torch.arange(1))
    assert not nineteen.references  # the literature's are of seven classes
    with pytest.raises(ValueError, match=r"classes -1..6, found -1..18. Is it of another number"):
        Cityscapes(plain).sources("test").batch(torch.arange(3))


@pytest.mark.parametrize(("classes", "of_car", "of_road"), [(2, 1, 0), (7, 6, 0), (19, 13, 0)])
def test_cityscapes_as_published(classes, of_car, of_road, tmp_path):
    root = cityscapes_raw(tmp_path)
    ids = np.zeros((64, 128), np.uint8)
    ids[:, :64], ids[:, 64:96], ids[:, 96:] = 26, 7, 4  # car, road, static (void)
    picture(root / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png", ids)
    disparity = np.full((64, 128), 257 * 4, np.uint16)
    disparity[0], disparity[1] = 0, 1
    picture(root / "disparity/val/ulm/ulm_000000_000019_disparity.png", disparity)
    suite = Cityscapes(root, classes=classes, size=(32, 64))
    batch = suite.sources("test").batch(torch.arange(1))
    assert batch.inputs.shape == (1, 3, 32, 64)
    labels = batch.targets["segmentation"][0]
    assert labels[5, 3] == of_car
    assert labels[5, 40] == of_road
    assert labels[5, 60] == -1
    depth = batch.targets["depth"][0, 0]
    assert depth[20, 20].item() == pytest.approx((257 * 4 - 1) / 256 / 2)  # half the width
    assert (depth[0] == 0).all()


def test_published_references_are_one_flag(nyu, tmp_path, capsys):
    small = ["--suite", "NYUv2", "--suite.root", str(nyu), "--steps", "1", "--batch_size", "2"]
    folder = tmp_path / "run"
    assert main(["train", *small, "--reference", "mtpsl", "--run_dir", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())
    found, gains = results["test"], []
    for task, metric, base in (
        ("segmentation", "mIoU", -0.37447),
        ("depth", "abs_err", 0.6079),
        ("normals", "mean", 25.938),
    ):
        value = found[task][metric]
        gains.append((value + base) / -base if base < 0 else (base - value) / base)
    assert results["delta_percent"] == pytest.approx(100 * sum(gains) / 3)
    assert main(["train", *small, "--reference", "famo", "--run_dir", str(tmp_path / "b")]) == 2
    assert (
        "or one of auto_lambda, libmtl_hps, mtpsl, segnet, found 'famo'" in capsys.readouterr().err
    )


def test_epochs_count_passes_over_the_training_split(nyu, tmp_path):
    small = ["--suite", "NYUv2", "--suite.root", str(nyu), "--suite.held_out", "0"]
    options = ["--epochs", "1", "--batch_size", "5", "--run_dir", str(tmp_path / "run")]
    assert main(["train", *small, *options]) == 0
    assert json.loads((tmp_path / "run/results.json").read_text())["steps"] == 2
