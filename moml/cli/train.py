"""``moml train``: one run, from options or a recipe to a run folder."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from moml._files import versions, write_json
from moml.cli.parser import (
    Parser,
    build_trainer,
    command_of,
    dump,
    train_parser,
    trainer_from_file,
)


class Runnable(Protocol):
    """What `start_run` and `finish_run` take."""

    def run(self, folder: Path, *, resume: bool = False, quiet: bool = False) -> dict[str, Any]:
        """Train in a folder, from scratch or on."""


def run(argv: Sequence[str]) -> int:
    """Train, or continue a run; return the exit status."""
    parser = train_parser()
    parser.add_argument(
        "--run_dir", type=str, help="New folder for the run; under runs/ if not given."
    )
    parser.add_argument(
        "--resume", type=str, help="Run folder to continue; its own settings apply."
    )
    resumed = resumed_folder(argv)
    if resumed is not None:
        return report_outcome(resumed, _resume(resumed, argv))
    config = parser.parse(argv)
    folder = run_folder(config, ("suite", "method", "weighting"))
    trainer, text = _prepared(parser, config)
    results = start_run(trainer, text, folder)
    return report_outcome(folder, results)


def start_run(
    trainer: Runnable, config: str, folder: Path, *, quiet: bool = False, command: str = "train"
) -> dict[str, Any]:
    """Make a run folder and train in it.

    Raises:
        ValueError: If the folder is in use.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(
            f"`run_dir` should be a new or empty folder, found '{folder}' in use. "
            f"Continue it with `moml {command} --resume {folder}`, or choose another."
        )
    from moml.checkpoint import make_folder

    make_folder(folder)
    (folder / "config.yaml").write_text(config)
    write_json(folder / "versions.json", versions())
    return finish_run(trainer, folder, resume=False, quiet=quiet)


def finish_run(
    trainer: Runnable, folder: Path, *, resume: bool, quiet: bool = False
) -> dict[str, Any]:
    """Train to the end and write the page."""
    from moml.report import write_report

    results = trainer.run(folder, resume=resume, quiet=quiet)
    if "stopped" not in results:
        write_report(folder)
    return results


def _prepared(parser: Parser, config: Any) -> tuple[Runnable, str]:
    """The trainer, and the configuration without what belongs to this call only."""
    settings = run_settings(config)
    plain = train_parser()
    return build_trainer(plain, settings), dump(plain, settings)


def resumed_folder(argv: Sequence[str]) -> Path | None:
    """The folder after ``--resume``, looked up first: with it, no other option is needed."""
    for i, argument in enumerate(argv):
        if argument == "--resume" and i + 1 < len(argv):
            return Path(argv[i + 1])
        if argument.startswith("--resume="):
            return Path(argument.removeprefix("--resume="))
    return None


def run_settings(config: Any) -> Any:
    """A configuration without what belongs to this call only."""
    settings = config.clone()
    for key in ("run_dir", "resume", "config"):
        settings.pop(key, None)
    return settings


def resumed_config(folder: Path, argv: Sequence[str], *, command: str = "train") -> Path:
    """The configuration of a run that is to be continued.

    Raises:
        ValueError: If it is not a run of this command, or there are other options.
    """
    if len([a for a in argv if a.startswith("--")]) > 1:
        raise ValueError("`resume` should be the only option: the run's own settings apply.")
    path = folder / "config.yaml"
    if not path.exists():
        raise ValueError(f"`resume` should be a run folder, found no config.yaml in '{folder}'.")
    if (found := command_of(path)) != command:
        raise ValueError(
            f"`resume` should be a run of `moml {command}`, found one of `moml {found}` in "
            f"'{folder}'. Continue it with `moml {found} --resume {folder}`."
        )
    return path


def _resume(folder: Path, argv: Sequence[str]) -> dict[str, Any]:
    trainer, _ = trainer_from_file(resumed_config(folder, argv))
    return finish_run(trainer, folder, resume=True)


def run_folder(config: Any, keys: Sequence[str], *, command: str = "") -> Path:
    """The folder that is asked for, or a new one in ``runs``, named for the choices and the seed.

    Args:
        config: The run's settings.
        keys: Which of them are classes that name it.
        command: Begins the name, if given.
    """
    if config.run_dir:
        return Path(config.run_dir)
    parts = [config[key] for key in keys]
    names = [part.class_path.rsplit(".", 1)[-1] for part in parts if part is not None]
    stem = "-".join([*([command] if command else []), *names, f"seed{config.seed}"])
    number = 1
    while (folder := Path("runs") / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return folder


def report_outcome(folder: Path, results: dict[str, Any], *, command: str = "train") -> int:
    """Say how the run ended; return the exit status."""
    if "stopped" in results:
        name = results["stopped"].split()[0]
        print(f"Stopped by {results['stopped']}; continue with `moml {command} --resume {folder}`.")
        return 128 + int(signal.Signals[name])
    intervals = results.get("test_intervals", {})
    for task, metrics in results["test"].items():
        near = intervals.get(task, {})
        values = "  ".join(
            f"{name} {value:.4g}" + (f" ± {near[name]:.2g}" if name in near else "")
            for name, value in metrics.items()
        )
        print(f"  test {task}: {values}")
    print(f"Best at step {results['best_step']} (by validation). Page: {folder / 'report.html'}")
    return 0
