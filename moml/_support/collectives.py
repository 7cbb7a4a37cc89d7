"""What several training processes tell one another: sums, the largest, and what the first has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from moml._support.replay import overwrite

AnyObject = TypeVar("AnyObject")
AnyTensor = TypeVar("AnyTensor", bound=Tensor)


class Processes:
    """Those of a process group; everything here has to be called by all of them, in one order.

    Args:
        group: The group; all processes unless given.

    Raises:
        ValueError: If PyTorch's process group was not started.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "The process group should be started before, found none. Call "
                "`torch.distributed.init_process_group` in a script that `torchrun` starts."
            )
        self.group = group
        self.rank, self.count = dist.get_rank(group), dist.get_world_size(group)
        self._first = 0 if group is None else dist.get_global_rank(group, 0)
        self.device = torch.device("cpu")  # where the group's messages are
        if dist.get_backend(group) == "nccl":
            self.device = torch.device("cuda", torch.cuda.current_device())

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over processes, where the tensor is."""
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def largest(self, tensor: Tensor) -> Tensor:
        """The largest number of any process, entry by entry."""
        return self._reduced(tensor, dist.ReduceOp.MAX)

    def as_first(self, tensors: Iterable[Tensor]) -> None:
        """Every tensor becomes what it is in the first process."""
        for same in _by_dtype(tensors):
            flat = torch.cat([t.detach().reshape(-1) for t in same]).to(self.device)
            if flat.dtype == torch.bool:  # which not every backend can send
                flat = flat.to(torch.uint8)
            dist.broadcast(flat, src=self._first, group=self.group)
            for tensor, piece in zip(same, flat.split([t.numel() for t in same]), strict=True):
                overwrite(tensor, piece.view_as(tensor))

    def object_of_first(self, content: AnyObject) -> AnyObject:
        """What the first process has: tensors and plain data."""
        found = [content]
        dist.broadcast_object_list(found, src=self._first, group=self.group)
        return found[0]

    def added(self, parameters: Sequence[Parameter], act: Callable[[], None]) -> None:
        """What ``act`` adds to the parameters' ``.grad``, summed over processes.

        Args:
            parameters: Those that it may reach, the same in all processes.
            act: Accumulates gradients; what was there before stays as it is.
        """
        before = [p.grad for p in parameters]
        for parameter in parameters:
            parameter.grad = None
        act()
        reached = self.largest(torch.tensor([int(p.grad is not None) for p in parameters]))
        there = [p for p, yes in zip(parameters, reached.tolist(), strict=True) if yes]
        for same in _by_dtype(there):
            flat = torch.cat([_gradient(p).reshape(-1) for p in same])
            pieces = self.total(flat).split([p.numel() for p in same])
            for parameter, piece in zip(same, pieces, strict=True):
                parameter.grad = piece.view_as(parameter)
        for parameter, old in zip(parameters, before, strict=True):
            if old is not None:
                parameter.grad = old if parameter.grad is None else old + parameter.grad

    def _reduced(self, tensor: Tensor, op: dist.ReduceOp.RedOpType) -> Tensor:
        """On the device that the group talks from, in a copy."""
        copy = tensor.detach().to(self.device, copy=True)
        dist.all_reduce(copy, op=op, group=self.group)
        return copy.to(tensor.device)


def _gradient(parameter: Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _by_dtype(tensors: Iterable[AnyTensor]) -> list[list[AnyTensor]]:
    groups: dict[torch.dtype, list[AnyTensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return list(groups.values())
