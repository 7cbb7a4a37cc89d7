"""Meta-learning with several objectives, on the bi-level engine."""

from moml.meta.few_shot import FewShot
from moml.meta.objectives import Calibration, Clean, Distance, QueryObjective, Robust
from moml.meta.one_step_gramian import OneStepGramian
from moml.meta.query import Query
from moml.meta.task_weights import TaskWeights
from moml.meta.weight_form import Free, Softmax, WeightForm

__all__ = [
    "Calibration",
    "Clean",
    "Distance",
    "FewShot",
    "Free",
    "OneStepGramian",
    "Query",
    "QueryObjective",
    "Robust",
    "Softmax",
    "TaskWeights",
    "WeightForm",
]
