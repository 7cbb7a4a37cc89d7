"""Weightings: one method a file, found by the command line and the conformance test by itself."""

from moml.weighting._base import (
    GramianWeighting,
    JacobianAggregator,
    LossWeighting,
    Randomized,
    Weighting,
)
from moml.weighting.aligned_mtl import AlignedMTL
from moml.weighting.cagrad import CAGrad
from moml.weighting.dwa import DWA
from moml.weighting.ew import EW
from moml.weighting.gls import GLS
from moml.weighting.mgda import MGDA
from moml.weighting.nash_mtl import NashMTL
from moml.weighting.pcgrad import PCGrad
from moml.weighting.rlw import RLW
from moml.weighting.upgrad import UPGrad
from moml.weighting.uw import UW
from moml.weighting.wrappers import Every, GoalMask, GradientNormalization, WeightSum

__all__ = [
    "DWA",
    "EW",
    "GLS",
    "MGDA",
    "RLW",
    "UW",
    "AlignedMTL",
    "CAGrad",
    "Every",
    "GoalMask",
    "GradientNormalization",
    "GramianWeighting",
    "JacobianAggregator",
    "LossWeighting",
    "NashMTL",
    "PCGrad",
    "Randomized",
    "UPGrad",
    "WeightSum",
    "Weighting",
]
