"""Residual networks for images of ImageNet's size, with torchvision's parameter names.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016; dilated
as in F. Yu, V. Koltun, T. Funkhouser, "Dilated residual networks", CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from moml.backbone._weights_file import read_weights
from moml.backbone.staged import Leveled, Staged

Depth = Literal[18, 34, 50]
_BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
}


class ResNet(Leveled, Staged):
    """ResNet-18, -34 or -50: the features below the classifier.

    Args:
        depth: Number of layers.
        dilated: The last two stages keep the resolution and dilate instead: 1/8 of the image's
            size at the end, not 1/32. For dense prediction.
        pooled: Whether features are averaged over positions, ``(B, C)``; maps otherwise.
        in_channels: Channels of the image.
        weights: A file in torchvision's key layout (``conv1.weight``, ``layer1.0.bn1.bias``, …),
            ``.safetensors`` or what `torch.save` wrote of a state dict. The classifier ``fc`` is
            left out.
    """

    def __init__(
        self,
        depth: Depth = 18,
        *,
        dilated: bool = False,
        pooled: bool = True,
        in_channels: int = 3,
        weights: Path | str | None = None,
    ) -> None:
        super().__init__()
        if depth not in get_args(Depth):
            raise ValueError(f"`depth` should be one of {get_args(Depth)}, found {depth!r}.")
        self.pooled, block = pooled, _Bottleneck if depth == 50 else _Basic
        self.depth, self.squeeze = depth, block.expansion
        self.example_input = torch.zeros(1, in_channels, 64, 64)
        self.out_features = 512 * block.expansion
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs, dilation = 64, 1
        stages = []
        for k, number in enumerate(_BLOCKS[depth]):
            stride, before = (1 if k == 0 else 2), dilation
            if dilated and k > 1:
                stride, dilation = 1, 2 * dilation
            blocks = [block(inputs, 64 * 2**k, stride=stride, dilation=before)]
            inputs = 64 * 2**k * block.expansion
            blocks += [block(inputs, 64 * 2**k, dilation=dilation) for _ in range(number - 1)]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.reset_parameters()
        if weights is not None:
            self.load_state_dict(read_weights(weights, like=self.state_dict(), leave_out="fc."))

    def reset_parameters(self) -> None:
        """He's initialisation for convolutions."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def levels(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per stage, the maps before and after its last block."""
        x, found = self.maxpool(self.relu(self.bn1(self.conv1(inputs)))), []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            before = stage[:-1](x)
            x = stage[-1](before)
            found.append((before, x))
        return found

    def block(self, inputs: int, outputs: int) -> nn.Module:
        """A residual block."""
        kind = _Bottleneck if self.depth == 50 else _Basic
        return kind(inputs, outputs // kind.expansion)

    def finish(self, features: Tensor) -> Tensor:
        """Averages over positions, if asked for."""
        return features.mean((2, 3)) if self.pooled else features

    def list_stages(self) -> Sequence[nn.Module]:
        """The four stages, the first with what leads to it."""
        first = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool, self.layer1)
        last = nn.Sequential(self.layer4, _Mean()) if self.pooled else self.layer4
        return [first, self.layer2, self.layer3, last]


class _Mean(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


class _Block(nn.Module):
    """A residual block; subclasses build the residual."""

    expansion: int
    downsample: nn.Module | None

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        return self.relu(self.residual(x) + kept)


class _Basic(_Block):
    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(inputs, width, stride)
        self.conv1, self.bn1 = _three(inputs, width, stride, dilation), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _three(width, width, 1, dilation), nn.BatchNorm2d(width)

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class _Bottleneck(_Block):
    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(inputs, 4 * width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _three(width, width, stride, dilation), nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(self.relu(self.bn2(self.conv2(x)))))


def _three(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(
        inputs, outputs, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
    )
