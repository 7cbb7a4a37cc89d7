"""Tiny trees in the layouts in which data sets are published, with seeded contents."""

import gzip
import pickle
from pathlib import Path

import numpy as np

from tests.few_shot_trees import cifar_fs, mini_imagenet, omniglot
from tests.tree_tools import noise, picture, rng

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


# Objects in several domains -----------------------------------------------------------------------


def office(root, domains, classes, *, per_class=3, images=""):
    """Class folders; the names of all files by domain."""
    draw, names = rng(), {}
    for domain in domains:
        names[domain] = []
        for kind in range(classes):
            for i in range(per_class):
                name = f"{domain}/{images}kind {kind:02d}/frame_{i:04d}.jpg"
                picture(root / name, noise(draw, 10, 12, 3))
                names[domain].append((name, kind))
    return names


def office31(root):
    """As LibMTL reads it: lists of paths, of which the first label is 0."""
    names = office(root, ("amazon", "dslr", "webcam"), 31, images="images/")
    for domain, items in names.items():
        for k, split in enumerate(("train", "val", "test")):
            lines = [f"{name} {label}" for name, label in items[k::3]]
            (root / f"{domain}_{split}.txt").write_text("\n".join(lines))
    return root


def office_home(root):
    office(root, ("Art", "Clipart", "Product", "Real World"), 65)
    return root


# CIFAR ------------------------------------------------------------------------------------------


def cifar10(root):
    draw, folder = rng(), root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for file in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        content = {"data": noise(draw, 4, 3072), "labels": draw.integers(0, 10, 4).tolist()}
        (folder / file).write_bytes(pickle.dumps(content, protocol=2))
    return root


def cifar100(root):
    """Forty pictures: two of each sort, of one class each."""
    draw, folder = rng(), root / "cifar-100-python"
    folder.mkdir(parents=True)
    for file in ("train", "test"):
        coarse = np.repeat(np.arange(20), 2)
        content = {
            "data": noise(draw, 40, 3072),
            "fine_labels": (5 * coarse + np.tile([0, 3], 20)).tolist(),
            "coarse_labels": coarse.tolist(),
        }
        (folder / file).write_bytes(pickle.dumps(content, protocol=2))
    return root


# Faces ------------------------------------------------------------------------------------------

ATTRIBUTES = tuple(f"Attribute_{i:02d}" for i in range(40))


def faces(draw, count=12):
    """Names, signs and splits: every third face for validation, the next for testing."""
    names = [f"{i + 1:06d}.jpg" for i in range(count)]
    return names, draw.choice([-1, 1], (count, 40)), [i % 3 for i in range(count)]


def celeba(root):
    draw = rng()
    names, signs, parts = faces(draw)
    for folder in ("Anno", "Eval"):
        (root / folder).mkdir(parents=True)
    lines = [
        f"{n} " + " ".join(f"{s:2d}" for s in row) for n, row in zip(names, signs, strict=True)
    ]
    header = [str(len(names)), " ".join(ATTRIBUTES)]
    (root / "Anno/list_attr_celeba.txt").write_text("\n".join([*header, *lines]) + "\n")
    partition = "".join(f"{n} {p}\n" for n, p in zip(names, parts, strict=True))
    (root / "Eval/list_eval_partition.txt").write_text(partition)
    for name in names:
        picture(root / "Img/img_align_celeba" / name, noise(draw, 22, 18, 3))
    return root


def celeba_tables(root):
    draw = rng()
    names, signs, parts = faces(draw)
    root.mkdir(parents=True, exist_ok=True)
    lines = [",".join([n, *map(str, row)]) for n, row in zip(names, signs, strict=True)]
    table = "\n".join([",".join(["image_id", *ATTRIBUTES]), *lines])
    (root / "list_attr_celeba.csv").write_text(table)
    partition = [f"{n},{p}" for n, p in zip(names, parts, strict=True)]
    (root / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *partition]))
    for name in names:
        picture(root / "img_align_celeba/img_align_celeba" / name, noise(draw, 22, 18, 3))
    return root


# Overlaid digits --------------------------------------------------------------------------------


def idx(array):
    sizes = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return (0x800 + array.ndim).to_bytes(4, "big") + sizes + array.astype(np.uint8).tobytes()


def mnist(root):
    draw = rng()
    root.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", 24), ("t10k", 6)):
        images = idx(noise(draw, count, 28, 28))
        (root / f"{name}-images-idx3-ubyte").write_bytes(images)
        labels = idx(np.arange(count) % 10)
        (root / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return root


# Molecules --------------------------------------------------------------------------------------

HEADER = (
    "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,"
    "u0_atom,u298_atom,h298_atom,g298_atom"
)
UNCHARACTERIZED = """\
================================================================================

Some molecules failed a consistency check
of 3 lines.

================================================================================

     3  C1=CC=C1  CCO  0.1 2
    12  N#CC  CC#N  0.2 3
"""


def block(draw, i):
    """Molecule ``i``: a chain of 2 + i % 3 atoms along x, 1.5 Å apart, a double bond first."""
    symbols = draw.choice(list("HCNOF"), 2 + i % 3)
    atoms = [f"{1.5 * k:10.4f}{0.1 * i:10.4f}{0:10.4f} {s:3s} 0  0" for k, s in enumerate(symbols)]
    bonds = [f"{k:3d}{k + 1:3d}{2 if k == 1 else 1:3d}  0  0" for k in range(1, len(symbols))]
    counts = f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000"
    return "\n".join([f"gdb_{i + 1}", " test", "", counts, *atoms, *bonds, "M  END", "$$$$", ""])


def qm9(root, *, count=22):
    draw = rng()
    (root / "raw").mkdir(parents=True)
    (root / "raw/gdb9.sdf").write_text("".join(block(draw, i) for i in range(count)))
    rows = [[f"gdb_{i + 1}", *(f"{x:.6f}" for x in draw.random(19))] for i in range(count)]
    table = [HEADER, *(",".join(row) for row in rows)]
    (root / "raw/gdb9.sdf.csv").write_text("\n".join(table) + "\n")
    (root / "raw/uncharacterized.txt").write_text(UNCHARACTERIZED)
    return root


# Sentences --------------------------------------------------------------------------------------

SENTENCES = {
    "en": ("The cat sat on the mat.", "On the mat, the cat sat."),
    "zh": ("猫坐在垫子上。", "垫子上坐着猫。"),
    "de": ("Die Katze sitzt auf der Matte.", "Auf der Matte sitzt die Katze."),
    "es": ("El gato está en la alfombra.", "En la alfombra está el gato."),
}


def pawsx(root):
    for lang, (one, other) in SENTENCES.items():
        folder = root / "x-final" / lang
        folder.mkdir(parents=True)
        parts = (
            ("train" if lang == "en" else "translated_train", 6),
            ("dev_2k", 3),
            ("test_2k", 3),
        )
        for part, count in parts:
            lines = ["id\tsentence1\tsentence2\tlabel"]
            lines += [f"{i}\t{one} {part} {i}\t{other}\t{i % 2}" for i in range(count)]
            (folder / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def pawsx_xtreme(root):
    """Without a header."""
    (root / "pawsx").mkdir(parents=True)
    for lang, (one, other) in SENTENCES.items():
        for part, count in (("train", 6), ("dev", 3), ("test", 3)):
            lines = [f"{one} {part} {i}\t{other}\t{i % 2}" for i in range(count)]
            text = "\n".join(lines)
            (root / "pawsx" / f"{part}-{lang}.tsv").write_text(text, encoding="utf-8")
    return root


# What the tests of all of them need: how to write one, and options that make it small -----------

TREES = {
    "PAWSX": (pawsx, {"length": 12}),
    "QM9": (qm9, {}),
    "CelebA": (celeba, {"size": 16, "attributes": ["Attribute_03", "Attribute_11"]}),
    "MultiMNIST": (mnist, {}),
    "CIFARFS": (cifar_fs, {"ways": 3, "queries": 2}),
    "MiniImageNet": (mini_imagenet, {"ways": 3, "queries": 2}),
    "Omniglot": (omniglot, {"ways": 3, "queries": 2}),
    "CIFAR10": (cifar10, {}),
    "CIFAR100": (cifar100, {}),
    "NYUv2": (nyuv2, {}),
    "Cityscapes": (cityscapes, {}),
    "Office31": (office31, {"size": 32, "domains": ["amazon", "webcam"]}),
    "OfficeHome": (office_home, {"size": 32, "domains": ["Art", "Real_World"]}),
}


def write(suite, root):
    """A tiny tree of this suite's first layout, and options for a small model of it."""
    writer, options = TREES[suite]
    return writer(Path(root)), dict(options)
