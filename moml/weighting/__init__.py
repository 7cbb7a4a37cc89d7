"""Weightings: one method a file, found by the command line and the conformance test by itself."""

from moml.weighting._base import (
    GramianWeighting,
    JacobianAggregator,
    LossWeighting,
    Randomized,
    Weighting,
)
from moml.weighting._batched import batched_min_norm
from moml.weighting._gramian import solve_each
from moml.weighting._min_norm import min_norm_weights
from moml.weighting._normalization import Normalization
from moml.weighting.aligned_mtl import AlignedMTL
from moml.weighting.cagrad import CAGrad
from moml.weighting.config import ConFIG
from moml.weighting.constant import Constant
from moml.weighting.cosmos import COSMOS
from moml.weighting.db_mtl import DBMTL
from moml.weighting.druw import DRUW
from moml.weighting.dual_proj import DualProj
from moml.weighting.dwa import DWA
from moml.weighting.epo import EPO
from moml.weighting.ew import EW
from moml.weighting.excess_mtl import ExcessMTL
from moml.weighting.fair_grad import FairGrad
from moml.weighting.famo import FAMO
from moml.weighting.galw import GALW
from moml.weighting.gls import GLS
from moml.weighting.grad_drop import GradDrop
from moml.weighting.grad_norm import GradNorm
from moml.weighting.grad_vac import GradVac
from moml.weighting.imtl import IMTL
from moml.weighting.krum import Krum
from moml.weighting.mgda import MGDA
from moml.weighting.moco import MoCo
from moml.weighting.modo import MoDo
from moml.weighting.nash_mtl import NashMTL
from moml.weighting.pbi import PBI
from moml.weighting.pcd import PCD
from moml.weighting.pcgrad import PCGrad
from moml.weighting.pmgda import PMGDA
from moml.weighting.pmtl import PMTL
from moml.weighting.rlw import RLW
from moml.weighting.rruw import RRUW
from moml.weighting.sdmgrad import SDMGrad
from moml.weighting.si import SI
from moml.weighting.stch import STCH
from moml.weighting.tchebycheff import Tchebycheff
from moml.weighting.trimmed_mean import TrimmedMean
from moml.weighting.upgrad import UPGrad
from moml.weighting.uw import UW
from moml.weighting.wrappers import (
    CRMOGM,
    Every,
    GoalMask,
    GradientNormalization,
    Grouped,
    Scaled,
    WeightSum,
)

__all__ = [
    "COSMOS",
    "CRMOGM",
    "DBMTL",
    "DRUW",
    "DWA",
    "EPO",
    "EW",
    "FAMO",
    "GALW",
    "GLS",
    "IMTL",
    "MGDA",
    "PBI",
    "PCD",
    "PMGDA",
    "PMTL",
    "RLW",
    "RRUW",
    "SI",
    "STCH",
    "UW",
    "AlignedMTL",
    "CAGrad",
    "ConFIG",
    "Constant",
    "DualProj",
    "Every",
    "ExcessMTL",
    "FairGrad",
    "GoalMask",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GradientNormalization",
    "GramianWeighting",
    "Grouped",
    "JacobianAggregator",
    "Krum",
    "LossWeighting",
    "MoCo",
    "MoDo",
    "NashMTL",
    "Normalization",
    "PCGrad",
    "Randomized",
    "SDMGrad",
    "Scaled",
    "Tchebycheff",
    "TrimmedMean",
    "UPGrad",
    "WeightSum",
    "Weighting",
    "batched_min_norm",
    "min_norm_weights",
    "solve_each",
]
