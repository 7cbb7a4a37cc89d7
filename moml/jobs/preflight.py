"""What is looked at before any step is spent: settings, device, data, reference."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import yaml
from torch import nn

from moml._support import checks
from moml.data import Suite
from moml.jobs.check_data import sources_of
from moml.training.validation import Metrics, directions


def width_of(encoder: nn.Module) -> int:
    """What the encoder says about the width of its features.

    Raises:
        ValueError: If it does not say.
    """
    width = getattr(encoder, "out_features", None)
    if not isinstance(width, int) or width < 1:
        raise ValueError(
            "`encoder` should have an attribute `out_features`, an integer of at least 1, found "
            f"{width!r} on {type(encoder).__name__}. Heads are built for features of this width."
        )
    return width


def with_example(encoder: nn.Module, suite: Suite) -> nn.Module:
    """The encoder itself, showing one of the suite's inputs if it shows none of its own.

    Architectures size the layers they put on its features by what it makes of the example.

    Raises:
        ValueError: If it is no module, or there are no sources of samples.
    """
    if not isinstance(encoder, nn.Module):
        raise ValueError(
            f"`encoder` of {type(suite).__name__} should make a module, found "
            f"{type(encoder).__name__}."
        )
    if getattr(encoder, "example_input", None) is None:
        inputs: object = suite.example
        if inputs is None:
            inputs = sources_of(suite, "val")[0].batch(torch.tensor([0])).inputs
        encoder.example_input = inputs if isinstance(inputs, torch.Tensor) else None  # type: ignore[assignment]
    return encoder


def usable_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: If it does not exist here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"`device` should be a device of this machine, found {name!r}. Use 'cpu'."
        ) from error
    return device


def read_reference(path: Path | None, suite: Suite) -> Metrics | None:
    """Single-task test results: a file made by ``moml single``, or the literature's, by name.

    Raises:
        ValueError: If the file cannot be used for this suite.
    """
    if path is None:
        return None
    published = suite.references.get(str(path))
    try:
        stored = yaml.safe_load((published or Path(path)).read_text())
        reference: Metrics = stored["test"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        names = " or one of " + ", ".join(suite.references) if suite.references else ""
        raise ValueError(
            f"`reference` should be a results file made by `moml single`{names}, found '{path}', "
            "which cannot be read as one."
        ) from error
    known = directions(suite.tasks)
    missing = [task for task in suite.tasks if not known[task].keys() & reference.get(task, {})]
    if missing:
        raise ValueError(
            f"`reference` should have results for {list(suite.tasks)}, found none for {missing}."
        )
    return {task: reference[task] for task in suite.tasks}


def above_zero(name: str, value: float) -> float:
    """The value itself.

    Raises:
        ValueError: If it is not above zero and finite.
    """
    checks.number(name, value, infinite=True)
    if not 0.0 < value < math.inf:
        raise ValueError(f"`{name}` should be a number above 0, found {value}.")
    return value


def one_of(**options: object) -> None:
    """Refuse two options that say the same.

    Raises:
        ValueError: If both are given.
    """
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        first, second = given
        raise ValueError(
            f"`{first}` should be left out where `{second}` is given, found both. "
            "They say the same in two ways."
        )


def positive(name: str, value: int) -> int:
    """The value itself.

    Raises:
        ValueError: If it is less than 1.
    """
    return checks.whole(name, value, least=1)
