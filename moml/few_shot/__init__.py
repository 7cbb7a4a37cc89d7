"""Few-shot learning with several objectives, on the bi-level engine."""

from moml.few_shot.adaptation import adapted
from moml.few_shot.few_shot import FewShot
from moml.few_shot.measure import CalibrationMetrics, Measure, MeasuredScore, QueryMetrics, judge
from moml.few_shot.objectives import Calibration, Clean, Distance, QueryObjective, Robust
from moml.few_shot.prototypes import Prototypes
from moml.few_shot.query import Query
from moml.few_shot.step_statistics import StepStatistics

__all__ = [
    "Calibration",
    "CalibrationMetrics",
    "Clean",
    "Distance",
    "FewShot",
    "Measure",
    "MeasuredScore",
    "Prototypes",
    "Query",
    "QueryMetrics",
    "QueryObjective",
    "Robust",
    "StepStatistics",
    "adapted",
    "judge",
]
