"""What the lower level keeps from one step to the next."""

from moml.bilevel.carry._base import Carry
from moml.bilevel.carry.along import Along
from moml.bilevel.carry.alternate import Alternate
from moml.bilevel.carry.restart import Restart
from moml.bilevel.carry.warm_start import WarmStart

__all__ = ["Along", "Alternate", "Carry", "Restart", "WarmStart"]
