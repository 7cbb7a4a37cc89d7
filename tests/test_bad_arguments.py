"""Wrong arguments are refused in a sentence that names them."""

import inspect
import typing

import pytest
from torch import nn

import moml.weighting
from moml.weighting import MGDA, Weighting

NET = nn.Linear(2, 2)
NEEDED = {  # arguments that have no default, with a value that is right
    "weighting": MGDA(),
    "n": 2,
}
BAD = ("0.1", [1], float("nan"), True, int)


def public(room, base=object):
    """Concrete public classes of a package."""
    for name in room.__all__:
        cls = getattr(room, name)
        if inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls):
            yield cls


def options(cls, kind):
    """Constructor options of this kind: annotated as a number, or so with None."""
    hints = typing.get_type_hints(cls.__init__)
    for name, parameter in inspect.signature(cls).parameters.items():
        parts = set(typing.get_args(hints.get(name))) or {hints.get(name)}
        if parts & kind and not parts - kind - {type(None)}:
            yield name, parameter.default is None or type(None) in parts


def cases(room, base=object):
    """Every numeric option of every class."""
    return [
        pytest.param(cls, name, optional, id=f"{cls.__name__}-{name}")
        for cls in public(room, base)
        for name, optional in options(cls, {int, float})
    ]


def refused(make, name):
    """The sentence in which something is refused."""
    with pytest.raises(ValueError) as caught:
        make()
    text = str(caught.value)
    assert type(caught.value).__module__ in ("builtins", "moml.errors")
    assert f"`{name}" in text
    assert "should" in text
    assert "found" in text
    assert text.endswith(".")
    assert "\n" not in text
    return text


def made(cls, **given):
    """An object with arguments that are right for what is not given."""
    needed = {
        name: NEEDED[name]
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty and name not in given
    }
    return cls(**needed, **given)


@pytest.mark.parametrize(("cls", "name", "optional"), cases(moml.weighting, Weighting))
def test_numbers_of_a_weighting_are_numbers(cls, name, optional):
    for value in BAD if optional else (*BAD, None):
        refused(lambda value=value: made(cls, **{name: value}), name)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        pytest.param(cls, name, id=f"{cls.__name__}-{name}")
        for cls in public(moml.weighting, Weighting)
        for name in inspect.signature(cls).parameters
        if name in ("preference", "ideal", "min_losses", "others", "groups", "goals", "leak")
    ],
)
def test_preferences_are_one_number_per_task(cls, name):
    for value in ("equal", 3.5, [None, 1.0], {"a": "1"}, [float("nan")]):
        if name in ("goals", "leak") and isinstance(value, float):
            value = float("inf")
        refused(lambda value=value: made(cls, **{name: value}), name)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        pytest.param(cls, name, id=f"{cls.__name__}-{name}")
        for cls in public(moml.weighting, Weighting)
        for name, hint in typing.get_type_hints(cls.__init__).items()
        if typing.get_origin(hint) is typing.Literal or hint is bool
    ],
)
def test_words_of_a_weighting_are_known(cls, name):
    for value in ("nonsense", None, ["min"], 2.5):
        refused(lambda value=value: made(cls, **{name: value}), name)
