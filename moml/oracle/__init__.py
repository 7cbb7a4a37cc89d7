"""Oracles: how a problem is differentiated."""

from moml.oracle._base import Oracle
from moml.oracle.direct import Direct
from moml.oracle.representation import Representation

__all__ = ["Direct", "Oracle", "Representation"]
