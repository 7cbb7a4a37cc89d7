"""A loop of one's own in several processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from moml._support.collectives import Processes
from moml.own_loop.memory import KnownParameters, parameters_reached
from moml.weighting import Weighting


class Agreement:
    """What processes agree on before a step: present tasks, shares, and shared parameters.

    Args:
        processes: Those that train together.
        names: All tasks.
        inputs: All parameters, in the same order in every process.
    """

    def __init__(
        self, processes: Processes, names: Sequence[str], inputs: Sequence[Tensor]
    ) -> None:
        self.processes, self.names, self.inputs = processes, tuple(names), list(inputs)
        for parameter in inputs:
            if getattr(parameter, "_post_accumulate_grad_hooks", None):
                raise ValueError(
                    "Parameters should have no hooks after accumulation with `group=`, found one: "
                    "it would see the gradient of this process alone. Step after `moml.backward`."
                )

    def start(self, weighting: Weighting) -> None:
        """Before the first step: the same parameters everywhere, and one state of the weighting.

        Raises:
            ValueError: If a parameter differs.
        """
        sums = torch.stack([p.detach().double().sum().cpu() for p in self.inputs])
        if not torch.equal(self.processes.largest(sums), -self.processes.largest(-sums)):
            raise ValueError(
                "`inputs` should be the same in all processes before the first step, found other "
                "values. Call `torch.manual_seed` with the same seed before the network is built, "
                "or load the same state."
            )
        state = self.processes.object_of_first(dict(weighting.state_dict()))
        weighting.load_state_dict(state)  # draws of random methods, too

    def meet(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Learn who has which task; the share of each of this process's losses."""
        own = torch.tensor([float(name in losses) for name in self.names], dtype=torch.float64)
        self.counts = self.processes.total(own)
        pairs = zip(self.names, self.counts.tolist(), strict=True)
        return {name: 1.0 / count for name, count in pairs if name in losses}

    @property
    def present(self) -> tuple[str, ...]:
        """Tasks that have a loss in any process."""
        return tuple(n for n, c in zip(self.names, self.counts.tolist(), strict=True) if c > 0)

    def shared(self, losses: Mapping[str, Tensor], memory: KnownParameters) -> list[Tensor]:
        """Parameters that at least two tasks reach, in any process."""
        reached, joined = parameters_reached(losses, None, self.inputs) if losses else ({}, False)
        memory.notice(joined)
        names = list(losses)
        mine = torch.zeros(len(self.inputs), len(self.names), dtype=torch.int)
        for i, parameter in enumerate(self.inputs):
            mask = reached.get(parameter, 0)
            for k, name in enumerate(names):
                mine[i, self.names.index(name)] = mask >> k & 1
        masks = self.processes.largest(mine)
        together = {
            parameter: sum(bit << k for k, bit in enumerate(row))
            for parameter, row in zip(self.inputs, masks.tolist(), strict=True)
            if any(row)
        }
        return memory.shared(together, len(self.names), len(self.present))


class Leaves:
    """The parameters of a step, in place of a problem's.

    Args:
        tasks: All tasks.
        shared: Shared parameters.
        inputs: All parameters.
    """

    def __init__(
        self, tasks: Sequence[str], shared: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> None:
        self.tasks, self.shared, self.inputs = tuple(tasks), list(shared), list(inputs)

    def shared_parameters(self) -> Any:
        """The shared ones."""
        return self.shared

    def trainable(self) -> Iterator[tuple[str, Parameter]]:
        """All that need gradients."""
        for i, parameter in enumerate(self.inputs):
            if parameter.requires_grad:
                yield str(i), parameter  # type: ignore[misc]


def processes_of(group: Any, inputs: Sequence[Tensor] | None) -> Processes | None:
    """The processes that train together; ``None`` for one that trains alone.

    Raises:
        ValueError: If several were started and nobody said whether they train together, or the
            parameters are not given.
    """
    started = dist.is_available() and dist.is_initialized()
    if group is None:
        if started and dist.get_world_size() > 1:
            raise ValueError(
                f"`group` should be given where {dist.get_world_size()} processes were started, "
                "found None: each would weigh its own losses, and the networks would drift apart. "
                "Pass `group=torch.distributed.group.WORLD`, or a group of one process that trains "
                "alone."
            )
        return None
    processes = Processes(group)
    if processes.count == 1:
        return None
    if inputs is None:
        raise ValueError(
            "`inputs` should be given with `group`, found None: all parameters, in the same order "
            "in every process. Pass `inputs=model.parameters()`, of the module inside "
            "`DistributedDataParallel` where there is one."
        )
    return processes
