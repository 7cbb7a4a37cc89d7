"""A finished run: its model, its data, what it measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from moml.architecture import Architecture
from moml.data import Suite
from moml.data.suite import Split
from moml.logging import read_metrics
from moml.trainer import Trainer
from moml.validation import Scores, evaluate


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        folder: The run folder.
        config: The resolved settings.
        trainer: Suite, network and everything else as the run had them, with the weights loaded.
    """

    folder: Path
    config: dict[str, Any]
    trainer: Trainer

    @property
    def model(self) -> Architecture:
        """The trained network, in evaluation mode."""
        return self.trainer.architecture

    @property
    def suite(self) -> Suite:
        """The benchmark, restricted to the run's tasks."""
        return self.trainer.suite

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``."""
        return read_metrics(self.folder / "metrics.jsonl")

    @cached_property
    def results(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        loaded: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return loaded

    def evaluate(self, split: Split = "test") -> Scores:
        """Losses and metrics on a split."""
        trainer = self.trainer
        return evaluate(
            self.model, trainer.suite.tasks, trainer.loader(split), device=trainer.device
        )


def load_run(path: str | Path, *, weights: Literal["best", "last"] = "best") -> Run:
    """Load a finished run.

    Args:
        path: The run folder.
        weights: The best ones by validation, or those after the last step.

    Raises:
        ValueError: If it is not a finished run.
    """
    from safetensors.torch import load_model

    from moml.cli.parser import trainer_from_file

    folder = Path(path)
    file = folder / {"best": "best.safetensors", "last": "weights.safetensors"}[weights]
    if not (folder / "config.yaml").exists():
        raise ValueError(f"`path` should be a run folder, found no config.yaml in '{folder}'.")
    if not file.exists():
        raise ValueError(
            f"`path` should be a finished run, found no {file.name} in '{folder}'. "
            f"Finish it with `moml train --resume {folder}`."
        )
    trainer, config = trainer_from_file(folder / "config.yaml")
    load_model(trainer.architecture, str(file))
    trainer.architecture.eval()
    return Run(folder, config, trainer)
