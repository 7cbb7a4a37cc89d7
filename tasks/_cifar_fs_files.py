"""The layouts of CIFAR-FS: lists, pickles, class folders, or CIFAR-100 itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._cifar_files import SIDE, read_cifar
from tasks._episodes import BytePictures, class_folders, decoded, pictures_in
from tasks._files.layout import Found, Layout, complete
from tasks._files.pickles import read_pickle

SPLITS: tuple[Split, ...] = ("train", "val", "test")
LISTS, PICKLES, FOLDERS = "pictures and lists", "pickled arrays", "class folders"
PUBLISHED, ARCHIVE = "CIFAR-100's pickled batches", "CIFAR-100's tar file"
FOLDER, TAR = "cifar-100-python", "cifar-100-python.tar.gz"
SPLIT_LISTS = "splits/bertinetto"
LAYOUTS = [
    Layout(LISTS, (*(f"{SPLIT_LISTS}/{s}.txt" for s in SPLITS), "data/*/*.png"),
           inside=("cifar100", "cifar-fs", "CIFAR-FS")),
    Layout(PICKLES, tuple(f"CIFAR_FS_{s}.pickle" for s in SPLITS), inside=("CIFAR-FS",)),
    Layout(FOLDERS, tuple(f"{s}/*/*.png" for s in SPLITS), inside=("cifar-fs", "CIFAR-FS")),
    Layout(PUBLISHED, ("train", "test"), inside=(FOLDER,)),
    Layout(ARCHIVE, (TAR,)),
]  # fmt: skip
# The split of L. Bertinetto, J. Henriques, P. Torr, A. Vedaldi, "Meta-learning with differentiable
# closed-form solvers", ICLR 2019. CIFAR-100 numbers its classes by their names' order.
_TRAIN = (
    "apple aquarium_fish bear bee boy bottle bowl bridge bus can castle caterpillar chair clock "
    "cloud cockroach couch cup dinosaur dolphin elephant forest girl hamster house kangaroo "
    "keyboard lawn_mower lion lizard lobster mountain mouse mushroom oak_tree orange orchid "
    "palm_tree pear pine_tree plate porcupine possum rabbit raccoon ray road seal shrew skunk "
    "skyscraper snake spider squirrel streetcar sunflower tank tiger train trout tulip turtle "
    "willow_tree wolf"
)
_VAL = (
    "beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle otter "
    "sea shark television tractor"
)
_TEST = (
    "baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail "
    "sweet_pepper table telephone wardrobe whale woman worm"
)
NAMES: dict[Split, list[str]] = {
    "train": _TRAIN.split(),
    "val": _VAL.split(),
    "test": _TEST.split(),
}
ORDER = sorted(name for names in NAMES.values() for name in names)


def read_split(found: Found, split: Split) -> tuple[Samples, Tensor]:
    """Pictures and class numbers of a split.

    Raises:
        ValueError: If files are damaged or incomplete.
    """
    if found.layout == LISTS:
        return _listed(found.folder, split)
    if found.layout == PICKLES:
        return _unpickled(found.folder / f"CIFAR_FS_{split}.pickle")
    if found.layout == FOLDERS:
        return decoded(class_folders(found.folder / split), SIDE)
    return _chosen(found, split)


def _listed(folder: Path, split: Split) -> tuple[Samples, Tensor]:
    names = (folder / SPLIT_LISTS / f"{split}.txt").read_text().split()
    complete("CIFAR-FS", folder / "data", names, f"'{split}.txt'")
    return decoded({name: pictures_in(folder / "data" / name) for name in sorted(names)}, SIDE)


def _unpickled(file: Path) -> tuple[Samples, Tensor]:
    content = read_pickle(file)
    images, labels = content.get("data"), np.asarray(content.get("labels", ()))
    if not isinstance(images, np.ndarray) or images.shape != (len(labels), SIDE, SIDE, 3):
        raise ValueError(
            f"'{file}' should hold `data` of N x 32 x 32 x 3 and as many `labels`, found "
            f"{getattr(images, 'shape', None)} and {len(labels)}."
        )
    return BytePictures(images.astype(np.uint8, casting="safe")), torch.from_numpy(labels).long()


def _chosen(found: Found, split: Split) -> tuple[Samples, Tensor]:
    """The split's classes of CIFAR-100's training and test pictures, 600 each."""
    tarred = Found("tar file" if found.layout == ARCHIVE else "pickled batches", found.folder)
    wanted = torch.tensor([ORDER.index(name) for name in NAMES[split]])
    images, labels = [], []
    for file in ("train", "test"):
        pictures, targets = read_cifar(tarred, FOLDER, TAR, file, ("fine_labels",))
        mine = torch.isin(targets["fine_labels"], wanted)
        images.append(pictures[mine])
        labels.append(targets["fine_labels"][mine])
    return BytePictures(torch.cat(images).permute(0, 2, 3, 1).numpy()), torch.cat(labels)
