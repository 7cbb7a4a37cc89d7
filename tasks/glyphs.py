"""Which of these characters is it, having seen each of them once?

Printed characters in the place of Omniglot's handwritten ones (B. Lake, R. Salakhutdinov,
J. Tenenbaum, "Human-level concept learning through probabilistic program induction", Science 2015):
690 classes of 12 styles, drawn with the DejaVu fonts inside matplotlib. As printed they are easy
(the nearest image in pixels is right nine times out of ten), so every image is a random view.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from moml.backbone import Conv4, LinearHead
from moml.data import ClassEpisodes, EpisodeSource, FewShotDefaults, FewShotSuite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._distortion import Distortion
from tasks._episodes import check_episode
from tasks._glyph_classes import CHARACTERS
from tasks._glyph_images import SIDE, STYLES, stacked

VIEWS = Distortion(angle=10, scale=0.15, shear=0.15, shift=2, warp=0.5, noise=0.1)


class Glyphs(FewShotSuite):
    """Characters of many scripts in twelve styles: N-way K-shot classification as on Omniglot.

    441 characters for meta-training, 110 for validation, 139 for testing. Characters that look
    alike in any style, or alike but for their size, are in the same split
    (`scripts/glyph_classes.py`). In every episode each image is turned, scaled, sheared, moved,
    warped and made noisy anew. Inputs are ``(1, 28, 28)`` in [0, 1], ink is 1. Accuracy: higher is
    better, ``1 / ways`` by chance.

    Args:
        ways: Classes per episode.
        shots: Support images per class.
        queries: Query images per class; a character has twelve images in all.
        distortion: Strength of the random views; 0 shows characters as printed.
        seed: Seed of the validation and test episodes.

    Raises:
        ValueError: If an episode would need more classes or images than there are.
    """

    defaults = FewShotDefaults(
        steps=1000,
        meta_batch_size=4,
        learning_rate=1e-3,
        inner_learning_rate=0.1,
        inner_steps=5,
        eval_inner_steps=5,
        eval_every=100,
        eps=0.05,
    )
    bounds = (0.0, 1.0)

    def __init__(
        self,
        *,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        distortion: float = 1.0,
        seed: int = 0,
    ) -> None:
        check_episode(
            ways=ways, shots=shots, queries=queries, classes={"val": len(CHARACTERS["val"])}
        )
        if shots + queries > len(STYLES):
            raise ValueError(
                f"`shots` + `queries` should be at most {len(STYLES)}, the images there are of a "
                f"character, found {shots} + {queries}. Support and query share no image."
            )
        if not distortion >= 0:
            raise ValueError(f"`distortion` should be at least 0, found {distortion}.")
        self.ways, self.shots, self.queries, self.seed = ways, shots, queries, seed
        self.distortion = distortion

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One task: which of the episode's characters it is."""
        return {"class": classification(self.ways)}

    def source(self, split: Split) -> EpisodeSource:
        """Episodes of the split's characters, drawn once per process (about a second in all)."""
        images = stacked(STYLES, CHARACTERS[split])  # (C, 12, 28, 28)
        labels = torch.arange(len(images)).repeat_interleave(len(STYLES))
        return ClassEpisodes(
            images.reshape(-1, 1, SIDE, SIDE),
            labels,
            ways=self.ways,
            shots=self.shots,
            queries=self.queries,
            augment=VIEWS.times(self.distortion) if self.distortion else None,
        )

    def encoder(self) -> nn.Module:
        """Four convolutional blocks of 32 channels, normalised by the batch's own statistics."""
        return Conv4((SIDE, SIDE))

    def head(self, in_features: int) -> nn.Module:
        """A linear classifier of the episode's classes."""
        return LinearHead(in_features, self.ways)
