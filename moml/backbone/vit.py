"""A small vision transformer.

A. Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021; features are the mean of the
tokens, as in L. Beyer, X. Zhai, A. Kolesnikov, "Better plain ViT baselines for ImageNet-1k", 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ViT(nn.Module):
    """Patches as tokens, pre-norm transformer blocks, the mean of the tokens.

    Args:
        image_size: Height and width, multiples of ``patch``.
        patch: Height and width of a patch.
        in_channels: Channels of the image.
        width: Width of a token, a multiple of ``attention_heads``; that of the features.
        depth: Number of blocks.
        attention_heads: Number of attention heads.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (32, 32),
        *,
        patch: int = 4,
        in_channels: int = 3,
        width: int = 96,
        depth: int = 6,
        attention_heads: int = 3,
    ) -> None:
        super().__init__()
        if patch < 1 or any(side % patch or side < patch for side in image_size):
            raise ValueError(
                f"`image_size` should be multiples of the patch ({patch}), found {image_size}."
            )
        if width % attention_heads:
            raise ValueError(
                f"`width` should be a multiple of `attention_heads` ({attention_heads}), found "
                f"{width}."
            )
        self.out_features = width
        self.example_input = torch.zeros(1, in_channels, *image_size)
        self.patches = nn.Conv2d(in_channels, width, patch, stride=patch)
        number = (image_size[0] // patch) * (image_size[1] // patch)
        self.places = nn.Parameter(torch.empty(1, number, width))
        self.blocks = nn.Sequential(*(_Block(width, attention_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small random places; layers start as PyTorch's do."""
        nn.init.trunc_normal_(self.places, std=0.02)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, width)`` of images ``(B, in_channels, H, W)``."""
        tokens = self.patches(inputs).flatten(2).transpose(1, 2) + self.places
        return self.norm(self.blocks(tokens)).mean(1)


class _Block(nn.Module):
    """Attention and a two-layer perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        joined = self.attention(self.norms[0](tokens)).unflatten(-1, (3, self.heads, -1))
        q, k, v = joined.permute(2, 0, 3, 1, 4).unbind()  # each (B, heads, N, width / heads)
        found = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.out(found)
        return tokens + self.mlp(self.norms[1](tokens))
