"""Pareto fronts: a spread of preferences, one optimization each, and how good the result is."""

from moml.front.problems import (
    DTLZ1,
    DTLZ2,
    DTLZ3,
    DTLZ4,
    DTLZ5,
    DTLZ6,
    DTLZ7,
    RE21,
    RE37,
    VLMOP1,
    VLMOP2,
    ZDT1,
    ZDT2,
    ZDT3,
    ZDT4,
    ZDT6,
    AnalyticProblem,
    BoxProblem,
)
from moml.front.quality import hypervolume, igd_plus, non_dominated
from moml.front.spread import spread
from moml.front.trace import refine, solver, trace

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
    "hypervolume",
    "igd_plus",
    "non_dominated",
    "refine",
    "solver",
    "spread",
    "trace",
]
