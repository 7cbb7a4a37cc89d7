"""Weightings: one method a file, found by the command line and the conformance test by itself."""

from moml.weighting._base import (
    GramianWeighting,
    JacobianAggregator,
    LossWeighting,
    Randomized,
    Weighting,
)
from moml.weighting.ew import EW

__all__ = ["EW", "GramianWeighting", "JacobianAggregator", "LossWeighting", "Randomized", "Weighting"]
