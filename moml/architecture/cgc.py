"""Customized gate control: common experts, and some of each task's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml.architecture._base import PerInput, head_dict
from moml.architecture._experts import ExpertLevel, stem_and_experts
from moml.architecture._stages import Encoder


class CGC(PerInput):
    """Customized gate control: every task mixes common experts and its own, never another task's.

    Tang et al., `Progressive Layered Extraction (PLE)
    <https://doi.org/10.1145/3383313.3412236>`_, RecSys 2020: one level of it. Experts that no other
    task's gradient reaches keep tasks from overwriting each other. Gates read the pooled output of
    the encoder's first stages.

    Costs ``shared + own * T`` encoders less their stem: grows with the number of tasks.

    Args:
        encoder: Any encoder with an ``example_input``, or a function that makes one.
        heads: Module from features to prediction, per task.
        shared: Number of common experts.
        own: Number of experts of each task.
        stages: Stages the encoder is cut into, at most.
        stem: How many of them are run once, for gates and experts to read.
    """

    paper = "Tang et al., Progressive Layered Extraction (PLE), RecSys 2020"
    traits = frozenset({"gated", "example_input"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        shared: int = 1,
        own: int = 1,
        stages: int = 2,
        stem: int = 1,
    ) -> None:
        super().__init__()
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        checks.whole("shared", shared, least=1)
        checks.whole("own", own, least=1)
        number = shared + own * len(heads)
        self.stem, *made = stem_and_experts(encoder, number, stem=stem, at_most=stages)
        mine = {t: made[shared + own * i :][:own] for i, t in enumerate(self.tasks)}
        self.level = ExpertLevel(made[:shared], mine, self.stem.width(-1), pass_on=False)

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """The stem's output, and what each common expert says."""
        ambient = self.stem.ambient(x)
        stem = self.stem.run(x, ambient)
        commons = {f"expert {k}": e for k, e in enumerate(self.level.commons(stem, ambient))}
        return {"inputs": x, "stem": stem, **commons}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on its gate's mixture of common experts and its own."""
        commons = [features[f"expert {k}"] for k in range(len(self.level.shared))]
        stem, ambient = features["stem"], self.stem.ambient(features["inputs"])
        predictions = {}
        for task in tasks:
            experts = [*commons, *self.level.privates(task, stem, ambient)]
            predictions[task] = self.heads[task](self.level.mixed(task, stem, experts))
        return predictions

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's experts, gate and head."""
        return [*self.level.private_modules(task), self.heads[task]]
