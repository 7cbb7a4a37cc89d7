"""A finished run: its model, its data, what it measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from moml._support import checks
from moml._support.files import read_json
from moml._support.random_state import untouched
from moml._support.safetensors_file import load_weights
from moml.architecture import Architecture
from moml.data import FewShotSuite, Suite
from moml.data.suite import Split
from moml.jobs.example import read_example
from moml.jobs.few_shot import FewShotJob
from moml.jobs.multitask import MultiTaskJob
from moml.jobs.version import check_version
from moml.logging import read_metrics
from moml.training.validation import Scores

if TYPE_CHECKING:
    from moml.jobs.start import RunCommand

Weights = Literal["best", "last"]


@dataclass(frozen=True)
class RunFolder:
    """What every run folder holds.

    Attributes:
        folder: The run folder.
        config: The resolved settings.
    """

    folder: Path
    config: dict[str, Any]

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_metrics(self.folder / "metrics.jsonl")

    @cached_property
    def results(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        loaded: dict[str, Any] = read_json(self.folder / "results.json")
        return loaded


@dataclass(frozen=True)
class Run(RunFolder):
    """A multi-task run.

    Attributes:
        job: Suite, network and everything else as the run had them, with the weights loaded.
    """

    job: MultiTaskJob

    @property
    def model(self) -> Architecture:
        """The trained network, in evaluation mode."""
        return self.job.architecture

    @property
    def suite(self) -> Suite:
        """The benchmark, restricted to the run's tasks."""
        return self.job.suite

    def evaluate(self, split: Split = "test") -> Scores:
        """Losses and metrics on a split."""
        return self.job.evaluate(split)


@dataclass(frozen=True)
class MetaRun(RunFolder):
    """A few-shot run.

    Attributes:
        job: Suite, learner and everything else as the run had them, with the weights loaded.
    """

    job: FewShotJob

    @property
    def model(self) -> nn.Module:
        """The network before adaptation, in evaluation mode."""
        return self.job.network

    @property
    def suite(self) -> FewShotSuite:
        """The distribution over episodes."""
        return self.job.suite

    def evaluate(self, split: Split = "test") -> Scores:
        """Losses and metrics of adapted networks, with intervals over episodes.

        Raises:
            ValueError: If there is no fixed list of episodes of this split.
        """
        if split == "train":
            raise ValueError(
                "`split` should be 'val' or 'test' for a few-shot run, found 'train', of which "
                "there is no fixed list of episodes."
            )
        return self.job.evaluate(split)


def load_run(path: str | Path, *, weights: Weights = "best") -> Run | MetaRun:
    """Load a finished run of ``moml train`` or ``moml meta``.

    No data are read before something is evaluated, and the global generator and PyTorch's number of
    threads stay as they are.

    Args:
        path: The run folder.
        weights: The best ones by validation, or those after the last step.

    Raises:
        ValueError: If it is not a finished run.
    """
    from moml.jobs.config import command_of

    checks.instance("path", path, (str, Path), "a run folder")
    config = Path(path) / "config.yaml"
    if not config.exists():
        raise ValueError(f"`path` should be a run folder, found no config.yaml in '{path}'.")
    if command_of(config) == "meta":
        return _load_meta_run(Path(path), weights)
    return load_multi_task_run(path, weights=weights)


def load_multi_task_run(path: str | Path, *, weights: Weights = "best") -> Run:
    """Load a finished run of ``moml train``.

    Args:
        path: The run folder.
        weights: The best ones by validation, or those after the last step.

    Raises:
        ValueError: If it is not one.
    """
    from safetensors.torch import load_model

    from moml.jobs.commands.train import COMMAND
    from moml.jobs.config import command_of, read_config

    folder = Path(path)
    config = folder / "config.yaml"
    if not config.exists():
        raise ValueError(f"`path` should be a run folder, found no config.yaml in '{folder}'.")
    if (found := command_of(config)) != "train":
        raise ValueError(
            f"`path` should be a multi-task run, found one of `moml {found}` in '{folder}'."
        )
    file = _weights_file(folder, weights, "train")
    job: MultiTaskJob = _job(COMMAND, config)
    load_model(job.architecture, str(file))
    job.architecture.eval()
    return Run(folder, read_config(config), job)


def _load_meta_run(folder: Path, weights: Weights) -> MetaRun:
    from moml.jobs.commands.meta import COMMAND
    from moml.jobs.config import read_config

    file = _weights_file(folder, weights, "meta")
    config = folder / "config.yaml"
    job: FewShotJob = _job(COMMAND, config)
    load_weights(job.module, file)
    job.module.eval()
    job.network.eval()
    return MetaRun(folder, read_config(config), job)


def _job(command: RunCommand, config: Path) -> Any:
    """The job that a run folder's configuration describes, with a fresh network."""
    with untouched():
        kind, options = command.options(config)
        example = read_example(config.parent)
        if example is not None:
            options["suite"].example = example
        return kind(**options)


def _weights_file(folder: Path, weights: Weights, command: str) -> Path:
    check_version(folder)
    files = {"best": "best.safetensors", "last": "weights.safetensors"}
    checks.choice("weights", weights, list(files))
    file = folder / files[weights]
    if not file.exists():
        raise ValueError(
            f"`path` should be a finished run, found no {file.name} in '{folder}'. "
            f"Finish it with `moml {command} --resume {quote(str(folder))}`."
        )
    return file
