"""Outer loops: which architecture to train next."""

from moml.nas.outer._base import Exhausted, OuterSearch, Trained
from moml.nas.outer.listed_search import ListedSearch
from moml.nas.outer.nsga2 import NSGA2
from moml.nas.outer.pareto_search import ParetoSearch
from moml.nas.outer.random_search import RandomSearch
from moml.nas.outer.regularized_evolution import RegularizedEvolution
from moml.nas.outer.stratified_search import StratifiedSearch

__all__ = [
    "NSGA2",
    "Exhausted",
    "ListedSearch",
    "OuterSearch",
    "ParetoSearch",
    "RandomSearch",
    "RegularizedEvolution",
    "StratifiedSearch",
    "Trained",
]
