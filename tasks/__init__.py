"""Benchmarks that need no download: classification, graph regression and dense prediction."""

from tasks.graph_atlas import GraphAtlas
from tasks.rooms import Rooms
from tasks.two_digits import TwoDigits

__all__ = ["GraphAtlas", "Rooms", "TwoDigits"]
