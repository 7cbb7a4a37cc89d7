"""Wrappers that change how any weighting is used; they nest."""

from moml.weighting.wrappers.crmogm import CRMOGM
from moml.weighting.wrappers.every import Every
from moml.weighting.wrappers.goal_mask import GoalMask
from moml.weighting.wrappers.gradient_normalization import GradientNormalization
from moml.weighting.wrappers.grouped import Grouped
from moml.weighting.wrappers.scaled import Scaled
from moml.weighting.wrappers.weight_sum import WeightSum

__all__ = [
    "CRMOGM",
    "Every",
    "GoalMask",
    "GradientNormalization",
    "Grouped",
    "Scaled",
    "WeightSum",
]
