"""Searches by gradient as methods of `bench_nas.py`, charged with what they compute.

python scripts/bench_nas.py --tables digits:1 --repetitions 8 \
    --method nas_by_gradient:naive_mgda --method nas_by_gradient:naive_equal_weights \
    --method nas_by_gradient:naive_untrained --method nas_by_gradient:gates_and_pareto \
    --method nas_by_gradient:proposals_and_pareto --method nas_by_gradient:untrained_and_pareto

*naive MGDA* is E2RNAS in its later form: one search with the objectives clean loss, adversarial
loss, size and operations, decoded in bands of sizes. *naive equal weights* is the control: the same
with equal weights, *naive untrained* the same without a step. *gates and pareto* trains one
supernet on random mixtures, and ParetoSearch sees its gradients; *proposals and pareto* starts it
with a few proposals of the equally weighted search, *untrained and pareto* with such as no step led
to. All run on the images that the table's networks were trained on. What they cost is processor
time over the mean of the table's trainings; without a further proposal a search goes on at random.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import moml
from moml.attack import Linf
from moml.data import Source, Suite, TaskSpec, TensorSource
from moml.nas import ArchParameters, GateGradients, Genotype, SearchSpace, decode_sizes
from moml.nas.method import DARTS, E2RNAS, GatedSearch, SearchMethod, SearchSetting
from moml.nas.method.proposed_start import spread
from moml.nas.outer import OuterSearch, ParetoSearch, RandomSearch
from moml.nas.relaxation import Softmax
from moml.problem import Objectives
from moml.weighting import EW, Weighting
from tasks import Digits
from tasks.nb_digits._data import digit_images
from tasks.nb_digits._table import Table

FOLDER = Path(__file__).parent.parent / "tasks" / "nb_digits"
FIRST = 8  # proposals that the Bayesian search starts with


@dataclass(frozen=True)
class Kind:
    """A search by gradient.

    Args:
        method: What it is.
        steps: Its steps.
        proposals: Architectures that it proposes, at most.
        weighting: Instead of the method's own.
    """

    method: SearchMethod
    steps: int
    proposals: int = 30
    weighting: Weighting | None = None


KINDS = {
    "mgda": Kind(E2RNAS(), steps=60),
    "equal": Kind(E2RNAS(), steps=60, weighting=EW()),
    "gates": Kind(GatedSearch(), steps=70),
    "darts": Kind(DARTS(), steps=60, proposals=5),
}


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


@dataclass(frozen=True)
class Learnt:
    """What a method has learnt, its own search, and the processor time in seconds."""

    problem: Objectives
    outer: OuterSearch
    seconds: float


def learnt(
    kind: str,
    space: SearchSpace,
    seed: int,
    *,
    steps: int | None = None,
    known: Mapping[str, Any] | None = None,
) -> Learnt:
    """Trains the supernet of a method on the images of the table.

    Args:
        kind: One of `KINDS`.
        space: The space.
        seed: Of everything.
        steps: Instead of the kind's own.
        known: State and seconds of a supernet that was trained before.
    """
    torch.set_num_threads(1)
    how = KINDS[kind]
    number = steps or how.steps
    setting = SearchSetting(
        space=space, suite=TableImages(), task="digit", weighting=how.weighting, ball=Linf(0.1),
        bounds=(0.0, 1.0), steps=number, batch_size=64, learning_rate=0.1,
        upper_learning_rate=0.02, held_out=0.5, budget=how.proposals, seed=seed, device="cpu",
    )  # fmt: skip
    started = time.process_time()
    parts = how.method.compose(setting)
    assert parts is not None
    if known is not None:
        parts.problem.module.load_state_dict(known["state"])
        return Learnt(parts.problem, how.method.outer(setting, parts), known["seconds"])
    moml.fit(
        parts.problem, parts.oracle, parts.weighting, parts.updater, parts.stream, steps=number
    )
    outer = how.method.outer(setting, parts)
    return Learnt(parts.problem, outer, time.process_time() - started)


class ProposedFirst:
    """Architectures of a list, and then those of another search, which is told of all.

    Args:
        proposals: The list; what the search knows or does not allow is left out.
        search: Goes on at the end of the list.
        cost: What the proposals cost, in trainings.
    """

    def __init__(
        self, proposals: Sequence[Genotype], search: OuterSearch, *, cost: float = 0.0
    ) -> None:
        self.proposals, self.search, self.cost = proposals, search, cost

    def ask(self) -> Genotype:
        """The next of the list that is new, or what the search asks for."""
        return next(filter(self.search.is_new, self.proposals), None) or self.search.ask()

    def tell(self, genotype: Genotype, errors: Sequence[float]) -> None:
        """Hands it on."""
        self.search.tell(genotype, errors)


@cache
def of_table(kind: str, nodes: int, ops: tuple[str, ...], seed: int) -> tuple[Learnt, float]:
    """What a method has learnt in the space of a table, and its cost in the table's trainings."""
    from search_spaces import NBDigits

    found = learnt(kind, NBDigits(nodes, ops), seed)
    return found, found.seconds / seconds_per_training("digits3" if nodes == 3 else "digits")


def _listed(
    kind: str, space: SearchSpace, candidates: Sequence[Genotype], seed: int
) -> ProposedFirst:
    cell = space.spec.by_name["cell"]
    found, cost = of_table(kind, cell.size, cell.ops, seed)
    search = RandomSearch(space, candidates=candidates, seed=seed)
    return ProposedFirst(spread(list(found.outer.pool or ())), search, cost=cost)


def naive_mgda(space: SearchSpace, *, candidates: Sequence[Genotype], seed: int) -> ProposedFirst:
    """E2RNAS, later form."""
    return _listed("mgda", space, candidates, seed)


def naive_equal_weights(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> ProposedFirst:
    """The same objectives with equal weights."""
    return _listed("equal", space, candidates, seed)


def naive_untrained(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> ProposedFirst:
    """The control: decoded in the same way from a mixture that has learnt nothing."""
    search = RandomSearch(space, candidates=candidates, seed=seed)
    return ProposedFirst(spread(untrained(space, seed)), search)


def untrained(space: SearchSpace, seed: int, kind: str = "equal") -> list[Genotype]:
    """Proposals of a mixture that has learnt nothing, from small to large."""
    arch = ArchParameters(space, Softmax(), seed=seed)
    return decode_sizes(space, arch.strengths(), KINDS[kind].proposals)


def proposals_and_pareto(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    """The Bayesian search, started with a few of those proposals."""
    cell = space.spec.by_name["cell"]
    found, cost = of_table("equal", cell.size, cell.ops, seed)
    first = spread(list(found.outer.pool or ()))[:FIRST]
    return ParetoSearch(space, candidates=candidates, seed=seed, first=first, prior_cost=cost)


def untrained_and_pareto(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    """The control: a start that has learnt nothing."""
    first = spread(untrained(space, seed))[:FIRST]
    return ParetoSearch(space, candidates=candidates, seed=seed, first=first)


def gates_and_pareto(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    """Gate gradients as a feature of the Bayesian search."""
    cell = space.spec.by_name["cell"]
    found, cost = of_table("gates", cell.size, cell.ops, seed)
    assert isinstance(found.problem, GateGradients)
    return ParetoSearch(
        space, candidates=candidates, seed=seed, prior=found.problem.scores, prior_cost=cost
    )
