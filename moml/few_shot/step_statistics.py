"""Running statistics of batch normalisation, kept apart for every lower step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from moml.bilevel.functional import tracked_layers

_KINDS = ("running_mean", "running_var")


class StepStatistics(nn.Module):
    """What a network is normalised by at a lower step once training is over.

    Antoniou, Edwards & Storkey, `How to train your MAML <https://arxiv.org/abs/1810.09502>`_, ICLR
    2019, section 4: activations drift while the network adapts, so that one running average over
    all lower steps fits none of them. Here every step has its own, updated once per meta-step from
    the mean over all batches seen at that step, with the layers' own momentum.

    Args:
        network: Network with layers that have running statistics.
        steps: Number of lower steps; what comes after the last one is kept too.

    Raises:
        ValueError: If no layer has any, or when a step that takes in statistics is traced.
    """

    updates: Tensor

    def __init__(self, network: nn.Module, *, steps: int) -> None:
        super().__init__()
        layers = tracked_layers(network)
        if not layers:
            raise ValueError(
                "`statistics` should not be 'per_step' for a network without running statistics, "
                "found it. Use layers such as torch.nn.BatchNorm2d, or 'batch'."
            )
        self.steps = steps
        self._momenta: dict[str, float | None] = {}
        for prefix, layer in layers.items():
            for kind in _KINDS:
                name = f"{prefix}.{kind}" if prefix else kind
                start = layer.get_buffer(kind)
                self.register_buffer(_key(name), start.repeat(steps + 1, *[1] * start.dim()))
                self._momenta[name] = layer.momentum
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._found: dict[int, list[Mapping[str, Tensor]]] = {}
        self._paused = False

    def at(self, step: int) -> dict[str, Tensor]:
        """Statistics of a lower step, by the names of the network's buffers."""
        return {n: self.get_buffer(_key(n))[min(step, self.steps)] for n in self._momenta}

    def observe(self, step: int, found: Mapping[str, Tensor]) -> None:
        """Take in the statistics of a batch at a lower step.

        A step that is computed again (to save memory, or for a residual) counts once.
        """
        if any(isinstance(t, FakeTensor) for t in found.values()):
            raise ValueError("running statistics per step are state, which a trace does not keep")
        if self._paused:
            return
        seen = self._found.setdefault(min(step, self.steps), [])
        if not any(_same(found, other) for other in seen):
            seen.append(found)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take in nothing meanwhile."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def fold(self) -> None:
        """After a meta-step: move the averages towards what was found in it."""
        self.updates += 1
        for step, batches in sorted(self._found.items()):
            for name, momentum in self._momenta.items():
                mean = torch.stack([found[name] for found in batches]).mean(0)
                share = 1 / int(self.updates) if momentum is None else momentum
                self.get_buffer(_key(name))[step].lerp_(mean, share)
        self._found.clear()


def _same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def _key(name: str) -> str:
    """Buffers take no dots."""
    return name.replace(".", "/")
