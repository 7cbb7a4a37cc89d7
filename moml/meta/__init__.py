"""Meta-learning with several objectives, on the bi-level engine."""

from moml.meta.adaptation import adapted
from moml.meta.cosine_classifier import CosineClassifier
from moml.meta.domain_adaptation import DomainAdaptation
from moml.meta.few_shot import FewShot
from moml.meta.measure import CalibrationMetrics, Measure, Measured, QueryMetrics, judge
from moml.meta.minimax_entropy import MinimaxEntropy
from moml.meta.objectives import Calibration, Clean, Distance, QueryObjective, Robust
from moml.meta.one_step_gramian import OneStepGramian
from moml.meta.prototypes import Prototypes
from moml.meta.query import Query
from moml.meta.sharing_structure import SharingStructure
from moml.meta.step_statistics import StepStatistics
from moml.meta.task_weights import TaskWeights
from moml.meta.weight_form import Free, Softmax, WeightForm

__all__ = [
    "Calibration",
    "CalibrationMetrics",
    "Clean",
    "CosineClassifier",
    "Distance",
    "DomainAdaptation",
    "FewShot",
    "Free",
    "Measure",
    "Measured",
    "MinimaxEntropy",
    "OneStepGramian",
    "Prototypes",
    "Query",
    "QueryMetrics",
    "QueryObjective",
    "Robust",
    "SharingStructure",
    "Softmax",
    "StepStatistics",
    "TaskWeights",
    "WeightForm",
    "adapted",
    "judge",
]
