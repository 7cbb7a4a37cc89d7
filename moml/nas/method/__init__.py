"""Searches, one a file: by gradients of a supernet, by training, or both."""

from moml.nas.method._base import (
    Executor,
    GradientMethod,
    OuterMethod,
    SearchComposition,
    SearchMethod,
    SearchSetting,
)
from moml.nas.method.darts import DARTS
from moml.nas.method.dr_nas import DrNAS
from moml.nas.method.e2rnas import E2RNAS
from moml.nas.method.e2rnas_v1 import E2RNASv1
from moml.nas.method.fair_path_search import FairPathSearch
from moml.nas.method.gated_search import GatedSearch
from moml.nas.method.gdas import GDAS
from moml.nas.method.nsga2 import NSGA2
from moml.nas.method.pareto_search import ParetoSearch
from moml.nas.method.pc_darts import PCDARTS
from moml.nas.method.proposed_start import ProposedStart
from moml.nas.method.random_search import RandomSearch
from moml.nas.method.regularized_evolution import RegularizedEvolution
from moml.nas.method.stratified_search import StratifiedSearch

__all__ = [
    "DARTS",
    "E2RNAS",
    "GDAS",
    "NSGA2",
    "PCDARTS",
    "DrNAS",
    "E2RNASv1",
    "Executor",
    "FairPathSearch",
    "GatedSearch",
    "GradientMethod",
    "OuterMethod",
    "ParetoSearch",
    "ProposedStart",
    "RandomSearch",
    "RegularizedEvolution",
    "SearchComposition",
    "SearchMethod",
    "SearchSetting",
    "StratifiedSearch",
]
