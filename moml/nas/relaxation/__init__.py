"""How architecture parameters become weights of a mixture: one way a file."""

from moml.nas.relaxation._base import Moment, Relaxation
from moml.nas.relaxation.dirichlet import Dirichlet
from moml.nas.relaxation.edge_normalised import EdgeNormalised
from moml.nas.relaxation.fair_paths import FairPaths
from moml.nas.relaxation.gumbel import Gumbel
from moml.nas.relaxation.random_mixtures import RandomMixtures
from moml.nas.relaxation.softmax import Softmax

__all__ = [
    "Dirichlet",
    "EdgeNormalised",
    "FairPaths",
    "Gumbel",
    "Moment",
    "RandomMixtures",
    "Relaxation",
    "Softmax",
]
