"""Cross-stitch networks: a tower per task, mixed linearly after every stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from moml._support.task_names import task_names
from moml._support.typed_modules import module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._gate import mixture, towards_own
from moml.architecture._stages import Encoder, towers


class CrossStitch(PerInput):
    r"""Cross-stitch: each task's tower goes on from a learnt combination of all towers.

    Misra et al., `Cross-stitch Networks for Multi-task Learning
    <https://arxiv.org/abs/1604.03539>`_, CVPR 2016. After stage :math:`l`,
    :math:`\tilde x_t = \sum_s \alpha^l_{ts} x_s`. Every row starts convex, most of it on the task's
    own tower, so that activations keep their scale; rows are free afterwards, as in the paper.

    As many encoders as tasks are trained and run: with an input per task, as many for each. Fails
    to share anything of use where tasks are many and data few; then share by construction.

    Args:
        encoder: Any encoder, or a function that makes one.
        heads: Module from features to prediction, per task.
        stages: Stages the encoder is cut into, at most; a unit after each.
        own: A task's weight on its own tower, at the start.
    """

    paper = "Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016"
    traits = frozenset({"staged", "encoder_per_task"})

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
        self.towers = module_list(towers(encoder, len(heads), at_most=stages))
        start = towards_own(len(heads), own)
        self.stitches = nn.ParameterList(nn.Parameter(start.clone()) for _ in self.towers[0].pieces)

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """The towers' features before the last unit."""
        last = len(self.stitches) - 1
        states, ambient = [x] * len(self.tasks), self.towers[0].ambient(x)
        for k, stitch in enumerate(self.stitches):
            states = [t.step(k, s, ambient) for t, s in zip(self.towers, states, strict=True)]
            if k < last:
                states = [mixture(row, states) for row in stitch]
        return dict(zip(self.tasks, states, strict=True))

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on its own combination of the towers."""
        rows = dict(zip(self.tasks, self.stitches[-1], strict=True))
        states = [features[task] for task in self.tasks]
        return {task: self.heads[task](mixture(rows[task], states)) for task in tasks}

    def structure(self) -> list[nn.Parameter]:
        """The units."""
        return list(self.stitches)

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's head; its tower is everybody's through the units."""
        return [self.heads[task]]
