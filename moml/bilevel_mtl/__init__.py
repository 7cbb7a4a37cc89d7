"""Task weights and shared structure that held-out losses judge, on the bi-level engine."""

from moml.bilevel_mtl.one_step_gramian import OneStepGramian
from moml.bilevel_mtl.sharing_structure import SharingStructure
from moml.bilevel_mtl.task_weights import TaskWeights
from moml.bilevel_mtl.weight_form import FreeWeights, SoftmaxWeights, WeightForm

__all__ = [
    "FreeWeights",
    "OneStepGramian",
    "SharingStructure",
    "SoftmaxWeights",
    "TaskWeights",
    "WeightForm",
]
