"""From numbers to positions: round ticks, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LOG_RATIO = 100.0


@dataclass(frozen=True)
class Scale:
    """Maps numbers between ``low`` and ``high`` to 0…1.

    Attributes:
        low: Lower end.
        high: Upper end.
        ticks: Where to label.
        log: Whether distances are ratios.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def __call__(self, value: float) -> float:
        """Position of a number."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def fit_scale(values: Iterable[float], *, ticks: int = 4) -> Scale:
    """A scale with round ends around values; logarithmic if they span two decades above zero."""
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    if low > 0 and high / low >= LOG_RATIO:
        return _log_scale(low, high, ticks)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        margin = 0.1 * abs(low) if low else 1.0
        low, high = low - margin, high + margin
    step = _round_step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = tuple(_tidy(i * step) for i in range(first, last + 1))
    return Scale(places[0], places[-1], places)


def steps_scale(last: float) -> Scale:
    """From step zero to the last one."""
    step = _round_step(max(last, 4) / 4)
    step = 5.0 if step == 2.5 else step
    places = tuple(_tidy(i * step) for i in range(int(last / step + 1e-9) + 1))
    return Scale(0.0, max(last, 1.0), places)


def _log_scale(low: float, high: float, ticks: int) -> Scale:
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    stride = max(1, round((last - first) / ticks))
    places = tuple(10.0**e for e in range(first, last + 1, stride))
    return Scale(10.0**first, 10.0**last, places, log=True)


def _round_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= rough * (1 - 1e-9))


def _tidy(value: float) -> float:
    return float(f"{value:.10g}")
