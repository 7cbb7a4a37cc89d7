"""PAWS-X: do these two sentences mean the same, in each of several languages?

Y. Yang, Y. Zhang, C. Tar, J. Baldridge, "PAWS-X: A cross-lingual adversarial dataset for paraphrase
identification", EMNLP 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from moml.backbone import LinearHead, SentencePair, hash_tokens
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._files.layout import Found
from tasks._files.source import FileSource, Sample
from tasks._paraphrases import Pairs, find_paraphrases, read_pairs, spaced

LANGUAGES = ("en", "zh", "de", "es", "fr", "ja", "ko")
USUAL = LANGUAGES[:4]


class PAWSX(Suite):
    """Paraphrases in up to seven languages, a task with sentences of its own for each.

    Layouts: as published, ``x-final/LANGUAGE/{train,translated_train,dev_2k,test_2k}.tsv``, or
    XTREME's ``pawsx/{train,dev,test}-LANGUAGE.tsv``. 49,401 pairs for training in each language,
    2,000 for validation and 2,000 for testing. Pairs overlap so much in words that counting them
    does not help. Inputs are ``(2, length)`` numbers of hashed words (characters in Chinese,
    Japanese and Korean): no vocabulary, no pretrained model. Accuracy: higher is better.

    Args:
        root: Folder with the data.
        languages: The languages, hence tasks, in order.
        length: Words kept of a sentence.

    Raises:
        ValueError: If data are missing or damaged, or a language is unknown.
    """

    defaults = Defaults(steps=7_700, batch_size=64, learning_rate=1e-3, eval_every=770)

    def __init__(self, root: Path, *, languages: Sequence[str] = USUAL, length: int = 64) -> None:
        distinct = len(set(languages)) == len(languages) > 0
        if not distinct or not set(languages) <= set(LANGUAGES):
            raise ValueError(
                f"`languages` should be distinct and among {', '.join(LANGUAGES)}, "
                f"found {list(languages)}."
            )
        if length < 1:
            raise ValueError(f"`length` should be at least 1, found {length}.")
        self.languages, self.length = tuple(languages), length
        self.found = self.discover(root, languages=languages)
        self._pairs = cache(partial(read_pairs, self.found))

    @staticmethod
    def discover(root: Path, *, languages: Sequence[str] = USUAL) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find_paraphrases(root, languages)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One yes-or-no task per language."""
        return dict.fromkeys(self.languages, classification(2))

    def sources(self, split: Split) -> Mapping[str, Source]:
        """A source per language."""
        found = {}
        for language in self.languages:
            pairs = self._pairs(language, split)
            found[language] = FileSource(len(pairs), partial(self._read, language, pairs))
        return found

    def encoder(self) -> nn.Module:
        """A convolutional network on hashed words for each sentence, and a comparison of both."""
        return SentencePair()

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, 2)

    def _read(self, language: str, pairs: Pairs, i: int) -> Sample:
        first, second, same = pairs[i]
        tokens = hash_tokens([spaced(first), spaced(second)], length=self.length)
        return tokens, {language: torch.tensor(same)}
