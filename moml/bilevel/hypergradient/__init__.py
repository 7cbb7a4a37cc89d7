"""Hypergradients: how the lower solution depends on the upper parameters."""

from moml.bilevel.hypergradient._base import (
    Certificate,
    Hypergradient,
    LowerSolution,
    require_plain_look,
    solved,
)
from moml.bilevel.hypergradient.block_conjugate_gradient import BlockConjugateGradient
from moml.bilevel.hypergradient.checkpointed import Checkpointed
from moml.bilevel.hypergradient.cholesky import Cholesky
from moml.bilevel.hypergradient.conjugate_gradient import ConjugateGradient
from moml.bilevel.hypergradient.finite_difference import FiniteDifference
from moml.bilevel.hypergradient.first_order import FirstOrder
from moml.bilevel.hypergradient.forward_mode import ForwardMode
from moml.bilevel.hypergradient.neumann import Neumann
from moml.bilevel.hypergradient.nystrom import Nystrom
from moml.bilevel.hypergradient.soba import SOBA
from moml.bilevel.hypergradient.truncated import Truncated
from moml.bilevel.hypergradient.unrolled import Unrolled
from moml.bilevel.hypergradient.value_function import ValueFunction

__all__ = [
    "SOBA",
    "BlockConjugateGradient",
    "Certificate",
    "Checkpointed",
    "Cholesky",
    "ConjugateGradient",
    "FiniteDifference",
    "FirstOrder",
    "ForwardMode",
    "Hypergradient",
    "LowerSolution",
    "Neumann",
    "Nystrom",
    "Truncated",
    "Unrolled",
    "ValueFunction",
    "require_plain_look",
    "solved",
]
