"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"


def number(value: float | None) -> str:
    """Four significant digits, an exponent only far from one, a dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return str(value).replace("-", MINUS)
    size = abs(value)
    if size == 0:
        return "0"
    if 1e-3 <= size < 1e5:
        text = f"{value:.{max(0, 3 - math.floor(math.log10(size)))}f}"
    else:
        mantissa, exponent = f"{value:.2e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", MINUS)


def grouped(value: int) -> str:
    """All digits, in threes set apart by thin spaces."""
    return f"{value:,}".replace(",", "\N{THIN SPACE}")


def tick(value: float) -> str:
    """As short as the number allows, for axes."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.3g}".split("e") if "e" in f"{value:.3g}" else (value, "")
        text = f"{mantissa}e{int(exponent)}" if exponent else f"{value:.3g}"
    elif abs(value) >= 10_000:
        text = f"{value / 1000:.12g}k"
    else:
        text = f"{value:.6g}"
    return text.replace("-", MINUS)


def spread(mean: float | None, deviation: float | None) -> str:
    """Mean ± deviation with the decimals of the mean's four digits; the mean alone without one."""
    if mean is None or deviation is None:
        return number(mean)
    size = max(abs(mean), deviation)
    if not 1e-3 <= size < 1e5:
        return f"{number(mean)} ± {number(deviation)}"
    digits = max(0, 3 - math.floor(math.log10(size)))
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}".replace("-", MINUS)


def percent(mean: float | None, deviation: float | None = None) -> str:
    """A signed percentage with two decimals."""
    if mean is None:
        return "–"
    tail = "" if deviation is None else f" ± {deviation:.2f}"
    return f"{mean:+.2f}{tail} %".replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def words(name: str) -> str:
    """A name from a program as words."""
    return name.replace("_", " ")


def arrow(higher: bool | None) -> str:
    """Which way is better."""
    return "" if higher is None else "↑" if higher else "↓"


def listing(names: Sequence[str]) -> str:
    """Names in quotes, separated by commas."""
    return ", ".join(f"'{name}'" for name in names)
