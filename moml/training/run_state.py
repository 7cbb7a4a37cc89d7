"""The state of a running loop in a checkpoint, and what a run that resumes has to share with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from moml._support import checks
from moml._support.random_state import random_state, restore_random_state
from moml.errors import CheckpointError
from moml.optim import Updater
from moml.problem import Objectives
from moml.training.callback import Callback, Training
from moml.weighting import Weighting

_LOG = logging.getLogger("moml")
_NAMED = 3  # differences that a message names


def made_of(problem: Objectives, updater: Updater) -> dict[str, Any]:
    """Losses and optimizers in words and plain numbers."""
    return {
        "losses": dict(problem.described()),
        "optimizer": updater.described(),
        "settings": updater.settings(),
    }


def state_of(training: Training, callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Everything a resumed run needs."""
    return {
        "step": training.step,
        "skipped": training.history.skipped,
        "tasks": list(training.problem.tasks),
        "weighting_kind": _kind(training.weighting),
        "made_of": dict(training.made_of),
        "module": training.problem.module.state_dict(),
        "weighting": training.weighting.state_dict(),
        "updater": training.updater.state_dict(),
        "oracle": training.oracle.state_dict(),
        "stream": training.stream.state_dict(),
        "random": random_state(),
        "callback_kinds": [type(callback).__name__ for callback in callbacks],
        "callbacks": [callback.state_dict() for callback in callbacks],
    }


def restore(
    training: Training, callbacks: Sequence[Callback] | None, state: Mapping[str, Any]
) -> None:
    """Go on from a state; without the callbacks where another process saved its own.

    Raises:
        CheckpointError: If the state is of another problem, weighting, optimizer or of other
            callbacks.
    """
    try:
        _compare(training, callbacks, state)
        _load(training.problem.module, state["module"], "network")
        _load(training.weighting, state["weighting"], "weighting")
        training.updater.load_state_dict(state["updater"])
        _say_settings(training, state.get("made_of"))
        training.oracle.load_state_dict(state["oracle"])
        training.stream.load_state_dict(state["stream"])
        if callbacks is not None:
            for callback, stored in zip(callbacks, state["callbacks"], strict=True):
                callback.load_state_dict(stored)
    except ValueError as error:
        raise _foreign(checks.said(error)) from error
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError) as error:
        raise _foreign(
            f"its state does not fit ({type(error).__name__}: {checks.said(error)})"
        ) from error
    training.step, training.history.skipped = state["step"], state.get("skipped", 0)
    restore_random_state(state["random"])


def _foreign(what: str) -> CheckpointError:
    return CheckpointError(
        "The checkpoint should come from the same problem, weighting, optimizer and callbacks, "
        f"found that {what.rstrip('.')}."
    )


def _kind(weighting: Weighting) -> str:
    """Class names of a weighting and of those inside it."""
    found = [type(m).__name__ for m in weighting.modules() if isinstance(m, Weighting)]
    return " around ".join(found)


def _compare(
    training: Training, callbacks: Sequence[Callback] | None, state: Mapping[str, Any]
) -> None:
    """Look for other tasks, methods, losses, optimizers and callbacks, before anything is loaded.

    Raises:
        ValueError: If there are.
    """
    if state["tasks"] != list(training.problem.tasks):
        raise ValueError(f"its tasks are {state['tasks']}")
    kind = _kind(training.weighting)
    if state["weighting_kind"] != kind:
        raise ValueError(f"its weighting is {state['weighting_kind']}, and this one {kind}")
    stored, own = state.get("made_of"), training.made_of
    if stored is not None:
        for task, loss in stored["losses"].items():
            if own["losses"].get(task) != loss:
                raise ValueError(
                    f"its loss of task '{task}' is {loss}, and this one {own['losses'].get(task)}"
                )
        if stored["optimizer"] != own["optimizer"]:
            raise ValueError(
                f"its optimizer is {stored['optimizer']}, and this one {own['optimizer']}"
            )
    if callbacks is not None:
        kinds = [type(callback).__name__ for callback in callbacks]
        before, states = state.get("callback_kinds", kinds), state["callbacks"]
        fits = len(states) == len(kinds) and all(
            one == other or not kept
            for one, other, kept in zip(before, kinds, states, strict=False)
        )
        if not fits:
            raise ValueError(f"its callbacks are {before}, and those of this run {kinds}")


def _load(module: nn.Module, state: Mapping[str, Any], what: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        differences = _differences(state, module.state_dict())
        if not differences:
            raise
        raise ValueError(f"its {what} is another one: {'; '.join(differences)}") from error


def _differences(stored: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Entries that only one of two states has, and those of other shapes."""
    found = []
    if gone := [name for name in own if name not in stored]:
        found.append(f"it has no {_listed(gone)}")
    if more := [name for name in stored if name not in own]:
        found.append(f"this one has no {_listed(more)}")
    shapes = [
        f"{name} {tuple(stored[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in stored
        and getattr(stored[name], "shape", None) != getattr(own[name], "shape", None)
    ]
    if shapes:
        found.append(f"it has {_listed(shapes)}")
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _say_settings(training: Training, stored: Mapping[str, Any] | None) -> None:
    """Name settings of the optimizer that were given anew: the checkpoint's are what counts."""
    if stored is None:
        return
    given, now = training.made_of["settings"], training.updater.settings()
    different = []
    for number, (group, kept) in enumerate(zip(given, now, strict=False)):
        first = stored["settings"][number] if number < len(stored["settings"]) else {}
        for name, asked in group.items():
            value = kept.get(name)
            if asked not in (value, first.get(name, value)):
                where = f" in group {number}" if len(now) > 1 else ""
                different.append(f"{name}={value}{where}, not {asked}")
    if different:
        _LOG.warning(
            "The optimizer goes on with the checkpoint's settings: %s. Train in a new folder to "
            "use others.",
            _listed(different),
        )
    training.made_of = stored
