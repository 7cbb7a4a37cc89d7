"""Multi-task attention network: one trunk, and masks on its levels for every task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import module_dict
from moml.architecture._base import PerInput, head_dict
from moml.architecture._gate import pooled
from moml.architecture._layers import channel_dim, local, normed, pointwise, upsampled
from moml.architecture._stages import Stages, example_of, shapes_of
from moml.backbone.staged import Leveled


class MTAN(PerInput):
    r"""Multi-task attention network: every task masks the levels of a common trunk.

    Liu, Johns, Davison, `End-to-End Multi-Task Learning with Attention
    <https://arxiv.org/abs/1803.10704>`_, CVPR 2019. At level :math:`j` the trunk makes :math:`u_j`
    and from it :math:`p_j`; task :math:`t` attends to :math:`\hat a_j = \sigma(h_j(g_j([u_j;
    f_j(\hat a_{j-1})]))) \odot p_j`, where :math:`g, h` are 1x1 convolutions of the task's own and
    :math:`f`, between levels, is common to all tasks: a 3x3 convolution in SegNet, a residual block
    in ResNets, as in the authors' code for either. Its head reads the last :math:`\hat a`. With all
    masks one this is hard parameter sharing.

    The trunk runs once whatever the number of tasks; an attention module per task and level is
    cheap in parameters for narrow trunks only (36 % on top of SegNet for three tasks).

    Args:
        encoder: An encoder that knows its levels (`moml.backbone.SegNet`, `ResNet`,
            `DenseEncoder`), or any that can be cut, with an ``example_input``.
        heads: Module from features to prediction, per task.
        stages: Levels an encoder is cut into, at most, if it does not know them.
        reduction: Channels of a level over those inside its attention modules; those of the
            encoder's blocks unless given: 4 in ResNet-50, 1 in most others.
    """

    paper = "Liu et al., End-to-End Multi-Task Learning with Attention, CVPR 2019"
    traits = frozenset({"staged", "example_input"})

    def __init__(
        self,
        encoder: nn.Module,
        heads: Mapping[str, nn.Module],
        *,
        stages: int = 4,
        reduction: int | None = None,
    ) -> None:
        super().__init__()
        if reduction is not None:
            checks.whole("reduction", reduction, least=1)
        checks.whole("stages", stages, least=1)
        checks.instance("encoder", encoder, nn.Module, "a module")
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        self.trunk = encoder if isinstance(encoder, Leveled) else _Pairs(encoder, stages)
        shapes = shapes_of(self.trunk, example_of(encoder), lambda m, x: sum(m.levels(x), ()))
        u, p = shapes[::2], shapes[1::2]
        inside = self.trunk.squeeze if reduction is None else reduction
        self.between, self.turns = nn.ModuleList(), nn.ModuleDict()
        for j in range(1, len(p)):
            widths = _width(p[j - 1]), _width(p[j])
            self.between.append(self.trunk.block(*widths) or local(len(p[j - 1]), *widths))
            if j in self.trunk.turns:
                self.turns[str(j)] = local(len(p[j - 1]), _width(p[j - 1]), _width(p[j - 1]))
        self.attention = module_dict(
            {
                task: nn.ModuleList(_attention(u[j], p[j], j > 0, inside) for j in range(len(p)))
                for task in self.tasks
            }
        )

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """The trunk's levels."""
        pairs = enumerate(self.trunk.levels(x))
        return {f"{n} {j}": one for j, pair in pairs for n, one in zip("up", pair, strict=True)}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on the last level as its task attends to it."""
        return {
            task: self.heads[task](self.trunk.finish(self._attended(task, features)))
            for task in tasks
        }

    def _attended(self, task: str, features: dict[str, Tensor]) -> Tensor:
        attended: Tensor | None = None
        for j, attend in enumerate(self.attention[task]):
            u, p = features[f"u {j}"], features[f"p {j}"]
            seen = _fit(u, p)
            if attended is not None:
                seen = torch.cat([seen, self._carried(j, attended, p)], channel_dim(p))
            attended = p * attend(seen)  # in the trunk's memory format
        assert attended is not None
        return attended

    def _carried(self, j: int, attended: Tensor, p: Tensor) -> Tensor:
        """What was attended to at the level before, at this one's size and width."""
        if str(j) in self.turns:  # down once more and up again: the way round the bottom of a U
            attended = functional.max_pool2d(self.turns[str(j)](attended), 2)
        between = self.between[j - 1]
        if _larger(p, attended):
            return between(upsampled(attended, p.shape[2:]))
        return _fit(between(attended), p)

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's attention modules and head; what lies between levels is everybody's."""
        return [self.attention[task], self.heads[task]]


def _attention(u: torch.Size, p: torch.Size, later: bool, reduction: int) -> nn.Sequential:
    dims, width = len(p), _width(p)
    inputs, hidden = _width(u) + later * width, max(width // reduction, 1)
    return nn.Sequential(
        pointwise(dims, inputs, hidden),
        normed(dims, hidden),
        nn.ReLU(inplace=True),
        pointwise(dims, hidden, width),
        normed(dims, width),
        nn.Sigmoid(),
    )


def _width(shape: torch.Size) -> int:
    return shape[0] if len(shape) > 2 else shape[-1]


def _larger(p: Tensor, x: Tensor) -> bool:
    return p.dim() == x.dim() == 4 and p.shape[2] * p.shape[3] > x.shape[2] * x.shape[3]


def _fit(x: Tensor, p: Tensor) -> Tensor:
    """A map at the size of ``p``, or the vector it pools to."""
    if x.dim() > p.dim():
        return pooled(x)
    if x.dim() < 4 or x.shape[2:] == p.shape[2:]:
        return x
    return (
        upsampled(x, p.shape[2:])
        if _larger(p, x)
        else functional.adaptive_max_pool2d(x, p.shape[2:])
    )


class _Pairs(Leveled):
    """Levels of an encoder cut into pieces, two pieces each."""

    def __init__(self, encoder: nn.Module, levels: int) -> None:
        super().__init__()
        self.stages = Stages.of(encoder, at_most=2 * levels)

    def levels(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        after = list(self.stages.walk(inputs))
        if len(after) % 2:
            after.insert(0, after[0])
        return list(zip(after[::2], after[1::2], strict=True))
