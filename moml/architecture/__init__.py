"""Multi-task architectures: how tasks share a network."""

from moml.architecture._base import Architecture
from moml.architecture.hps import HPS

__all__ = ["HPS", "Architecture"]
