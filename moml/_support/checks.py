"""Checks of arguments where an object is made: each returns the value, or says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")
_LONGEST = 60  # characters of a value that a message shows


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    infinite: bool = False,
    nan: bool = False,
) -> float:
    """A finite number within bounds; numbers of NumPy are fine, booleans and strings are not.

    Args:
        name: Name of the argument.
        value: The argument.
        above: A bound that is not reached itself.
        least: Smallest value.
        below: A bound that is not reached itself.
        most: Largest value.
        infinite: Infinity is a value, too.
        nan: NaN is one.

    Raises:
        ValueError: If it is no such number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"`{name}` should be a number, found {found(value)}.")
    if (math.isnan(value) and not nan) or (math.isinf(value) and not infinite):
        raise ValueError(f"`{name}` should be a finite number, found {value}.")
    if least == 0 and below is None and most is None and value < 0:
        raise ValueError(f"`{name}` should not be negative, found {value}.")
    _within(name, value, above=above, least=least, below=below, most=most)
    return value.item() if hasattr(value, "item") else value  # type: ignore[return-value]


def whole(
    name: str,
    value: Any,
    *,
    least: int | None = None,
    most: int | None = None,
    unit: str = "",
) -> int:
    """An integer within bounds, not a boolean and not ``2.0``.

    Args:
        name: Name of the argument.
        value: The argument.
        least: Smallest value.
        most: Largest value.
        unit: Name of what is counted, for the message.

    Raises:
        ValueError: If it is no such integer.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"`{name}` should be an integer, found {found(value)}.")
    _within(name, value, least=least, most=most, unit=unit)
    return value.item() if hasattr(value, "item") else value  # type: ignore[return-value]


def seed(value: Any) -> int:
    """A seed of a generator, an integer of 64 bits.

    Raises:
        ValueError: If it is none.
    """
    return whole("seed", value, least=-(2**63), most=2**64 - 1)


def _within(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    unit: str = "",
) -> None:
    if (
        (above is None or value > above)
        and (least is None or value >= least)
        and (below is None or value < below)
        and (most is None or value <= most)
    ):
        return
    if least is not None and most is not None:
        bounds = f"between {least:g} and {most:g}"
    elif above == 0 and below is None and most is None:
        bounds = "positive"
    else:
        ends = (("above", above), ("at least", least), ("below", below), ("at most", most))
        bounds = " and ".join(f"{word} {end:g}" for word, end in ends if end is not None)
    raise ValueError(f"`{name}` should be {bounds}{unit and ' ' + unit}, found {value}.")


def flag(name: str, value: Any) -> bool:
    """A boolean; a string such as ``"no"`` would count as true.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` should be True or False, found {found(value)}.")
    return value


def choice(name: str, value: T, known: Sequence[Any]) -> T:
    """One of some strings or integers.

    Raises:
        ValueError: If it is none of them.
    """
    for one in known:  # faster than `any`: a loop of one's own comes here in every step
        if type(value) is type(one) and value == one:
            return value
    *others, last = map(repr, known)
    listed = f"{', '.join(others)} or {last}" if others else last
    raise ValueError(f"`{name}` should be {listed}, found {found(value)}.")


def instance(
    name: str, value: Any, kind: type | tuple[type, ...], what: str, hint: str = ""
) -> Any:
    """An instance of a class, not the class itself.

    Args:
        name: Name of the argument.
        value: The argument.
        kind: What it should be an instance of.
        what: The same in words, with an example.
        hint: A sentence about what to do.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, type):
        raise ValueError(
            f"`{name}` should be {what}, found the class {value.__name__}. Make an instance: "
            f"`{value.__name__}(...)`."
        )
    if not isinstance(value, kind):
        end = f" {hint}" if hint else ""
        raise ValueError(f"`{name}` should be {what}, found {found(value)}.{end}")
    return value


def function(name: str, value: T, example: str) -> T:
    """Something that can be called.

    Raises:
        ValueError: If it is none.
    """
    if not callable(value):
        raise ValueError(
            f"`{name}` should be a function such as `{example}`, found {found(value)}."
        )
    return value


def numbers(name: str, value: Any, what: str) -> list[float]:
    """Several finite numbers: a list, a tuple, an array or a tensor of one dimension.

    Raises:
        ValueError: If it is something else.
    """
    given = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise ValueError(f"`{name}` should be {what}, found {found(value)}.")
    given = [one.item() if hasattr(one, "item") else one for one in given]
    for one in given:
        if isinstance(one, bool) or not isinstance(one, Real) or not math.isfinite(one):
            raise ValueError(f"`{name}` should hold finite numbers, found {found(one)} among them.")
    return given


def said(error: BaseException) -> str:
    """The first line of another error's text, for the end of a message; its class without any."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def found(value: Any) -> str:
    """A value as a message shows it: small plain ones as they are, others by their class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, (bool, int, float, str, list, tuple, dict)):
        text = repr(value)
        if len(text) <= _LONGEST and "\n" not in text:
            return text
        if isinstance(value, str):
            return f"{text[:_LONGEST]}…"
    return type(value).__name__
