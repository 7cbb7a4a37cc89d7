"""Meta-learning with several objectives, on the bi-level engine."""

from moml.meta.few_shot import FewShot
from moml.meta.objectives import Calibration, Clean, Distance, QueryObjective, Robust
from moml.meta.query import Query

__all__ = ["Calibration", "Clean", "Distance", "FewShot", "Query", "QueryObjective", "Robust"]
