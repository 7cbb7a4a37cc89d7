"""An encoder in stages, and copies of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from moml._support import checks
from moml.architecture._split import balanced, split, weight_layers
from moml.backbone.staged import Staged

M = TypeVar("M", bound=nn.Module)
Encoder = nn.Module | Callable[[], nn.Module]
"""An encoder, or what makes one: needed where copies start from stored weights."""
Ambient = Any
"""What `Stages.ambient` makes of an encoder's inputs, for its stages to read."""


class Stages(nn.Module):
    """Consecutive pieces of an encoder; called, it computes what the encoder does, to the bit.

    Args:
        pieces: Modules ``(x, ambient) -> x``.
        shapes: Shape of one sample after each piece; empty if not known.
        ambient: What the inputs alone decide and pieces may read (masks, degrees), made once for
            all of them; the inputs themselves unless given. It has neither parameters nor buffers,
            so that what one copy of an encoder makes serves all copies.

    Attributes:
        pieces: The modules.
        ambient: The module.
    """

    def __init__(
        self,
        pieces: Sequence[nn.Module],
        shapes: Sequence[torch.Size] = (),
        *,
        ambient: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.pieces = nn.ModuleList(pieces)
        self.ambient = nn.Identity() if ambient is None else ambient
        self._shapes = list(shapes)

    @classmethod
    def of(cls, encoder: nn.Module, *, at_most: int = 4) -> Stages:
        """Cut an encoder: as it lists its stages, or else where `torch.fx` finds a way.

        Args:
            encoder: From inputs to a feature tensor. If it has an ``example_input``, shapes are
                read off by running it once.
            at_most: Number of pieces.

        Raises:
            ValueError: If it can be cut in neither way.
        """
        checks.whole("stages", at_most, least=1)
        checks.instance("encoder", encoder, nn.Module, "a module")
        if isinstance(encoder, Stages):
            return encoder
        pieces: list[nn.Module]
        ambient: nn.Module | None = None
        if at_most == 1:
            pieces = [_Listed(encoder)]
        elif isinstance(encoder, Staged):
            pieces = [_Listed(part) for part in _merged(encoder.list_stages(), at_most)]
        else:
            ambient, pieces = split(encoder, at_most)
        stages = cls(pieces, ambient=ambient)
        example = getattr(encoder, "example_input", None)
        if example is not None:
            stages._shapes = shapes_of(stages, example, Stages.walk)
        return stages

    def __len__(self) -> int:
        return len(self.pieces)

    def shape(self, stage: int) -> torch.Size:
        """Shape of one sample after a stage.

        Raises:
            ValueError: If it is not known.
        """
        if not self._shapes:
            raise ValueError(_NO_EXAMPLE)
        return self._shapes[stage]

    def width(self, stage: int) -> int:
        """Channels after a stage: the first dimension of maps, the last one of all else."""
        shape = self.shape(stage)
        return shape[0] if len(shape) > 2 else shape[-1]

    def part(self, first: int, last: int | None = None) -> Stages:
        """Some of the stages, sharing their parameters; ``last`` is left out."""
        pieces, shapes = list(self.pieces)[first:last], self._shapes[first:last]
        return Stages(pieces, shapes, ambient=self.ambient)

    def run(self, x: Tensor, ambient: Ambient) -> Tensor:
        """All stages, from what precedes them; ``ambient`` is made of the encoder's inputs."""
        for piece in self.pieces:
            x = piece(x, ambient)
        return x

    def step(self, stage: int, x: Tensor, ambient: Ambient) -> Tensor:
        """One stage."""
        return self.pieces[stage](x, ambient)

    def walk(self, inputs: Tensor) -> Iterator[Tensor]:
        """The features after every stage."""
        x, ambient = inputs, self.ambient(inputs)
        for piece in self.pieces:
            x = piece(x, ambient)
            yield x

    def forward(self, inputs: Tensor) -> Tensor:
        """Features."""
        return self.run(inputs, self.ambient(inputs))


def towers(encoder: Encoder, number: int, *, at_most: int = 4) -> list[Stages]:
    """An encoder and fresh copies of it, all in stages.

    Args:
        encoder: A module: it becomes the first tower, and copies draw their weights anew by their
            layers' ``reset_parameters``. Or a function, called once for each.
        number: How many.
        at_most: Number of stages.
    """
    checks.whole("stages", at_most, least=1)
    if not isinstance(encoder, nn.Module):
        if not callable(encoder):
            raise ValueError(
                f"`encoder` should be a module or a function that makes one, found "
                f"{checks.found(encoder)}."
            )
        return [Stages.of(encoder(), at_most=at_most) for _ in range(number)]
    if isinstance(encoder, Stages):
        return [encoder, *(redrawn(copy.deepcopy(encoder)) for _ in range(number - 1))]
    copies = [redrawn(copy.deepcopy(encoder)) for _ in range(number - 1)]
    return [Stages.of(one, at_most=at_most) for one in (encoder, *copies)]


def redrawn(module: M) -> M:
    """The module with new weights; outer modules last, as they know best how to start."""
    for part in reversed(list(module.modules())):
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return module


class _Listed(nn.Module):
    """A stage that looks at nothing but what precedes it."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, x: Tensor, ambient: Ambient) -> Tensor:
        return self.stage(x)


def _merged(stages: Sequence[nn.Module], at_most: int) -> list[nn.Module]:
    counts = list(accumulate(weight_layers(stage) for stage in stages))
    kept = [i + 1 for i in balanced(counts, at_most)]
    bounds = zip([0, *kept], [*kept, len(stages)], strict=True)
    return [stages[a] if b == a + 1 else nn.Sequential(*stages[a:b]) for a, b in bounds]


def example_of(encoder: nn.Module) -> Tensor:
    """What the encoder shows of its inputs.

    Raises:
        ValueError: If it shows nothing.
    """
    example = getattr(encoder, "example_input", None)
    if example is None:
        raise ValueError(_NO_EXAMPLE)
    return example


def shapes_of(
    module: nn.Module, example: Tensor, run: Callable[[Any, Tensor], Iterable[Tensor]]
) -> list[torch.Size]:
    """Shapes, without the batch, of what a module makes of an example; it is left as it was."""
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    if first is not None:
        example = example.to(first.device)
        example = example.to(first.dtype) if example.is_floating_point() else example
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    with torch.no_grad():
        shapes = [made.shape[1:] for made in run(module, example)]
    for part, mode in modes:
        part.training = mode
    return shapes


_NO_EXAMPLE = (
    "`encoder` should have an attribute `example_input`, found none. Layers on its features are "
    "sized by what it makes of it: `encoder.example_input = x[:1]`."
)
