"""The bi-level oracle: any weighting of any number of upper objectives of a lower solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moml.bilevel._arguments import check_bilevel, check_problem
from moml.bilevel._lower import LowerLevel
from moml.bilevel._one_by_one import OneByOne
from moml.bilevel._problem import BilevelProblem
from moml.bilevel._solved import Solved
from moml.bilevel.carry import Carry, Restart, WarmStart
from moml.bilevel.hypergradient import Certificate, Hypergradient, LowerSolution
from moml.bilevel.inner import InnerSolver
from moml.data.bilevel_batch import BilevelBatch
from moml.errors import NonFiniteError
from moml.gradients.graph import reach
from moml.gradients.layout import Layout
from moml.gradients.live import DirectRows, Live, ParameterRows, RepresentationRows
from moml.gradients.rows import Plan
from moml.oracle import Oracle, positions
from moml.problem import Losses


class Bilevel(Oracle):
    r"""Solves the lower level once per step and differentiates all upper objectives through it.

    MOML (Ye, Lin, Yue, Guo, Xiao & Zhang, `Multi-Objective Meta Learning
    <https://arxiv.org/abs/2102.07121>`_, NeurIPS 2021) with any lower solver, any hypergradient and
    any weighting. One lower solve serves all objectives, and their cotangents go back together.

    Args:
        inner: The lower solver.
        hypergradient: How its solution is differentiated.
        warm_start: The lower level starts from the last step's solution instead of afresh.
        alternate: The lower variables are moved by this instead: an optimizer of their own, in turn
            with the upper level.
        upper_bound: Weights from the objectives' gradients on the lower solution, then one product
            with its derivative, however many objectives: the analogue of MGDA-UB. Fixed points are
            Pareto-stationary; that no objective rises in a step needs a derivative of full row rank
            and objectives without a direct dependence on the upper parameters.
        direct_rows: Weights from the objectives' direct dependence on the upper parameters, then
            the hypergradient of their weighted sum: one product with the derivative as well, but
            the direction need not lower every objective. E2RNAS's scheme.

    Attributes:
        certificates: Of the last step, one per episode, where the method gives one and the
            weighting asked for gradients.
    """

    def __init__(
        self,
        inner: InnerSolver,
        hypergradient: Hypergradient,
        *,
        warm_start: bool = False,
        alternate: Carry | None = None,
        upper_bound: bool = False,
        direct_rows: bool = False,
    ) -> None:
        check_bilevel(inner, hypergradient)
        if warm_start and alternate is not None:
            raise ValueError(
                "`warm_start` should be off where `alternate` is given, found both. "
                "Either the solution is kept, or variables that an optimizer moves."
            )
        if upper_bound and hypergradient.moves_lower:
            raise ValueError(
                f"`upper_bound` should be off with {type(hypergradient).__name__}, found it on. "
                "Its rows are first derivatives already."
            )
        if direct_rows and (upper_bound or hypergradient.moves_lower):
            raise ValueError(
                "`direct_rows` should be off with `upper_bound` or a hypergradient that moves the "
                "lower variables, found it on. Rows are one thing."
            )
        self.inner, self.hypergradient = inner, hypergradient
        kept = warm_start or hypergradient.moves_lower
        self.carry: Carry = alternate or (WarmStart() if kept else Restart())
        self.upper_bound = upper_bound
        self.rows: type[Live] = ParameterRows
        if upper_bound or direct_rows:
            self.rows = RepresentationRows if upper_bound else DirectRows
        self._solutions: Sequence[LowerSolution] = ()

    @property
    def certificates(self) -> list[Certificate]:
        """How far the method's assumptions held in the last step."""
        return [s.certificate for s in self._solutions if s.certificate is not None]

    def __call__(self, problem: BilevelProblem, batch: Any) -> Live:
        """Solve the lower level and evaluate the upper objectives.

        Raises:
            NonFiniteError: If the lower solution is not finite.
            ValueError: If no upper parameter is reached, or the problem has no lower level.
        """
        check_problem(problem)
        omega, episodes = problem.upper_parameters(), problem.episodes(batch)
        alone = len(problem.tasks) == 1 and len(episodes) > 1
        if alone and not (self.upper_bound or self.carry.keeps or self.hypergradient.moves_lower):
            evaluation = self._one_by_one(problem, omega, episodes)
        else:
            evaluation = self._together(problem, omega, episodes)
        _check_lower(evaluation, self._solutions)
        return evaluation

    def evaluate(self, problem: BilevelProblem, omega: Mapping[str, Tensor], batch: Any) -> Live:
        """The same at any upper parameters, leaves that require gradients; looks at no value."""
        return self._together(problem, omega, problem.episodes(batch))

    def _together(
        self, problem: BilevelProblem, omega: Mapping[str, Tensor], episodes: Sequence[Any]
    ) -> Live:
        """All episodes stay alive until the weights are known."""
        self._solutions = ()  # the last step's graphs go before new ones come
        solutions, found = [], []
        for episode in episodes:
            solution, losses = self._episode(problem, omega, episode)
            solutions.append(solution)
            found.append(losses)
        losses = _mean(found)
        self._solutions = solutions
        tasks = torch.tensor(positions(problem.tasks, losses))
        evaluation = self.hypergradient.evaluate(losses, solutions, tasks)
        if evaluation is not None:
            return evaluation
        layout = self._layout(losses, omega)
        features = Solved.by(self.hypergradient, solutions, direct=bool(layout.beside))
        return self.rows(losses, features, layout, tasks, heads="weighted")

    def _one_by_one(
        self, problem: BilevelProblem, omega: Mapping[str, Tensor], episodes: Sequence[Any]
    ) -> Live:
        """A single objective: each episode is pulled back before the next one is solved."""
        evaluation: OneByOne | None = None
        solutions = []
        for episode in episodes:
            evaluation, solution = self._added(problem, omega, episode, evaluation)
            solutions.append(solution)
        self._solutions = solutions
        if evaluation is None:
            raise ValueError(
                f"`upper_losses` should give '{problem.tasks[0]}' in at least one episode, found "
                "it in none."
            )
        return evaluation

    def _added(
        self,
        problem: BilevelProblem,
        omega: Mapping[str, Tensor],
        episode: Any,
        evaluation: OneByOne | None,
    ) -> tuple[OneByOne | None, LowerSolution]:
        """One more episode, of which nothing but the values is left on return."""
        name = problem.tasks[0]
        solution, losses = self._episode(problem, omega, episode)
        if losses:
            if evaluation is None:
                tasks = torch.tensor(positions(problem.tasks, losses))
                evaluation = OneByOne(name, self._layout(losses, omega), tasks)
            direct = bool(evaluation.layout.beside)
            evaluation.add(losses[name], Solved.by(self.hypergradient, [solution], direct=direct))
        return evaluation, solution.outcome()

    def _episode(
        self, problem: BilevelProblem, omega: Mapping[str, Tensor], episode: Any
    ) -> tuple[LowerSolution, dict[str, Tensor]]:
        """One lower level solved, and the objectives at its solution."""
        if not omega:
            raise ValueError("`upper_parameters` should hold at least one tensor, found none.")
        problem.check_inner(self.inner)
        lower, upper = _levels(episode)
        start = problem.lower_init(omega, episode, self.carry.previous())
        level = LowerLevel(problem, omega, lower, tuple(start), problem.lower_blocks(episode))
        solution = self.hypergradient.solve(level, self.inner, list(start.values()))
        return solution, _upper_losses(solution, upper)

    def _layout(self, losses: Losses, omega: Mapping[str, Tensor]) -> Layout:
        """Upper parameters are shared by all objectives; some are reached directly."""
        parameters = tuple(omega.values())
        direct = reach(list(losses.values())).leaves  # in this step: objectives may change
        beside = tuple(i for i, p in enumerate(parameters) if p in direct)
        below = tuple(range(len(parameters)))
        return Layout(parameters, {}, below, beside, Plan(1))  # type: ignore[arg-type]

    def advance(self, problem: Any) -> None:
        """The lower level's own move, after the upper parameters have moved."""
        self.carry.advance(problem, self._solutions)
        self._solutions = [solution.outcome() for solution in self._solutions]
        problem.advance()
        self.hypergradient.advance()

    def state_dict(self) -> dict[str, Any]:
        """State of the lower level and of the method."""
        return {"carry": self.carry.state_dict(), "hypergradient": self.hypergradient.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        self.carry.load_state_dict(state["carry"])
        self.hypergradient.load_state_dict(state["hypergradient"])


def _levels(episode: Any) -> tuple[Sequence[Any], Any]:
    """Data of the two levels; anything but a `BilevelBatch` is given to both."""
    if isinstance(episode, BilevelBatch):
        return episode.lower, episode.upper
    return (episode,), episode


def _upper_losses(solution: LowerSolution, batch: Any) -> dict[str, Tensor]:
    """The objectives at the points looked at, weighted."""
    lower = solution.lower
    total: dict[str, Tensor] = {}
    for (step, weight), point in zip(solution.looks.items(), solution.points, strict=True):
        theta = lower.named(point)
        losses = lower.problem.upper_losses_at(theta, lower.omega, batch, step)
        for name, loss in losses.items():
            scaled = loss if weight == 1.0 else loss * weight
            total[name] = total[name] + scaled if name in total else scaled
    return total


def _mean(found: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Objectives averaged over the episodes in which they are active."""
    if len(found) == 1:
        return dict(found[0])
    names = dict.fromkeys(name for losses in found for name in losses)
    columns = {name: [losses[name] for losses in found if name in losses] for name in names}
    return {name: torch.stack(column).mean() for name, column in columns.items()}


def _check_lower(evaluation: Live, solutions: Sequence[LowerSolution]) -> None:
    """Where objectives are not finite, whether that is the lower level's doing."""
    if bool(torch.isfinite(evaluation.losses).all()):
        return
    if any(not bool(torch.isfinite(t).all()) for s in solutions for t in s.theta):
        raise NonFiniteError("lower level's solution, hence the loss", evaluation.names)
