"""NSGA-II as Optuna implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from moml._support import checks
from moml.nas.cell import CellSpec, Choice
from moml.nas.genotype import Genotype
from moml.nas.ops import get_op
from moml.nas.outer._base import OuterSearch

if TYPE_CHECKING:
    import optuna

MOST_REPEATS = 500


class NSGA2(OuterSearch):
    """The multi-objective genetic algorithm, one gene per edge, by Optuna.

    Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II",
    IEEE Transactions on Evolutionary Computation 2002. Children that are equivalent to an
    architecture trained before get its objectives for free, and those equivalent to a pending one
    wait for it; children that are not connected, not among the candidates, or whose training failed
    are given the worst.

    Args:
        space: As in `OuterSearch`, as are all others.
        population: Size of a generation.
        seed: Seed of Optuna's sampler as well.
        arguments: Of `OuterSearch`.
    """

    def __init__(self, space: Any, *, population: int = 6, seed: int = 0, **arguments: Any) -> None:
        super().__init__(space, seed=seed, **arguments)
        checks.whole("population", population, least=2)
        self.population, self.seed = population, seed
        self._open: dict[str, list[optuna.trial.Trial]]
        self._events: list[tuple[str, str, list[float]]]
        self._start()

    def _learn(self, genotype: Genotype) -> None:
        """Optuna hears of the trials that have this architecture."""
        objectives = self.history[-1].objectives
        self._values[self.space.key(genotype)] = objectives
        self._close(genotype, objectives)
        measured = list(objectives[: self.measured])
        self._events.append(("tell", genotype.to_json(), measured))

    def _drop(self, genotype: Genotype) -> None:
        """The worst objectives, for Optuna alone."""
        self._close(genotype, self._worst)
        self._events.append(("fail", genotype.to_json(), []))

    def state_dict(self) -> dict[str, Any]:
        """As `OuterSearch.state_dict`, and the order in which all of it came."""
        return {**super().state_dict(), "events": list(self._events)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Propose and report all over again, since Optuna's sampler cannot be put back."""
        self._start()
        self._forget()
        self.generator.manual_seed(self.seed)
        for kind, text, errors in state["events"]:
            if kind == "ask":
                self.ask()
            else:
                self.tell(Genotype.from_json(text), errors if kind == "tell" else None)
        self.generator.set_state(state["generator"])

    def _start(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            directions=["minimize"] * (self.measured + len(self.known)),
            sampler=optuna.samplers.NSGAIISampler(population_size=self.population, seed=self.seed),
        )
        self._open, self._events = {}, []
        self._values: dict[str, tuple[float, ...]] = {}

    def propose(self) -> Genotype:
        """An architecture that is new."""
        genotype = self._child() or self.any_new()
        self._events.append(("ask", "", []))
        return genotype

    def _child(self) -> Genotype | None:
        """Optuna's next trial with a new architecture."""
        for _ in range(MOST_REPEATS):
            trial = self.study.ask()
            genotype = self._decoded(trial)
            key = self.space.key(genotype) if self.space.connected(genotype) else ""
            if key and self.is_new(genotype):
                self._open[key] = [trial]
                return genotype
            if key in self._pending:
                self._open.setdefault(key, []).append(trial)
            else:
                self.study.tell(trial, list(self._values.get(key, self._worst)))
        return None

    def _close(self, genotype: Genotype, objectives: Sequence[float]) -> None:
        for trial in self._open.pop(self.space.key(genotype), ()):
            self.study.tell(trial, list(objectives))

    @property
    def _worst(self) -> list[float]:
        return [float("inf")] * (self.measured + len(self.known))

    def _decoded(self, trial: optuna.trial.Trial) -> Genotype:
        cells = self.space.spec.cells
        return self.space.genotype({name: _cell(trial, name, cell) for name, cell in cells})


def _cell(trial: optuna.trial.Trial, name: str, cell: CellSpec) -> Choice:
    def op(edge: tuple[int, int], ops: Sequence[str]) -> str:
        return str(trial.suggest_categorical(f"{name}:{edge[0]}-{edge[1]}", list(ops)))

    if cell.keep_per_node is None:
        return tuple((edge, op(edge, cell.ops)) for edge in cell.edges)
    ops = [o for o in cell.ops if not get_op(o).is_zero]
    choice: list[tuple[tuple[int, int], str]] = []
    for target in range(cell.inputs, cell.size):
        pairs = list(combinations(cell.into(target), cell.keep_per_node))
        kept = pairs[trial.suggest_int(f"{name}:{target}", 0, len(pairs) - 1)]
        choice += [(edge, op(edge, ops)) for edge in kept]
    return tuple(choice)
