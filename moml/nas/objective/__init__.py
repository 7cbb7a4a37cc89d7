"""What a search wants of an architecture: one objective a file."""

from moml.nas.objective._base import SearchObjective, View
from moml.nas.objective.adversarial import AdversarialLoss
from moml.nas.objective.clean import CleanLoss
from moml.nas.objective.flops import Flops
from moml.nas.objective.size_limits import SizeLimits
from moml.nas.objective.size_target import SizeTarget

__all__ = [
    "AdversarialLoss",
    "CleanLoss",
    "Flops",
    "SearchObjective",
    "SizeLimits",
    "SizeTarget",
    "View",
]
