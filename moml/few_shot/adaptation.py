"""Adapting to episodes without learning from them: what meta-evaluation does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from moml.bilevel import InnerSolver, LowerLevel
from moml.bilevel.inner import UpdateRule
from moml.data import EpisodeBatch
from moml.few_shot.few_shot import FewShot, Pair
from moml.few_shot.query import Query


def adapted(
    problem: FewShot, inner: InnerSolver, batch: EpisodeBatch | Sequence[Pair]
) -> Iterator[Query]:
    """The adapted networks in front of their query sets: one for all stacked episodes, or each.

    Nothing of the problem changes, and no graph of the lower steps is kept.

    Args:
        problem: The few-shot problem.
        inner: How the lower level is solved.
        batch: Episodes, as `FewShot.episodes` takes them.
    """
    if problem.learner.inner_lr is None and isinstance(inner, UpdateRule):
        problem.learner.inner_lr = inner.lr
    omega = {name: p.detach() for name, p in problem.upper_parameters().items()}
    with problem.unobserved():
        for episode in problem.episodes(batch):
            start = problem.lower_init(omega, episode, None)
            blocks = problem.lower_blocks(episode)
            lower = LowerLevel(problem, omega, episode.lower, tuple(start), blocks)
            with torch.inference_mode(False), torch.enable_grad():
                leaves = [t.detach().requires_grad_() for t in start.values()]
                begin = inner.begin(lower, leaves)
                end = inner.walk(lower, begin, inner.steps, create_graph=False)
            theta = lower.named([t.detach() for t in end.theta])
            yield problem.query(theta, omega, episode.upper, inner.steps)
