"""The outer loop of a search: which architecture to train next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from moml.nas.genotype import Genotype
from moml.nas.search_space import SearchSpace

_KNOWN: Mapping[str, Callable[[SearchSpace, Genotype], float]] = {
    "parameters": lambda space, genotype: space.num_parameters(genotype),
    "flops": lambda space, genotype: space.num_flops(genotype),
}
SIZES_FROM = 500  # genotypes drawn to learn the sizes of a space that cannot be listed


@dataclass(frozen=True)
class Trained:
    """An architecture and what it reached.

    Args:
        genotype: The architecture.
        objectives: Lower is better: first those that were measured, then those that are known.
    """

    genotype: Genotype
    objectives: tuple[float, ...]


class OuterSearch(ABC):
    """Asks for architectures to be trained, and is told their errors; all objectives are minimized.

    Architectures that compute the same function are asked for once. ``state_dict`` holds all that
    the next question depends on, so a search that was stopped asks on as if it had not been.

    Args:
        space: Where architectures come from.
        measured: Number of objectives that training reveals, such as 2 for errors with and without
            an attack.
        known: Objectives that need no training: ``"parameters"``, ``"flops"``.
        candidates: The only architectures to be asked for; every one of the space unless given.
        seed: Seed of the search's own generator.

    Raises:
        ValueError: If a number is too small, an objective unknown or a candidate not of the space.
    """

    cost = 0.0
    """What the search itself has cost so far, in trainings."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        measured: int = 2,
        known: Sequence[str] = ("parameters",),
        candidates: Iterable[Genotype] | None = None,
        seed: int = 0,
    ) -> None:
        if measured < 1:
            raise ValueError(f"`measured` should be at least 1, found {measured}.")
        if not set(known) <= set(_KNOWN):
            raise ValueError(f"`known` should be among {sorted(_KNOWN)}, found {tuple(known)}.")
        self.space, self.measured, self.known = space, measured, tuple(known)
        self.generator = torch.Generator().manual_seed(seed)
        self.history: list[Trained] = []
        self._keys: set[str] = set()
        self._known_of: dict[Genotype, tuple[float, ...]] = {}
        if candidates is None and space.listable:
            candidates = space.enumerate()
        self.pool = None if candidates is None else tuple(candidates)
        """The architectures there are, if they can be listed."""
        self._pool_keys = None if self.pool is None else [space.key(g) for g in self.pool]
        self._allowed = None if self._pool_keys is None else set(self._pool_keys)

    @final
    def ask(self) -> Genotype:
        """An architecture that was not told yet.

        Raises:
            ValueError: If there is none left.
        """
        if self._allowed is not None and self._allowed <= self._keys:
            raise ValueError(
                f"A search should end when all {len(self._allowed)} architectures are trained, "
                "found another question."
            )
        return self._propose()

    @abstractmethod
    def _propose(self) -> Genotype:
        """An architecture that is new; there is one."""

    def tell(self, genotype: Genotype, errors: Sequence[float]) -> None:
        """What an architecture reached, whether it was asked for or not.

        Args:
            genotype: The architecture.
            errors: The measured objectives, lower is better.

        Raises:
            ValueError: If their number is wrong or one is not finite.
        """
        if len(errors) != self.measured or not np.isfinite(errors).all():
            raise ValueError(
                f"`errors` should be {self.measured} finite numbers, found {list(errors)}."
            )
        self.space.check(genotype)
        objectives = (*map(float, errors), *self.known_of(genotype))
        self.history.append(Trained(genotype, objectives))
        self._keys.add(self.space.key(genotype))

    def run(
        self, evaluate: Callable[[Genotype], Sequence[float]], *, budget: float
    ) -> list[Trained]:
        """Ask, evaluate and tell until the budget is spent, and give the front.

        Args:
            evaluate: Trains an architecture and returns its errors.
            budget: Trainings in all; what the search itself costs counts.
        """
        while len(self.history) + self.cost + 1 <= budget and self.remaining:
            genotype = self.ask()
            self.tell(genotype, evaluate(genotype))
        return self.front()

    def front(self) -> list[Trained]:
        """What no other trained architecture beats, in the order it was told."""
        if not self.history:
            return []
        import moocore

        points = np.array([trained.objectives for trained in self.history])
        kept = moocore.is_nondominated(points, keep_weakly=False)
        return [trained for trained, keep in zip(self.history, kept, strict=True) if keep]

    def known_of(self, genotype: Genotype) -> tuple[float, ...]:
        """The objectives that need no training."""
        if genotype not in self._known_of:
            values = tuple(float(_KNOWN[name](self.space, genotype)) for name in self.known)
            self._known_of[genotype] = values
        return self._known_of[genotype]

    def state_dict(self) -> dict[str, Any]:
        """What was told, and the generator's state."""
        return {
            "generator": self.generator.get_state(),
            "told": [
                (t.genotype.to_json(), list(t.objectives[: self.measured])) for t in self.history
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the search must have been built alike."""
        self.history, self._keys = [], set()
        for text, errors in state["told"]:
            OuterSearch.tell(self, Genotype.from_json(text), errors)
        self.generator.set_state(state["generator"])

    # -- for subclasses

    def is_new(self, genotype: Genotype) -> bool:
        """Whether it may be asked for, and was not told yet."""
        key = self.space.key(genotype)
        return key not in self._keys and (self._allowed is None or key in self._allowed)

    def any_new(self) -> Genotype:
        """One of the architectures that were not told yet, at random."""
        if self.pool is not None:
            left = self.new_pool()
            return left[self.below(len(left))]
        while True:
            genotype = self.space.sample(self.generator)
            if self.is_new(genotype):
                return genotype

    def new_pool(self) -> list[Genotype]:
        """All that were not told yet, where they can be listed."""
        assert self.pool is not None and self._pool_keys is not None
        pairs = zip(self.pool, self._pool_keys, strict=True)
        return [genotype for genotype, key in pairs if key not in self._keys]

    def below(self, number: int) -> int:
        """A random whole number below this one."""
        return int(torch.randint(number, (), generator=self.generator))

    @property
    def remaining(self) -> bool:
        """Whether an architecture is left that was not told yet."""
        return self._allowed is None or not self._allowed <= self._keys
