"""``moml train``: one run, from options or a recipe to a run folder."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moml._files import versions, write_json
from moml.cli.parser import Parser, build_trainer, dump, train_parser, trainer_from_file
from moml.trainer import Trainer


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
        return _report_outcome(resumed, _resume(resumed, argv))
    config = parser.parse(argv)
    folder = Path(config.run_dir) if config.run_dir else _fresh_folder(config)
    trainer, text = _prepared(parser, config)
    results = start_run(trainer, text, folder)
    return _report_outcome(folder, results)


def start_run(
    trainer: Trainer, config: str, folder: Path, *, quiet: bool = False
) -> dict[str, Any]:
    """Make a run folder and train in it.

    Raises:
        ValueError: If the folder is in use.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ValueError(
            f"`run_dir` should be a new or empty folder, found '{folder}' in use. "
            f"Continue it with `moml train --resume {folder}`, or choose another."
        )
    from moml.checkpoint import make_folder

    make_folder(folder)
    (folder / "config.yaml").write_text(config)
    write_json(folder / "versions.json", versions())
    return finish_run(trainer, folder, resume=False, quiet=quiet)


def finish_run(
    trainer: Trainer, folder: Path, *, resume: bool, quiet: bool = False
) -> dict[str, Any]:
    """Train to the end and write the page."""
    from moml.report import write_report

    results = trainer.run(folder, resume=resume, quiet=quiet)
    if "stopped" not in results:
        write_report(folder)
    return results


def _prepared(parser: Parser, config: Any) -> tuple[Trainer, str]:
    """The trainer, and the configuration without what belongs to this call only."""
    settings = config.clone()
    for key in ("run_dir", "resume", "config"):
        settings.pop(key, None)
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


def _resume(folder: Path, argv: Sequence[str]) -> dict[str, Any]:
    if len([a for a in argv if a.startswith("--")]) > 1:
        raise ValueError("`resume` should be the only option: the run's own settings apply.")
    path = folder / "config.yaml"
    if not path.exists():
        raise ValueError(f"`resume` should be a run folder, found no config.yaml in '{folder}'.")
    trainer, _ = trainer_from_file(path)
    return finish_run(trainer, folder, resume=True)


def _fresh_folder(config: Any) -> Path:
    parts = [config[key] for key in ("suite", "method", "weighting")]
    names = [part.class_path.rsplit(".", 1)[-1] for part in parts if part is not None]
    stem = "-".join([*names, f"seed{config.seed}"])
    number = 1
    while (folder := Path("runs") / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return folder


def _report_outcome(folder: Path, results: dict[str, Any]) -> int:
    if "stopped" in results:
        name = results["stopped"].split()[0]
        print(f"Stopped by {results['stopped']}; continue with `moml train --resume {folder}`.")
        return 128 + int(signal.Signals[name])
    for task, metrics in results["test"].items():
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        print(f"  test {task}: {values}")
    print(f"Best at step {results['best_step']} (by validation). Page: {folder / 'report.html'}")
    return 0
