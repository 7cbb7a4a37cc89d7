"""Updaters: from gradients to parameters."""

from moml.optim._base import Updater
from moml.optim.ada_task import AdaTask
from moml.optim.gradient_step import GradientStep
from moml.optim.param_groups import param_groups
from moml.optim.several import Several, as_updater
from moml.optim.task_steps import TaskSteps

__all__ = [
    "AdaTask",
    "GradientStep",
    "Several",
    "TaskSteps",
    "Updater",
    "as_updater",
    "param_groups",
]
