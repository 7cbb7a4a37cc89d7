"""Robust training: ordinary problems, so every weighting, oracle and architecture works on them."""

from moml.attack.training.adversarial import Adversarial
from moml.attack.training.awp import AWP
from moml.attack.training.trades import TRADES

__all__ = ["AWP", "TRADES", "Adversarial"]
