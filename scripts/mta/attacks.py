"""What generators are measured by: noise of the same norm, FGSM and PGD."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mta.cases import case_of
from mta.protocol import SETTINGS
from torch import Tensor

from moml.attack import FGSM, PGD, Attack, Linf

if TYPE_CHECKING:
    from mta.jobs import Job


def run_attacks(job: Job, out: Path) -> dict[str, Any]:
    """Noise of the same norm, FGSM and PGD, on every task of a setting."""
    setting = SETTINGS[job.setting]
    case, ball = case_of(setting, job.scale, out, job.seed), Linf(SETTINGS[job.setting].eps)
    attacks: dict[str, Attack | None] = {
        "noise": None, "FGSM": FGSM(ball), "PGD-10": PGD(ball, seed=1),
        "PGD-50": PGD(ball, steps=50, seed=1),
    }  # fmt: skip
    draw, result = torch.Generator().manual_seed(job.seed), {}
    for name, attack in attacks.items():
        result[name] = {}
        for task, aim in case.aims.items():
            x = case.test.inputs if isinstance(case.test.inputs, Tensor) else case.test.inputs[task]
            y = case.test.targets[task]
            y = y if aim.relabel is None else aim.relabel(y)
            goal = aim.victim.objective(y, loss=aim.loss, success=aim.success)
            if attack is None:
                signs = torch.where(torch.rand(x.shape, generator=draw) < 0.5, -1.0, 1.0)
                x_adv = (x + ball.eps * signs).clamp(0, 1)
            else:
                x_adv = attack.perturb(goal, x)
            before, after = goal.reached(x), goal.reached(x_adv)
            result[name][task] = float((after & ~before).sum() / (~before).sum())
    return result
