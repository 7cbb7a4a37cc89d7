"""DSelect-k: sparse, differentiable selection of experts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import module_dict, module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._experts import stem_and_experts
from moml.architecture._gate import mixture, pooled
from moml.architecture._stages import Encoder
from moml.data.inputs import Inputs


class DSelectK(PerInput):
    r"""DSelect-k: every task mixes at most ``selected`` of the experts, chosen by gradient descent.

    Hazimeh et al., `DSelect-k: Differentiable Selection in the Mixture of Experts with Applications
    to Multi-Task Learning <https://arxiv.org/abs/2106.03760>`_, NeurIPS 2021. Experts are numbered
    in binary. A selector :math:`z \in \mathbb R^{\log_2 n}` weighs expert :math:`i` by
    :math:`r(z)_i = \prod_j S(z_j)^{b_{ij}} (1 - S(z_j))^{1 - b_{ij}}`, where the smooth step
    :math:`S` is exactly 0 below :math:`-\gamma/2` and exactly 1 above :math:`\gamma/2`; a task's
    weights are a softmax-weighted sum of ``selected`` such selectors. The regulariser, the mean
    entropy of the selectors, drives them to one expert each; it trains the gates alone.

    Once a selector has decided, no gradient brings it back: too large an ``entropy`` decides before
    the experts have learnt anything.

    Args:
        encoder: Any encoder with an ``example_input``, or a function that makes one.
        heads: Module from features to prediction, per task.
        experts: Number of experts, a power of two.
        selected: Experts a task uses in the end, at most.
        gamma: Width of the smooth step's slope.
        entropy: Weight of the regulariser.
        static: One choice per task, instead of one per task and sample.
        stages: Stages the encoder is cut into, at most.
        stem: How many of them are run once, for gates and experts to read.
    """

    paper = "Hazimeh et al., DSelect-k: Differentiable Selection in the Mixture of Experts, 2021"
    traits = frozenset({"gated", "example_input", "penalty"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        experts: int = 4,
        selected: int = 2,
        gamma: float = 1.0,
        entropy: float = 1e-3,
        static: bool = False,
        stages: int = 2,
        stem: int = 1,
    ) -> None:
        super().__init__()
        checks.whole("experts", experts)
        checks.whole("selected", selected)
        checks.number("gamma", gamma, above=0.0)
        checks.number("entropy", entropy, least=0.0)
        checks.flag("static", static)
        if experts < 2 or experts & (experts - 1):
            raise ValueError(
                f"`experts` should be a power of two, found {experts}. Selectors are binary codes, "
                "and one without an expert would be a dead end."
            )
        if not 1 <= selected <= experts:
            raise ValueError(f"`selected` should be from 1 to {experts}, found {selected}.")
        self.heads, self.tasks, self.entropy = head_dict(heads), task_names(heads), entropy
        self.stem, *made = stem_and_experts(encoder, experts, stem=stem, at_most=stages)
        self.experts = module_list(made)
        width = self.stem.width(-1)
        self.gates = module_dict(
            {t: _Selectors(width, experts, selected, gamma, static) for t in self.tasks}
        )
        self._read: dict[str, Tensor] = {}  # what the gates read in the last forward pass

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What the gates read, and what each expert says; a new pass for the regulariser."""
        self._read = {}
        return super().features(inputs, tasks)

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """What the gates read, and what each expert says."""
        ambient = self.stem.ambient(x)
        stem = self.stem.run(x, ambient)
        experts = {f"expert {k}": one.run(stem, ambient) for k, one in enumerate(self.experts)}
        return {"gate": pooled(stem), **experts}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on its selection's mixture."""
        experts = [features[f"expert {k}"] for k in range(len(self.experts))]
        predictions = {}
        for task in tasks:
            if self.training:
                self._read[task] = features["gate"].detach()
            weights = self.gates[task](features["gate"])
            predictions[task] = self.heads[task](mixture(weights, experts))
        return predictions

    def penalty(self) -> Tensor | None:
        """Mean entropy of the selectors of the tasks seen in the last forward pass."""
        if not self.entropy or not self._read:
            return None
        entropies = [self.gates[task].entropy(read) for task, read in self._read.items()]
        self._read = {}
        return self.entropy * torch.stack(entropies).sum()

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's selectors and head."""
        return [self.gates[task], self.heads[task]]


class _Selectors(nn.Module):
    """One task's gate: weights of the selectors, and their binary codes."""

    codes: Tensor

    def __init__(
        self, in_features: int, experts: int, selected: int, gamma: float, static: bool
    ) -> None:
        super().__init__()
        self.gamma, self.selected = gamma, selected
        bits = experts.bit_length() - 1
        numbers = torch.arange(experts)[:, None] >> torch.arange(bits)
        self.register_buffer("codes", (numbers & 1).float())  # (experts, bits)
        size = selected * (bits + 1)
        self.constant = nn.Parameter(torch.empty(size))
        self.linear = None if static else nn.Linear(in_features, size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start close to the middle of the slope, where every expert has its share."""
        nn.init.uniform_(self.constant, -self.gamma / 100, self.gamma / 100)
        if self.linear is not None:
            nn.init.uniform_(self.linear.weight, -self.gamma / 100, self.gamma / 100)

    def forward(self, read: Tensor) -> Tensor:
        """Weights of the experts ``(B, experts)``."""
        z, weights = self._codes_of(read)
        return (weights.softmax(-1)[..., None] * self._selections(z)).sum(-2)

    def entropy(self, read: Tensor) -> Tensor:
        """Entropy of the selections, averaged over samples and summed over selectors."""
        selections = self._selections(self._codes_of(read)[0])
        # Not `entr`: its slope at an exact 0 is infinite, and times the step's slope, 0, it is NaN.
        logarithms = selections.clamp_min(1e-12).log()
        return -(selections * logarithms).sum((-2, -1)).mean()

    def _codes_of(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Codes ``(B, selected, bits)`` and logits ``(B, selected)``."""
        raw = self.constant.expand(len(read), -1)
        if self.linear is not None:
            raw = raw + self.linear(read)
        raw = raw.unflatten(-1, (self.selected, -1))
        return raw[..., 1:], raw[..., 0]

    def _selections(self, z: Tensor) -> Tensor:
        """The weights each selector gives to the experts, ``(B, selected, experts)``."""
        step = smooth_step(z, self.gamma)[..., None, :]
        return torch.where(self.codes.bool(), step, 1 - step).prod(-1)


def smooth_step(t: Tensor, gamma: float) -> Tensor:
    """A cubic from exactly 0 at ``-gamma / 2`` to exactly 1 at ``gamma / 2``, flat outside."""
    u = (t / gamma).clamp(-0.5, 0.5)
    return -2 * u**3 + 1.5 * u + 0.5
