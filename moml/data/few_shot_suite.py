"""A few-shot benchmark: a distribution over small tasks, split by task, and its usual network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from moml.data.episode_batch import EpisodeBatch
from moml.data.episodes import EpisodeList, EpisodeLoader, EpisodeSource
from moml.data.loader import BatchLoader
from moml.data.suite import Split, TaskSpec

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class FewShotDefaults:
    """Settings that suit a few-shot suite; every one can be overridden.

    Attributes:
        steps: Meta-steps.
        meta_batch_size: Episodes per meta-step.
        learning_rate: Rate of Adam on the meta-parameters.
        inner_learning_rate: Rate of the gradient steps within an episode.
        inner_steps: Number of those steps while training.
        eval_inner_steps: Number of those steps on validation and test episodes.
        eval_every: Meta-steps between validations.
        eval_episodes: Validation and test episodes.
        eps: Radius of the L∞ ball of adversarial queries, in units of the inputs.
    """

    steps: int = 1000
    meta_batch_size: int = 4
    learning_rate: float = 1e-3
    inner_learning_rate: float = 0.1
    inner_steps: int = 1
    eval_inner_steps: int = 1
    eval_every: int = 100
    eval_episodes: int = 600
    eps: float = 0.1


class FewShotSuite(ABC):
    """Episodes, losses and metrics of a few-shot benchmark.

    Meta-training, meta-validation and meta-test episodes are made of different classes (or tasks),
    not of different samples of the same.

    Attributes:
        defaults: Training settings that suit it.
        bounds: Interval of valid inputs, which adversarial examples keep to; ``None`` if
            inputs are not bounded.
        seed: Seed of the split and of the validation and test episodes.
    """

    defaults: FewShotDefaults = FewShotDefaults()
    bounds: tuple[float, float] | None = None
    seed: int = 0

    @property
    @abstractmethod
    def tasks(self) -> Mapping[str, TaskSpec]:
        """What is predicted, with its loss and metrics; one task, as a rule."""

    @abstractmethod
    def source(self, split: Split) -> EpisodeSource:
        """The distribution over episodes of a split."""

    @abstractmethod
    def encoder(self) -> nn.Module:
        """A fresh default encoder; its ``out_features`` attribute is the width the head expects."""

    @abstractmethod
    def head(self, in_features: int) -> nn.Module:
        """A fresh default head on features of this width."""

    def network(self) -> nn.Sequential:
        """A fresh default network, with children ``encoder`` and ``head``."""
        encoder = self.encoder()
        width = encoder.out_features
        assert isinstance(width, int)
        return nn.Sequential(OrderedDict(encoder=encoder, head=self.head(width)))

    def episodes(
        self,
        split: Split,
        *,
        meta_batch_size: int | None = None,
        seed: int = 0,
        count: int | None = None,
    ) -> BatchLoader[EpisodeBatch]:
        """Meta-batches: an endless sequence for training, the same list otherwise.

        Args:
            split: Whose classes.
            meta_batch_size: Episodes per batch; the suite's unless given.
            seed: Seed of the training sequence. It does not touch validation and test episodes.
            count: Number of validation or test episodes; the suite's unless given.
        """
        size = self.defaults.meta_batch_size if meta_batch_size is None else meta_batch_size
        source, number = self.source(split), _SPLITS.index(split)
        if split == "train":
            return EpisodeLoader(source, size, seed=3 * seed + number)
        count = self.defaults.eval_episodes if count is None else count
        return EpisodeList(source, count, meta_batch_size=size, seed=3 * self.seed + number)
