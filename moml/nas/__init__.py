"""Architecture search: spaces, genotypes, and what networks cost."""

from moml.nas.arch_parameters import ArchParameters
from moml.nas.auxiliary_head import Tapped
from moml.nas.cell import CellSpec, Choice, Edge
from moml.nas.decode import decode, decode_sizes
from moml.nas.discrete_cell import DiscreteCell
from moml.nas.equivalence import cell_key, relabelled
from moml.nas.executor import BatchedCell, MergedCell, MixedCell, PartialCell
from moml.nas.expectation import expected_cost
from moml.nas.gates import GateGradients
from moml.nas.genotype import Genotype
from moml.nas.nb201_string import from_nb201, to_nb201
from moml.nas.ops import OpSpec, get_op, op_names, register
from moml.nas.outer import (
    NSGA2,
    OuterSearch,
    ParetoSearch,
    RandomSearch,
    RegularizedEvolution,
    StratifiedSearch,
    Trained,
)
from moml.nas.robust_search import RobustSearch
from moml.nas.search_space import Cost, Placement, SearchSpace
from moml.nas.space_spec import SpaceSpec
from moml.nas.supernet import SuperNet

__all__ = [
    "NSGA2",
    "ArchParameters",
    "BatchedCell",
    "CellSpec",
    "Choice",
    "Cost",
    "DiscreteCell",
    "Edge",
    "GateGradients",
    "Genotype",
    "MergedCell",
    "MixedCell",
    "OpSpec",
    "OuterSearch",
    "ParetoSearch",
    "PartialCell",
    "Placement",
    "RandomSearch",
    "RegularizedEvolution",
    "RobustSearch",
    "SearchSpace",
    "SpaceSpec",
    "StratifiedSearch",
    "SuperNet",
    "Tapped",
    "Trained",
    "cell_key",
    "decode",
    "decode_sizes",
    "expected_cost",
    "from_nb201",
    "get_op",
    "op_names",
    "register",
    "relabelled",
    "to_nb201",
]
