"""moml: multi-objective learning on PyTorch.

Whatever has several objectives is a `Problem`; an oracle says how to differentiate it; a weighting
decides the trade-off; `fit` runs them. ``import moml`` is light: everything below is imported when
first used.

>>> import torch, moml
>>> x = torch.ones(2, requires_grad=True)
>>> losses = {"a": (x - torch.tensor([1.0, 0.0])).square().sum(), "b": x.square().sum()}
>>> moml.backward(losses, moml.weighting.MGDA())
tensor([1., 0.], dtype=torch.float64)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moml import architecture, bilevel, data, optim, oracle, weighting
    from moml.architecture import Architecture
    from moml.bilevel import BilevelProblem
    from moml.data import Batch, Suite, TaskSpec
    from moml.gradients.task_gradients import Evaluation
    from moml.jobs.load import load_run
    from moml.jobs.run import run
    from moml.loop import History, fit
    from moml.multitask import MultiTask
    from moml.optim import Updater
    from moml.oracle import Oracle
    from moml.own_loop import backward
    from moml.problem import FactoredProblem, Objectives, Problem
    from moml.weighting import Weighting

__version__ = "0.2.0"

_HOME = {
    "Architecture": "moml.architecture",
    "Batch": "moml.data",
    "BilevelProblem": "moml.bilevel",
    "Evaluation": "moml.gradients.task_gradients",
    "FactoredProblem": "moml.problem",
    "History": "moml.loop",
    "MultiTask": "moml.multitask",
    "Objectives": "moml.problem",
    "Oracle": "moml.oracle",
    "Problem": "moml.problem",
    "Suite": "moml.data",
    "TaskSpec": "moml.data",
    "Updater": "moml.optim",
    "Weighting": "moml.weighting",
    "backward": "moml.own_loop",
    "fit": "moml.loop",
    "load_run": "moml.jobs.load",
    "run": "moml.jobs.run",
}
_ROOMS = ("architecture", "bilevel", "data", "optim", "oracle", "weighting")

__all__ = [
    "Architecture",
    "Batch",
    "BilevelProblem",
    "Evaluation",
    "FactoredProblem",
    "History",
    "MultiTask",
    "Objectives",
    "Oracle",
    "Problem",
    "Suite",
    "TaskSpec",
    "Updater",
    "Weighting",
    "architecture",
    "backward",
    "bilevel",
    "data",
    "fit",
    "load_run",
    "optim",
    "oracle",
    "run",
    "weighting",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _ROOMS:
        value = import_module(f"moml.{name}")
    else:
        raise AttributeError(f"module 'moml' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
