"""Checks of a network that somebody brings, as `moml.MultiTask` runs it."""

from __future__ import annotations

import logging
from typing import Any

from torch import nn

from moml._support import checks
from moml._support.nesting import tensors_in
from moml._support.task_names import in_words
from moml.problem import Losses

_LOG = logging.getLogger("moml")
_MISFITS = ("mat1 and mat2", "dtype", "channels", "Expected", "expected", "size of tensor")


def check_fit(part: str, name: str, values: Any, error: RuntimeError) -> None:
    """Raise a sentence on shapes if the error is about them, and nothing otherwise."""
    if type(error) is not RuntimeError or not any(word in str(error) for word in _MISFITS):
        return
    found = " and ".join(f"{tuple(x.shape)} of {x.dtype}" for x in tensors_in(values))
    raise ValueError(
        f"{name} should fit the network's {part}, found {found}, which the {part} refused "
        f"({checks.said(error)})."
    ) from error


class GraphCheck:
    """Looks for losses that reach nothing: their tasks would not train, and nobody would know."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def check(self, losses: Losses, module: nn.Module) -> None:
        """Refuse such losses; a network that is frozen in part may mean them: the log says it.

        Raises:
            ValueError: If nothing is frozen, or no loss is left.
        """
        cut = [task for task, loss in losses.items() if not loss.requires_grad]
        if not cut:
            return
        sentence = (
            f"The prediction of {in_words(cut)} should depend on something trainable, found one "
            "without a graph, which does not train. Look for `detach`, `no_grad` or a constant in "
            "the network, or leave out a task that is frozen."
        )
        if len(cut) == len(losses) or all(p.requires_grad for p in module.parameters()):
            raise ValueError(sentence)
        if not self._told.issuperset(cut):
            self._told.update(cut)
            _LOG.warning(sentence)
