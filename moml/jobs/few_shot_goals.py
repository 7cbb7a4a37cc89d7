"""What a few-shot run wants of its learners: objectives in training, measures in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from moml._support.hints import hint
from moml.attack import FGSM, L1, L2, PGD, Attack, Ball, Linf
from moml.data import Bounds, FewShotSuite, TaskSpec
from moml.few_shot import (
    Calibration,
    CalibrationMetrics,
    Clean,
    Measure,
    QueryMetrics,
    QueryObjective,
    Robust,
)
from moml.losses import CrossEntropy
from moml.training.validation import Metrics

Norm = Literal["Linf", "L2", "L1"]
OBJECTIVES = ("clean", "robust", "calibration")
_BALLS: Mapping[str, type[Ball]] = {"Linf": Linf, "L2": L2, "L1": L1}


@dataclass(frozen=True)
class Threat:
    """Perturbations that training and evaluation have in common.

    Attributes:
        ball: Where they lie.
        bounds: Interval of valid inputs; ``None`` if there is none.
        steps: Gradients per attack in training: one from the clean queries (FGSM), or several from
            a random point (PGD).
        eval_steps: Gradients per attack in evaluation, always PGD.
        seed: Seed of the training attacks.
    """

    ball: Ball
    bounds: Any  # `moml.data.Bounds`, or None
    steps: int
    eval_steps: int
    seed: int

    @classmethod
    def of(
        cls,
        suite: FewShotSuite,
        *,
        eps: float | None,
        norm: Norm,
        bounds: Bounds | None,
        steps: int,
        eval_steps: int,
        seed: int,
    ) -> Threat:
        """With the suite's radius unless another is given."""
        ball = _BALLS[norm](suite.defaults.eps if eps is None else eps)
        return cls(ball, bounds, steps, eval_steps, seed)

    def training(self) -> Attack:
        """The attack of training."""
        if self.steps == 1:
            return FGSM(self.ball, bounds=self.bounds)
        return PGD(self.ball, steps=self.steps, bounds=self.bounds, seed=self.seed)

    def evaluation(self) -> Attack:
        """A fresh attack of evaluation, the same every time."""
        return PGD(self.ball, steps=self.eval_steps, bounds=self.bounds, seed=0)


class Goals:
    """Objectives by name, and how evaluation tells whether they are met.

    Args:
        names: Among ``clean``, ``robust`` and ``calibration``.
        spec: The suite's loss and metrics.
        threat: What robustness is against.
        judge_robustness: Measure robustness even if it is no objective.

    Raises:
        ValueError: If a name is unknown, there twice, or of no use with this loss.
    """

    def __init__(
        self, names: Sequence[str], spec: TaskSpec, threat: Threat, *, judge_robustness: bool
    ) -> None:
        _check(names, classes=isinstance(spec.loss, CrossEntropy))
        self.names, self.spec, self.threat = tuple(names), spec, threat
        self.judge_robustness = judge_robustness or "robust" in names

    def objectives(self) -> dict[str, QueryObjective]:
        """What training minimises."""
        make: Mapping[str, Callable[[], QueryObjective]] = {
            "clean": Clean,
            "robust": lambda: Robust(self.threat.training()),
            "calibration": Calibration,
        }
        return {name: make[name]() for name in self.names}

    def measures(self) -> dict[str, Measure]:
        """What evaluation looks at, fresh: the objectives, and what else costs little."""
        found: dict[str, Measure] = {"clean": QueryMetrics(self.spec)}
        if self.judge_robustness:
            found["robust"] = QueryMetrics(self.spec, attack=self.threat.evaluation())
        if isinstance(self.spec.loss, CrossEntropy):
            found["calibration"] = CalibrationMetrics()
        return found

    def score(self, metrics: Metrics) -> float:
        """What selection maximises: the mean of the objectives' main metrics.

        Each is divided by its typical size, and negated where lower is better.
        """
        measures, signed = self.measures(), []
        for name in self.names:
            measure = measures[name]
            sign = 1 if measure.higher_is_better[measure.main] else -1
            signed.append(sign * metrics[name][measure.main] / measure.scale)
        return sum(signed) / len(signed)


def _check(names: Sequence[str], *, classes: bool) -> None:
    for name in names:
        if name not in OBJECTIVES:
            raise ValueError(
                f"`objectives` should be among {', '.join(OBJECTIVES)}, found '{name}'."
                f"{hint(name, OBJECTIVES)}"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"`objectives` should be one or more different names, found {list(names)}."
        )
    if "calibration" in names and not classes:
        raise ValueError(
            "`objectives` should leave out calibration where there are no classes, found it."
        )
