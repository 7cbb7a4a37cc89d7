"""What a search wants of an architecture: one objective a file."""

from moml.nas.objective._base import Objective, View
from moml.nas.objective.adversarial import Adversarial
from moml.nas.objective.clean import Clean
from moml.nas.objective.flops import Flops
from moml.nas.objective.size_limits import SizeLimits
from moml.nas.objective.size_target import SizeTarget

__all__ = ["Adversarial", "Clean", "Flops", "Objective", "SizeLimits", "SizeTarget", "View"]
