"""Text encoder: hashed words, convolutions over them, maxima over time.

Y. Kim, "Convolutional neural networks for sentence classification", EMNLP 2014; K. Weinberger et
al., "Feature hashing for large scale multitask learning", ICML 2009.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moml.backbone.staged import Staged

PADDING = 0


class TextCNN(Staged):
    """An embedding of hashed tokens, convolutions of several widths, and their maxima over time.

    There is no vocabulary: `hash_tokens` gives every word of any language a number, and two words
    that get the same one share an embedding. Features do not depend on padding at the end.

    Args:
        buckets: Numbers there are, ``PADDING`` included.
        embedding: Width of an embedding.
        kernels: Words a convolution sees.
        channels: Channels of each convolution; the features' width is theirs together.
    """

    def __init__(
        self,
        buckets: int = 2**14,
        *,
        embedding: int = 64,
        kernels: Sequence[int] = (2, 3, 4),
        channels: int = 64,
    ) -> None:
        super().__init__()
        self.out_features = channels * len(kernels)
        self.example_input = torch.ones(1, max(kernels), dtype=torch.long)
        self.embedding = nn.Embedding(buckets, embedding, padding_idx=PADDING)
        self.convolutions = _Convolutions(embedding, kernels, channels)

    def list_stages(self) -> Sequence[nn.Module]:
        """The embedding, and the convolutions."""
        return [self.embedding, self.convolutions]

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, out_features)`` of token numbers ``(B, L)``."""
        return self.convolutions(self.embedding(inputs))


class _Convolutions(nn.Module):
    def __init__(self, embedding: int, kernels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(embedding, channels, size, padding=size) for size in kernels
        )

    def forward(self, tokens: Tensor) -> Tensor:
        # Padded by a whole kernel: there always is a window of nothing but padding, so that the
        # maximum over windows does not depend on how many there are.
        x = tokens.transpose(1, 2)
        return torch.cat([layer(x).relu().amax(2) for layer in self.layers], dim=1)


def hash_tokens(texts: Sequence[str], *, length: int = 64, buckets: int = 2**14) -> Tensor:
    """Token numbers ``(B, length)``: the same on every machine and in every process.

    Words and single punctuation marks of the lower-cased text, cut or padded to ``length``.

    Args:
        texts: The texts.
        length: Tokens kept per text.
        buckets: As of the `TextCNN`.
    """
    numbers = torch.full((len(texts), length), PADDING)
    for row, text in zip(numbers, texts, strict=True):
        words = re.findall(r"\w+|[^\w\s]", text.lower())[:length]
        for i, word in enumerate(words):
            row[i] = 1 + zlib.crc32(word.encode()) % (buckets - 1)
    return numbers
