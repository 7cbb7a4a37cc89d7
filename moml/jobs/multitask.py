"""One multi-task run: from settings to a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moml._support.launch import Launch
from moml._support.schedules import Cosine
from moml._support.steppable import steppable, stepping
from moml.architecture import Architecture
from moml.bilevel_mtl.method import Composition, Method, Setting
from moml.data import BatchLoader, Suite, prefetched
from moml.data.stream import LoaderStream
from moml.data.subset import named
from moml.data.suite import Schedule, Split
from moml.gradients.rows import Strategy
from moml.gradients.task_gradients import Heads
from moml.jobs.check_data import check_labels, check_metrics, sources_of
from moml.jobs.example import write_example
from moml.jobs.group_settings import by_optimizer, check_settings, of_optimizer, optimizer_of
from moml.jobs.job import Results, TrainingJob
from moml.jobs.options import Gradients, check_method, oracle_of, wrap
from moml.jobs.preflight import (
    above_zero,
    one_of,
    positive,
    read_reference,
    usable_device,
    width_of,
    with_example,
)
from moml.jobs.probe import check_parts
from moml.jobs.records import RunRecords
from moml.logging import Conflicts
from moml.loop import fit
from moml.multitask import MultiTask, Precision
from moml.optim import GradientStep, Several, Updater, param_groups
from moml.oracle import Distributed
from moml.training.callback import Callback, History
from moml.training.checkpoint import Checkpoint
from moml.training.validation import Metrics, Scores, directions, evaluate, selection_score
from moml.weighting import EW, Normalization, Weighting

_log = logging.getLogger("moml")

MakeArchitecture = Callable[[nn.Module, dict[str, nn.Module]], Architecture]
MakeOptimizer = Callable[[Iterable[Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


class MultiTaskJob(TrainingJob):
    """Trains an architecture on a suite with a weighting, selecting on validation data.

    Args:
        suite: The benchmark: data, losses, metrics.
        weighting: How tasks are traded off; equal weights unless given, or the method's own.
        architecture: How tasks share the network; receives the encoder and the heads.
        method: What is more than a weighting: a problem and an oracle of its own.
        encoder: A module whose ``out_features`` says what heads get; the suite's unless given.
        optimizer: Any PyTorch optimizer; its rate is set by ``learning_rate``.
        schedule: How the learning rate goes on; the suite's unless given.
        scheduler: Any PyTorch scheduler instead, stepped once per step.
        learning_rate: The suite's unless given.
        param_groups: Settings of the optimizer for parts of the network, by pattern of parameter
            names: ``{encoder: {lr: 0.0001}, "heads.*": {weight_decay: 0}}``
            (`moml.optim.param_groups`). With ``optimizer: SGD`` among them, that part has an
            optimizer of its own; ``clip_norm`` then holds for each one.
        steps: Optimizer steps; the suite's unless given.
        epochs: Passes over the training data, where `steps` is not given.
        batch_size: The suite's unless given.
        gradients: What gradient-based weightings look at: shared parameters, or the representation
            (one encoder pass however many tasks, an upper bound).
        accumulate: Parts a batch is evaluated in, one after the other: the same step in less memory
            (`moml.oracle.Accumulated`).
        precision: What the network computes in while training (`moml.MultiTask`).
        heads: Whether heads' gradients are scaled by their task's weight, or not at all.
        rows: How gradient rows are formed.
        normalize: Gradients are scaled before the weighting sees them.
        weight_sum: Weights as the method gives them, or rescaled to sum to 1 or to the number of
            tasks.
        update_every: Weights are renewed every so many steps.
        clip_norm: Largest norm of all gradients together.
        tasks: Train only these tasks.
        seed: Seed of initialisation and data order.
        device: Where the network lives.
        threads: Threads of PyTorch's operations.
        workers: Threads that read batches ahead of the steps; worth it where data are on disk.
        eval_every: Steps between validations; the suite's unless given.
        log_every: Steps between lines of the metrics file.
        checkpoint_every: Steps between checkpoints.
        conflicts_every: For methods that do not look at gradients: form them every so many steps
            to record their conflict.
        reference: Single-task results to compare to: a file made by ``moml single``, or the name of
            one that comes with the suite.
    """

    def __init__(
        self,
        suite: Suite,
        weighting: Weighting | None,
        architecture: MakeArchitecture,
        *,
        method: Method | None = None,
        encoder: nn.Module | None = None,
        optimizer: MakeOptimizer = torch.optim.Adam,
        schedule: Schedule | None = None,
        scheduler: MakeScheduler | None = None,
        learning_rate: float | None = None,
        param_groups: dict[str, dict[str, Any]] | None = None,
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        gradients: Gradients = "parameters",
        heads: Heads = "weighted",
        rows: Strategy = "auto",
        accumulate: int = 1,
        precision: Precision = "float32",
        normalize: Normalization = "none",
        weight_sum: Literal["as_is", "one", "tasks"] = "as_is",
        update_every: int = 1,
        clip_norm: float | None = None,
        tasks: list[str | int] | None = None,
        seed: int = 0,
        device: str = "cpu",
        threads: int = 1,
        workers: int = 0,
        eval_every: int | None = None,
        log_every: int = 20,
        checkpoint_every: int = 100,
        conflicts_every: int | None = None,
        reference: Path | None = None,
    ) -> None:
        one_of(epochs=epochs, steps=steps)
        one_of(schedule=schedule, scheduler=scheduler)
        torch.set_num_threads(positive("threads", threads))
        self.launch = Launch.current()
        self.device = usable_device(self.launch.device(device))
        self.suite = named(suite, tasks)
        self.suite_name, defaults = type(suite).__name__, suite.defaults
        size = defaults.batch_size if batch_size is None else batch_size
        self.batch_size, self.seed = positive("batch_size", size), seed
        self.workers = workers
        if epochs is not None:
            steps = positive("epochs", epochs) * self.loader("train").batches_per_epoch
        self.steps = positive("steps", defaults.steps if steps is None else steps)
        every = defaults.eval_every if eval_every is None else eval_every
        self.eval_every = positive("eval_every", every)
        self.log_every = positive("log_every", log_every)
        self.checkpoint_every = positive("checkpoint_every", checkpoint_every)
        self.conflicts_every = conflicts_every
        self.clip_norm = clip_norm
        rate = defaults.learning_rate if learning_rate is None else learning_rate
        self.learning_rate = above_zero("learning_rate", rate)
        self.make_optimizer, self.param_groups = optimizer, param_groups or {}
        if self.param_groups and method is not None:
            raise ValueError(
                "`param_groups` should be left out with a method that makes its own optimizers, "
                f"found {type(method).__name__}."
            )
        self.schedule = None if scheduler else schedule or defaults.schedule
        self.make_scheduler = stepping(scheduler) if scheduler else self._make_schedule()
        self.reference_path, self.reference = reference, read_reference(reference, self.suite)
        self.method = method
        if method is not None and self.launch.count > 1:
            raise ValueError(
                f"`method` should be left out in several processes, found {type(method).__name__}. "
                "Two levels are trained in one."
            )
        if method is None:
            weighting = weighting or EW()
        else:
            check_method(
                method,
                weighting,
                ordinary={
                    "gradients": gradients, "heads": heads, "rows": rows,
                    "accumulate": accumulate, "precision": precision,
                },
                wrappers={
                    "normalize": normalize, "weight_sum": weight_sum, "update_every": update_every
                },
            )  # fmt: skip
        self.weighting_name = None if weighting is None else type(weighting).__name__
        self.weighting = weighting and wrap(weighting, normalize, weight_sum, update_every)
        if positive("accumulate", accumulate) > self.batch_size:
            raise ValueError(
                f"`accumulate` should be at most the {self.batch_size} samples of a batch, found "
                f"{accumulate}."
            )
        self.oracle = oracle_of(gradients, heads, rows, accumulate)
        self.precision = precision
        torch.manual_seed(seed)
        network = self.suite.encoder() if encoder is None else encoder
        network = with_example(network, self.suite)
        shown = network.example_input
        self.example = shown if isinstance(shown, Tensor) else None
        self.architecture = architecture(network, self.suite.heads(width_of(network)))
        self.architecture.to(self.device)
        self._optimizers()  # says now what does not fit

    # Pieces ------------------------------------------------------------------------------------

    @property
    def problem(self) -> MultiTask:
        """The architecture with the suite's losses."""
        losses = {task: spec.loss for task, spec in self.suite.tasks.items()}
        return MultiTask(self.architecture, losses, precision=self.precision)

    def optimizer(self, parameters: Iterable[Any]) -> Optimizer:
        """The optimizer asked for, at the learning rate asked for."""
        given = list(parameters)
        groups = given if given and isinstance(given[0], dict) else [{"params": given}]
        made: Any = [{"lr": self.learning_rate, **group} for group in groups]
        return steppable(self.make_optimizer(made))

    def updater(self) -> Updater:
        """The optimizer on all trainable parameters, or one for each kind that groups ask for."""
        made = [
            GradientStep(one, scheduler=self.make_scheduler, clip_norm=self.clip_norm)
            for one in self._optimizers()
        ]
        return made[0] if len(made) == 1 else Several(made)

    def _optimizers(self) -> list[Optimizer]:
        groups = param_groups(self.architecture, self.param_groups)
        made = []
        for name, own in by_optimizer(groups).items():
            make = optimizer_of(name) if name else self.make_optimizer
            given: Any = [{"lr": self.learning_rate, **group} for group in own]
            one = steppable(make(given))
            check_settings(one, of_optimizer(self.param_groups, name))
            made.append(one)
        return made

    def composition(self) -> Composition:
        """What the loop runs: the weighting on the network's losses, or what the method says."""
        if self.method is not None:
            return self.method.compose(
                Setting(
                    suite=self.suite,
                    problem=self.problem,
                    weighting=self.weighting,
                    optimizer=self.optimizer,
                    scheduler=self.make_scheduler,
                    clip_norm=self.clip_norm,
                    learning_rate=self.learning_rate,
                    batch_size=self.batch_size,
                    seed=self.seed,
                    device=self.device,
                    workers=self.workers,
                )
            )
        assert self.weighting is not None
        stream = LoaderStream(self.loader("train"), device=self.device)
        return Composition(self.problem, self.oracle, self.weighting, self.updater(), stream)

    def loader(self, split: Split) -> BatchLoader:
        """Batches of a split; larger ones where nothing is kept for a backward pass."""
        size = self.batch_size if split == "train" else 4 * self.batch_size
        batches = self.suite.loader(split, batch_size=size, seed=self.seed)
        if split == "train" and self.launch.count > 1:
            batches = batches.part(self.launch.rank, self.launch.count)
        return prefetched(batches, self.workers)

    def evaluate(self, split: Split) -> Scores:
        """Losses and metrics on a split."""
        tasks, loader = self.suite.tasks, self.loader(split)
        return evaluate(self.architecture, tasks, loader, device=self.device)

    def _make_schedule(self) -> MakeScheduler | None:
        if self.schedule != "cosine":
            return None
        return lambda optimizer: Cosine(optimizer, self.steps)

    def settings(self) -> dict[str, Any]:
        """Options with the values that are used, where they come from the suite or each other."""
        return {
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
            "steps": self.steps,
            "epochs": None,
            "batch_size": self.batch_size,
            "eval_every": self.eval_every,
        }

    # Running -----------------------------------------------------------------------------------

    def work(self, folder: Path, records: RunRecords, *, quiet: bool) -> Results:
        """Train, select, test; the example that layers were sized by is kept for loading."""
        write_example(folder, self.example)
        return super().work(folder, records, quiet=quiet)

    def prepare(self) -> None:
        """Look at labels, sizes, parts of the network and metrics."""
        check_labels(self.suite)
        self._say_sizes()
        check_parts(self.suite, self.architecture, self.device)
        check_metrics(self.architecture, self.suite, device=self.device)

    def _say_sizes(self) -> None:
        """Tell where batches are smaller than asked for."""
        sizes = [len(source) for source in sources_of(self.suite, "train")]
        if min(sizes) < self.batch_size:
            _log.warning(
                "`batch_size` should be at most the %d samples of the training data, found %d: "
                "every batch holds all of them.",
                min(sizes),
                self.batch_size,
            )

    def follow(self) -> dict[str, Any]:
        """Do this process's part of every step: what all but the first one of ``torchrun`` do.

        Returns:
            Nothing; with key ``"stopped"`` why the run stopped early, if it did.
        """
        every = self.conflicts_every
        looks: list[Callback] = [] if every is None else [Conflicts(every)]
        history = self.fit(looks, Checkpoint(Path(), writes=False))
        return {"stopped": history.stopped} if history.stopped else {}

    def fit(self, callbacks: list[Callback], checkpoint: Checkpoint) -> History:
        """The loop, alone or with other processes."""
        with self.launch.together(self.device):
            parts = self.composition()
            together = self.launch.count > 1
            oracle = Distributed(parts.oracle) if together else parts.oracle
            return fit(
                parts.problem, oracle, parts.weighting, parts.updater, parts.stream,
                steps=self.steps, callbacks=callbacks, checkpoint=checkpoint,
            )  # fmt: skip

    @property
    def module(self) -> Architecture:
        """The architecture."""
        return self.architecture

    @property
    def validated(self) -> Iterable[str]:
        """All tasks."""
        return self.suite.tasks

    def score(self, metrics: Metrics) -> float:
        """Improvement over the reference, or the mean of main metrics by their typical size."""
        return selection_score(metrics, self.suite.tasks, self.reference)

    def save(self, file: Path) -> None:
        """Write the architecture's weights."""
        from safetensors.torch import save_model

        save_model(self.architecture, str(file))

    def facts(self, score: float) -> Results:
        """Results besides numbers found."""
        tasks = self.suite.tasks
        return {
            "suite": self.suite_name,
            "architecture": type(self.architecture).__name__,
            "method": self.method and type(self.method).__name__,
            "weighting": self.weighting_name,
            "seed": self.seed,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "main": {task: spec.main for task, spec in tasks.items()},
            "units": {task: spec.unit for task, spec in tasks.items()},
            "higher_is_better": directions(tasks),
            "delta_percent": None if self.reference is None else score,
            "reference": None if self.reference_path is None else str(self.reference_path),
        }
