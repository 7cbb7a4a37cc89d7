"""Two sentences side by side, each encoded alone, then compared.

A. Conneau, D. Kiela, H. Schwenk, L. Barrault, A. Bordes, "Supervised learning of universal sentence
representations from natural language inference data", EMNLP 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moml.backbone.text_cnn import TextCNN


class SentencePair(nn.Module):
    """Both sentences' features, their distance and their product.

    Args:
        encoder: Features ``(B, F)`` of token numbers ``(B, L)``; says ``F`` as ``out_features``. A
            `TextCNN` unless given.
    """

    def __init__(self, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = TextCNN() if encoder is None else encoder
        width = self.encoder.out_features
        assert isinstance(width, int)
        self.out_features = 4 * width
        self.example_input = torch.ones(1, 2, 8, dtype=torch.long)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, 4 F)`` of pairs ``(B, 2, L)``."""
        first, second = self.encoder(inputs[:, 0]), self.encoder(inputs[:, 1])
        return torch.cat([first, second, (first - second).abs(), first * second], dim=1)
