"""The outer loop of a search: which architecture to train next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from moml._support import checks
from moml.nas.genotype import Genotype
from moml.nas.search_space import SearchSpace

_KNOWN: Mapping[str, Callable[[SearchSpace, Genotype], float]] = {
    "parameters": lambda space, genotype: space.num_parameters(genotype),
    "flops": lambda space, genotype: space.num_flops(genotype),
}
SIZES_FROM = 500  # genotypes drawn to learn the sizes of a space that cannot be listed


MOST_DRAWS = 20_000  # before a space that cannot be listed counts as exhausted


class Exhausted(ValueError):
    """No architecture is left to propose."""


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
    """Proposes architectures to be trained, and learns from their errors; all are minimized.

    An architecture that was proposed is *pending* until its errors are reported (`tell`) or its
    training has failed (`fail`). Several may be pending: every proposal takes those before it into
    account, and none is repeated, so that trainings can run side by side. Architectures that
    compute the same function are proposed once. ``state_dict`` holds all that the next proposal
    depends on: a search that was stopped goes on as if it had not been.

    Example:
        >>> batch = [search.ask() for _ in range(4)]
        >>> for genotype, errors in zip(batch, train_in_parallel(batch)):
        ...     search.tell(genotype, errors)  # None for a training that failed

    Args:
        space: Where architectures come from.
        measured: Number of objectives that training reveals, such as 2 for errors with and without
            an attack.
        known: Objectives that need no training: ``"parameters"``, ``"flops"``.
        candidates: The only architectures to propose; every one of the space unless given.
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
        checks.whole("measured", measured, least=1)
        if not set(known) <= set(_KNOWN):
            raise ValueError(f"`known` should be among {sorted(_KNOWN)}, found {tuple(known)}.")
        self.space, self.measured, self.known = space, measured, tuple(known)
        self.generator = torch.Generator().manual_seed(checks.seed(seed))
        self.history: list[Trained] = []
        """What was reported, in this order."""
        self._keys: set[str] = set()
        self._pending: dict[str, Genotype] = {}
        self._failed: dict[str, Genotype] = {}
        self._known_of: dict[Genotype, tuple[float, ...]] = {}
        if candidates is None and space.listable:
            candidates = space.enumerate()
        self.pool = None if candidates is None else tuple(candidates)
        """The architectures there are, if they can be listed."""
        self._pool_keys = None if self.pool is None else [space.key(g) for g in self.pool]
        self._allowed = None if self._pool_keys is None else set(self._pool_keys)

    @final
    def ask(self) -> Genotype:
        """Propose an architecture that is neither reported nor pending nor failed.

        Raises:
            ValueError: If there is none left.
        """
        if not self.remaining:
            raise Exhausted(
                f"A search should end when all {len(self._allowed or ())} architectures are "
                f"trained, found another question with {len(self._pending)} of them pending."
            )
        genotype = self.propose()
        self._pending[self.space.key(genotype)] = genotype
        return genotype

    @abstractmethod
    def propose(self) -> Genotype:
        """An architecture that is new; there is one."""

    @final
    def tell(self, genotype: Genotype, errors: Sequence[float] | None) -> None:
        """Report what an architecture reached, whether it was proposed or not.

        Args:
            genotype: The architecture.
            errors: The measured objectives, lower is better; ``None`` if its training failed.

        Raises:
            ValueError: If their number is wrong or one is not finite.
        """
        if errors is None:
            self.fail(genotype)
            return
        values = self._checked(errors)
        self._record(genotype, values)
        self._learn(genotype)

    @final
    def fail(self, genotype: Genotype) -> None:
        """Report that the training of an architecture failed: it is not proposed again.

        If it succeeds after all, `tell` takes its errors.
        """
        self.space.check(genotype)
        key = self.space.key(genotype)
        self._pending.pop(key, None)
        if key not in self._keys:
            self._failed[key] = genotype
        self._drop(genotype)

    def run(
        self, evaluate: Callable[[Genotype], Sequence[float] | None], *, budget: float
    ) -> list[Trained]:
        """Propose, evaluate and report until the budget is spent, and give the front.

        Args:
            evaluate: Trains an architecture and returns its errors, ``None`` if that failed.
            budget: Trainings in all; what the search itself costs counts, and failures do.
        """
        try:
            for genotype in self.pending:  # of a search that was stopped while it trained them
                self.tell(genotype, evaluate(genotype))
            while self.spent + 1 <= budget and self.remaining:
                genotype = self.ask()
                self.tell(genotype, evaluate(genotype))
        except Exhausted:
            pass
        return self.front()

    def front(self) -> list[Trained]:
        """Architectures that no other one beats, in the order they were reported."""
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

    @property
    def pending(self) -> tuple[Genotype, ...]:
        """Architectures proposed and not reported yet, in this order."""
        return tuple(self._pending.values())

    @property
    def failed(self) -> tuple[Genotype, ...]:
        """Architectures whose training failed."""
        return tuple(self._failed.values())

    @property
    def spent(self) -> float:
        """Trainings so far: reported, failed, and the cost of the search itself."""
        return len(self.history) + len(self._failed) + self.cost

    @property
    def proposed(self) -> int:
        """Number of architectures that are reported, failed or pending."""
        return len(self.history) + len(self._failed) + len(self._pending)

    def state_dict(self) -> dict[str, Any]:
        """Everything reported, failed and pending, and the generator's state."""
        return {
            "generator": self.generator.get_state(),
            "told": [
                (t.genotype.to_json(), list(t.objectives[: self.measured])) for t in self.history
            ],
            "failed": [genotype.to_json() for genotype in self.failed],
            "pending": [genotype.to_json() for genotype in self.pending],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; the search must have been built alike.

        Architectures that were pending then are pending still.
        """
        self._forget()
        for text, errors in state["told"]:
            self._record(Genotype.from_json(text), errors)
        for name, kept in (("failed", self._failed), ("pending", self._pending)):
            for genotype in map(Genotype.from_json, state.get(name, ())):
                kept[self.space.key(genotype)] = genotype
        self.generator.set_state(state["generator"])

    # -- for subclasses

    def _checked(self, errors: Sequence[float]) -> list[float]:
        """The measured objectives as numbers.

        Raises:
            ValueError: If they are none, or not that many, or not finite.
        """
        try:
            values = np.asarray(errors, float)
        except (TypeError, ValueError):
            values = np.array(np.nan)
        if values.shape != (self.measured,) or not np.isfinite(values).all():
            raise ValueError(
                f"`errors` should be {self.measured} finite numbers, found {errors}. "
                "Report a training that failed as None."
            )
        return [float(value) for value in values]

    def _learn(self, genotype: Genotype) -> None:  # noqa: B027 - most searches read `history`
        """Called with every architecture that was reported."""

    def _drop(self, genotype: Genotype) -> None:  # noqa: B027 - most searches read `failed`
        """Called with every architecture whose training failed."""

    def _record(self, genotype: Genotype, errors: Sequence[float]) -> None:
        self.space.check(genotype)
        key = self.space.key(genotype)
        self.history.append(Trained(genotype, (*map(float, errors), *self.known_of(genotype))))
        self._keys.add(key)
        self._pending.pop(key, None)
        self._failed.pop(key, None)

    def _forget(self) -> None:
        self.history, self._keys, self._pending, self._failed = [], set(), {}, {}

    def _taken(self, key: str) -> bool:
        return key in self._keys or key in self._pending or key in self._failed

    def is_new(self, genotype: Genotype) -> bool:
        """Whether it may be proposed: it is a candidate, and not reported, pending or failed."""
        key = self.space.key(genotype)
        return not self._taken(key) and (self._allowed is None or key in self._allowed)

    def any_new(self) -> Genotype:
        """One of the architectures that may be proposed, at random.

        Raises:
            ValueError: If none turns up in a space that cannot be listed.
        """
        if self.pool is not None:
            left = self.new_pool()
            return left[self.below(len(left))]
        for _ in range(MOST_DRAWS):
            genotype = self.space.sample(self.generator)
            if self.is_new(genotype):
                return genotype
        raise Exhausted(
            f"A search should end when all architectures are trained, found none that is new in "
            f"{MOST_DRAWS} draws after {self.proposed}."
        )

    def new_pool(self) -> list[Genotype]:
        """All that may be proposed, where they can be listed."""
        assert self.pool is not None and self._pool_keys is not None
        pairs = zip(self.pool, self._pool_keys, strict=True)
        return [genotype for genotype, key in pairs if not self._taken(key)]

    def below(self, number: int) -> int:
        """A random whole number below this one."""
        return int(torch.randint(number, (), generator=self.generator))

    @property
    def remaining(self) -> bool:
        """Whether an architecture is left to propose."""
        if self._allowed is None:
            return True
        return not self._allowed <= self._keys | self._pending.keys() | self._failed.keys()
