"""``moml attack``: train a generator or a universal perturbation against a run, or run PGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from moml._support.files import versions, write_json, write_text
from moml.architecture import HPS, Architecture
from moml.attack import (
    APGD,
    FAB,
    FGSM,
    L1,
    L2,
    PGD,
    UAP,
    Ball,
    Judge,
    Linf,
    ModelObjective,
    Square,
    find_judges,
    inside,
)
from moml.attack.generator import GAP, MTA, Aim, Generator, ImageDecoder, ImageEncoder
from moml.attack.objectives import (
    classified_as,
    cross_entropy,
    dlr,
    margin,
    misclassified,
    targeted,
)
from moml.cli._attack_folder import check_folder, settings_of
from moml.data import Bounds, TaskInputs
from moml.data.declared_bounds import BoundsOption, data_bounds, shown
from moml.data.stream import LoaderStream
from moml.data.suite import Split
from moml.jobs.config import Parser
from moml.jobs.load import Run, load_multi_task_run
from moml.jobs.lock import locked
from moml.jobs.preflight import above_zero, positive
from moml.logging import MetricsLog, Progress
from moml.loop import fit
from moml.oracle import Direct
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, Weighting

_NORMS: dict[str, type[Ball]] = {"Linf": Linf, "L2": L2, "L1": L1}
_LOSSES = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}
_METHODS = ("MTA", "GAP", "UAP", "FGSM", "PGD", "APGD", "Square", "FAB")
_ONLY_FOR = {"weighting": ("MTA",), "universal": ("MTA", "GAP")}


def run(argv: Sequence[str]) -> int:
    """Attack every task of a run; print and store scores beside noise and PGD-10."""
    parser = _parser()
    options = parser.parse_plain(argv)
    _check_method(options)
    torch.manual_seed(options.seed)
    weighting: Weighting = parser.instantiate(options).weighting or EW()
    victim = load_multi_task_run(options.run)
    folder = Path(options.output or f"{options.run}/attack-{options.method}")
    settings = settings_of(parser, options)
    check_folder(folder, settings)
    ball = _NORMS[options.norm](options.eps)
    bounds = data_bounds(victim.suite, options.bounds)
    judges = _judges(victim, options.split, options.samples, bounds)
    judges, passes = _repeated(judges, options.eot)
    _check_classes(judges, options.method)
    _check_images(judges, options.method)
    _check_target(judges, options.target)
    attempt = _Attempt(victim, judges, ball, bounds, passes, weighting, options, folder)
    with locked(folder):
        write_text(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        perturbed = {"noise": _noise(attempt), "PGD-10": _pgd(attempt)}
        perturbed[options.method] = _perturbed(attempt)
        scores = _scores(attempt, perturbed)
        settings |= {"bounds": shown(bounds), "eot": passes}
        content = {"scores": scores, "settings": settings, "versions": versions()}
        write_json(folder / "attack.json", content)
    _print(scores)
    print(f"Results: {folder / 'attack.json'}")
    return 0


@dataclass(frozen=True)
class _Attempt:
    """What every method works with."""

    victim: Run
    judges: Mapping[str, Judge]
    ball: Ball
    bounds: Bounds | None
    passes: int
    weighting: Weighting
    options: Any
    folder: Path

    @property
    def common(self) -> dict[str, Any]:
        """Options of every attack."""
        return {"bounds": self.bounds, "seed": self.options.seed, "eot": self.passes}


def _scores(
    attempt: _Attempt, perturbed: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, dict[str, Any]]:
    """What every task scores, clean and perturbed."""
    judges = attempt.judges
    scores: dict[str, dict[str, Any]] = {
        task: {"score": judge.score_name, "clean": _mean(judge, judge.x)}
        | {name: _mean(judge, inputs[task]) for name, inputs in perturbed.items()}
        for task, judge in judges.items()
    }
    for task, row in _hits(judges, perturbed, attempt.options.target).items():
        scores[task]["hits"] = row
    return scores


def _check_method(options: Any) -> None:
    """Look at numbers, and at options that only some methods have.

    Raises:
        ValueError: If a number is too small, or an option was not left alone with other methods.
    """
    for name in ("steps", "batch_size", "samples", "train_samples", "eot"):
        positive(name, options[name])
    above_zero("learning_rate", options.learning_rate)
    for name, methods in _ONLY_FOR.items():
        given = options[name] is not None and options[name] is not False  # class 0 is a target
        if given and options.method not in methods:
            raise ValueError(
                f"`{name}` should be left out with {options.method}, found it given. It is for "
                f"{' and '.join(methods)}."
            )


def _perturbed(attempt: _Attempt) -> dict[str, Tensor]:
    """Inputs of every task, perturbed by the method asked for."""
    options, ball = attempt.options, attempt.ball
    if options.method in ("MTA", "GAP"):
        return _generated(attempt)
    if options.method == "UAP":
        return _universal(attempt)
    attack = {
        "FGSM": lambda: FGSM(ball, bounds=attempt.bounds, eot=attempt.passes),
        "PGD": lambda: PGD(ball, steps=options.steps, **attempt.common),
        "APGD": lambda: APGD(ball, steps=options.steps, **attempt.common),
        "Square": lambda: Square(ball, queries=options.steps, **attempt.common),
        "FAB": lambda: FAB(ball, steps=options.steps, **attempt.common),
    }[options.method]
    return {task: attack().perturb(_goal(j, options), j.x) for task, j in attempt.judges.items()}


def _generated(attempt: _Attempt) -> dict[str, Tensor]:
    """Train MTA or separate generators; one forward pass then perturbs."""
    from safetensors.torch import save_model

    victim, judges, options = attempt.victim, attempt.judges, attempt.options
    shape = next(iter(judges.values())).x.shape[1:]
    network = _network(options, list(judges), shape[0])
    universal = tuple(shape) if options.universal else None
    generator = Generator(
        network,
        ball=attempt.ball,
        bounds=attempt.bounds,
        universal=universal,
        seed=options.seed,
    )
    generator.to(victim.job.device)
    aims = {task: _aim(judge, options) for task, judge in judges.items()}
    problem = MTA(generator, aims)
    loader = victim.suite.loader("train", batch_size=options.batch_size, seed=options.seed)
    fit(
        problem,
        Direct(),
        attempt.weighting,
        torch.optim.Adam(generator.parameters(), lr=options.learning_rate, betas=(0.5, 0.999)),
        LoaderStream(loader, device=victim.job.device),
        steps=options.steps,
        callbacks=[MetricsLog(attempt.folder / "metrics.jsonl", every=20), Progress()],
        checkpoint=Checkpoint(attempt.folder / "checkpoints", resume=True),
    )
    save_model(generator, str(attempt.folder / "generator.safetensors"))
    generator.eval()
    with torch.no_grad():
        return {
            task: generator(TaskInputs({task: j.x}), [task])[task] for task, j in judges.items()
        }


def _network(options: Any, tasks: list[str], channels: int) -> Architecture:
    if options.method == "GAP":
        return GAP(tasks, encoder=lambda: ImageEncoder(channels), decoder=_decoder(channels))
    encoder = ImageEncoder(channels)
    return HPS(encoder, {task: _decoder(channels)(encoder.out_features) for task in tasks})


def _decoder(channels: int) -> Any:
    return lambda width: ImageDecoder(width, channels)


def _universal(attempt: _Attempt) -> dict[str, Tensor]:
    """One perturbation per task, learnt on training data."""
    options = attempt.options
    training = _judges(attempt.victim, "train", options.train_samples, attempt.bounds)
    found = {}
    for task, judge in training.items():
        parts = torch.arange(len(judge.x), device=judge.x.device).split(options.batch_size)
        goal = _goal(judge, options)
        learner = UAP(attempt.ball, bounds=attempt.bounds, seed=options.seed)
        delta = learner.fit([(goal.select(part), judge.x[part]) for part in parts])
        found[task] = learner.apply(delta, attempt.judges[task].x)
    return found


def _noise(attempt: _Attempt) -> dict[str, Tensor]:
    """Random perturbations of the ball, within the bounds."""
    generator = torch.Generator().manual_seed(attempt.options.seed)
    return {
        task: inside(
            judge.x + attempt.ball.sample(judge.x, generator),
            judge.x,
            ball=attempt.ball,
            bounds=attempt.bounds,
        )
        for task, judge in attempt.judges.items()
    }


def _pgd(attempt: _Attempt) -> dict[str, Tensor]:
    attack = PGD(attempt.ball, steps=10, **attempt.common)
    return {task: attack.perturb(judge.plain(), judge.x) for task, judge in attempt.judges.items()}


def _repeated(judges: Mapping[str, Judge], eot: int) -> tuple[dict[str, Judge], int]:
    """Judges that look several times if the network is random, and how often attacks do."""
    repeated = {task: judge.repeated(eot) for task, judge in judges.items()}
    passes = max(judge.passes for judge in repeated.values())
    if passes > 1:
        print(f"The network is random: gradients and scores are means of {passes} passes.")
    return repeated, passes


def _goal(judge: Judge, options: Any) -> ModelObjective:
    loss = margin if options.method == "FAB" else _LOSSES[options.loss]
    if options.target is None or not judge.classes:
        return judge.objective(loss)
    return judge.victim.objective(
        torch.full_like(judge.labels, options.target),
        loss=judge.read(targeted(loss)),
        success=judge.read(classified_as),
    )


def _aim(judge: Judge, options: Any) -> Aim:
    if not judge.classes:
        return Aim(judge.victim, loss=judge.loss.per_sample, success=None)
    loss = _LOSSES[options.loss]
    if options.target is None:
        return Aim(judge.victim, loss=judge.read(loss), success=judge.read(misclassified))
    return Aim(
        judge.victim,
        loss=judge.read(targeted(loss)),
        success=judge.read(classified_as),
        relabel=lambda labels: torch.full_like(labels, options.target),
    )


def _check_classes(judges: Mapping[str, Judge], method: str) -> None:
    """Whether there is a decision to cross for the method that looks for one.

    Raises:
        ValueError: If not.
    """
    without = [task for task, judge in judges.items() if not judge.classes]
    if method == "FAB" and without:
        raise ValueError(
            f"`method` should be another than FAB for tasks without classes, found {without}. "
            "Use PGD, or `moml.attack.FAB` with a tolerance."
        )


def _check_images(judges: Mapping[str, Judge], method: str) -> None:
    """Look for inputs that generators of images do not take.

    Raises:
        ValueError: If there are some.
    """
    for judge in judges.values():
        shape = tuple(judge.x.shape[1:])
        if method in ("MTA", "GAP") and len(shape) != 3:
            raise ValueError(
                f"`run` should be a run on images (C, H, W) for {method}, found inputs of shape "
                f"{shape}. Use PGD or UAP."
            )


def _check_target(judges: Mapping[str, Judge], target: int | None) -> None:
    """Whether there is such a class; tasks without classes are named.

    Raises:
        ValueError: If some task has other classes, or none has classes.
    """
    if target is None:
        return
    for task, judge in judges.items():
        if judge.classes and not 0 <= target < judge.count:
            raise ValueError(
                f"`target` should be a class of '{task}', 0 to {judge.count - 1}, found {target}."
            )
    without = [task for task, judge in judges.items() if not judge.classes]
    if len(without) == len(judges):
        raise ValueError(f"`target` should be left out for tasks without classes, found {without}.")
    if without:
        print(f"The target does not apply to tasks without classes: {', '.join(without)}.")


@torch.no_grad()
def _hits(
    judges: Mapping[str, Judge], perturbed: Mapping[str, Mapping[str, Tensor]], target: int | None
) -> dict[str, dict[str, float]]:
    """Share of the labelled predictions that are the target, per task and attack."""
    if target is None:
        return {}
    return {
        task: {
            name: _mean(replace(judge, target=torch.full_like(judge.target, target)), inputs[task])
            for name, inputs in ({"clean": {task: judge.x}} | dict(perturbed)).items()
        }
        for task, judge in judges.items()
        if judge.classes
    }


def _judges(victim: Run, split: Split, samples: int, bounds: Bounds | None) -> dict[str, Judge]:
    losses = {task: spec.loss for task, spec in victim.suite.tasks.items()}
    loader, device = victim.job.loader(split), victim.job.device
    return find_judges(victim.model, loader, losses, bounds, samples, device)[0]


def _mean(judge: Judge, x: Tensor) -> float:
    return float(judge.scores(x).mean())


def _print(scores: Mapping[str, Mapping[str, Any]]) -> None:
    for task, row in scores.items():
        print(f"  {task} {row['score']}: {_line(row)}")
        if "hits" in row:
            print(f"  {task} predicted as the target: {_line(row['hits'])}")


def _line(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {v:.4g}" for name, v in row.items() if isinstance(v, float))


class AttackParser(Parser):
    """Methods of attack are no methods of training."""

    classes = {"weighting": "weightings"}  # noqa: RUF012 - as in the base class


def _parser() -> Parser:
    parser = AttackParser(prog="moml attack", description="Attack the tasks of a finished run.")
    parser.add_argument("run", type=str, help="Run folder: its network is the victim.")
    parser.add_argument("--method", choices=_METHODS, default="MTA")
    parser.add_argument("--eps", type=float, required=True, help="Radius, in units of the data.")
    parser.add_argument("--norm", choices=list(_NORMS), default="Linf")
    parser.add_subclass_arguments(Weighting, "weighting", help="How MTA trades tasks off; EW.")
    parser.add_argument(
        "--bounds",
        type=BoundsOption,
        default="suite",
        help="Smallest and largest value of the data; the suite's unless given, null for none.",
    )
    parser.add_argument(
        "--eot", type=int, default=20, help="Passes per gradient where the network is random."
    )
    parser.add_argument("--loss", choices=list(_LOSSES), default="cross_entropy")
    parser.add_argument("--target", type=int | None, default=None, help="Class to be predicted.")
    parser.add_argument("--universal", type=bool, default=False, help="One perturbation for all.")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--split", choices=["train", "val", "test"], default="test")
    parser.add_argument("--samples", type=int, default=512, help="Samples per task to judge on.")
    parser.add_argument("--train_samples", type=int, default=2048, help="Samples UAP learns on.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=str, help="New folder; inside the run's unless given.")
    return parser
