"""Tiny trees in the layouts in which data sets are published, with seeded contents."""

from pathlib import Path

import numpy as np
from PIL import Image


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def noise(draw, *shape):
    return draw.integers(0, 256, shape, dtype=np.uint8)


# Dense scenes -----------------------------------------------------------------------------------


def scene(folder, i, draw, *, classes, label="label", normals=False, size=(32, 48)):
    maps = {
        "image": draw.random((*size, 3), dtype=np.float32),
        label: draw.integers(-1, classes, size).astype(np.float32),
        "depth": draw.random((*size, 1)) + 0.5,
    }
    if normals:
        maps["normal"] = draw.standard_normal((*size, 3))
        maps["normal"][:4] = 0
    for kind, array in maps.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        np.save(folder / kind / f"{i}.npy", array)


def nyuv2(root):
    draw = rng()
    for split, count in (("train", 12), ("val", 3)):
        for i in range(count):
            scene(root / split, i, draw, classes=13, normals=True)
    return root


def cityscapes(root, *, classes=7, label="label_7"):
    draw = rng()
    for split, count in (("train", 6), ("val", 3)):
        for i in range(count):
            scene(root / split, i, draw, classes=classes, label=label)
    return root


def cityscapes_raw(root):
    draw = rng()
    for split, count in (("train", 6), ("val", 2)):
        for i in range(count):
            name = f"{split}/ulm/ulm_{i:06d}_000019"
            picture(root / f"leftImg8bit/{name}_leftImg8bit.png", noise(draw, 64, 128, 3))
            ids = draw.integers(0, 34, (64, 128), dtype=np.uint8)
            picture(root / f"gtFine/{name}_gtFine_labelIds.png", ids)
            disparity = draw.integers(0, 20_000, (64, 128)).astype(np.uint16)
            picture(root / f"disparity/{name}_disparity.png", disparity)
    return root


# What the tests of all of them need: how to write one, and options that make it small -----------

TREES = {
    "NYUv2": (nyuv2, {}),
    "Cityscapes": (cityscapes, {}),
}


def write(suite, root):
    """A tiny tree of this suite's first layout, and options for a small model of it."""
    writer, options = TREES[suite]
    return writer(Path(root)), dict(options)
