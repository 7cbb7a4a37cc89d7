"""Looks at the oracle's and the solvers' arguments before anything is computed."""

from __future__ import annotations

from typing import Any

import torch

from moml._support import checks
from moml.bilevel._problem import BilevelProblem
from moml.bilevel.hypergradient import Hypergradient
from moml.bilevel.inner import InnerSolver

_INNER = "a lower solver such as `InnerSGD(0.1, steps=5)`"
_HYPERGRADIENT = "a hypergradient such as `Unrolled()`"


def check_bilevel(inner: Any, hypergradient: Any) -> None:
    """Raise a `ValueError` for what is no lower solver or no hypergradient, a class among them."""
    if isinstance(inner, Hypergradient) and isinstance(hypergradient, InnerSolver):
        raise ValueError(
            f"`inner` should be {_INNER}, found {type(inner).__name__}. The two are swapped: "
            f"`Bilevel({type(hypergradient).__name__}(...), {type(inner).__name__}(...))`."
        )
    hint = ""
    if isinstance(inner, torch.optim.Optimizer):
        hint = "An optimizer of PyTorch has no differentiable steps, `InnerSGD` and others do."
    checks.instance("inner", inner, InnerSolver, _INNER, hint)
    checks.instance("hypergradient", hypergradient, Hypergradient, _HYPERGRADIENT)


def check_problem(problem: Any) -> None:
    """Raise a `ValueError` for a problem without a lower level."""
    checks.instance(
        "problem",
        problem,
        BilevelProblem,
        "a bi-level problem such as `moml.few_shot.FewShot`",
        "Others take `moml.oracle.Direct()`.",
    )
