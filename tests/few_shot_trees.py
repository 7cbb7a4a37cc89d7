"""Tiny trees of few-shot data sets; see `tests/trees.py`."""

import pickle

import numpy as np

from tests.tree_tools import noise, picture, rng


def omniglot(root):
    """Black ink on white, 105x105; a stroke at the left and a dot at the top right."""
    for part, alphabets in (("images_background", "ABC"), ("images_evaluation", "DE")):
        for alphabet in alphabets:
            for kind in range(1, 7):
                for i in range(1, 4):
                    ink = np.full((105, 105), True)
                    ink[10 * i : 60 + 5 * kind, 10:20] = False
                    ink[4:14, 90 - i : 99] = False
                    name = f"{part}/{alphabet}/character{kind:02d}/{kind:04d}_{i:02d}.png"
                    picture(root / name, ink)
    return root


def mini_imagenet(root, *, validation="val"):
    draw = rng()
    root.mkdir(parents=True, exist_ok=True)
    for split, classes in (("train", 6), (validation, 5), ("test", 5)):
        order = draw.permutation(3 * classes)
        content = {
            "image_data": noise(draw, 3 * classes, 84, 84, 3),
            "class_dict": {f"n{k:08d}": order[3 * k : 3 * k + 3].tolist() for k in range(classes)},
        }
        (root / f"mini-imagenet-cache-{split}.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return root


def mini_imagenet_lists(root):
    draw = rng()
    for split, classes in (("train", 6), ("val", 5), ("test", 5)):
        lines = ["filename,label"]
        for k in range(classes):
            label = f"n{split[:2]}{k:06d}"
            for i in range(3):
                name = f"{label}{i:08d}.jpg"
                picture(root / "images" / name, noise(draw, 20, 30, 3))
                lines.append(f"{name},{label}")
        (root / f"{split}.csv").write_text("\n".join(lines))
    return root


def classes_in_splits(root, side, *, counts=(6, 5, 5), ending="png"):
    draw = rng()
    for split, classes in zip(("train", "val", "test"), counts, strict=True):
        for k in range(classes):
            for i in range(3):
                picture(root / split / f"{split}{k}" / f"{i}.{ending}", noise(draw, side, side, 3))
    return root


def cifar_fs(root):
    draw = rng()
    lists = root / "cifar100/splits/bertinetto"
    lists.mkdir(parents=True)
    for split in ("train", "val", "test"):
        names = [f"{split}_{k}" for k in range(5)]
        (lists / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            for i in range(3):
                picture(root / f"cifar100/data/{name}/{i}.png", noise(draw, 32, 32, 3))
    return root
