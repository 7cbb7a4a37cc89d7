"""Updaters: from gradients to parameters."""

from moml.optim._base import Updater
from moml.optim.gradient_step import GradientStep

__all__ = ["GradientStep", "Updater"]
