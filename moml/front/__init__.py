"""Pareto fronts: a spread of preferences, one optimization each, and how good the result is."""

from moml.front.problems import VLMOP1, VLMOP2, ZDT1, ZDT2, AnalyticProblem
from moml.front.quality import hypervolume, igd_plus, non_dominated
from moml.front.spread import spread
from moml.front.trace import refine, solver, trace

__all__ = [
    "VLMOP1",
    "VLMOP2",
    "ZDT1",
    "ZDT2",
    "AnalyticProblem",
    "hypervolume",
    "igd_plus",
    "non_dominated",
    "refine",
    "solver",
    "spread",
    "trace",
]
