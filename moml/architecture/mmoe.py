"""Multi-gate mixture of experts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from moml._support.task_names import task_names
from moml._support.typed_modules import TaskModules, module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._experts import stem_and_experts
from moml.architecture._gate import Gate, mixture, pooled
from moml.architecture._stages import Encoder


class MMoE(PerInput):
    r"""Multi-gate mixture of experts: every task mixes common experts by a gate of its own.

    Ma et al., `Modeling Task Relationships in Multi-task Learning with Multi-gate
    Mixture-of-Experts <https://doi.org/10.1145/3219819.3220007>`_, KDD 2018:
    :math:`f_t(x) = \sum_k \mathrm{softmax}(W_t x)_k\, e_k(x)`. As in the paper, where experts stand
    on a common embedding, :math:`x` is the output of the encoder's first stages, pooled for the
    gates; the experts are copies of the remaining stages.

    Costs as many encoders as experts, less their stem. Gates tend to agree where tasks do; then the
    experts are an ensemble, and one wide encoder is as good.

    Args:
        encoder: Any encoder with an ``example_input``, or a function that makes one.
        heads: Module from features to prediction, per task.
        experts: Number of experts.
        stages: Stages the encoder is cut into, at most.
        stem: How many of them are run once, for gates and experts to read.
    """

    paper = "Ma et al., Modeling Task Relationships with Multi-gate Mixture-of-Experts, KDD 2018"
    traits = frozenset({"gated", "example_input"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        experts: int = 4,
        stages: int = 2,
        stem: int = 1,
    ) -> None:
        super().__init__()
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        self.stem, *made = stem_and_experts(encoder, experts, stem=stem, at_most=stages)
        self.experts = module_list(made)
        width = self.stem.width(-1)
        self.gates = TaskModules({task: Gate(width, experts) for task in self.tasks})

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """What the gates read, and what each expert says."""
        ambient = self.stem.ambient(x)
        stem = self.stem.run(x, ambient)
        experts = {f"expert {k}": one.run(stem, ambient) for k, one in enumerate(self.experts)}
        return {"gate": pooled(stem), **experts}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on its gate's mixture."""
        experts = [features[f"expert {k}"] for k in range(len(self.experts))]
        return {
            task: self.heads[task](mixture(self.gates[task](features["gate"]), experts))
            for task in tasks
        }

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's gate and head."""
        return [self.gates[task], self.heads[task]]
