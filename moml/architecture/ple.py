"""Progressive layered extraction: levels of common and own experts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from moml._support import checks
from moml._support.task_names import task_names
from moml._support.typed_modules import module_list
from moml.architecture._base import PerInput, head_dict
from moml.architecture._experts import ExpertLevel
from moml.architecture._stages import Encoder, towers


class PLE(PerInput):
    """Progressive layered extraction: levels of common and own experts, with a shared gate.

    Tang et al., `Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for
    Personalized Recommendations <https://doi.org/10.1145/3383313.3412236>`_, RecSys 2020. A level's
    gates read what the level reads. Below the last level there is a shared gate, too, that mixes
    the experts of all tasks for the common experts above; thus only the last level's own experts
    belong to a task alone, and the gates that lead to them.

    Args:
        encoder: Any encoder with an ``example_input``, or a function that makes one.
        heads: Module from features to prediction, per task.
        shared: Number of common experts per level.
        own: Number of each task's experts per level.
        levels: Levels of experts, at most: one per stage of the encoder after the first, which is
            the stem.
    """

    paper = "Tang et al., Progressive Layered Extraction (PLE), RecSys 2020"
    traits = frozenset({"staged", "gated", "example_input"})

    def __init__(
        self,
        encoder: Encoder,
        heads: Mapping[str, nn.Module],
        *,
        shared: int = 1,
        own: int = 1,
        levels: int = 2,
    ) -> None:
        super().__init__()
        self.heads, self.tasks = head_dict(heads), task_names(heads)
        for name, value in (("shared", shared), ("own", own), ("levels", levels)):
            checks.whole(name, value, least=1)
        made = towers(encoder, shared + own * len(heads), at_most=levels + 1)
        found = len(made[0])
        if found < 2:
            raise ValueError(
                "`encoder` should have two stages or more, a stem and experts, found one."
            )
        self.stem = made[0].part(0, 1)
        levels_made: list[ExpertLevel] = []
        for k in range(1, found):
            experts = [one.part(k, k + 1) for one in made]
            mine = {t: experts[shared + own * i :][:own] for i, t in enumerate(self.tasks)}
            width = made[0].width(k - 1)
            last = k == found - 1
            levels_made.append(ExpertLevel(experts[:shared], mine, width, pass_on=not last))
        self.levels = module_list(levels_made)

    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """What all experts say that some other task hears of, too."""
        ambient = self.stem.ambient(x)
        common = self.stem.run(x, ambient)
        states, features = dict.fromkeys(self.tasks, common), {"inputs": x}
        *before, last = self.levels
        for level in before[:-1]:
            states, common = level(states, common, ambient)
        for level in before[-1:]:  # each task's mixture of these is its own, unlike those below
            commons, own = level.experts(states, common, ambient)
            common = level.passed_on(common, commons, own)
            features |= _named("expert below", commons)
            for task in tasks:
                features |= _named(f"expert below of {task}", own[task])
        features |= _named("expert", last.commons(common, ambient))
        return features | {f"state of {task}": states[task] for task in tasks}

    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Each head on the last level's mixture."""
        *before, last = self.levels
        ambient, predictions = self.stem.ambient(features["inputs"]), {}
        for task in tasks:
            state = features[f"state of {task}"]
            for level in before[-1:]:
                commons = _listed("expert below", len(level.shared), features)
                own = _listed(f"expert below of {task}", len(level.own[task]), features)
                state = level.mixed(task, state, [*commons, *own])
            experts = _listed("expert", len(last.shared), features)
            experts += last.privates(task, state, ambient)
            predictions[task] = self.heads[task](last.mixed(task, state, experts))
        return predictions

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """The task's last experts and gate, its gate below them, and its head."""
        below = [level.gates[task] for level in self.levels[:-1][-1:]]
        return [*below, *self.levels[-1].private_modules(task), self.heads[task]]


def _named(name: str, values: Sequence[Tensor]) -> dict[str, Tensor]:
    return {f"{name} {k}": value for k, value in enumerate(values)}


def _listed(name: str, number: int, features: Mapping[str, Tensor]) -> list[Tensor]:
    return [features[f"{name} {k}"] for k in range(number)]
