"""Benchmarks that need no download: classification, graph regression and dense prediction."""

from tasks.digit_attributes import DigitAttributes
from tasks.graph_atlas import GraphAtlas
from tasks.office_digits import OfficeDigits
from tasks.rooms import Rooms
from tasks.sinusoid import Sinusoid
from tasks.two_digits import TwoDigits

__all__ = ["DigitAttributes", "GraphAtlas", "OfficeDigits", "Rooms", "Sinusoid", "TwoDigits"]
