"""Architecture search: spaces, genotypes, and what networks cost."""

from moml.nas.cell import CellSpec, Choice, Edge
from moml.nas.discrete_cell import DiscreteCell
from moml.nas.equivalence import cell_key, relabelled
from moml.nas.expectation import expected_cost
from moml.nas.genotype import Genotype
from moml.nas.nb201_string import from_nb201, to_nb201
from moml.nas.ops import OpSpec, get_op, op_names, register
from moml.nas.search_space import Cost, Placement, SearchSpace
from moml.nas.space_spec import SpaceSpec

__all__ = [
    "CellSpec",
    "Choice",
    "Cost",
    "DiscreteCell",
    "Edge",
    "Genotype",
    "OpSpec",
    "Placement",
    "SearchSpace",
    "SpaceSpec",
    "cell_key",
    "expected_cost",
    "from_nb201",
    "get_op",
    "op_names",
    "register",
    "relabelled",
    "to_nb201",
]
