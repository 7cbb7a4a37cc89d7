"""Safe multi-task learning: a public encoder, a private one per task, and a gate between them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import TaskModules, module_dict
from moml.architecture._base import PerInput, head_dict
from moml.architecture._gate import mixture
from moml.architecture._stages import Encoder, redrawn, towers
from moml.architecture.sharing_table import SharingTable
from moml.weighting import Randomized

GateKind = Literal["soft", "hard"]
Where = Literal["encoder", "decoder"]


class SafeMTL(PerInput):
    r"""Safe multi-task learning: no task has to share what does not help it.

    Guo, Ye, Zhang, `Safe Multi-Task Learning <https://arxiv.org/abs/2111.10601>`_, 2021:
    :math:`z_t = a_{t0} h_S(x) + a_{t1} h_t(x)` with a public encoder :math:`h_S`, private ones
    :math:`h_t` and a gate per task. With the gate at (1, 0) this is hard parameter sharing, at
    (0, 1) single-task learning.

    Soft gates are softmaxes that start at (1/2, 1/2). Hard gates ("lite") choose one encoder per
    step by Gumbel noise, with straight-through gradients; in evaluation they choose the likelier
    one, without noise, and `export` gives the network with the chosen encoders alone. Gates between
    decoders mix the outputs of two heads per task instead of features.

    Costs an encoder per task and one more. Weight decay pulls gates, too, to the middle.

    Args:
        encoder: Any encoder, or a function that makes one.
        heads: Module from features to prediction, per task.
        gate: Soft, or hard.
        where: Whether features are mixed, or predictions.
        temperature: Of hard gates' relaxation.
        seed: Seed of hard gates' noise.
    """

    paper = "Guo et al., Safe Multi-Task Learning, arXiv:2111.10601, 2021"
    traits = frozenset({"encoder_per_task", "random"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        gate: GateKind = "soft",
        where: Where = "encoder",
        temperature: float = 0.1,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        checks.choice("gate", gate, get_args(GateKind))
        checks.choice("where", where, get_args(Where))
        checks.number("temperature", temperature, above=0.0)
        if seed is not None:
            checks.seed(seed)
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        self.public, *private = towers(encoder, 1 + len(heads), at_most=1)
        self.private = module_dict(dict(zip(self.tasks, private, strict=True)))
        self.twins = TaskModules(
            {t: redrawn(copy.deepcopy(head)) for t, head in heads.items()}
            if where == "decoder"
            else {}
        )
        self.gates = TaskModules(
            {
                task: _Soft() if gate == "soft" else _Hard(temperature, _seed(seed, i))
                for i, task in enumerate(self.tasks)
            }
        )

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """The public features, and the inputs for the private encoders."""
        return {"inputs": x, "public": self.public(x)}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each task's head on its gate's mixture, or the mixture of two heads' outputs."""
        predictions = {}
        for task in tasks:
            head = self.heads[task]
            both = [features["public"], self.private[task](features["inputs"])]
            weights = self.gates[task]()
            if task in self.twins:
                predictions[task] = mixture(weights, [head(both[0]), self.twins[task](both[1])])
            else:
                predictions[task] = head(mixture(weights, both))
        return predictions

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's encoder, gate and heads."""
        twins = [self.twins[task]] if task in self.twins else []
        return [self.private[task], self.gates[task], self.heads[task], *twins]

    def structure(self) -> list[nn.Parameter]:
        """The gates."""
        return list(self.gates.parameters())

    def private_shares(self) -> dict[str, float]:
        """Per task, the weight of its private encoder (the probability, of a hard gate)."""
        return {task: gate.share().detach().item() for task, gate in self.gates.items()}  # type: ignore[operator]

    def export(self) -> SharingTable:
        """The network with one encoder per task, the likelier one; parameters are shared.

        Raises:
            ValueError: If gates are soft: their mixtures need both encoders.
        """
        if not all(isinstance(gate, _Hard) for gate in self.gates.values()):
            raise ValueError(
                "`gate` should be 'hard' to export one encoder per task, found 'soft'."
            )
        chosen = {task: int(share >= 0.5) for task, share in self.private_shares().items()}
        copies = {0: self.public.pieces[0]}
        copies |= {i: self.private[t].pieces[0] for i, t in enumerate(self.tasks, start=1)}
        heads = {
            t: self.twins[t] if k and t in self.twins else self.heads[t] for t, k in chosen.items()
        }
        table = {task: [chosen[task] * i] for i, task in enumerate(self.tasks, start=1)}
        return SharingTable.of([copies], heads, table, ambient=self.public.ambient)


class _Soft(nn.Module):
    """Softmax over public and private."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(2))

    def forward(self) -> Tensor:
        return self.logits.softmax(0)

    def share(self) -> Tensor:
        return self.logits.softmax(0)[1]


class _Hard(Randomized):
    """A Bernoulli choice of public or private, relaxed for the gradient."""

    def __init__(self, temperature: float, seed: int | None) -> None:
        super().__init__(seed)
        self.temperature = temperature
        self.logit = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        logits = nn.functional.logsigmoid(torch.stack([-self.logit, self.logit]))
        if not self.training:
            return nn.functional.one_hot((self.share() >= 0.5).long(), 2).to(logits)
        uniform = torch.rand(2, generator=self.generator).clamp_min(1e-20)
        noise = -(-uniform.log()).clamp_min(1e-20).log()
        soft = ((logits + noise.to(logits)) / self.temperature).softmax(0)
        hard = nn.functional.one_hot(soft.argmax(), 2).to(soft)
        return hard + (soft - soft.detach())

    def share(self) -> Tensor:
        return self.logit.sigmoid()


def _seed(seed: int | None, number: int) -> int:
    return (torch.initial_seed() if seed is None else seed) + number
