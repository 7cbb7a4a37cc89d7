"""The bi-level engine: lower solvers, hypergradients, and the oracle that joins them."""

from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel._problem import BilevelProblem, Params
from moml.bilevel.carry import Along, Alternate, Carry, Restart, WarmStart
from moml.bilevel.compiled import Compiled
from moml.bilevel.constrained_mgda import ConstrainedMGDA
from moml.bilevel.functional import Functional
from moml.bilevel.hypergradient import (
    SOBA,
    BlockConjugateGradient,
    Certificate,
    Checkpointed,
    Cholesky,
    ConjugateGradient,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    Hypergradient,
    LowerSolution,
    Neumann,
    Nystrom,
    Truncated,
    Unrolled,
    ValueFunction,
)
from moml.bilevel.inner import (
    HigherOptimizer,
    InnerAdagrad,
    InnerAdam,
    InnerAdamW,
    InnerRMSprop,
    InnerSGD,
    InnerSolver,
    InnerState,
    VirtualStep,
)
from moml.bilevel.oracle import Bilevel
from moml.bilevel.stacked import Stacked

__all__ = [
    "SOBA",
    "Along",
    "Alternate",
    "Bilevel",
    "BilevelProblem",
    "BlockConjugateGradient",
    "Carry",
    "Certificate",
    "Checkpointed",
    "Cholesky",
    "Compiled",
    "ConjugateGradient",
    "ConstrainedMGDA",
    "FiniteDifference",
    "FirstOrder",
    "ForwardMode",
    "Functional",
    "HigherOptimizer",
    "Hypergradient",
    "InnerAdagrad",
    "InnerAdam",
    "InnerAdamW",
    "InnerRMSprop",
    "InnerSGD",
    "InnerSolver",
    "InnerState",
    "LowerLevel",
    "LowerSolution",
    "Neumann",
    "Nystrom",
    "Params",
    "Restart",
    "Stacked",
    "Tensors",
    "Truncated",
    "Unrolled",
    "ValueFunction",
    "VirtualStep",
    "WarmStart",
    "fresh",
]
