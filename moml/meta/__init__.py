"""Meta-learning with several objectives, on the bi-level engine."""

from moml.meta.adaptation import adapted
from moml.meta.few_shot import FewShot
from moml.meta.measure import CalibrationMetrics, Measure, Measured, QueryMetrics, judge
from moml.meta.objectives import Calibration, Clean, Distance, QueryObjective, Robust
from moml.meta.prototypes import Prototypes
from moml.meta.query import Query

__all__ = [
    "Calibration",
    "CalibrationMetrics",
    "Clean",
    "Distance",
    "FewShot",
    "Measure",
    "Measured",
    "Prototypes",
    "Query",
    "QueryMetrics",
    "QueryObjective",
    "Robust",
    "adapted",
    "judge",
]
