"""Train a generator and judge it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mta.cases import case_of, loader_of
from mta.generators import architecture, count
from mta.protocol import SETTINGS, WEIGHTINGS

import moml
from moml.attack import Linf
from moml.attack.generator import MTA, Generator
from moml.data import Batch, TaskInputs
from moml.oracle import Direct
from moml.weighting import EW

if TYPE_CHECKING:
    from mta.jobs import Job


def run_generator(job: Job, out: Path) -> dict[str, Any]:
    """Train a generator and judge it on the validation and the test split."""
    setting, scale = SETTINGS[job.setting], job.scale
    case = case_of(setting, scale, out, job.seed)
    torch.manual_seed(job.seed)
    net = architecture(job.method, tuple(case.aims))
    shape = (1, scale.size, scale.size) if setting.universal else None
    problem = MTA(Generator(net, ball=Linf(setting.eps), universal=shape), case.aims)
    weighting = WEIGHTINGS.get(job.method.removeprefix("MTA "), EW)()
    optimizer = torch.optim.Adam(problem.module.parameters(), job.rate, betas=(0.5, 0.999))
    start = time.process_time()
    moml.fit(
        problem, Direct(), weighting, optimizer,
        loader_of(case.sources, scale.batch_size, job.seed), steps=scale.steps,
    )  # fmt: skip
    seconds = time.process_time() - start
    result = {
        "parameters": count(net),
        "seconds": seconds,
        "val": problem.evaluate([case.val]),
        "test": problem.evaluate([case.test]),
    }
    if job.setting == "base" and job.seed == 0:
        result["pictures"] = pictures(problem, case.test)
    return result


@torch.no_grad()
def pictures(problem: MTA, batch: Batch) -> dict[str, Any]:
    """Three inputs a task: clean, perturbed, and what the victim says of both."""
    found = {}
    inputs = TaskInputs({task: x[:3] for task, x in batch.inputs.items()})
    for task, x_adv in problem.generator(inputs).items():
        model = problem.aims[task].victim.model.eval()
        found[task] = {
            "clean": inputs[task][:, 0].tolist(),
            "perturbed": x_adv[:, 0].tolist(),
            "said": [model(inputs[task]).argmax(1).tolist(), model(x_adv).argmax(1).tolist()],
        }
    return found
