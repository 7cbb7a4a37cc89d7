"""A run folder, read for a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from moml.logging.read import read_metrics

FILES = ("metrics.jsonl", "results.json", "config.yaml")
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class StoredRun:
    """What a run folder holds so far.

    Attributes:
        folder: Where it is.
        config_text: The resolved configuration as written; empty if there is none.
        config: The same, parsed.
        versions: Package to version.
        records: Lines of ``metrics.jsonl``.
        results: Content of ``results.json``; empty while the run is unfinished.
    """

    folder: Path
    config_text: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    records: list[dict[str, Any]]
    results: Mapping[str, Any]

    @property
    def train(self) -> list[dict[str, Any]]:
        """Train lines, in order."""
        return [record for record in self.records if record.get("kind") == "train"]

    def evals(self, split: str) -> list[dict[str, Any]]:
        """Evaluations on a split, in order."""
        return [r for r in self.records if r.get("kind") == "eval" and r.get("split") == split]

    @property
    def tasks(self) -> list[str]:
        """All tasks seen, in the order of the first line."""
        found: dict[str, None] = dict.fromkeys(self.results.get("test", {}))
        for record in self.records:
            found.update(dict.fromkeys(record.get("losses", {})))
            found.update(dict.fromkeys(record.get("metrics", {})))
        return list(found)

    @property
    def curves(self) -> dict[str, list[str]]:
        """Charts of the problem's own numbers, and the names of their lines."""
        found: dict[str, dict[str, None]] = {}
        for record in self.train:
            for chart, lines in record.get("curves", {}).items():
                found.setdefault(chart, {}).update(dict.fromkeys(lines))
        return {chart: list(lines) for chart, lines in found.items()}

    @property
    def objectives(self) -> list[str]:
        """The tasks that are minimised: evaluation may look at more."""
        return list(dict.fromkeys(task for r in self.train for task in r.get("losses", {})))

    @property
    def metrics(self) -> list[tuple[str, str]]:
        """Every task and metric, in order."""
        found: dict[tuple[str, str], None] = {}
        tables = [self.results.get("test", {}), *(r.get("metrics", {}) for r in self.evals("val"))]
        for table in tables:
            found.update({(task, name): None for task, row in table.items() for name in row})
        order = {task: i for i, task in enumerate(self.tasks)}
        return sorted(found, key=lambda key: order.get(key[0], len(order)))

    @property
    def best(self) -> dict[str, Any] | None:
        """The validation that model selection prefers so far."""
        return next((record for record in reversed(self.evals("val")) if record.get("best")), None)

    @property
    def best_step(self) -> int | None:
        """The step it was made at."""
        if "best_step" in self.results:
            return int(self.results["best_step"])
        return None if self.best is None else int(self.best["step"])

    @property
    def last_step(self) -> int:
        """How far the metrics go."""
        return max((int(record["step"]) for record in self.records), default=0)

    def setting(self, name: str) -> Any:
        """A fact from the results, or from the configuration while there are none."""
        value = self.results.get(name)
        return _class_name(_find(self.config, name) if value is None else value)

    def higher_is_better(self, task: str, metric: str) -> bool | None:
        """Direction of a metric; ``None`` if the run has not stored it."""
        return self.results.get("higher_is_better", {}).get(task, {}).get(metric)

    def unit(self, task: str) -> str:
        """Unit of a task's predictions, if any."""
        return str(self.results.get("units", {}).get(task) or "")

    def curve(self, records: list[dict[str, Any]], *keys: str) -> Points:
        """Step and value at these nested keys, where there is a value."""
        points = ((float(r["step"]), _get(r, *keys)) for r in records)
        return [(step, float(value)) for step, value in points if value is not None]


def read_run(folder: str | Path) -> StoredRun:
    """Read what a run folder holds so far.

    Raises:
        ValueError: If it is not a run folder, or one of its files is damaged.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in FILES):
        raise ValueError(
            f"`run_dir` should be a run folder, found '{folder}', which "
            f"{'has none of ' + ', '.join(FILES) if folder.is_dir() else 'is not a folder'}. "
            "Give the folder that `moml train --run_dir` has written."
        )
    config_text = _text(folder / "config.yaml")
    return StoredRun(
        folder,
        config_text,
        config=_mapping(folder / "config.yaml"),
        versions=_mapping(folder / "versions.json"),
        records=read_metrics(folder) if (folder / "metrics.jsonl").exists() else [],
        results=_mapping(folder / "results.json"),
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _mapping(path: Path) -> dict[str, Any]:
    """Content of a YAML or JSON file; empty if there is none."""
    try:
        content = (json.loads if path.suffix == ".json" else yaml.safe_load)(_text(path) or "{}")
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(
            f"`run_dir` should hold a readable {path.name}, found a damaged one in "
            f"'{path.parent}'. Delete it or run again."
        ) from error
    return content if isinstance(content, dict) else {}


def _get(record: Mapping[str, Any], *keys: str) -> Any:
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _find(config: Mapping[str, Any], name: str) -> Any:
    """A setting, at whatever depth the configuration keeps it; the outermost wins."""
    level: list[Mapping[str, Any]] = [config]
    while level:
        for mapping in level:
            if name in mapping:
                return mapping[name]
        level = [child for mapping in level for child in _children(mapping)]
    return None


def _children(mapping: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (value for value in mapping.values() if isinstance(value, Mapping))


def _class_name(value: Any) -> Any:
    """A class path without its modules; other values as they are."""
    if isinstance(value, Mapping) and "class_path" in value:
        value = value["class_path"]
    return value.rsplit(".", 1)[-1] if isinstance(value, str) else value
