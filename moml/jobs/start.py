"""Commands whose run has a folder and can be continued: train, meta, search, retrain."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from moml._support.files import write_json, write_text
from moml._support.launch import Launch
from moml.jobs.config import Parser, arguments, build, command_of, dump, read_config
from moml.jobs.job import Job, Results
from moml.jobs.lock import NAME as LOCK
from moml.jobs.lock import locked
from moml.jobs.origin import look_up, origin, record
from moml.jobs.version import check_version


@dataclass(frozen=True)
class RunCommand:
    """From options or a recipe to a finished run folder.

    Attributes:
        name: Of the command.
        parser: Makes the parser of everything the run is built from.
        named_by: Options whose classes name a new folder in ``runs``.
        report: Says what a finished run found.
        prefix: Begins the name of a new folder.
        further: The option that a run may be continued with, to go further than it was to.
    """

    name: str
    parser: Callable[[], Parser]
    named_by: Sequence[str]
    report: Callable[[Path, Results], None]
    prefix: str = ""
    further: str = ""

    def run(self, argv: Sequence[str]) -> int:
        """Run, or continue a run; return the exit status."""
        folder = _resumed_folder(argv)
        if folder is not None:
            return self._resume(folder, argv)
        parser = self.parser()
        parser.add_argument(
            "--run_dir", type=str, help="New folder for the run; under runs/ if not given."
        )
        further = f", besides a larger --{self.further}" if self.further else ""
        parser.add_argument(
            "--resume", type=str, help=f"Run folder to continue; its own settings apply{further}."
        )
        config = parser.parse(argv)
        job, text = self._made(config)
        if not Launch.current().first:
            return _status(job.follow())
        folder = self._new_folder(config)
        return self._outcome(folder, start_run(job, text, folder, command=self.name))

    def start(self, argv: Sequence[str], folder: Path, *, quiet: bool) -> Results:
        """Run in a new folder, without a word on the terminal if asked for; return the results."""
        job, text = self._made(self.parser().parse(argv))
        return start_run(job, text, folder, quiet=quiet, command=self.name)

    def resume(self, folder: Path, argv: Sequence[str], *, quiet: bool) -> Results:
        """Continue a run, or make a finished one longer; return the results."""
        return finish_run(self._changed(folder, argv), folder, resume=True, quiet=quiet)

    def _made(self, config: Any) -> tuple[Job, str]:
        """The job that options describe, and the text of its ``config.yaml``."""
        settings, plain = config.clone(), self.parser()
        for key in ("run_dir", "resume", "config"):  # belong to this call only
            settings.pop(key, None)
        job: Job = build(plain, settings)
        return job, dump(plain, settings, job.settings())

    def _resume(self, folder: Path, argv: Sequence[str]) -> int:
        job = self._changed(folder, argv)
        if not Launch.current().first:
            return _status(job.follow())
        if not self._changes(argv) and (folder / "results.json").exists():
            more = f" `--{self.further}` makes it longer." if self.further else ""
            print(f"The run in '{folder}' is finished.{more}")
        return self._outcome(folder, finish_run(job, folder, resume=True))

    def _changed(self, folder: Path, argv: Sequence[str]) -> Job:
        """The job of a run folder, to go as far as it was to, or further."""
        path, changes = self._config_of(folder), self._changes(argv)
        parser, config = self._read(path, changes)
        job: Job = build(parser, config)
        if changes and Launch.current().first:
            before = read_config(path).get(self.further)
            if before is not None and (asked := config[self.further]) < before:
                raise ValueError(
                    f"`{self.further}` should be at least the run's {before}, found {asked}."
                )
            config.pop("config", None)
            write_text(path, dump(parser, config, job.settings()))
        return job

    def options(self, path: Path) -> tuple[type, dict[str, Any]]:
        """The kind of job that a run folder's ``config.yaml`` describes, and its arguments."""
        parser, config = self._read(path)
        return parser.builds, arguments(parser, config)

    def _read(self, path: Path, changes: Sequence[str] = ()) -> tuple[Parser, Any]:
        parser, start = self.parser(), origin(path.parent)
        config = parser.parse(["--config", str(path), *changes])
        look_up(config, start)
        return parser, config

    def _changes(self, argv: Sequence[str]) -> list[str]:
        """The one option that a run may be continued with, if it is given.

        Raises:
            ValueError: If there is another.
        """
        given = [(key, value) for key, value in _pairs(argv) if key != "resume"]
        others = [key for key, _ in given if key != self.further]
        if others:
            only = f", besides `{self.further}`" if self.further else ""
            raise ValueError(
                f"`resume` should be the only option{only}, found `{others[0]}`: the run's own "
                "settings apply."
            )
        return [f"--{key}={value}" for key, value in given]

    def _config_of(self, folder: Path) -> Path:
        """The configuration of a run that is to be continued.

        Raises:
            ValueError: If it is not a run of this command.
        """
        check_version(folder)
        path = folder / "config.yaml"
        if not path.exists():
            raise ValueError(
                f"`resume` should be a run folder, found no config.yaml in '{folder}'."
            )
        if (found := command_of(path)) != self.name:
            raise ValueError(
                f"`resume` should be a run of `moml {self.name}`, found one of `moml {found}` in "
                f"'{folder}'. Continue it with `moml {found} --resume {quote(str(folder))}`."
            )
        return path

    def _new_folder(self, config: Any) -> Path:
        """The folder that is asked for, or one in ``runs`` named for the choices and the seed."""
        if config.run_dir:
            return Path(config.run_dir)
        parts = [config[key] for key in self.named_by]
        names = [part.class_path.rsplit(".", 1)[-1] for part in parts if part is not None]
        stem = "-".join([*([self.prefix] if self.prefix else []), *names, f"seed{config.seed}"])
        number = 1
        while (folder := Path("runs") / (stem if number == 1 else f"{stem}-{number}")).exists():
            number += 1
        return folder

    def _outcome(self, folder: Path, results: Results) -> int:
        if "stopped" not in results:
            self.report(folder, results)
            return 0
        stopped = results["stopped"]
        print(
            f"Stopped by {stopped}; continue with `moml {self.name} --resume {quote(str(folder))}`."
        )
        return _status(results)


def _status(results: Results) -> int:
    """As a shell reports it: 0, or 128 and the signal that stopped the run."""
    if "stopped" not in results:
        return 0
    name = results["stopped"].split()[0]
    return 128 + int(signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM)


def start_run(
    job: Job, config: str, folder: Path, *, quiet: bool = False, command: str = "train"
) -> Results:
    """Make a run folder and train in it.

    Raises:
        ValueError: If the folder is in use.
    """
    made = not folder.exists()
    try:
        if folder.is_dir():
            _check_empty(folder, command)
        with locked(folder):
            _check_empty(folder, command)  # nobody has come in between
            write_text(folder / "config.yaml", config)
            write_json(folder / "versions.json", record())
            try:
                return finish_run(job, folder, resume=False, quiet=quiet)
            except BaseException:
                if not _begun(folder):
                    _clear(folder)
                raise
    except BaseException:
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _check_empty(folder: Path, command: str) -> None:
    if any(path.name != LOCK for path in folder.iterdir()):
        raise ValueError(
            f"`run_dir` should be a new or empty folder, found '{folder}' in use. "
            f"Continue it with `moml {command} --resume {quote(str(folder))}`, or choose another."
        )


def _begun(folder: Path) -> bool:
    """Tell a run that has something to continue from one that failed before its first step."""
    log, saved = folder / "metrics.jsonl", folder / "checkpoints"
    kept = [*saved.glob("*.pt"), *(folder / "trained").glob("*.pt")]
    return bool(kept) or (log.exists() and log.stat().st_size > 0)


def _clear(folder: Path) -> None:
    """Remove what was prepared, so that the same command can be given again."""
    for name in ("config.yaml", "versions.json", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)
    for name in ("checkpoints", "tensorboard", "trained"):
        shutil.rmtree(folder / name, ignore_errors=True)


def finish_run(job: Job, folder: Path, *, resume: bool, quiet: bool = False) -> Results:
    """Train to the end and write the page."""
    from moml.report import write_report

    results = job.run(folder, resume=resume, quiet=quiet)
    if "stopped" not in results:
        write_report(folder)
    return results


def print_selected(folder: Path, results: Results) -> None:
    """Test metrics of the weights that validation chose."""
    intervals = results.get("test_intervals", {})
    for task, metrics in results["test"].items():
        near = intervals.get(task, {})
        values = "  ".join(
            f"{name} {value:.4g}" + (f" ± {near[name]:.2g}" if name in near else "")
            for name, value in metrics.items()
        )
        print(f"  test {task}: {values}")
    print(f"Best at step {results['best_step']} (by validation). Page: {folder / 'report.html'}")


def _pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    """Options with their values.

    Raises:
        ValueError: If something else is among them.
    """
    pairs, rest = [], list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--"):
            raise ValueError(f"Every value should follow its option, found {name!r} by itself.")
        if not equals:
            if not rest:
                raise ValueError(f"`{name[2:]}` should have a value after it, found none.")
            value = rest.pop(0)
        pairs.append((name[2:], value))
    return pairs


def _resumed_folder(argv: Sequence[str]) -> Path | None:
    """The folder after ``--resume``, looked up first: with it, no other option is needed."""
    for i, argument in enumerate(argv):
        if argument == "--resume" and i + 1 < len(argv):
            return Path(argv[i + 1])
        if argument.startswith("--resume="):
            return Path(argument.removeprefix("--resume="))
    return None
