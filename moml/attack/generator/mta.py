"""Multi-task attack: one generator with a shared encoder and a decoder per task, as a problem.

P. Guo, Y. Xu, B. Lin, Y. Zhang, "Multi-task adversarial attack", arXiv 2011.09824. Only its
abstract is public to us: the shared encoder and the task-specific decoders, perturbations per
instance and universal, targeted and non-targeted. Everything else here follows GAP (CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import Parameter

from moml.attack._region import same_bounds, shown_bounds
from moml.attack.generator.aim import Aim
from moml.attack.generator.generator import Generator
from moml.data.batch import Batch
from moml.problem import FactoredProblem, Losses


class MTA(FactoredProblem):
    """Trains a generator so that every task's victim fails on the perturbed inputs.

    The loss of a task is minus the mean of what its aim raises. Victims are no part of the module:
    they are in evaluation mode during each forward pass, and no parameter, buffer, gradient or mode
    of theirs changes. Trained by `moml.fit`, with any architecture, oracle and weighting. Samples
    without a label for a task are left out of it.

    Args:
        generator: What is trained.
        aims: For each of its tasks, what to do to which victim.

    Raises:
        ValueError: If the tasks are not the generator's, or a victim has other bounds.
    """

    paper = "Guo et al., Multi-Task Adversarial Attack, arXiv 2011.09824"

    def __init__(self, generator: Generator, aims: Mapping[str, Aim]) -> None:
        if set(aims) != set(generator.tasks):
            raise ValueError(
                f"`aims` should have the generator's tasks {sorted(generator.tasks)}, "
                f"found {sorted(aims)}."
            )
        for task, aim in aims.items():
            if not same_bounds(aim.victim.bounds, generator.bounds):
                raise ValueError(
                    f"`bounds` of the victim of '{task}' should be the generator's "
                    f"{shown_bounds(generator.bounds)}, found {shown_bounds(aim.victim.bounds)}."
                )
        self.generator, self.aims = generator, dict(aims)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The generator's tasks."""
        return self.generator.tasks

    @property
    def module(self) -> Generator:
        """The generator."""
        return self.generator

    def penalty(self) -> Tensor | None:
        """The architecture's regulariser."""
        return self.generator.architecture.penalty()

    def after_step(self, step: int, steps: int) -> None:
        """The architecture's schedules."""
        self.generator.architecture.after_step(step, steps)

    def shared_parameters(self) -> Iterable[Parameter]:
        """As the architecture says."""
        return self.generator.architecture.shared_parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """As the architecture says."""
        return self.generator.architecture.private_parameters(task)

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """The architecture's representation of the clean inputs, or of the fixed noise."""
        return self.generator.features(batch.inputs, self._present(batch))

    def losses_from(self, features: dict[str, Tensor], batch: Batch) -> Losses:
        """Minus the mean of what each aim raises."""
        perturbed = self.generator.perturbed(features, batch.inputs, self._present(batch))
        losses = {}
        for task, x_adv in perturbed.items():
            labelled, target = batch.labelled(task, x_adv)
            losses[task] = -self.aims[task].measure(labelled, target)[0].mean()
        return losses

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        """Per task, over all labelled samples.

        Returns:
            ``loss`` and ``clean_loss``, means of what the aim raises, with and without the
            perturbation; with a goal also ``reached`` and ``clean_reached``, shares of samples
            there, and ``fooled``, the share of those not there by themselves that are brought
            there.
        """
        found: dict[str, list[tuple[Tensor, ...]]] = {task: [] for task in self.tasks}
        modes = [(m, m.training) for m in self.generator.modules()]
        self.generator.eval()
        try:
            for batch in batches:
                for task, x_adv in self.generator(batch.inputs, self._present(batch)).items():
                    x = batch.inputs_of(task)
                    aim = self.aims[task]
                    clean = aim.measure(*batch.labelled(task, x))
                    attacked = aim.measure(*batch.labelled(task, x_adv))
                    found[task].append(tuple(v for v in (*clean, *attacked) if v is not None))
        finally:
            for module, mode in modes:
                module.training = mode
        return {task: _summary(parts) for task, parts in found.items() if parts}

    def _present(self, batch: Batch) -> list[str]:
        return [task for task in self.tasks if batch.has_labels(task)]


def _summary(parts: list[tuple[Tensor, ...]]) -> dict[str, float]:
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    if len(columns) == 2:
        return {"loss": float(columns[1].mean()), "clean_loss": float(columns[0].mean())}
    clean_loss, before, loss, after = columns
    rest = int((~before).sum())
    return {
        "loss": float(loss.mean()),
        "clean_loss": float(clean_loss.mean()),
        "reached": float(after.double().mean()),
        "clean_reached": float(before.double().mean()),
        "fooled": int((after & ~before).sum()) / rest if rest else 0.0,
    }
