"""One few-shot run: from settings to a run folder."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from moml._support.safetensors_file import save_weights
from moml._support.steppable import steppable, stepping
from moml.bilevel import Bilevel, Compiled
from moml.data import BatchLoader, EpisodeBatch, FewShotSuite, TaskSpec, prefetched
from moml.data.declared_bounds import BoundsOption, data_bounds, shown
from moml.data.stream import LoaderStream
from moml.data.suite import Split
from moml.few_shot import FewShot, judge
from moml.few_shot.method import FewShotComposition, MetaMethod, Setup
from moml.jobs.few_shot_goals import Goals, Norm, Threat
from moml.jobs.job import Results, TrainingJob
from moml.jobs.multitask import MakeOptimizer, MakeScheduler, wrap
from moml.jobs.preflight import above_zero, positive, usable_device, width_of
from moml.loop import fit
from moml.optim import GradientStep
from moml.oracle import Oracle
from moml.training.callback import Callback, History
from moml.training.checkpoint import Checkpoint
from moml.training.validation import Metrics, Scores, evaluating
from moml.weighting import Normalization, Weighting


class FewShotJob(TrainingJob):
    """Meta-trains a few-shot method for several objectives, selecting on validation episodes.

    Validation and test episodes are fixed lists of classes that training never sees. Selection goes
    by the mean of the objectives' main metrics, each divided by its typical size and negated where
    lower is better; test episodes are looked at once, with the weights selected.

    Args:
        suite: The distribution over episodes.
        method: How to learn from an episode.
        weighting: How objectives are traded off.
        objectives: What adapted networks should be good at: ``clean`` (the suite's loss of the
            queries), ``robust`` (the same of perturbed queries), ``calibration`` (the Brier score).
        encoder: A module whose ``out_features`` says what the head gets; the suite's unless given.
        optimizer: Any PyTorch optimizer of the meta-parameters; its rate is set by
            ``learning_rate``.
        scheduler: Any PyTorch scheduler, stepped once per meta-step.
        learning_rate: Of the meta-parameters; the suite's unless given.
        steps: Meta-steps; the suite's unless given.
        meta_batch_size: Episodes per meta-step; the suite's unless given.
        inner_learning_rate: Of the steps within an episode; the suite's unless given.
        inner_steps: Number of those steps in training; the suite's unless given.
        eval_inner_steps: Number of those steps in evaluation; the suite's unless given.
        eps: Radius of the ball of perturbations, in units of the inputs; the suite's unless given.
            Where it is given, robustness is measured even if it is no objective.
        norm: The ball's norm.
        bounds: Interval of valid inputs, which attacks keep to; the suite's unless given, ``None``
            for inputs without bounds.
        attack_steps: Gradients per attack in training: 1 for FGSM, more for PGD.
        eval_attack_steps: Gradients per attack in evaluation, always PGD from a random start.
        normalize: Gradients are scaled before the weighting sees them.
        weight_sum: Weights as the method gives them, or rescaled to sum to 1 or to the number of
            objectives.
        update_every: Weights are renewed every so many meta-steps.
        clip_norm: Largest norm of the meta-gradient.
        compiled: Trace and compile the meta-step: many times faster for small networks, after up to
            a minute. Only for steps without random draws or conditions: not with attacks.
        stacked: Solve the episodes of a batch together: decided by the network unless given. Off,
            they are solved one after the other, which is right for any network.
        seed: Seed of initialisation, training episodes and attacks.
        device: Where the network lives.
        threads: Threads of PyTorch's operations.
        workers: Threads that read batches ahead of the steps; worth it where data are on disk.
        eval_every: Meta-steps between validations; the suite's unless given.
        val_episodes: Validation episodes.
        test_episodes: Test episodes; the suite's number unless given.
        log_every: Meta-steps between lines of the metrics file.
        checkpoint_every: Meta-steps between checkpoints.
        conflicts_every: For weightings that do not look at gradients: form them every so many
            meta-steps to record their conflict.
    """

    def __init__(
        self,
        suite: FewShotSuite,
        method: MetaMethod,
        weighting: Weighting,
        *,
        objectives: list[str] | None = None,
        encoder: nn.Module | None = None,
        optimizer: MakeOptimizer = torch.optim.Adam,
        scheduler: MakeScheduler | None = None,
        learning_rate: float | None = None,
        steps: int | None = None,
        meta_batch_size: int | None = None,
        inner_learning_rate: float | None = None,
        inner_steps: int | None = None,
        eval_inner_steps: int | None = None,
        eps: float | None = None,
        norm: Norm = "Linf",
        bounds: BoundsOption = "suite",
        attack_steps: int = 1,
        eval_attack_steps: int = 10,
        normalize: Normalization = "none",
        weight_sum: Literal["as_is", "one", "tasks"] = "as_is",
        update_every: int = 1,
        clip_norm: float | None = None,
        compiled: bool = False,
        stacked: bool | None = None,
        seed: int = 0,
        device: str = "cpu",
        threads: int = 1,
        workers: int = 0,
        eval_every: int | None = None,
        val_episodes: int = 150,
        test_episodes: int | None = None,
        log_every: int = 20,
        checkpoint_every: int = 100,
        conflicts_every: int | None = None,
    ) -> None:
        torch.set_num_threads(positive("threads", threads))
        self.device = usable_device(device)
        self.suite, self.suite_name, defaults = suite, type(suite).__name__, suite.defaults
        self.target, self.spec = only_task(suite)
        self.steps = positive("steps", defaults.steps if steps is None else steps)
        size = defaults.meta_batch_size if meta_batch_size is None else meta_batch_size
        self.meta_batch_size = positive("meta_batch_size", size)
        self.eval_every = positive(
            "eval_every", defaults.eval_every if eval_every is None else eval_every
        )
        tested = defaults.eval_episodes if test_episodes is None else test_episodes
        self.episodes = {
            "val": positive("val_episodes", val_episodes),
            "test": positive("test_episodes", tested),
        }
        self.log_every = positive("log_every", log_every)
        self.checkpoint_every = positive("checkpoint_every", checkpoint_every)
        self.conflicts_every = conflicts_every
        self.seed, self.clip_norm, self.workers = seed, clip_norm, workers
        rate = defaults.learning_rate if learning_rate is None else learning_rate
        inner = defaults.inner_learning_rate if inner_learning_rate is None else inner_learning_rate
        self.learning_rate = above_zero("learning_rate", rate)
        self.inner_learning_rate = above_zero("inner_learning_rate", inner)
        self.inner_steps = positive(
            "inner_steps", defaults.inner_steps if inner_steps is None else inner_steps
        )
        self.eval_inner_steps = positive(
            "eval_inner_steps",
            defaults.eval_inner_steps if eval_inner_steps is None else eval_inner_steps,
        )
        names = ["clean"] if objectives is None else objectives
        attacked = eps is not None or "robust" in names
        threat = Threat.of(
            suite,
            eps=eps,
            norm=norm,
            bounds=data_bounds(suite, bounds) if attacked else None,
            steps=positive("attack_steps", attack_steps),
            eval_steps=positive("eval_attack_steps", eval_attack_steps),
            seed=seed,
        )
        self.goals = Goals(names, self.spec, threat, judge_robustness=eps is not None)
        self.make_optimizer = optimizer
        self.make_scheduler = stepping(scheduler) if scheduler else None
        self.method, self.method_name = method, type(method).__name__
        self.weighting_name = type(weighting).__name__
        self.weighting = wrap(weighting, normalize, weight_sum, update_every)
        torch.manual_seed(seed)
        encoder = suite.encoder() if encoder is None else encoder
        head = suite.head(width_of(encoder))
        self.network = nn.Sequential(OrderedDict(encoder=encoder, head=head)).to(self.device)
        self.composition = self._compose(stacked)
        self.oracle = self._oracle(compiled)

    # Pieces ------------------------------------------------------------------------------------

    def _compose(self, stacked: bool | None) -> FewShotComposition:
        """What the method makes of the network and the objectives."""
        made = self.method.compose(
            Setup(
                network=self.network,
                loss=self.spec.loss,
                target=self.target,
                objectives=self.goals.objectives(),
                inner_lr=self.inner_learning_rate,
                inner_steps=self.inner_steps,
                eval_inner_steps=self.eval_inner_steps,
                steps=self.steps,
                stacked=stacked,
            )
        )
        if stacked is not None and not isinstance(made.problem, FewShot):
            raise ValueError(
                f"`stacked` should be left out with {self.method_name}, found {stacked}. It solves "
                "no lower level for each episode."
            )
        return made

    def _oracle(self, compiled: bool) -> Oracle:
        """The method's, compiled if asked for."""
        oracle = self.composition.oracle
        if not compiled:
            return oracle
        if not isinstance(oracle, Bilevel):
            raise ValueError(
                f"`compiled` should be off with {self.method_name}, found it on. "
                "It has no lower level to speed up."
            )
        return Compiled(oracle)

    @property
    def module(self) -> nn.Module:
        """The network with everything learnt beside it."""
        return self.composition.problem.module

    def settings(self) -> dict[str, Any]:
        """Options with the values that are used, where they come from the suite."""
        return {
            "objectives": list(self.goals.names),
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "meta_batch_size": self.meta_batch_size,
            "inner_learning_rate": self.inner_learning_rate,
            "inner_steps": self.inner_steps,
            "eval_inner_steps": self.eval_inner_steps,
            "eps": self.goals.threat.ball.eps if self.goals.judge_robustness else None,
            "eval_every": self.eval_every,
            "test_episodes": self.episodes["test"],
        }

    def updater(self) -> GradientStep:
        """The optimizer on all meta-parameters."""
        parameters = [p for _, p in self.composition.problem.trainable()]
        optimizer = steppable(self.make_optimizer(parameters))
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        return GradientStep(optimizer, scheduler=self.make_scheduler, clip_norm=self.clip_norm)

    def loader(self, split: Split) -> BatchLoader[EpisodeBatch]:
        """Meta-batches of a split."""
        episodes = self.suite.episodes(
            split,
            meta_batch_size=self.meta_batch_size,
            seed=self.seed,
            count=self.episodes.get(split),
        )
        return prefetched(episodes, self.workers)

    def evaluate(self, split: Literal["val", "test"]) -> Scores:
        """Losses and metrics of adapted networks, with intervals over episodes."""
        with evaluating(self.module):
            found = judge(
                self.composition.adapt,
                self.loader(split),
                self.goals.measures(),
                device=self.device,
            )
        return Scores(
            {name: one.loss for name, one in found.items()},
            {name: one.metrics for name, one in found.items()},
            {name: one.intervals for name, one in found.items()},
        )

    # Running -----------------------------------------------------------------------------------

    def fit(self, callbacks: list[Callback], checkpoint: Checkpoint) -> History:
        """Meta-train."""
        return fit(
            self.composition.problem,
            self.oracle,
            self.weighting,
            self.updater(),
            LoaderStream(self.loader("train"), device=self.device),
            steps=self.steps,
            callbacks=callbacks,
            checkpoint=checkpoint,
        )

    def score(self, metrics: Metrics) -> float:
        """Mean of the objectives' main metrics, each by its typical size."""
        return self.goals.score(metrics)

    def save(self, file: Path) -> None:
        """Write the weights of the network and of everything learned beside it."""
        save_weights(self.module, file)

    def facts(self, score: float) -> Results:
        """What results hold besides numbers found."""
        measures = self.goals.measures()
        several = len(self.goals.names) > 1
        return {
            "suite": self.suite_name,
            "method": self.method_name,
            "weighting": self.weighting_name,
            "label": self.method_name + (f", {self.weighting_name}" if several else ""),
            "objectives": list(self.goals.names),
            "seed": self.seed,
            "steps": self.steps,
            "learning_rate": self.learning_rate,
            "eps": self.goals.threat.ball.eps,
            "bounds": shown(self.goals.threat.bounds),
            "main": {name: measure.main for name, measure in measures.items()},
            "units": dict.fromkeys(measures, ""),
            "higher_is_better": {n: dict(m.higher_is_better) for n, m in measures.items()},
            "delta_percent": None,
        }


def only_task(suite: FewShotSuite) -> tuple[str, TaskSpec]:
    """Name and specification of what a few-shot suite predicts.

    Raises:
        ValueError: If it is not one thing.
    """
    if len(suite.tasks) != 1:
        raise ValueError(
            f"`suite` should predict one thing, found {', '.join(suite.tasks)}. "
            "Several objectives of a few-shot learner are of the same prediction."
        )
    return next(iter(suite.tasks.items()))
