"""``moml attack``: train a generator or a universal perturbation against a run, or run PGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from moml._files import versions, write_json
from moml.architecture import HPS, Architecture
from moml.attack import APGD, FGSM, L1, L2, PGD, UAP, Ball, Linf
from moml.attack._judge import Judge, find_judges
from moml.attack._model_objective import ModelObjective
from moml.attack.generator import GAP, MTA, Aim, Generator, ImageDecoder, ImageEncoder
from moml.attack.objectives import cross_entropy, dlr, margin, misclassified
from moml.checkpoint import Checkpoint, make_folder
from moml.data import TaskInputs
from moml.data.stream import LoaderStream
from moml.data.suite import Split
from moml.logging import MetricsLog, Progress
from moml.loop import fit
from moml.oracle import Direct
from moml.run import Run, load_multi_task_run
from moml.weighting import EW, Weighting

_NORMS: dict[str, type[Ball]] = {"Linf": Linf, "L2": L2, "L1": L1}
_LOSSES = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}
_METHODS = ("MTA", "GAP", "UAP", "FGSM", "PGD", "APGD")
_ONLY_FOR = {"weighting": ("MTA",), "target": ("MTA", "GAP"), "universal": ("MTA", "GAP")}


def run(argv: Sequence[str]) -> int:
    """Attack every task of a run; print and store scores beside noise and PGD-10."""
    parser = _parser()
    options = parser.parse_args(list(argv))
    _check_method(options)
    torch.manual_seed(options.seed)
    weighting: Weighting = parser.instantiate(options).weighting or EW()
    victim = load_multi_task_run(options.run)
    folder = Path(options.output or f"{options.run}/attack-{options.method}")
    if (folder / "attack.json").exists():
        raise ValueError(f"`output` should be a new folder, found '{folder}' in use.")
    make_folder(folder)
    ball = _NORMS[options.norm](options.eps)
    judges = _judges(victim, options.split, options.samples)
    perturbed = {"noise": _noise(judges, ball, options), "PGD-10": _pgd(judges, ball, options)}
    attempt = _Attempt(victim, judges, ball, weighting, options, folder)
    perturbed[options.method] = _perturbed(attempt)
    scores = {
        task: {"score": judge.score_name, "clean": _mean(judge, judge.x)}
        | {name: _mean(judge, inputs[task]) for name, inputs in perturbed.items()}
        for task, judge in judges.items()
    }
    settings = {key: str(value) for key, value in vars(options).items()}
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
    weighting: Weighting
    options: Any
    folder: Path


def _check_method(options: Any) -> None:
    """Whether options that only some methods have were left alone with the others.

    Raises:
        ValueError: If one was not.
    """
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
        "FGSM": lambda: FGSM(ball),
        "PGD": lambda: PGD(ball, steps=options.steps, seed=options.seed),
        "APGD": lambda: APGD(ball, steps=options.steps, seed=options.seed),
    }[options.method]
    return {task: attack().perturb(_goal(j, options), j.x) for task, j in attempt.judges.items()}


def _generated(attempt: _Attempt) -> dict[str, Tensor]:
    """Train MTA or separate generators; one forward pass then perturbs."""
    from safetensors.torch import save_model

    victim, judges, options = attempt.victim, attempt.judges, attempt.options
    shape = next(iter(judges.values())).x.shape[1:]
    if len(shape) != 3:
        raise ValueError(
            f"`run` should be a run on images (C, H, W) for {options.method}, found inputs of "
            f"shape {tuple(shape)}. Use PGD or UAP."
        )
    network = _network(options, list(judges), shape[0])
    universal = tuple(shape) if options.universal else None
    generator = Generator(network, ball=attempt.ball, universal=universal, seed=options.seed)
    generator.to(victim.trainer.device)
    aims = {task: _aim(judge, options) for task, judge in judges.items()}
    problem = MTA(generator, aims)
    loader = victim.suite.loader("train", batch_size=options.batch_size, seed=options.seed)
    fit(
        problem,
        Direct(),
        attempt.weighting,
        torch.optim.Adam(generator.parameters(), lr=options.learning_rate, betas=(0.5, 0.999)),
        LoaderStream(loader, device=victim.trainer.device),
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
    training = _judges(attempt.victim, "train", options.train_samples)
    found = {}
    for task, judge in training.items():
        parts = torch.arange(len(judge.x), device=judge.x.device).split(options.batch_size)
        goal = _goal(judge, options)
        learner = UAP(attempt.ball, seed=options.seed)
        delta = learner.fit([(goal.select(part), judge.x[part]) for part in parts])
        found[task] = learner.apply(delta, attempt.judges[task].x)
    return found


def _noise(judges: Mapping[str, Judge], ball: Ball, options: Any) -> dict[str, Tensor]:
    """Random perturbations of the ball, within the bounds."""
    generator = torch.Generator().manual_seed(options.seed)
    return {t: (j.x + ball.sample(j.x, generator)).clamp(0, 1) for t, j in judges.items()}


def _pgd(judges: Mapping[str, Judge], ball: Ball, options: Any) -> dict[str, Tensor]:
    attack = PGD(ball, steps=10, seed=options.seed)
    return {task: attack.perturb(judge.plain(), judge.x) for task, judge in judges.items()}


def _goal(judge: Judge, options: Any) -> ModelObjective:
    if not judge.classes:
        return judge.plain()
    success = None if judge.dense else misclassified
    return judge.victim.objective(judge.target, loss=_LOSSES[options.loss], success=success)


def _aim(judge: Judge, options: Any) -> Aim:
    if not judge.classes:
        return Aim(judge.victim, loss=judge.loss.per_sample, success=None)
    aim = Aim(judge.victim, loss=_LOSSES[options.loss])
    return aim if options.target is None else aim.towards(options.target)


def _judges(victim: Run, split: Split, samples: int) -> dict[str, Judge]:
    losses = {task: spec.loss for task, spec in victim.suite.tasks.items()}
    loader, device = victim.trainer.loader(split), victim.trainer.device
    return find_judges(victim.model, loader, losses, (0.0, 1.0), samples, device)[0]


def _mean(judge: Judge, x: Tensor) -> float:
    return float(judge.scores(x).mean())


def _print(scores: Mapping[str, Mapping[str, Any]]) -> None:
    for task, row in scores.items():
        values = "  ".join(f"{name} {v:.4g}" for name, v in row.items() if name != "score")
        print(f"  {task} {row['score']}: {values}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="moml attack", description="Attack the tasks of a finished run.")
    parser.add_argument("run", type=str, help="Run folder: its network is the victim.")
    parser.add_argument("--method", choices=_METHODS, default="MTA")
    parser.add_argument("--eps", type=float, required=True, help="Radius, in units of the data.")
    parser.add_argument("--norm", choices=list(_NORMS), default="Linf")
    parser.add_subclass_arguments(Weighting, "weighting", help="How MTA trades tasks off; EW.")
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
