"""One run of any job: one program, whatever is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from torch import nn

from moml._support.files import write_json
from moml.jobs.lock import locked
from moml.jobs.records import RunRecords, finished
from moml.training.callback import Callback, History
from moml.training.checkpoint import Checkpoint
from moml.training.validation import Metrics, Scores, Validation, eval_record

Results = dict[str, Any]


class Job(ABC):
    """Something that runs in a folder of its own, stops at a signal, and goes on.

    Attributes:
        log_every: Steps between lines of the metrics file.
        checkpoint_every: Steps between checkpoints.
        conflicts_every: Steps between Gramians of weightings that do not look at them.
    """

    log_every: int
    checkpoint_every: int
    conflicts_every: int | None = None

    @property
    @abstractmethod
    def goal(self) -> dict[str, int]:
        """The number that says when a run is finished, by its name in ``results.json``."""

    def settings(self) -> dict[str, Any]:
        """Options with the values that are used, where they come from elsewhere."""
        return {}

    def run(self, folder: Path, *, resume: bool = False, quiet: bool = False) -> Results:
        """Do the job and write the folder.

        Args:
            folder: The run folder.
            resume: Continue from its last checkpoint; a finished run is left as it is, or goes
                further if there is more to do.
            quiet: Print nothing.

        Returns:
            The results, also in ``results.json``; with key ``"stopped"`` if a signal came.

        Raises:
            ValueError: If data, network or folder cannot be used.
        """
        with locked(folder):
            known = finished(folder, **self.goal) if resume else None
            if known is not None:
                return known
            self.prepare()
            records = RunRecords(
                folder,
                resume=resume,
                quiet=quiet,
                log_every=self.log_every,
                checkpoint_every=self.checkpoint_every,
                conflicts_every=self.conflicts_every,
            )
            results = self.work(folder, records, quiet=quiet)
            if "stopped" not in results:
                write_json(folder / "results.json", results)
            return results

    def prepare(self) -> None:
        """Look at data and network before anything is written; nothing unless overridden.

        Raises:
            ValueError: If they cannot be used.
        """
        return

    @abstractmethod
    def work(self, folder: Path, records: RunRecords, *, quiet: bool) -> Results:
        """Train and measure; return what was found, or ``{"stopped": why}``."""

    def follow(self) -> Results:
        """Do the part of a process that is not the first one of ``torchrun``.

        Raises:
            ValueError: If the job runs in one process only.
        """
        raise ValueError(
            f"{type(self).__name__} should run in one process, found several. Leave out `torchrun`."
        )


class TrainingJob(Job):
    """A job of one training: select weights on validation data, test the best ones.

    Attributes:
        steps: Number of steps.
        eval_every: Steps between validations.
    """

    steps: int
    eval_every: int

    @property
    def goal(self) -> dict[str, int]:
        """The number of steps."""
        return {"steps": self.steps}

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """Everything that is trained."""

    @property
    def validated(self) -> Iterable[str]:
        """Tasks that the validation data should have labels of; not looked at by default."""
        return ()

    @abstractmethod
    def fit(self, callbacks: list[Callback], checkpoint: Checkpoint) -> History:
        """Run the loop."""

    @abstractmethod
    def evaluate(self, split: Literal["val", "test"]) -> Scores:
        """Losses and metrics on a split."""

    @abstractmethod
    def score(self, metrics: Metrics) -> float:
        """The number that selection goes by; larger is better."""

    @abstractmethod
    def save(self, file: Path) -> None:
        """Write the module's weights."""

    @abstractmethod
    def facts(self, score: float) -> Results:
        """Results besides numbers found; ``score`` is that of the test data."""

    def validation(self, best: Path, write: Callable[[dict[str, Any]], None]) -> Validation:
        """Validates every so many steps, and keeps the best weights."""
        return Validation(
            self.module,
            lambda: self.evaluate("val"),
            self.score,
            best=best,
            every=self.eval_every,
            write=write,
            tasks=self.validated,
        )

    def work(self, folder: Path, records: RunRecords, *, quiet: bool) -> Results:
        """Train, load the best weights, look once at the test data."""
        validation = self.validation(records.best, records.write)
        history = self.fit(records.callbacks(validation), records.checkpoint)
        if history.stopped:
            return {"stopped": history.stopped}
        seconds = records.checkpoint.cpu_seconds
        self.save(folder / "weights.safetensors")
        validation.load_best()
        self.save(folder / "best.safetensors")
        val, test = self.evaluate("val"), self.evaluate("test")
        score = self.score(test.metrics)
        records.write(eval_record("test", validation.best_step, test, score, best=True))
        return self.facts(score) | {
            "best_step": validation.best_step,
            "val_score": self.score(val.metrics),
            "val": val.metrics,
            "test": test.metrics,
            **_intervals(val, test),
            "cpu_seconds": round(seconds, 2),
        }


def _intervals(val: Scores, test: Scores) -> Results:
    found = {"val_intervals": val.intervals, "test_intervals": test.intervals}
    return {} if test.intervals is None else found
