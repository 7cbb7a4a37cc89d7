"""``moml front``: a Pareto front by a spread of preferences, its hypervolume and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from moml._support.files import write_json, write_text
from moml.jobs.config import Parser, build_job, dump, train_parser
from moml.jobs.lock import locked


class Result(NamedTuple):
    """What was found, and what it is measured against."""

    preferences: Tensor
    points: Tensor
    names: list[str]
    reference: list[float]
    title: str
    true_front: Tensor | None


def run(argv: Sequence[str]) -> int:
    """Trace the front of an analytic problem or of a suite; return the exit status."""
    analytic = any(argument.split("=")[0] == "--problem" for argument in argv)
    if not analytic and any(argument in ("-h", "--help") for argument in argv):
        print("`moml front --problem VLMOP1 …` for a problem with a known front, or a suite:\n")
    parser = _analytic_parser() if analytic else _suite_parser()
    config = parser.parse(argv)
    folder = Path(config.output)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"`output` should be a new or empty folder, found '{folder}' in use.")
    with locked(folder):
        write_text(folder / "config.yaml", dump(parser, config))
        result = (_analytic if analytic else _suite)(parser, config, folder)
        _report(result, folder)
    return 0


def _common(parser: Parser) -> Parser:
    parser.add_argument("--preferences", type=int, default=10, help="How many.")
    parser.add_argument("--output", type=str, default="front", help="Folder for the results.")
    parser.add_argument(
        "--reference_point", type=list[float], help="Of the hypervolume; 1.1 times the worst."
    )
    return parser


def _analytic_parser() -> Parser:
    from moml.front import AnalyticProblem
    from moml.weighting import Weighting

    parser = Parser(prog="moml front", description="Trace a problem's Pareto front.")
    parser.add_config()
    parser.belongs_to("front", takes=["front"])
    parser.add_subclass_arguments(AnalyticProblem, "problem", required=True)
    parser.add_subclass_arguments(Weighting, "weighting", required=True)
    parser.add_argument("--steps", type=int, default=1000, help="Steps per preference.")
    parser.add_argument("--learning_rate", type=float, default=0.05, help="Adam's, at first.")
    parser.add_argument(
        "--adaptive", type=bool, default=True,
        help="Aim each preference at the widest gap, for two losses, instead of spreading evenly.",
    )  # fmt: skip
    parser.set_defaults({"weighting": "Tchebycheff"})
    return _common(parser)


def _suite_parser() -> Parser:
    parser = train_parser()
    parser.prog, parser.description = "moml front", "Trace a suite's Pareto front."
    parser.belongs_to("front", takes=["train"])
    parser.set_defaults({"weighting": "STCH"})
    return _common(parser)


def _analytic(parser: Parser, config: Any, folder: Path) -> Result:
    from moml.front import hypervolume, refine, solver, spread, trace

    kind = _kind(config)

    def build(key: str, **changes: Any) -> Any:
        settings = config.clone()
        for name, value in changes.items():
            settings[f"{key}.init_args.{name}"] = value
        return parser.instantiate(settings)[key]

    problem = build("problem")
    names = list(problem.tasks)
    preferences = spread(len(names), config.preferences)
    others = {"others": preferences.tolist()} if "others" in config.weighting.init_args else {}
    solve = solver(
        lambda: build("problem"),
        lambda preference: build("weighting", preference=preference, **others),
        steps=config.steps,
        learning_rate=config.learning_rate,
    )
    if config.adaptive and len(names) == 2:  # gaps are those of a curve
        preferences, points = refine(solve, config.preferences, ray=kind == "ray")
    else:
        points = trace(solve, preferences)
    reference = config.reference_point or [1.1 * worst for worst in problem.nadir]
    example = build("weighting", preference=preferences[0].tolist())
    name, method = type(problem).__name__, type(example).__name__
    front = problem.front(2001)
    share = hypervolume(points, reference) / hypervolume(front, reference)
    print(f"Hypervolume over that of the true front: {share:.4f}")
    return Result(preferences, points, names, reference, f"{name} by {method}", front)


def _suite(parser: Parser, config: Any, folder: Path) -> Result:
    from moml.front import spread
    from moml.jobs.start import start_run

    _kind(config)
    plain = train_parser()
    settings = config.clone()
    for key in ("preferences", "output", "reference_point", "config", "command"):
        settings.pop(key, None)
    tasks = _tasks(plain, settings)
    preferences, points = spread(len(tasks), config.preferences), []
    for number, preference in enumerate(preferences.tolist()):
        one = settings.clone()
        one["weighting.init_args.preference"] = preference
        job = build_job(plain, one)
        text = dump(plain, one, job.settings())
        results = start_run(job, text, folder / f"{number:02d}", quiet=True)
        if "stopped" in results:
            raise ValueError(f"The run was stopped by {results['stopped']}.")
        points.append([_error(results, task) for task in tasks])
        values = ", ".join(f"{t} {e:.4g}" for t, e in zip(tasks, points[-1], strict=True))
        print(f"  preference {[round(p, 3) for p in preference]}: {values}")
    found = torch.tensor(points, dtype=torch.float64)
    reference = config.reference_point or (1.1 * found.amax(0)).tolist()
    names = [f"{task}: {_measure(results, task)}" for task in tasks]
    method = results["weighting"]
    return Result(preferences, found, names, reference, f"{results['suite']} by {method}", None)


def _tasks(parser: Parser, settings: Any) -> list[str]:
    one = settings.clone()
    return list(build_job(parser, one).suite.tasks)


def _error(results: dict[str, Any], task: str) -> float:
    """The main test metric, or one minus it where higher is better."""
    name = results["main"][task]
    value = float(results["test"][task][name])
    return 1.0 - value if results["higher_is_better"][task][name] else value


def _measure(results: dict[str, Any], task: str) -> str:
    name = results["main"][task]
    return f"1 − {name}" if results["higher_is_better"][task][name] else str(name)


def _kind(config: Any) -> str:
    """What the method's preference means.

    Raises:
        ValueError: If it has none.
    """
    from importlib import import_module

    from moml import weighting

    module, name = config.weighting.class_path.rsplit(".", 1)
    kind = str(getattr(import_module(module), name).preference_is)
    if kind == "no argument":
        found = (getattr(weighting, each) for each in weighting.__all__)
        classes = [c for c in found if isinstance(c, type) and issubclass(c, weighting.Weighting)]
        known = [c.__name__ for c in classes if c.preference_is != "no argument"]
        raise ValueError(
            f"`weighting` should take a preference, as {', '.join(known)} do, found {name}."
        )
    return kind


def _report(result: Result, folder: Path) -> None:
    from moml.front import hypervolume, igd_plus, non_dominated
    from moml.front.picture import save_picture

    volume = hypervolume(result.points, result.reference)
    record = {
        "title": result.title,
        "preferences": result.preferences.tolist(),
        "points": result.points.tolist(),
        "names": result.names,
        "reference_point": result.reference,
        "hypervolume": volume,
        "non_dominated": int(non_dominated(result.points).sum()),
    }
    if result.true_front is not None:
        record["igd_plus"] = igd_plus(result.points, result.true_front)
        record["hypervolume_of_front"] = hypervolume(result.true_front, result.reference)
        print(f"IGD+ {record['igd_plus']:.4g}")
    write_json(folder / "front.json", record)
    save_picture(
        folder / "front.svg", result.points, names=result.names, reference=result.reference,
        title=result.title, front=result.true_front,
    )  # fmt: skip
    print(
        f"Hypervolume {volume:.6g} with reference point {[round(r, 6) for r in result.reference]}, "
        f"{record['non_dominated']} of {len(result.points)} points not dominated. "
        f"Picture: {folder / 'front.svg'}"
    )
