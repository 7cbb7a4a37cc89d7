"""Searches by gradient: compositions of supernet, relaxation, objectives and oracle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from moml.attack import Ball, Bounds
from moml.bilevel import Alternate, Bilevel, FiniteDifference, FirstOrder, Hypergradient, InnerSGD
from moml.data import Suite, TwoLevels, hold_out, loader_of
from moml.data.stream import LoaderStream
from moml.nas.arch_parameters import ArchParameters
from moml.nas.decode import decode_sizes
from moml.nas.executor import BatchedCell, MixedCell
from moml.nas.objective import SearchObjective
from moml.nas.outer import ListedSearch, OuterSearch
from moml.nas.relaxation import Relaxation, Softmax
from moml.nas.robust_search import RobustSearch
from moml.nas.search_space import SearchSpace
from moml.nas.supernet import MakeCell, SuperNet
from moml.optim import GradientStep
from moml.oracle import Oracle
from moml.problem import Objectives
from moml.weighting import Weighting

Executor = Literal["fast", "reference"]


@dataclass(frozen=True)
class SearchSetting:
    """What a search is composed from.

    Attributes:
        space: The search space.
        suite: Data and loss of one classification task.
        task: Its name.
        weighting: What the user chose; ``None`` to take the method's own.
        ball: Perturbations that networks should withstand.
        bounds: Smallest and largest value of the data.
        steps: Steps of the search.
        batch_size: Samples per batch and level.
        learning_rate: Of the supernet's weights, at the start.
        upper_learning_rate: Of the architecture parameters.
        held_out: Share of the training split for the upper level.
        budget: Architectures that may be trained.
        seed: Seed of everything.
        device: Where batches are put.
        executor: ``"reference"`` computes supernets operation by operation where the method would
            join them.
        most_skips: Most identities in a decoded cell that keeps the resolution.
    """

    space: SearchSpace
    suite: Suite
    task: str
    weighting: Weighting | None
    ball: Ball
    bounds: Bounds | None
    steps: int
    batch_size: int
    learning_rate: float
    upper_learning_rate: float
    held_out: float
    budget: int
    seed: int
    device: torch.device | str
    executor: Executor = "fast"
    most_skips: int | None = None

    def cells(self, executor: MakeCell = BatchedCell) -> MakeCell:
        """The executor of a method, or the reference instead of the fast one."""
        slow = self.executor == "reference" and executor is BatchedCell
        return MixedCell if slow else executor

    def stream(self) -> LoaderStream:
        """Batches of both levels from the training split, divided in two."""
        rest, held = hold_out(self.suite.sources("train"), self.held_out, seed=self.seed)
        lower = loader_of(rest, self.batch_size, train=True, seed=self.seed)
        upper = loader_of(held, self.batch_size, train=True, seed=self.seed + 1)
        return LoaderStream(TwoLevels([lower], upper), device=self.device)

    def whole_stream(self) -> LoaderStream:
        """Batches of the whole training split."""
        loader = self.suite.loader("train", batch_size=self.batch_size, seed=self.seed)
        return LoaderStream(loader, device=self.device)


@dataclass(frozen=True)
class SearchComposition:
    """What `moml.fit` takes: the part of a search that learns by gradients."""

    problem: Objectives
    oracle: Oracle
    weighting: Weighting
    updater: GradientStep
    stream: LoaderStream


class SearchMethod(ABC):
    """A search: what is learnt by gradients, if anything, and which architectures are trained then.

    Everything that a method proposes is trained from scratch and judged; what is returned is the
    front of those.
    """

    paper: ClassVar[str] = ""
    """Authors, title, venue and year."""
    weighs: ClassVar[bool] = False
    """Whether upper objectives are traded off by a weighting."""

    @abstractmethod
    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """What is learnt before any architecture is trained; ``None`` for nothing."""

    @abstractmethod
    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> OuterSearch:
        """Asks for architectures to train.

        Args:
            setting: The run.
            learnt: What `compose` gave, trained.
        """


class OuterMethod(SearchMethod):
    """A search that learns nothing by gradients: it only asks what to train."""

    search: ClassVar[type[OuterSearch]]
    """Which one."""

    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """Nothing is learnt beforehand."""
        return None

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> OuterSearch:
        """The search itself."""
        return self.search(setting.space, seed=setting.seed)


class GradientMethod(SearchMethod):
    """A search whose architecture parameters are decoded to one architecture per band of sizes.

    There are as many bands as architectures may be trained.
    """

    weighs = True

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> OuterSearch:
        """The most probable architecture of every band, from small to large."""
        assert learnt is not None
        assert isinstance(learnt.problem, RobustSearch)
        arch = learnt.problem.arch
        proposals = decode_sizes(
            setting.space, arch.strengths(), setting.budget, most_skips=setting.most_skips
        )
        return ListedSearch(setting.space, proposals, seed=setting.seed)


def composed(
    setting: SearchSetting,
    objectives: Mapping[str, SearchObjective],
    weighting: Weighting,
    *,
    hypergradient: Hypergradient | None = None,
    executor: MakeCell = BatchedCell,
    relaxation: Relaxation | None = None,
    lower_relaxation: Relaxation | None = None,
    adversarial_training: bool = False,
    direct_rows: bool = False,
) -> SearchComposition:
    """Everything that searches have in common, as DARTS has it.

    Weights: SGD with momentum 0.9, weight decay 3e-4, gradients of norm 5 at most, the rate down to
    a tenth along a cosine. Architecture parameters: Adam with betas (0.5, 0.999), weight decay
    1e-3. Virtual steps go at the rate of the start.
    """
    method = hypergradient or FirstOrder()
    cells = setting.cells(executor)
    supernet = SuperNet(setting.space, executor=cells, seed=setting.seed).to(setting.device)
    arch = ArchParameters(setting.space, relaxation or Softmax(), seed=setting.seed)
    problem = RobustSearch(
        supernet,
        arch.to(setting.device),
        objectives,
        loss=setting.suite.tasks[setting.task].loss,
        task=setting.task,
        steps=setting.steps,
        ball=setting.ball,
        bounds=setting.bounds,
        adversarial_training=adversarial_training,
        lower_relaxation=lower_relaxation,
        eager_lower=isinstance(method, FiniteDifference),
        seed=setting.seed,
    )
    real = Alternate(
        lambda p: torch.optim.SGD(p, setting.learning_rate, momentum=0.9, weight_decay=3e-4),
        scheduler=lambda o: CosineAnnealingLR(o, setting.steps, eta_min=setting.learning_rate / 10),
        clip_norm=5.0,
    )
    virtual = 0 if isinstance(method, FirstOrder) else 1  # first order looks at no virtual step
    oracle = Bilevel(
        InnerSGD(setting.learning_rate, steps=virtual),
        method,
        alternate=real,
        direct_rows=direct_rows,
    )
    upper = torch.optim.Adam(
        arch.parameters(), setting.upper_learning_rate, betas=(0.5, 0.999), weight_decay=1e-3
    )
    return SearchComposition(
        problem, oracle, setting.weighting or weighting, GradientStep(upper), setting.stream()
    )
