"""NSGA-II as Optuna implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

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
    architecture trained before get its objectives for free; children that are not connected or not
    among the candidates are given the worst.

    Args:
        space: As in `OuterSearch`, as are all others.
        population: Size of a generation.
        seed: Seed of Optuna's sampler as well.
        arguments: Of `OuterSearch`.
    """

    def __init__(self, space: Any, *, population: int = 6, seed: int = 0, **arguments: Any) -> None:
        super().__init__(space, seed=seed, **arguments)
        if population < 2:
            raise ValueError(f"`population` should be at least 2, found {population}.")
        self.population, self.seed = population, seed
        self._open: tuple[optuna.trial.Trial, Genotype] | None
        self._start()

    def tell(self, genotype: Genotype, errors: Sequence[float]) -> None:
        """As `OuterSearch.tell`; Optuna hears of architectures it asked for."""
        super().tell(genotype, errors)
        objectives = self.history[-1].objectives
        self._values[self.space.key(genotype)] = objectives
        if self._open is not None and self._open[1] == genotype:
            self.study.tell(self._open[0], list(objectives))
            self._open = None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Ask and tell all over again, since Optuna's sampler cannot be put back."""
        self._start()
        self.history, self._keys = [], set()
        for text, errors in state["told"]:
            if self._open is None:
                self.ask()
            self.tell(Genotype.from_json(text), errors)
        self.generator.set_state(state["generator"])

    def _start(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            directions=["minimize"] * (self.measured + len(self.known)),
            sampler=optuna.samplers.NSGAIISampler(population_size=self.population, seed=self.seed),
        )
        self._open = None
        self._values: dict[str, tuple[float, ...]] = {}

    def _propose(self) -> Genotype:
        if self._open is not None:
            return self._open[1]
        for _ in range(MOST_REPEATS):
            trial = self.study.ask()
            genotype = self._decoded(trial)
            if self.space.connected(genotype):
                if self.is_new(genotype):
                    self._open = (trial, genotype)
                    return genotype
                known = self._values.get(self.space.key(genotype))
                if known is not None:
                    self.study.tell(trial, list(known))
                    continue
            self.study.tell(trial, [float("inf")] * (self.measured + len(self.known)))
        return self.any_new()

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
