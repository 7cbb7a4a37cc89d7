"""What a laboratory of its own adds to moml, by public names only."""

from otherlab.architecture import GatedHeads
from otherlab.attack import RandomCorners
from otherlab.problem import Consistent
from otherlab.search import SmallestFirst
from otherlab.suite import TwoQuestions
from otherlab.weighting import Softened

__all__ = [
    "Consistent",
    "GatedHeads",
    "RandomCorners",
    "SmallestFirst",
    "Softened",
    "TwoQuestions",
]
