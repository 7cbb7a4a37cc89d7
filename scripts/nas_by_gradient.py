"""Searches by gradient as methods of `bench_nas.py`, charged with what they compute.

python scripts/bench_nas.py --tables digits:1 --repetitions 10 \
    --method nas_by_gradient:naive_mgda --method nas_by_gradient:naive_equal_weights \
    --method nas_by_gradient:gates_and_pareto

*naive MGDA* is E2RNAS in its later form: one search with the objectives clean loss, adversarial
loss, size and operations, decoded in bands of sizes. *naive equal weights* is the control: the same
with equal weights. *gates and pareto* trains one supernet on random mixtures, and ParetoSearch sees
its gradients. All run on the images that the table's networks were trained on. What they cost is
processor time over the mean of the table's trainings; a search that has no further proposal goes on
at random.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import nn

import moml
from moml.attack import Linf
from moml.data import Source, Suite, TaskSpec, TensorSource
from moml.nas import GateGradients, Genotype, SearchSpace
from moml.nas.method import E2RNAS, GatedSearch, SearchMethod, SearchSetting
from moml.nas.outer import ListedSearch, OuterSearch, ParetoSearch
from moml.problem import Objectives
from moml.weighting import EW, Weighting
from tasks import Digits
from tasks.nb_digits._data import digit_images
from tasks.nb_digits._table import Table

STEPS = {"naive": 60, "gates": 70}
PROPOSALS = 30
FOLDER = Path(__file__).parent.parent / "tasks" / "nb_digits"


class TableImages(Suite):
    """The images that the table's networks are trained on, as a suite."""

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Which digit."""
        return Digits().tasks

    def sources(self, split: str) -> Source:
        """The table's own splits."""
        images, labels = getattr(digit_images(), split)
        return TensorSource(images, {"digit": labels})

    def encoder(self) -> nn.Module:
        """Not used."""
        return Digits().encoder()

    def head(self, task: str, in_features: int) -> nn.Module:
        """Not used."""
        return Digits().head(task, in_features)


@cache
def seconds_per_training(name: str) -> float:
    """Mean processor time of a training and its attacks in a table."""
    table = Table.load(FOLDER / f"{name}.npz")
    return float(table.seconds[table.seconds > 0].mean())


@cache
def learnt(
    kind: str, nodes: int, ops: tuple[str, ...], seed: int
) -> tuple[Objectives, OuterSearch, float]:
    """What a method has learnt after its steps, its own search, and its cost in trainings."""
    from search_spaces import NBDigits

    torch.set_num_threads(1)
    space = NBDigits(nodes, ops)
    method: SearchMethod = GatedSearch() if kind == "gates" else E2RNAS()
    weighting: Weighting | None = EW() if kind == "equal" else None
    steps = STEPS["gates" if kind == "gates" else "naive"]
    setting = SearchSetting(
        space=space, suite=TableImages(), task="digit", weighting=weighting, ball=Linf(0.1),
        bounds=(0.0, 1.0), steps=steps, batch_size=64, learning_rate=0.1,
        upper_learning_rate=0.02, held_out=0.5, budget=PROPOSALS, seed=seed, device="cpu",
    )  # fmt: skip
    started = time.process_time()
    parts = method.compose(setting)
    assert parts is not None
    moml.fit(parts.problem, parts.oracle, parts.weighting, parts.updater, parts.stream, steps=steps)
    outer = method.outer(setting, parts)
    table = "digits3" if nodes == 3 else "digits"
    return parts.problem, outer, (time.process_time() - started) / seconds_per_training(table)


class ThenAtRandom(ListedSearch):
    """A list, and architectures at random when it is at its end."""

    def __init__(
        self,
        space: SearchSpace,
        proposals: Sequence[Genotype],
        *,
        candidates: Sequence[Genotype],
        cost: float,
        seed: int,
    ) -> None:
        OuterSearch.__init__(self, space, candidates=candidates, seed=seed)
        self.cost, self.proposals = cost, [g for g in proposals if self.is_new(g)]

    def _propose(self) -> Genotype:
        return next((g for g in self.proposals if self.is_new(g)), None) or self.any_new()


def _listed(
    kind: str, space: SearchSpace, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    cell = space.spec.by_name["cell"]
    _, outer, cost = learnt(kind, cell.size, cell.ops, seed)
    proposals = spread(list(outer.pool or ()))
    return ThenAtRandom(space, proposals, candidates=candidates, cost=cost, seed=seed)


def spread(genotypes: Sequence[Genotype]) -> list[Genotype]:
    """From small to large reordered so that any first part is spread over the sizes."""
    number = len(genotypes)
    order = sorted(range(number), key=lambda i: int(f"{i:08b}"[::-1], 2))
    return [genotypes[i] for i in order]


def naive_mgda(space: SearchSpace, *, candidates: Sequence[Genotype], seed: int) -> OuterSearch:
    """E2RNAS, later form."""
    return _listed("mgda", space, candidates, seed)


def naive_equal_weights(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    """The same objectives with equal weights."""
    return _listed("equal", space, candidates, seed)


def gates_and_pareto(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    """Gate gradients as a feature of the Bayesian search."""
    cell = space.spec.by_name["cell"]
    problem, _, cost = learnt("gates", cell.size, cell.ops, seed)
    assert isinstance(problem, GateGradients)
    return ParetoSearch(
        space, candidates=candidates, seed=seed, prior=problem.scores, prior_cost=cost
    )
