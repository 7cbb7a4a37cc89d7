"""Oracles: how a problem is differentiated."""

from moml.oracle._base import Oracle, positions
from moml.oracle.accumulated import Accumulated
from moml.oracle.direct import Direct
from moml.oracle.distributed import Distributed
from moml.oracle.representation import Representation

__all__ = [
    "Accumulated",
    "Direct",
    "Distributed",
    "Oracle",
    "Representation",
    "positions",
]
