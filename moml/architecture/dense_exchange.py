"""Exchange between the tasks' decoders: cross-task attention, or attention-guided distillation."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import TaskModules
from moml.architecture._base import PerInput, head_dict
from moml.architecture._cross_task import CrossTask, projection
from moml.architecture._layers import local
from moml.architecture._stages import Stages, redrawn


class DenseExchange(PerInput):
    r"""Tasks' decoder features exchanged between all pairs before the heads read them.

    Lopes, Vu, de Charette, `Cross-task Attention Mechanism for Dense Multi-task Learning
    <https://arxiv.org/abs/2206.08927>`_ (DenseMTL), WACV 2023: task :math:`i` reads from task
    :math:`j` what its own features, as queries, find in the other's (attention across positions at
    ``1/scale`` of the resolution, faded in from zero) beside what the other's own spatial attention
    lets through, and adds what it makes of all other tasks to its features. With
    ``attention=False`` only the latter is left: the distillation of Xu et al., `PAD-Net
    <https://arxiv.org/abs/1805.04409>`_, CVPR 2018. There every task also predicts its targets
    before the exchange, so that the features which others read say what the task knows:
    ``intermediate`` is the weight of these predictions' losses.

    Attention costs the square of the number of positions over ``scale**4``; pairs, the square of
    the number of tasks. Tokens are maps of one column; vectors have one position and nothing to
    attend to, so that they are distilled only.

    Args:
        encoder: Any encoder with an ``example_input``.
        heads: Module from features to prediction, per task.
        scale: Pooling before attention.
        attention: Whether positions of different tasks attend to each other.
        intermediate: Weight of the losses of predictions made before the exchange, by fresh copies
            of the heads, in training; 0 for none.
    """

    paper = "Lopes et al., Cross-task Attention Mechanism for Dense Multi-task Learning, WACV 2023"
    traits = frozenset({"example_input"})

    def __init__(
        self,
        encoder: nn.Module,
        heads: Mapping[str, nn.Module],
        *,
        scale: int = 4,
        attention: bool = True,
        intermediate: float = 0.0,
    ) -> None:
        super().__init__()
        checks.whole("scale", scale, least=1)
        checks.flag("attention", attention)
        checks.number("intermediate", intermediate, least=0.0)
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        self.encoder = Stages.of(encoder, at_most=1)
        width, dims = self.encoder.width(-1), len(self.encoder.shape(-1))
        attention = attention and dims > 1  # over one position a softmax is one, whatever it reads
        self.decoders = TaskModules({task: local(dims, width, width) for task in self.tasks})
        self.exchange = TaskModules(
            {
                target: _Reader(
                    width, [s for s in self.tasks if s != target], scale=scale, attention=attention
                )
                for target in self.tasks
            }
        )
        self.auxiliary_weight = intermediate
        self.early_heads = TaskModules(
            {task: redrawn(copy.deepcopy(head)) for task, head in heads.items() if intermediate}
        )

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Decoder features of every task: all tasks read them all."""
        features = self.encoder(x)
        return {task: decoder(features) for task, decoder in self.decoders.items()}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on its task's features and what it reads from the others'."""
        maps = {task: _as_map(feature) for task, feature in features.items()}
        return {
            task: self.heads[task](self.exchange[task](task, maps).view_as(features[task]))
            if features[task].dim() != 3
            else self.heads[task](self.exchange[task](task, maps).squeeze(-1).mT)
            for task in tasks
        }

    def predict_early(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Predictions from each task's own decoder alone."""
        return {task: self.early_heads[task](features[task]) for task in tasks if self.early_heads}

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """What reads for the task, and its heads; its decoder is read by all."""
        early = [self.early_heads[task]] if self.early_heads else []
        return [self.exchange[task], self.heads[task], *early]


class _Reader(nn.Module):
    """What one task reads from the others (mTEB, with addition)."""

    def __init__(self, width: int, sources: Sequence[str], *, scale: int, attention: bool) -> None:
        super().__init__()
        self.pairs = TaskModules(
            {s: CrossTask(width, scale=scale, attention=attention) for s in sources}
        )
        self.blend = projection(len(sources) * width, width) if sources else None

    def forward(self, target: str, maps: Mapping[str, Tensor]) -> Tensor:
        own = maps[target]
        if self.blend is None:
            return own
        read = [pair(own, maps[source]) for source, pair in self.pairs.items()]
        return own + self.blend(torch.cat(read, 1))


def _as_map(features: Tensor) -> Tensor:
    """``(B, C, H, W)``, whatever there was."""
    if features.dim() == 4:
        return features
    return features.mT[..., None] if features.dim() == 3 else features[..., None, None]
