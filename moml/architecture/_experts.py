"""What mixtures of experts have in common: a stem, experts from there on, a level of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from moml._support import checks
from moml._support.typed_modules import TaskModules, module_dict, module_list
from moml.architecture._gate import Gate, mixture, pooled
from moml.architecture._stages import Ambient, Encoder, Stages, towers


def stem_and_experts(encoder: Encoder, experts: int, *, stem: int, at_most: int) -> list[Stages]:
    """Encoders cut alike: the first ``stem`` stages of the first, and what follows of each.

    Raises:
        ValueError: If nothing is left for the experts, or there are none.
    """
    checks.whole("experts", experts, least=1)
    checks.whole("stem", stem)
    made = towers(encoder, experts, at_most=at_most)
    if not 1 <= stem < len(made[0]):
        raise ValueError(
            f"`stem` should be at least 1 and leave a stage to the experts, found {stem} of "
            f"{len(made[0])} stages. The gates read the stem's features."
        )
    return [made[0].part(0, stem), *(one.part(stem) for one in made)]


class ExpertLevel(nn.Module):
    """Experts of all tasks together and of each task, and gates that mix them.

    Args:
        shared: Everybody's experts.
        own: Experts per task.
        width: Width of what the gates read.
        pass_on: Whether a shared gate mixes all experts for a level that follows.
    """

    def __init__(
        self,
        shared: Sequence[Stages],
        own: Mapping[str, Sequence[Stages]],
        width: int,
        *,
        pass_on: bool,
    ) -> None:
        super().__init__()
        self.shared = module_list(shared)
        self.own = module_dict({task: module_list(some) for task, some in own.items()})
        self.gates = TaskModules(
            {task: Gate(width, len(shared) + len(some)) for task, some in own.items()}
        )
        number = len(shared) + sum(map(len, own.values()))
        self.shared_gate = Gate(width, number) if pass_on else None

    def commons(self, x: Tensor, ambient: Ambient) -> list[Tensor]:
        """What the shared experts make of ``x``."""
        return [expert.run(x, ambient) for expert in self.shared]

    def privates(self, task: str, x: Tensor, ambient: Ambient) -> list[Tensor]:
        """What a task's experts make of ``x``."""
        return [expert.run(x, ambient) for expert in self.own[task]]

    def mixed(self, task: str, x: Tensor, experts: Sequence[Tensor]) -> Tensor:
        """A task's mixture, its gate reading ``x``."""
        return mixture(self.gates[task](pooled(x)), experts)

    def experts(
        self, states: Mapping[str, Tensor], common: Tensor, ambient: Ambient
    ) -> tuple[list[Tensor], dict[str, list[Tensor]]]:
        """What all experts say: the common ones, and those of each task."""
        own = {task: self.privates(task, x, ambient) for task, x in states.items()}
        return self.commons(common, ambient), own

    def passed_on(
        self, common: Tensor, commons: Sequence[Tensor], own: Mapping[str, Sequence[Tensor]]
    ) -> Tensor:
        """The shared gate's mixture of all experts, for the common experts of the next level."""
        assert self.shared_gate is not None
        everything = [*commons, *(value for some in own.values() for value in some)]
        return mixture(self.shared_gate(pooled(common)), everything)

    def forward(
        self, states: Mapping[str, Tensor], common: Tensor, ambient: Ambient
    ) -> tuple[dict[str, Tensor], Tensor]:
        """States of the tasks, and the common one, for the next level."""
        commons, own = self.experts(states, common, ambient)
        after = {t: self.mixed(t, x, [*commons, *own[t]]) for t, x in states.items()}
        return after, self.passed_on(common, commons, own)

    def private_modules(self, task: str) -> list[nn.Module]:
        """A task's experts and gate: nobody else's where no level follows."""
        return [*self.own[task], self.gates[task]]
