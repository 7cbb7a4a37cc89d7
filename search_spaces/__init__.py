"""Concrete search spaces for architecture search on `moml`."""

from search_spaces.darts import DARTS
from search_spaces.linear_cells import LinearCells
from search_spaces.nas_bench_201 import NASBench201
from search_spaces.nb_digits import NBDigits

__all__ = ["DARTS", "LinearCells", "NASBench201", "NBDigits"]
