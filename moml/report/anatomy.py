"""What a multi-task network consists of: which tasks use which parameters, at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import Parameter
from torch.utils.flop_counter import FlopCounterMode

from moml._support.nesting import tensors_in
from moml.architecture import Architecture
from moml.data.inputs import Inputs
from moml.gradients.graph import reach


@dataclass(frozen=True)
class Block:
    """A part of the network whose parameters all serve the same tasks.

    Attributes:
        name: Its module.
        parameters: How many numbers.
        tasks: The tasks whose predictions depend on them, read off the autograd graph.
    """

    name: str
    parameters: int
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """A network's parts and costs.

    Attributes:
        tasks: All tasks.
        blocks: The parts, the coarsest that each serve one set of tasks.
        multiply_adds: Per task, multiply-adds of its prediction alone, per sample.
        together: Multiply-adds of all predictions in one pass, per sample.
    """

    tasks: tuple[str, ...]
    blocks: tuple[Block, ...]
    multiply_adds: Mapping[str, int]
    together: int

    @property
    def parameters(self) -> int:
        """Numbers in the whole network."""
        return sum(block.parameters for block in self.blocks)

    def used(self, task: str) -> int:
        """Numbers that a task's prediction depends on."""
        return sum(block.parameters for block in self.blocks if task in block.tasks)

    def own(self, task: str) -> int:
        """Numbers that no other task's prediction depends on."""
        return sum(block.parameters for block in self.blocks if block.tasks == (task,))


def anatomy(architecture: Architecture, inputs: Inputs) -> Anatomy:
    """Take a network apart.

    Args:
        architecture: The network; its running statistics see the inputs.
        inputs: A few samples, two or more.
    """
    modes = [(m, m.training) for m in architecture.modules()]
    architecture.train()
    features = architecture.features(inputs)
    made = [*architecture.decode(features).items(), *architecture.auxiliary(features).items()]
    masks = reach([prediction for _, prediction in made]).leaves
    served = {
        p: {task for i, (task, _) in enumerate(made) if masks.get(p, 0) >> i & 1}
        for p in architecture.parameters()
    }
    users = {p: tuple(t for t in architecture.tasks if t in some) for p, some in served.items()}
    blocks = tuple(_blocks("", architecture, users, set()))
    architecture.eval()
    costs = {task: _multiply_adds(architecture, inputs, [task]) for task in architecture.tasks}
    together = _multiply_adds(architecture, inputs, list(architecture.tasks))
    for module, mode in modes:
        module.training = mode
    return Anatomy(architecture.tasks, blocks, costs, together)


def _blocks(
    name: str,
    module: nn.Module,
    users: Mapping[Parameter, tuple[str, ...]],
    seen: set[Parameter],
) -> list[Block]:
    """Parts below a module; it is one itself if all its parameters serve the same tasks."""
    parameters = [p for p in module.parameters() if p not in seen]
    kinds = {users[p] for p in parameters}
    if len(kinds) == 1 and name:
        seen.update(parameters)
        return [Block(name, sum(p.numel() for p in parameters), kinds.pop())]
    found = []
    for key, parameter in module.named_parameters(recurse=False):
        if parameter not in seen:
            seen.add(parameter)
            found.append(Block(_joined(name, key), parameter.numel(), users[parameter]))
    for key, child in module.named_children():
        found += _blocks(_joined(name, key), child, users, seen)
    return found


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _multiply_adds(architecture: Architecture, inputs: Inputs, tasks: list[str]) -> int:
    """Of matrix products, convolutions and attention; a product and its addition count as one."""
    size = len(next(tensors_in(inputs)))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        architecture(inputs, tasks)
    return round(counter.get_total_flops() / 2 / size)
