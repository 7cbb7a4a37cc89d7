"""Norm balls: where a perturbation may lie, and which way is steepest inside."""

from moml.attack.ball._base import Ball, broadcasts, over, per_sample
from moml.attack.ball.l1 import L1
from moml.attack.ball.l2 import L2
from moml.attack.ball.linf import Linf

__all__ = [
    "L1",
    "L2",
    "Ball",
    "Linf",
    "broadcasts",
    "over",
    "per_sample",
]
