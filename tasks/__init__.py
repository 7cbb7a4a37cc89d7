"""Benchmarks that need no download: many tasks on one network, and few-shot learning."""

from tasks.bilevel_problems import DebSinha, LinearMAML, QuadraticBilevel
from tasks.digit_attributes import DigitAttributes
from tasks.font_adaptation import FontAdaptation
from tasks.font_domains import FontDomains
from tasks.glyphs import Glyphs
from tasks.graph_atlas import GraphAtlas
from tasks.office_digits import OfficeDigits
from tasks.rooms import Rooms
from tasks.sinusoid import Sinusoid
from tasks.two_digits import TwoDigits

__all__ = [
    "DebSinha",
    "DigitAttributes",
    "FontAdaptation",
    "FontDomains",
    "Glyphs",
    "GraphAtlas",
    "LinearMAML",
    "OfficeDigits",
    "QuadraticBilevel",
    "Rooms",
    "Sinusoid",
    "TwoDigits",
]
