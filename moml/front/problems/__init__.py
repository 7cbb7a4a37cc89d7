"""Problems with a known Pareto front."""

from moml.front.problems._base import AnalyticProblem
from moml.front.problems.vlmop1 import VLMOP1
from moml.front.problems.vlmop2 import VLMOP2
from moml.front.problems.zdt1 import ZDT1
from moml.front.problems.zdt2 import ZDT2

__all__ = ["VLMOP1", "VLMOP2", "ZDT1", "ZDT2", "AnalyticProblem"]
