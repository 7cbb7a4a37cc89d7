"""Run folders as the trainer leaves them."""

import json

import pytest

SUITES = {
    "Pair": {"left": {"accuracy": True}, "right": {"accuracy": True}},
    "Rooms": {
        "segmentation": {"mIoU": True, "pixel_accuracy": True},
        "depth": {"abs_err": False},
        "normals": {"mean": False, "within_11.25": True},
    },
    "Many": {f"target_{i}": {"mae": False} for i in range(9)},
}


def result(suite="Pair", weighting="EW", seed=0, *, shift=0.0, **more):
    tasks = SUITES[suite]
    test = {
        task: {name: 0.5 + 0.01 * i + 0.1 * j + 0.013 * seed + shift for j, name in enumerate(row)}
        for i, (task, row) in enumerate(tasks.items())
    }
    return {
        "suite": suite, "architecture": "HPS", "weighting": weighting, "seed": seed, "steps": 40,
        "best_step": 30, "val": test, "test": test, "higher_is_better": tasks,
        "main": {task: next(iter(row)) for task, row in tasks.items()},
        "units": {"depth": "m"}, "delta_percent": None, "reference": None, "cpu_seconds": 12.5,
        **more,
    }  # fmt: skip


def records(suite, *, cosines=True, weights=True):
    tasks = list(SUITES[suite])
    lines = []
    for step in range(10, 41, 10):
        line = {
            "kind": "train", "step": step, "epoch": 0, "learning_rate": 0.001,
            "losses": {task: 5.0 / step + i for i, task in enumerate(tasks)},
        }  # fmt: skip
        if weights:
            line["weights"] = {task: 1 / len(tasks) for task in tasks}
        if cosines:
            n = len(tasks)
            line["tasks"] = tasks
            line["cosines"] = [[1.0 if i == j else -0.25 for j in range(n)] for i in range(n)]
            line["cosines"][0] = [None] * n if step == 20 else line["cosines"][0]
        lines.append(line)
        lines.append(
            {
                "kind": "eval", "split": "val", "step": step, "score": step / 10,
                "best": step <= 30, "losses": line["losses"],
                "metrics": {
                    task: dict.fromkeys(SUITES[suite][task], 0.5 + step / 100)
                    for task in tasks
                },
            }
        )  # fmt: skip
    return lines


@pytest.fixture
def suites():
    return SUITES


@pytest.fixture
def make_result():
    return result


@pytest.fixture
def make_run(tmp_path):
    def make(name="run", *, suite="Pair", weighting="EW", seed=0, finished=True, **options):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        lines = [json.dumps(line) for line in records(suite, **options)]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        (folder / "config.yaml").write_text(
            f"suite:\n  class_path: tasks.{suite}\nweighting: moml.weighting.{weighting}\n"
            f"steps: 40\nseed: {seed}\nnote: a < b & c\n"
        )
        (folder / "versions.json").write_text(json.dumps({"moml": "0.1.0", "torch": "2.13.0"}))
        if finished:
            content = result(suite, weighting, seed)
            (folder / "results.json").write_text(json.dumps(content))
        return folder

    return make
