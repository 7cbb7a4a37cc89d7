"""NDDR-CNN: a tower per task, fused by 1x1 convolutions after every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from moml._support.task_names import task_names
from moml._support.typed_modules import TaskModules, module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._gate import towards_own
from moml.architecture._layers import channel_dim, normed, pointwise
from moml.architecture._stages import Encoder, towers


class NDDR(PerInput):
    """Neural discriminative dimensionality reduction: towers fused channel by channel.

    Gao et al., `NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural Discriminative
    Dimensionality Reduction <https://arxiv.org/abs/1801.08297>`_, CVPR 2019. After every stage a
    task goes on from a 1x1 convolution (with normalisation) of all towers' channels, which starts
    as ``own`` times its own and the rest shared out evenly. A cross-stitch unit is the special case
    of one number per pair of towers, and the subspaces of sluice networks are that of blocks: this
    is the layer that contains both, and it needs no orthogonality penalty to be worth having.

    As many encoders as tasks, and ``T^2 C^2`` numbers per layer besides: many for wide maps.

    Args:
        encoder: Any encoder with an ``example_input``, or a function that makes one.
        heads: Module from features to prediction, per task.
        stages: Stages the encoder is cut into, at most; a fusion after each.
        own: A task's weight on its own tower, at the start.
    """

    paper = "Gao et al., NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs, CVPR 2019"
    traits = frozenset({"staged", "encoder_per_task", "example_input"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        stages: int = 4,
        own: float = 0.9,
    ) -> None:
        super().__init__()
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        made = towers(encoder, len(heads), at_most=stages)
        self.towers = module_list(made)
        shares = towards_own(len(heads), own)
        self.fusions = module_list(
            TaskModules(
                {
                    t: _fusion(made[0].shape(k), row)
                    for t, row in zip(self.tasks, shares, strict=True)
                }
            )
            for k in range(len(made[0]))
        )

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """The towers' features before the last fusion."""
        states, last = [x] * len(self.tasks), len(self.fusions) - 1
        ambient = self.towers[0].ambient(x)
        for k, fusions in enumerate(self.fusions):
            states = [t.step(k, s, ambient) for t, s in zip(self.towers, states, strict=True)]
            if k < last:
                joined = torch.cat(states, channel_dim(states[0]))
                states = [fusions[task](joined) for task in self.tasks]
        return dict(zip(self.tasks, states, strict=True))

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on its own fusion of the towers."""
        states = [features[task] for task in self.tasks]
        joined = torch.cat(states, channel_dim(states[0]))
        fusions = self.fusions[-1]
        return {task: self.heads[task](fusions[task](joined)) for task in tasks}

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's last fusion and its head."""
        return [self.fusions[-1][task], self.heads[task]]


def _fusion(shape: torch.Size, shares: Tensor) -> nn.Sequential:
    """A 1x1 convolution that starts as the towers' weighted sum, and its normalisation."""
    width = shape[0] if len(shape) > 2 else shape[-1]
    layer = pointwise(len(shape), len(shares) * width, width, bias=False)
    start = torch.cat([share * torch.eye(width) for share in shares], dim=1)  # (C, T C)
    with torch.no_grad():
        layer.weight.copy_(start.view_as(layer.weight))
    return nn.Sequential(layer, normed(len(shape), width))
