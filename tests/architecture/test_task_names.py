"""Any string or integer is a task's name: in networks, states, files and pages."""

import json

import pytest
import torch
from torch import nn

import moml
from moml import architecture
from moml.architecture import HPS, MMoE, WholeModel
from moml.backbone import MLP
from moml.data import Batch, TaskInputs
from moml.jobs import catalog
from moml.jobs.multitask import MultiTaskJob
from moml.logging import MetricsLog
from moml.losses import CrossEntropy
from moml.oracle import Direct
from moml.report import write_report
from moml.training.checkpoint import Checkpoint
from moml.weighting import MGDA, UW
from tests.small_suite import Small

STRANGE = (
    "type", "values", "train", "forward", "a.b", "shared", "training", "keys", "_modules", "%2E",
    "a%", "", "self", "é ü", "a/b", "0", "heads.a", "<b>", "a: b",
)  # fmt: skip
KINDS = [entry.name for entry in catalog.entries("architectures")]


def data(tasks, size=6):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(size, 4, generator=draw)
    return Batch(x, {t: torch.randint(3, (size,), generator=draw) for t in tasks})


def network(kind, tasks):
    torch.manual_seed(0)
    encoder = MLP(4, hidden=(8, 8))
    heads = {task: nn.Linear(8, 3) for task in tasks}
    options = {"SharingTable": {"table": {str(t): [0] for t in tasks}}}
    return getattr(architecture, kind)(encoder, heads, **options.get(kind, {}))


@pytest.mark.supported
@pytest.mark.parametrize(
    "kind",
    [
        "HPS",
        "MMoE",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("CGC", "CrossStitch", "NDDR", "LTB")),
    ],
)
def test_tasks_with_any_string_as_name(kind):
    plain = tuple(f"t{i:02d}" for i in range(len(STRANGE)))
    ends = []
    for tasks in (STRANGE, plain):
        model = network(kind, tasks)
        one = moml.MultiTask(model, {t: CrossEntropy(3) for t in tasks})
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        history = moml.fit(one, Direct(), MGDA(), optimizer, [data(tasks)], steps=2)
        assert tuple(history.records[0].losses) == tasks
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        again = network(kind, tasks)
        again.load_state_dict(model.state_dict())
    assert torch.equal(*ends)


@pytest.mark.supported
def test_tasks_with_integers_as_names(tmp_path):
    model = HPS(nn.Linear(4, 8), {0: nn.Linear(8, 3), 1: nn.Linear(8, 3)})
    assert model.tasks == ("0", "1")
    one = moml.MultiTask(model, {1: CrossEntropy(3), 0: nn.CrossEntropyLoss()})
    batches = [Batch(b.inputs, {int(t): y for t, y in b.targets.items()}) for b in [data("01")]]
    optimizer = torch.optim.Adam(model.parameters())
    checkpoint = Checkpoint(tmp_path, every=1)
    log = MetricsLog(tmp_path / "metrics.jsonl", every=1)
    history = moml.fit(
        one, Direct(), UW(), optimizer, batches, steps=2, checkpoint=checkpoint, callbacks=[log]
    )
    assert history.losses(0) == history.losses("0")
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert list(first["losses"]) == ["0", "1"]


@pytest.mark.supported
def test_tasks_with_any_string_as_name_and_inputs_of_their_own():
    model = network("HPS", STRANGE)
    one = moml.MultiTask(model, {t: CrossEntropy(3) for t in STRANGE})
    shared = data(STRANGE)
    own = Batch(TaskInputs(dict.fromkeys(STRANGE, shared.inputs)), shared.targets)
    torch.testing.assert_close(dict(one.losses(own)), dict(one.losses(shared)))
    some = Batch(TaskInputs({"shared": shared.inputs}), {"shared": shared.targets["shared"]})
    assert list(one.losses(some)) == ["shared"]
    mixture = network("MMoE", STRANGE)
    assert set(mixture(own.inputs)) == set(STRANGE)


def test_whole_models_with_integers_as_names():
    class Model(nn.Linear):
        def forward(self, x):
            made = super().forward(x)
            return {0: made, 1: -made}

    whole = WholeModel(Model(4, 3), [0, 1])
    assert set(whole(torch.zeros(2, 4))) == {"0", "1"}


class Strange(Small):
    names = ("a.b", "type")

    @property
    def tasks(self):
        return dict(zip(self.names, super().tasks.values(), strict=True))

    def sources(self, split):
        source = super().sources(split)
        source.targets = dict(zip(self.names, source.targets.values(), strict=True))
        return source


@pytest.mark.supported
def test_a_run_folder_and_its_page_of_tasks_with_any_name(tmp_path):
    encoder = MLP(6, hidden=(8, 8))
    job = MultiTaskJob(Strange(), UW(), MMoE, encoder=encoder, steps=4, eval_every=2)
    results = job.run(tmp_path / "run", quiet=True)
    assert set(results["test"]) == {"a.b", "type"}
    write_report(tmp_path / "run")
    assert "a.b" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({1: 0, "1": 0}, "should name every task once, found"),
        ({}, "at least one task, found none"),
        ({1.5: 0}, "strings or integers, found 1.5"),
        ({True: 0}, "strings or integers, found True"),
    ],
)
def test_names_that_are_none(names, sentence):
    with pytest.raises(ValueError, match=sentence):
        HPS(nn.Linear(4, 8), {name: nn.Linear(8, 3) for name in names})


def test_heads_that_are_no_modules():
    with pytest.raises(ValueError, match=r"`heads\['a'\]` should be a module, found the class Lin"):
        HPS(nn.Linear(4, 8), {"a": nn.Linear})
    with pytest.raises(ValueError, match="`encoder` should be a module, found the class Linear"):
        HPS(nn.Linear, {"a": nn.Linear(8, 3)})
