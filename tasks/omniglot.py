"""Omniglot: which of these handwritten characters is it, having seen each of them once?

B. Lake, R. Salakhutdinov, J. Tenenbaum, "Human-level concept learning through probabilistic program
induction", Science 2015. Rotations as further classes: A. Santoro et al., ICML 2016; the random
split of C. Finn, P. Abbeel, S. Levine, "Model-agnostic meta-learning", ICML 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from moml.backbone import Conv4, LinearHead
from moml.data import EpisodeSource, FewShotDefaults, FewShotSuite, TaskSpec
from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._episodes import Classes, check_episode, episodes_of, numbered, pictures_in
from tasks._files.images import Pictures
from tasks._files.layout import Found, Layout, find

SIDE, TURNS = 28, 4
PARTS = ("images_background", "images_evaluation")
SHARES = {"train": 1100 / 1623, "val": 100 / 1623}  # of the characters; the rest are for testing
HELD_OUT_ALPHABETS = 5
LAYOUTS = [
    Layout("folders of alphabets", tuple(f"{p}/*/*/*.png" for p in PARTS),
           inside=("omniglot-py", "omniglot"))
]  # fmt: skip


class Omniglot(FewShotSuite):
    """1,623 handwritten characters of 50 alphabets, twenty drawings each: N-way K-shot episodes.

    Layout: ``images_background/ALPHABET/characterNN/*.png`` and ``images_evaluation/…``. Inputs are
    ``(1, 28, 28)`` in [0, 1], ink is 1. A character turned by 90, 180 and 270 degrees is three
    further classes, in the same split. Accuracy: higher is better, ``1 / ways`` by chance.

    Args:
        root: Folder with the data.
        ways: Classes per episode.
        shots: Support drawings per class.
        queries: Query drawings per class; a character has twenty drawings in all.
        rotations: Turned characters as further classes.
        by_alphabet: Alphabets of the background set for training (all but five) and validation
            (five), of the evaluation set for testing: harder than the usual split, which draws
            1,100, 100 and 423 characters from all alphabets.
        seed: Seed of the split, and of the validation and test episodes.

    Raises:
        ValueError: If data are missing or damaged, or an episode needs more than there is.
    """

    defaults = FewShotDefaults(
        steps=60_000, meta_batch_size=32, learning_rate=1e-3, inner_learning_rate=0.4,
        inner_steps=1, eval_inner_steps=3, eval_every=1000,
    )  # fmt: skip
    bounds = (0.0, 1.0)

    def __init__(
        self,
        root: Path,
        *,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        rotations: bool = True,
        by_alphabet: bool = False,
        seed: int = 0,
    ) -> None:
        self.found, self.rotations, self.by_alphabet = self.discover(root), rotations, by_alphabet
        self.ways, self.shots, self.queries, self.seed = ways, shots, queries, seed
        self._samples = cache(self._read)
        turns = TURNS if rotations else 1
        counts = {split: turns * len(kinds) for split, kinds in self._characters.items()}
        check_episode(ways=ways, shots=shots, queries=queries, classes=counts)

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find("Omniglot", root, LAYOUTS)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One task: which of the episode's characters it is."""
        return {"class": classification(self.ways)}

    def source(self, split: Split) -> EpisodeSource:
        """Episodes of the split's characters."""
        return episodes_of(
            self._samples(split), ways=self.ways, shots=self.shots, queries=self.queries
        )

    def encoder(self) -> nn.Module:
        """Four convolutional blocks of 64 channels, normalised by the batch's own statistics."""
        return Conv4((SIDE, SIDE), width=64)

    def head(self, in_features: int) -> nn.Module:
        """A linear classifier of the episode's classes."""
        return LinearHead(in_features, self.ways)

    def _read(self, split: Split) -> tuple[Samples, Tensor]:
        """Drawings, decoded when an episode needs them, and their classes."""
        kinds = list(self._characters[split].values())
        pictures = Pictures([f for k in kinds for f in k], SIDE, grey=True, negative=True)
        labels = numbered([len(kind) for kind in kinds])
        if not self.rotations:
            return pictures, labels
        turned = torch.cat([labels + k * len(kinds) for k in range(TURNS)])
        return _Turned(pictures), turned

    @cached_property
    def _characters(self) -> dict[Split, Classes]:
        """Drawings by ``alphabet/character``, for every split."""
        known, evaluation = (_alphabets(self.found.folder / part) for part in PARTS)
        generator = torch.Generator().manual_seed(self.seed)
        if self.by_alphabet:
            alphabets = sorted({name.split("/")[0] for name in known})
            held = torch.randperm(len(alphabets), generator=generator)[:HELD_OUT_ALPHABETS]
            chosen = {alphabets[i] for i in held[: len(alphabets) - 1]}
            val = {n: files for n, files in known.items() if n.split("/")[0] in chosen}
            train = {n: files for n, files in known.items() if n not in val}
            return {"train": train, "val": val, "test": evaluation}
        every = known | evaluation
        names = sorted(every)
        order = [names[i] for i in torch.randperm(len(names), generator=generator)]
        train_end = round(SHARES["train"] * len(names))
        val_end = train_end + max(1, round(SHARES["val"] * len(names)))
        parts: dict[Split, list[str]] = {
            "train": order[:train_end],
            "val": order[train_end:val_end],
            "test": order[val_end:],
        }
        return {s: {name: every[name] for name in part} for s, part in parts.items()}


class _Turned:
    """Every picture four times: as it is, and turned by 90, 180 and 270 degrees."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return TURNS * len(self.pictures)

    def __getitem__(self, indices: Tensor) -> Tensor:
        turns, images = indices // len(self.pictures), self.pictures[indices % len(self.pictures)]
        for k in range(1, TURNS):
            images[turns == k] = images[turns == k].rot90(k, (2, 3))
        return images


def _alphabets(folder: Path) -> Classes:
    kinds = sorted(path for path in folder.glob("*/*") if path.is_dir())
    return {f"{kind.parent.name}/{kind.name}": pictures_in(kind) for kind in kinds}
