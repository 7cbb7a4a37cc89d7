"""Lower-level solvers: differentiable update rules."""

from moml.bilevel.inner._base import InnerSolver, InnerState, UpdateRule
from moml.bilevel.inner.adagrad import InnerAdagrad
from moml.bilevel.inner.adam import InnerAdam
from moml.bilevel.inner.adamw import InnerAdamW
from moml.bilevel.inner.higher_optimizer import HigherOptimizer
from moml.bilevel.inner.rmsprop import InnerRMSprop
from moml.bilevel.inner.sgd import InnerSGD
from moml.bilevel.inner.virtual_step import VirtualStep

__all__ = [
    "HigherOptimizer",
    "InnerAdagrad",
    "InnerAdam",
    "InnerAdamW",
    "InnerRMSprop",
    "InnerSGD",
    "InnerSolver",
    "InnerState",
    "UpdateRule",
    "VirtualStep",
]
