"""What is computed on a whole batch by one process, and on its parts by several.

Every case is a function of an oracle that makes evaluations, and of the part that it gets to see;
its result is the same whoever computes it.
"""

import contextlib
import os
import signal

import torch
import torch.distributed as dist
from torch import nn

import moml
from moml.architecture import HPS, DSelectK
from moml.data import Batch, TaskInputs
from moml.errors import NonFiniteError
from moml.jobs import catalog
from moml.oracle import Accumulated, Direct, Distributed, Representation
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from tests.helpers import TASKS, batch, flat_grad, network, problem

WEIGHTS = torch.tensor([0.2, 0.0, 1.7], dtype=torch.float64)
ORACLES = {
    "direct": Direct,
    "unit heads": lambda: Direct(heads="unit"),
    "ghost": lambda: Direct(rows="ghost"),
    "layers": lambda: Direct(rows="layers"),
    "accumulated": lambda: Accumulated(Direct(), parts=2),
}


def cut(data, rank, count):
    """The first part is larger than the others."""
    edges = [
        0,
        *(len(next(iter(data.targets.values()))) * (k + 2) // (count + 1) for k in range(count)),
    ]
    rows = slice(edges[rank], edges[rank + 1])
    inputs = data.inputs
    if data.multi_input:
        inputs = TaskInputs({t: x[rows] for t, x in inputs.items()})
    else:
        inputs = inputs[rows]
    present = {t: p[rows] for t, p in (data.present or {}).items()}
    return Batch(inputs, {t: y[rows] for t, y in data.targets.items()}, present or None)


def partly(data):
    """Task b has labels in the first part alone."""
    return Batch(data.inputs, data.targets, {"b": torch.arange(12) < 3})


def undefined(data):
    """Labels that are there and undefined, not equally many in all parts."""
    targets = {task: y.clone() for task, y in data.targets.items()}
    targets["a"][:4] = targets["b"][5:] = -1
    return Batch(data.inputs, targets)


def first_only(data):
    """Nothing has a label in the last part."""
    return Batch(data.inputs, data.targets, dict.fromkeys(TASKS, torch.arange(12) < 6))


DATA = {
    "undefined labels": lambda: undefined(batch()),
    "single input": batch,
    "multi input": lambda: batch(multi_input=True),
    "partly labelled": lambda: partly(batch()),
    "a part without labels": lambda: first_only(batch()),
}


def looked_at(wrap, part, make, kind):
    """All that a weighting may ask for, and what is written."""
    model = network()
    oracle, data = wrap(make()), part(DATA[kind]())
    seen = oracle(problem(model), data)
    found = [seen.losses, seen.pullback(WEIGHTS)]
    seen.apply(WEIGHTS)
    found.append(flat_grad(model.parameters()))
    model.zero_grad()
    seen = oracle(problem(model), data)
    found += [
        seen.gramian,
        seen.jacobian,
        seen.pullback(WEIGHTS),
        seen.cross(oracle(problem(model), data)),
    ]
    found.append(seen.select(torch.tensor([2, 0])).jacobian)
    seen.apply(WEIGHTS, heads="unit")
    seen.assign(torch.arange(seen.jacobian.shape[1], dtype=torch.float64))
    return [*found, flat_grad(model.parameters())]


def frozen(wrap, part):
    """Heads alone are trained."""
    model = network()
    model.encoder.requires_grad_(False)
    head = [p for p in model.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(head, 0.05)
    moml.fit(problem(model), wrap(Direct()), moml.weighting.UW(), sgd, [part(batch())], steps=3)
    return [flat(model)]


def trained(wrap, part, weighting, oracle=None, steps=3):
    """Parameters and losses after a few steps."""
    model = network()
    history = moml.fit(
        problem(model),
        wrap(oracle or Direct()),
        weighting,
        torch.optim.SGD(model.parameters(), 0.05),
        [part(batch(seed=s)) for s in range(1, 4)],
        steps=steps,
    )
    return [flat(model), torch.tensor([history.losses(task) for task in TASKS])]


def regularised(wrap, part):
    """The entropy of gates that see the samples."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
    encoder.example_input = torch.zeros(1, 6)
    heads = {task: nn.Linear(8, 3) for task in TASKS}
    model = DSelectK(encoder, heads, stages=2, entropy=0.5).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    moml.fit(
        problem(model), wrap(Direct()), moml.weighting.EW(), optimizer, [part(batch())], steps=3
    )
    return [flat(model)]


class Fork(moml.Problem):
    """Task b does not reach the second weight."""

    tasks = ("a", "b", "c")
    module = None

    def __init__(self):
        self.module = nn.ModuleList([nn.Linear(6, 1), nn.Linear(6, 1)]).double()
        for k, part in enumerate(self.module):
            nn.init.constant_(part.weight, 0.1 + k)
            nn.init.zeros_(part.bias)

    def losses(self, data):
        first, second = (part(data.inputs).squeeze(1) for part in self.module)
        outs = {"a": first + second, "b": first, "c": second - first}
        return {task: (outs[task] - data.targets[task]).square().mean() for task in outs}

    def shared_parameters(self):
        return self.module.parameters()

    def private_parameters(self, task):
        return []


def per_task_moments(wrap, part):
    """AdaTask, to whose moments a gradient of zero is not no gradient."""
    fork = Fork()
    data = [part(batch(seed=s)) for s in range(1, 4)]
    adam = moml.optim.AdaTask(fork.module.parameters(), 0.05)
    moml.fit(fork, wrap(Direct()), moml.weighting.MGDA(), adam, data, steps=5)
    return [flat(fork.module)]


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def cases():
    """By name; each takes ``wrap`` and ``part``."""
    found = {}
    for name, make in ORACLES.items():
        for kind in DATA:
            found[f"{name}, {kind}"] = lambda w, p, m=make, k=kind: looked_at(w, p, m, k)
    found["train heads alone"] = frozen
    found["train with moments per task"] = per_task_moments
    for entry in catalog.entries("weightings"):
        found[f"train {entry.name}"] = lambda w, p, n=entry.name: trained(w, p, default(n))
    for name in ("MGDA", "CAGrad", "EW"):
        found[f"train {name}, representation"] = lambda w, p, n=name: trained(
            w, p, default(n), Representation()
        )
    return found


def default(name):
    """A weighting with its defaults."""
    return getattr(moml.weighting, name)()


# What only several processes can show ---------------------------------------------------------


def starts_alike(rank, part):
    """Other initial weights and statistics in every process; equal ones after training."""
    torch.manual_seed(rank)
    body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    body.out_features = 8
    model = HPS(body, {task: nn.Linear(8, 3) for task in TASKS}).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    moml.fit(
        problem(model),
        Distributed(Direct()),
        moml.weighting.MGDA(),
        optimizer,
        [part(batch())],
        steps=3,
    )
    return [flat(model), *(b.double() for b in model.buffers())]


def not_finite(rank, part):
    """A NaN in the last part's inputs is everybody's error."""
    data = batch()
    data.inputs[-1] = float("nan")
    try:
        trained(Distributed, lambda _: part(data), moml.weighting.EW())
    except NonFiniteError as error:
        return str(error)
    return "no error"


class Stop(Callback):
    """A signal to one process after its second step."""

    def after_step(self, training):
        if training.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped(rank, part, folder):
    """A signal to one stops all after the same step; resumed, they end as if unbroken."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def run(steps, callbacks, resume):
        return moml.fit(
            problem(model), Distributed(Direct()), moml.weighting.CAGrad(), optimizer,
            [part(batch(seed=s)) for s in range(1, 4)], steps=steps, callbacks=callbacks,
            checkpoint=Checkpoint(folder, resume=resume, writes=rank == 0),
        )  # fmt: skip

    first = run(6, [Stop()] if rank == 1 else [], False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(rank)  # forgotten: the checkpoint has them
    run(6, [], True)
    return first.stopped, flat(model)


def refused(rank, part):
    """Whole gradients of representations."""
    with contextlib.suppress(ValueError):
        trained(Distributed, part, moml.weighting.GradDrop(), Representation())
        return "no error"
    return "refused"


def work(rank, count, folder):
    """All cases in one process of a group; results go to a file."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count
    )

    def part(data):
        return cut(data, rank, count)

    found = {name: case(Distributed, part) for name, case in cases().items()}
    found["regularised"] = regularised(Distributed, lambda data: data)
    found["starts alike"] = starts_alike(rank, part)
    found["not finite"] = not_finite(rank, part)
    found["stopped"] = stopped(rank, part, f"{folder}/checkpoints")
    found["refused"] = refused(rank, part)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
