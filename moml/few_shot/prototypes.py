"""Prototypical networks: classes are the means of their embedded examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml.bilevel import Functional
from moml.data import Batch, EpisodeBatch
from moml.few_shot.objectives import QueryObjective
from moml.few_shot.query import Query
from moml.losses import Loss
from moml.problem import Losses, Problem


class Prototypes(Problem):
    r"""Objectives of logits :math:`-\lVert f(x) - c_n\rVert^2`.

    :math:`c_n` is the mean embedding of the support samples of class n (Snell, Swersky & Zemel,
    `Prototypical Networks for Few-shot Learning <https://arxiv.org/abs/1703.05175>`_, NeurIPS
    2017). There is no lower level. Attacks of the queries go through the distances. Each episode is
    embedded by itself, support and query apart.

    Args:
        encoder: From inputs to embeddings ``(B, d)``.
        loss: Loss of ``(logits, labels)``.
        objectives: Upper objectives by name.
        target: Name of the labels in the batches.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Loss,
        *,
        objectives: Mapping[str, QueryObjective],
        target: str = "class",
    ) -> None:
        self.encoder, self.loss, self.target = encoder, loss, target
        self.objectives = dict(objectives)
        self.function = Functional(encoder)
        generators = [g for o in self.objectives.values() for g in o.generators()]
        self._module = _Embedding(encoder, generators)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the objectives."""
        return tuple(self.objectives)

    @property
    def module(self) -> nn.Module:
        """The encoder."""
        return self._module

    def shared_parameters(self) -> Iterable[Parameter]:
        """All of the encoder's."""
        return self.encoder.parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None: there are no heads."""
        return ()

    def losses(self, batch: EpisodeBatch) -> Losses:
        """The objectives, averaged over episodes."""
        found: dict[str, list[Tensor]] = {name: [] for name in self.objectives}
        for query in self.queries(batch):
            for name, objective in self.objectives.items():
                found[name].append(objective(query))
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def queries(self, batch: EpisodeBatch) -> Iterator[Query]:
        """Every episode's prototypes in front of its query set."""
        params = dict(self.encoder.named_parameters())
        constants = {name: p.detach() for name, p in params.items()}
        for i in range(len(batch)):
            episode = batch.episode(i)
            (support,), query = episode.lower, episode.upper
            assert isinstance(query.inputs, Tensor)
            prototypes = self._prototypes(params, support)
            self._check_labels(support.targets[self.target], query.targets[self.target])
            yield Query(
                predict=self._distances(params, prototypes),
                frozen=self._distances(constants, prototypes.detach()),
                inputs=query.inputs,
                targets=query.targets[self.target],
                loss=self.loss,
                start={},
                theta={},
                omega={},
            )

    def _prototypes(self, params: Mapping[str, Tensor], support: Batch) -> Tensor:  # (N, d)
        assert isinstance(support.inputs, Tensor)
        embedded = self.function(params, support.inputs)
        labels = support.targets[self.target]
        members = torch.nn.functional.one_hot(labels).to(embedded).T  # (N, S)
        counts = members.sum(1, keepdim=True)
        means = (members @ embedded) / counts.clamp(min=1)
        return means.masked_fill(counts == 0, torch.inf)  # of a class that is not there

    @staticmethod
    def _check_labels(support: Tensor, query: Tensor) -> None:
        missing = sorted(set(query.unique().tolist()) - set(support.unique().tolist()))
        if missing:
            raise ValueError(
                f"`query` should have classes of the support set only, found {missing[0]}, of "
                "which there is no example."
            )

    def _distances(
        self, params: Mapping[str, Tensor], prototypes: Tensor
    ) -> Callable[[Tensor], Tensor]:
        def logits(inputs: Tensor) -> Tensor:  # (B, N)
            absent = prototypes.isinf().any(1)  # (N,)
            gaps = self.function(params, inputs)[:, None] - prototypes.where(~absent[:, None], 0.0)
            return (-gaps.square().sum(2)).masked_fill(absent, -torch.inf)

        return logits


class _Embedding(nn.Module):
    """The encoder, and the states of the objectives' generators."""

    def __init__(self, encoder: nn.Module, generators: Iterable[torch.Generator]) -> None:
        super().__init__()
        self.encoder, self.generators = encoder, list(generators)

    def get_extra_state(self) -> list[Tensor]:
        return [generator.get_state() for generator in self.generators]

    def set_extra_state(self, state: list[Tensor]) -> None:
        for generator, stored in zip(self.generators, state, strict=True):
            generator.set_state(stored)
