"""Problems with a known Pareto front."""

from moml.front.problems._base import AnalyticProblem, BoxProblem
from moml.front.problems.dtlz1 import DTLZ1
from moml.front.problems.dtlz2 import DTLZ2
from moml.front.problems.dtlz3 import DTLZ3
from moml.front.problems.dtlz4 import DTLZ4
from moml.front.problems.dtlz5 import DTLZ5
from moml.front.problems.dtlz6 import DTLZ6
from moml.front.problems.dtlz7 import DTLZ7
from moml.front.problems.re21 import RE21
from moml.front.problems.re37 import RE37
from moml.front.problems.vlmop1 import VLMOP1
from moml.front.problems.vlmop2 import VLMOP2
from moml.front.problems.zdt1 import ZDT1
from moml.front.problems.zdt2 import ZDT2
from moml.front.problems.zdt3 import ZDT3
from moml.front.problems.zdt4 import ZDT4
from moml.front.problems.zdt6 import ZDT6

__all__ = [
    "DTLZ1",
    "DTLZ2",
    "DTLZ3",
    "DTLZ4",
    "DTLZ5",
    "DTLZ6",
    "DTLZ7",
    "RE21",
    "RE37",
    "VLMOP1",
    "VLMOP2",
    "ZDT1",
    "ZDT2",
    "ZDT3",
    "ZDT4",
    "ZDT6",
    "AnalyticProblem",
    "BoxProblem",
]
