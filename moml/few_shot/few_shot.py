"""Few-shot learning as a bi-level problem: what is learnt is where, and how fast, to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml._support import checks
from moml.backbone import renew_masks
from moml.bilevel import BilevelProblem, InnerSolver, Params
from moml.bilevel.functional import Functional, Statistics
from moml.bilevel.inner import UpdateRule
from moml.bilevel.stacked import Stacked, worth_stacking
from moml.data.batch import Batch
from moml.data.bilevel_batch import BilevelBatch
from moml.data.episode_batch import EpisodeBatch
from moml.few_shot._episodes import (
    Pair,
    check_episodes,
    check_network,
    check_objectives,
    labelled,
    uniform,
)
from moml.few_shot._power_iteration import follow
from moml.few_shot._prediction import prediction_of
from moml.few_shot._weighted_loss import WeightedLoss
from moml.few_shot.learner import Learner, Rates
from moml.few_shot.objectives import Clean, QueryObjective
from moml.few_shot.query import Query
from moml.losses import Loss
from moml.losses.given import as_loss
from moml.losses.value import loss_value
from moml.problem import Losses

Adapt = Literal["all", "head", "body"]
StepwiseStatistics = Statistics | Literal["per_step"]


class FewShot(BilevelProblem):
    r"""Adapt to a support set by gradient steps; be good at several things on the query set.

    The lower level minimises the support loss from a learnt start; the upper objectives are those
    of the adapted network on the query set. With `moml.bilevel.Unrolled` this is MAML (Finn, Abbeel
    & Levine, `Model-Agnostic Meta-Learning <https://arxiv.org/abs/1703.03400>`_, ICML 2017), with
    `FirstOrder` its first-order form, and with one objective `Distance` Reptile. Options give the
    relatives: ``adapt="head"`` is ANIL (Raghu et al., ICLR 2020), ``"body"`` BOIL (Oh et al., ICLR
    2021), ``rates="variable"`` Meta-SGD (Li et al., 2017), ``rates="layer_step"`` with
    ``multi_step`` and ``step_norms`` MAML++ (Antoniou, Edwards & Storkey, `How to train your MAML
    <https://arxiv.org/abs/1810.09502>`_, ICLR 2019), ``proximal`` with an implicit hypergradient
    iMAML (Rajeswaran et al., NeurIPS 2019).

    Episodes of a batch are solved as one stacked lower level where that is right and faster (linear
    layers), one after the other where it is not (convolutions on a CPU, layers that
    `torch.func.vmap` cannot run). The network may change between steps: what is frozen, its
    attributes, hooks and modes are those of the moment.

    Args:
        network: Any module; its parameters are the start.
        loss: Loss of ``(prediction, target)``, on support and clean queries: of `moml.losses`, a
            loss module of `torch.nn`, or a function that averages over samples.
        objectives: Upper objectives by name; the clean loss alone unless given.
        target: Name of the target in the batches.
        adapt: Which parameters the lower level moves: all, those of the child ``head``, all others,
            or those of the parts named, ``["encoder.3", "head"]``. The rest is used as it is and
            learnt by the upper level only.
        rates: Learning rates that are learnt too: none, one per number (``"variable"``), per
            parameter tensor (``"layer"``), or per tensor and lower step (``"layer_step"``).
        inner_lr: Initial value of learnt rates, of which the upper level trains multiples; the
            lower solver's rate unless given, and never another.
        inner_steps: Number of lower steps that learnt rates and norms are kept for; 1 unless given.
            Where given, the lower solver takes as many.
        proximal: Factor of half the squared distance to the start, added to the support loss.
        multi_step: Number of meta-steps over which the objectives look at all lower steps, from
            equal weights to the last step alone; 0 for the last step from the beginning.
        step_norms: Scales and shifts of normalisation layers are kept per lower step, learnt by the
            upper level and not adapted.
        statistics: What layers with running statistics normalise by: ``"batch"``, ``"running"`` and
            ``"support"`` as in `moml.bilevel.functional.Functional`; ``"per_step"``, those of the
            batch in training, and in evaluation mode running averages kept per lower step
            (`StepStatistics`), so that no query leaks.
        stacked: Solve episodes together, where the network is proven to compute the same
            (`moml.bilevel.Stacked`); unless given, where that is also faster. Off: never.
        output: Which part of what the network returns is the prediction, where that is a mapping,
            a tuple or an object: a key, position or attribute. A mapping's entry of the target's
            name unless given.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss | Callable[[Any, Tensor], Tensor],
        *,
        objectives: Mapping[str, QueryObjective] | None = None,
        target: str = "class",
        adapt: Adapt | Sequence[str] = "all",
        rates: Rates = "fixed",
        inner_lr: float | None = None,
        inner_steps: int | None = None,
        proximal: float = 0.0,
        multi_step: int = 0,
        step_norms: bool = False,
        statistics: StepwiseStatistics = "batch",
        stacked: bool | None = None,
        output: str | int | None = None,
    ) -> None:
        check_network(network)
        if objectives is not None:
            check_objectives(objectives)
        checks.number("proximal", proximal, least=0)
        self.objectives = {"query": Clean()} if objectives is None else dict(objectives)
        self.loss, self.target, self.proximal = as_loss(loss), target, proximal
        self.multi_step, self.inner_steps = multi_step, 1 if inner_steps is None else inner_steps
        self._given = inner_lr, inner_steps
        own: Statistics = "batch" if statistics == "per_step" else statistics
        select = partial(prediction_of, which=output, target=target)
        self.function = Functional(network, statistics=own, select=select)
        self.statistics = statistics
        self.learner = Learner(
            network,
            adapted=_selection(adapt, network),
            rates=rates,
            inner_lr=inner_lr,
            steps=self.inner_steps,
            step_norms=step_norms,
            step_statistics=statistics == "per_step",
            generators=[g for o in self.objectives.values() for g in o.generators()],
        )
        if stacked and statistics != "batch":
            raise ValueError(f"`stacked` should be off with statistics={statistics!r}, found on.")
        self.stacked = stacked
        self._many = Stacked(self.function)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the objectives."""
        return tuple(self.objectives)

    @property
    def module(self) -> Learner:
        """The network with everything learnt beside it."""
        return self.learner

    def upper_parameters(self) -> dict[str, Parameter]:
        """All parameters of the network, learnt rates and norms."""
        return self.learner.upper()

    def episodes(self, batch: EpisodeBatch | Sequence[Pair]) -> Sequence[BilevelBatch]:
        """One stacked lower level, or one per episode; the upper level sees the support too.

        Args:
            batch: Episodes of one shape, or ``(support, query)`` pairs of any shapes, which are
                taken one after the other, as are episodes with samples without a label, which are
                left out, or with weights.

        Raises:
            ValueError: If there are no such episodes, or the target is not in them.
        """
        check_episodes(batch, self.target)
        if not isinstance(batch, EpisodeBatch):
            return [self._one(support, query) for support, query in batch]
        if self._stacks(batch):
            support, query = (
                StackedEpisodes(b.inputs, b.targets) for b in (batch.support, batch.query)
            )
            return [BilevelBatch((support,), (query, support))]
        found = [batch.episode(i) for i in range(len(batch))]
        return [self._one(one.lower[0], one.upper) for one in found]

    def _one(self, support: Batch, query: Batch) -> BilevelBatch:
        """One episode, of the samples that carry a label."""
        support, query = labelled(support, self.target), labelled(query, self.target)
        return BilevelBatch((support,), (query, support))

    def _stacks(self, batch: EpisodeBatch) -> bool:
        """Whether the network as it is now can, and should, take all episodes at once."""
        if self.stacked is False or self.statistics != "batch":
            return False
        if not uniform(batch, self.target):
            return False
        if self.stacked is None and not worth_stacking(self.function.network):
            return False
        omega, inputs = self.upper_parameters(), batch.support.inputs
        assert isinstance(inputs, Tensor)
        start = self.learner.start(omega)

        def params() -> Params:
            many = {name: p.expand(len(inputs), *p.shape) for name, p in start.items()}
            return {**self.learner.rest(omega, 0), **many}

        return self._many.proven(params, inputs, batched=frozenset(start))

    # The lower level ---------------------------------------------------------------------------

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: BilevelBatch, previous: Params | None
    ) -> Params:
        """The learnt start, once per episode."""
        start = self.learner.start(omega)
        if not isinstance(batch.lower[0], StackedEpisodes):
            return start
        episodes = self.lower_blocks(batch)
        return {name: p.expand(episodes, *p.shape) for name, p in start.items()}

    def lower_blocks(self, batch: BilevelBatch) -> int:
        """One per stacked episode."""
        support = batch.lower[0]
        return len(support.inputs) if isinstance(support, StackedEpisodes) else 1

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The support loss at the first lower step."""
        with self.unobserved():
            return self.lower_loss_at(theta, omega, batch, 0)

    def lower_loss_at(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Batch, step: int
    ) -> Tensor:
        """The support loss, and the pull to the start; the sum over stacked episodes."""
        predict = self._predict(theta, omega, step, batch)
        inputs, targets = self._flat(batch)
        weights = batch.labelled_weights(self.target)
        loss = loss_value(self.loss, predict(inputs), targets, weights, task=self.target)
        if isinstance(batch, StackedEpisodes):
            loss = loss * len(batch.inputs)
        if self.proximal:
            start = self.learner.start(omega)
            gaps = [(t - start[name]).square().sum() for name, t in theta.items()]
            loss = loss + 0.5 * self.proximal * torch.stack(gaps).sum()
        return loss

    def check_inner(self, inner: InnerSolver) -> None:
        """Whether the solver's rate and steps are what was said here, if anything was."""
        rate, steps = self._given
        own = inner.lr if isinstance(inner, UpdateRule) else None
        if rate is not None and own != rate:
            found = f"{rate} and {type(inner).__name__}" + ("" if own is None else f" with {own}")
            raise ValueError(
                f"`inner_lr` should be the lower solver's rate, found {found}. Say it once: leave "
                "`inner_lr` out."
            )
        if steps is not None and steps != inner.steps:
            raise ValueError(
                f"`inner_steps` should be the lower solver's number of steps, found {steps} and "
                f"{type(inner).__name__} with {inner.steps}."
            )
        if self.learner.kind != "fixed" and own is None:
            raise ValueError(
                "`inner` should be one of moml's own rules (InnerSGD, InnerAdam, …) where the "
                f"problem learns its rates, found {type(inner).__name__}."
            )
        if self.learner.inner_lr is None:
            self.learner.inner_lr = own

    def inner_rates(self, omega: Mapping[str, Tensor], step: int) -> Mapping[str, Tensor] | None:
        """Learnt rates, if there are any."""
        return self.learner.rates_at(omega, step)

    # The upper level ---------------------------------------------------------------------------

    def upper_losses(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Losses:
        """The objectives of the adapted network after the last lower step."""
        return self.upper_losses_at(theta, omega, batch, self.inner_steps)

    def upper_losses_at(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Any, step: int
    ) -> Losses:
        """The objectives after a lower step."""
        query = self.query(theta, omega, batch, step)
        try:
            return {name: objective(query) for name, objective in self.objectives.items()}
        except (IndexError, RuntimeError, TypeError, ValueError):
            loss_value(query.loss, query.prediction, query.targets, None, task=self.target)
            raise

    def query(self, theta: Params, omega: Mapping[str, Tensor], batch: Any, step: int) -> Query:
        """The adapted network in front of ``(query, support)``."""
        queries, support = batch
        inputs, targets = self._flat(queries)
        weights = queries.labelled_weights(self.target)
        fixed = {name: t.detach() for name, t in theta.items()}
        around = {name: t.detach() for name, t in omega.items()}
        frozen = self._predict(fixed, around, step, queries, support)

        def unseen(x: Tensor) -> Tensor:
            with self.unobserved():
                return frozen(x)

        return Query(
            predict=self._predict(theta, omega, step, queries, support),
            frozen=unseen,
            inputs=inputs,
            targets=targets,
            loss=self.loss if weights is None else WeightedLoss(self.loss, weights),
            weights=weights,
            start=self.learner.start(omega),
            theta=theta,
            omega=omega,
        )

    def step_weights(self, steps: int) -> Mapping[int, float]:
        """The last step alone, or MAML++'s multi-step weights while they anneal."""
        done = self.learner.steps_done
        if done >= self.multi_step or steps < 2:
            return {steps: 1.0}
        share = max(1 / steps * (1 - done / self.multi_step), 0.03 / steps)
        return {**dict.fromkeys(range(1, steps), share), steps: 1 - share * (steps - 1)}

    def advance(self) -> None:
        """Count the meta-steps; what follows them moves on, seeded dropout takes new masks."""
        self.learner.steps_done += 1
        renew_masks(self.function.network)
        follow(self.function.network)
        if self.learner.statistics is not None:
            self.learner.statistics.fold()

    @contextmanager
    def unobserved(self) -> Iterator[None]:
        """Statistics per step take in nothing meanwhile."""
        if self.learner.statistics is None:
            yield
        else:
            with self.learner.statistics.paused():
                yield

    # The network -------------------------------------------------------------------------------

    def _predict(
        self,
        theta: Params,
        omega: Mapping[str, Tensor],
        step: int,
        batch: Batch,
        support: Batch | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """The network's prediction at a lower step, for inputs ``(B, ...)`` of all episodes."""
        params = {**self.learner.rest(omega, step), **theta}
        call: Callable[[Tensor], Tensor] = partial(self.function, params)
        if isinstance(batch, StackedEpisodes):
            shape = batch.inputs.shape[:2]
            call = partial(self._stacked, params, frozenset(theta), shape)
        elif self.learner.statistics is not None:
            call = partial(self._stepwise, params, step)
        elif support is not None and self.function.statistics == "support":
            reference = support.inputs
            assert isinstance(reference, Tensor)
            call = partial(self.function.reference, params, reference)
        return call

    def _stacked(
        self, params: Params, batched: frozenset[str], shape: torch.Size, inputs: Tensor
    ) -> Tensor:
        """All episodes at once, one after the other in inputs and outputs."""
        return self._many(params, inputs.unflatten(0, shape), batched=batched).flatten(0, 1)

    def _stepwise(self, params: Params, step: int, inputs: Tensor) -> Tensor:
        """By the batch's own statistics, which are noted; in evaluation mode by the step's."""
        statistics = self.learner.statistics
        assert statistics is not None
        if not self.function.network.training:
            return self.function.normalised(params, statistics.at(step), inputs)
        output, found = self.function.observed(params, inputs)
        statistics.observe(step, found)
        return output

    def _flat(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Inputs and targets ``(B, ...)``; stacked episodes are one after the other."""
        inputs, targets = batch.inputs, batch.targets[self.target]
        assert isinstance(inputs, Tensor)
        if isinstance(batch, StackedEpisodes):
            return inputs.flatten(0, 1), targets.flatten(0, 1)
        return inputs, targets


@dataclass(frozen=True)
class StackedEpisodes(Batch):
    """Several episodes that are computed as one: inputs ``(E, B, ...)``."""


def _selection(adapt: Adapt | Sequence[str], network: nn.Module) -> Callable[[str], bool]:
    if adapt == "all":
        return lambda name: True
    if adapt == "head":
        return lambda name: name.startswith("head.")
    if adapt == "body":
        return lambda name: not name.startswith("head.")
    names = [name for name, _ in network.named_parameters()]
    parts = () if isinstance(adapt, str) else tuple(adapt)
    missing = [p for p in parts if not any(_within(name, p) for name in names)]
    if not parts or missing:
        raise ValueError(
            f"`adapt` should be one of {', '.join(get_args(Adapt))}, or a list of the network's "
            f"parts or parameters, found {missing[0] if missing else adapt!r}."
        )
    return lambda name: any(_within(name, part) for part in parts)


def _within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")
