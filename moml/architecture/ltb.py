"""Learning to branch: a tree of stages, grown by Gumbel-softmax."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._gate import mixture
from moml.architecture._stages import Encoder, towers
from moml.architecture.sharing_table import SharingTable
from moml.weighting import Randomized


class LTB(Randomized, PerInput):
    r"""Learning to branch: each node of a stage learns which node of the stage below it grows from.

    Guo et al., `Learning to Branch for Multi-Task Learning <https://arxiv.org/abs/2006.01895>`_,
    ICML 2020. A stage has a node per task. In training a node reads the mixture of the nodes below
    with weights :math:`\mathrm{softmax}((\alpha + g) / \tau)`, :math:`g` Gumbel noise, and
    :math:`\tau` falls geometrically over the run, so that mixtures become choices. In evaluation a
    node reads the one with the largest :math:`\alpha`, without noise. `export` gives that tree as a
    network of its own, with unused nodes left out; the paper then trains it from scratch.

    Training costs as many encoders as tasks. If the temperature stays high, the evaluated tree is
    not the network that was trained.

    Args:
        encoder: Any encoder, or a function that makes one.
        heads: Module from features to prediction, per task.
        stages: Stages the encoder is cut into, at most.
        temperature: Temperature at the start.
        final_temperature: Temperature at the end.
        seed: Seed of the noise.
    """

    paper = "Guo et al., Learning to Branch for Multi-Task Learning, ICML 2020"
    traits = frozenset({"staged", "encoder_per_task", "random", "schedule"})
    temperature: Tensor

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        stages: int = 4,
        temperature: float = 10.0,
        final_temperature: float = 0.1,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        checks.number("temperature", temperature, above=0.0)
        checks.number("final_temperature", final_temperature, above=0.0)
        if not temperature >= final_temperature:
            raise ValueError(
                "`temperature` should be at least `final_temperature`, found "
                f"{temperature} and {final_temperature}."
            )
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        self.towers = module_list(towers(encoder, len(heads), at_most=stages))
        if len(self.towers[0]) < 2:
            raise ValueError("`encoder` should have two stages or more to branch, found one.")
        number = len(heads)
        self.branches = nn.ParameterList(
            nn.Parameter(torch.zeros(number, number)) for _ in range(len(self.towers[0]) - 1)
        )
        self.range = (temperature, final_temperature)
        self.register_buffer("temperature", torch.tensor(temperature))

    def after_step(self, step: int, steps: int) -> None:
        """Lower the temperature."""
        first, last = self.range
        self.temperature.fill_(first * (last / first) ** (step / steps))

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """All nodes of the last stage but one."""
        ambient = self.towers[0].ambient(x)
        states = [tower.step(0, x, ambient) for tower in self.towers]
        for k, logits in enumerate(self.branches[:-1], start=1):
            read = [mixture(row, states) for row in self._choices(logits)]
            states = [tower.step(k, s, ambient) for tower, s in zip(self.towers, read, strict=True)]
        return {"inputs": x, **{f"node {i}": state for i, state in enumerate(states)}}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Every task's leaf, and its head."""
        rows = dict(zip(self.tasks, self._choices(self.branches[-1]), strict=True))
        leaves = dict(zip(self.tasks, self.towers, strict=True))
        states = [features[f"node {i}"] for i in range(len(self.tasks))]
        last, ambient = len(self.branches), self.towers[0].ambient(features["inputs"])
        return {
            task: self.heads[task](leaves[task].step(last, mixture(rows[task], states), ambient))
            for task in tasks
        }

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's leaf and its head."""
        return [self.towers[self.tasks.index(task)].pieces[-1], self.heads[task]]

    def structure(self) -> list[nn.Parameter]:
        """The branches' logits."""
        return list(self.branches)

    def table(self) -> dict[str, list[int]]:
        """The node of every stage that each task's prediction passes, as chosen now."""
        paths = {}
        for i, task in enumerate(self.tasks):
            path = [i]
            for logits in reversed(self.branches):
                path.append(int(logits[path[-1]].argmax()))
            paths[task] = path[::-1]
        return paths

    def export(self) -> SharingTable:
        """The tree as it is evaluated, without the nodes it does not use; parameters are shared."""
        stages = [
            {i: tower.pieces[k] for i, tower in enumerate(self.towers)}
            for k in range(len(self.towers[0]))
        ]
        ambient = self.towers[0].ambient
        return SharingTable.of(stages, dict(self.heads.items()), self.table(), ambient=ambient)

    def _choices(self, logits: Tensor) -> Tensor:
        """Per node, weights of the nodes below: drawn in training, one-hot in evaluation."""
        if not self.training:
            return nn.functional.one_hot(logits.argmax(1), len(logits)).to(logits)
        uniform = torch.rand(logits.shape, generator=self.generator).clamp_min(1e-20)
        noise = -(-uniform.log()).clamp_min(1e-20).log()
        return ((logits + noise.to(logits)) / self.temperature).softmax(1)
