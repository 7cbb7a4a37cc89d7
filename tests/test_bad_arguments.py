"""Wrong arguments are refused in a sentence that names them."""

import inspect
import typing

import pytest
import torch
from torch import nn

import moml
import moml.architecture
import moml.attack
import moml.bilevel
import moml.data
import moml.front.problems
import moml.losses
import moml.optim
import moml.weighting
from moml.architecture import HPS, LTB, MTAN, PLE, MMoE, SharingTable, WholeModel
from moml.data import (
    Batch,
    BatchLoader,
    DatasetSource,
    EpisodeSource,
    Loader,
    MultiLoader,
    Source,
    TaskInputs,
    TensorSource,
    hold_out,
    prefetched,
)
from moml.losses import CrossEntropy, MeanSquaredError
from moml.optim import AdaTask, GradientStep, Several, TaskSteps, param_groups
from moml.oracle import Accumulated, Direct, Distributed, Representation
from moml.training.checkpoint import Checkpoint
from moml.weighting import (
    CRMOGM,
    DWA,
    EW,
    FAMO,
    MGDA,
    UW,
    Constant,
    GradNorm,
    MoDo,
    Scaled,
    Weighting,
)

X = torch.ones(4, 2)


class Encoder(nn.Sequential):
    """Two stages that architectures can cut."""

    def __init__(self):
        super().__init__(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU())
        self.example_input = torch.zeros(1, 2)


class Episodes(EpisodeSource):
    """Nothing is drawn from it here."""

    def sample(self, generator, count):
        raise NotImplementedError


NEEDED = {  # arguments that have no default, with a value that is right
    "weighting": MGDA(),
    "n": 2,
    "encoder": Encoder(),
    "heads": {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)},
    "num_classes": 3,
    "params": list(Encoder().parameters()),
    "parameters": list(Encoder().parameters()),
    "make_optimizer": lambda ps: torch.optim.SGD(ps, 0.1),
    "tasks": ["a", "b"],
    "optimizer": torch.optim.SGD(Encoder().parameters(), 0.1),
    "source": TensorSource(X, {"a": X}),
    "batch_size": 2,
    "inputs": X,
    "labels": torch.tensor([0, 0, 1, 1]),
    "ways": 2,
    "shots": 1,
    "queries": 1,
    "meta_batch_size": 1,
    "count": 1,
    "loader": Loader(TensorSource(X, {"a": X}), 2),
    "workers": 1,
    "lr": 0.1,
    "steps": 1,
    "k": 1,
    "ball": moml.attack.Linf(0.1),
    "optimizer_class": torch.optim.SGD,
}
BAD = ("0.1", [1], float("nan"), True, int)


def public(room, base=object):
    """Concrete public classes of a package."""
    for name in room.__all__:
        cls = getattr(room, name)
        if inspect.isclass(cls) and issubclass(cls, base) and not inspect.isabstract(cls):
            yield cls


def options(cls):
    """Constructor options that are annotated as a number, and whether None is one of them."""
    for name, parameter in inspect.signature(cls).parameters.items():
        kind, _, none = str(parameter.annotation).partition(" | ")
        if kind in ("int", "float") and none in ("", "None"):
            yield name, none == "None"


def cases(room, base=object):
    """Every numeric option of every class."""
    return [
        pytest.param(cls, name, optional, id=f"{cls.__name__}-{name}")
        for cls in public(room, base)
        for name, optional in options(cls)
    ]


def refused(make, name):
    """The sentence in which something is refused."""
    with pytest.raises(ValueError) as caught:
        make()
    text = str(caught.value)
    assert type(caught.value).__module__ in ("builtins", "moml.errors")
    assert f"`{name}" in text
    assert "should" in text
    assert "found" in text
    assert text.endswith(".")
    assert "\n" not in text
    return text


def made(cls, **given):
    """An object with arguments that are right for what is not given."""
    needed = {
        name: NEEDED[name]
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is parameter.empty and name not in given
    }
    return cls(**needed, **given)


@pytest.mark.parametrize(("cls", "name", "optional"), cases(moml.weighting, Weighting))
def test_numbers_of_a_weighting_are_numbers(cls, name, optional):
    for value in BAD if optional else (*BAD, None):
        refused(lambda value=value: made(cls, **{name: value}), name)


@pytest.mark.parametrize(
    ("cls", "name", "optional"),
    [
        *cases(moml.architecture, moml.Architecture),
        *cases(moml.optim),
        *cases(moml.losses, moml.losses.Loss),
        *cases(moml.data, (BatchLoader, EpisodeSource, Source)),
        *cases(moml.bilevel, (moml.bilevel.InnerSolver, moml.bilevel.Hypergradient)),
        *cases(moml.attack, (moml.attack.PGD, moml.attack.FAB, moml.attack.UAP)),
        *cases(moml.front.problems),
    ],
)
def test_numbers_of_other_parts_are_numbers(cls, name, optional):
    needed = {}
    if cls.__name__ in ("EpisodeLoader", "EpisodeList"):
        needed["source"] = Episodes()
    for value in BAD if optional else (*BAD, None):
        if name == "undefined" and isinstance(value, float):
            continue  # NaN marks undefined targets
        refused(lambda value=value: made(cls, **needed, **{name: value}), name)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        pytest.param(cls, name, id=f"{cls.__name__}-{name}")
        for cls in public(moml.weighting, Weighting)
        for name in inspect.signature(cls).parameters
        if name in ("preference", "ideal", "min_losses", "others", "groups", "goals", "leak")
    ],
)
def test_preferences_are_one_number_per_task(cls, name):
    for value in ("equal", 3.5, [None, 1.0], {"a": "1"}, [float("nan")]):
        if name in ("goals", "leak") and isinstance(value, float):
            value = float("inf")
        refused(lambda value=value: made(cls, **{name: value}), name)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        pytest.param(cls, name, id=f"{cls.__name__}-{name}")
        for cls in public(moml.weighting, Weighting)
        for name, hint in typing.get_type_hints(cls.__init__).items()
        if typing.get_origin(hint) is typing.Literal or hint is bool
    ],
)
def test_words_of_a_weighting_are_known(cls, name):
    for value in ("nonsense", None, ["min"], 2.5):
        refused(lambda value=value: made(cls, **{name: value}), name)


class Whole(nn.Module):
    """No encoder and heads."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)

    def forward(self, x):
        made = self.body(x)
        return {"a": made[:, :1], "b": made[:, 1:]}


class Triples:
    """A data set whose items are of another form."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[index], X[index], X[index]


def problem(network=None):
    network = (
        HPS(nn.Linear(2, 3), {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)})
        if (network is None)
        else network
    )
    return moml.MultiTask(network, {"a": MeanSquaredError(), "b": MeanSquaredError()})


def fit(one=None, *, oracle=None, updater=None, batches=None, **given):
    one = problem() if one is None else one
    targets = {"a": torch.zeros(4, 1), "b": torch.zeros(4, 1)}
    return moml.fit(
        one,
        Direct() if oracle is None else oracle,
        EW(),
        torch.optim.SGD(one.module.parameters(), 0.1) if updater is None else updater,
        [Batch(X, targets)] if batches is None else batches,
        **{"steps": 1, **given},
    )


def losses():
    made = nn.Linear(2, 2)(X)
    return {"a": made[:, 0].square().mean(), "b": made[:, 1].square().mean()}


def backward(**given):
    moml.backward(losses(), given.pop("weighting", EW()), **given)


def other_scheduler():
    one = problem()
    other = torch.optim.SGD(Whole().parameters(), 0.1)

    def scheduler(optimizer):
        return torch.optim.lr_scheduler.StepLR(other, 1)

    updater = GradientStep(torch.optim.SGD(one.module.parameters(), 0.1), scheduler=scheduler)
    for _ in range(2):  # also where the error was caught once
        refused(lambda: fit(one, updater=updater), "scheduler")
    fit(one, updater=updater)


def after_backward():
    made = losses()
    sum(made.values()).backward()
    moml.backward(made, MGDA())


def twice():
    made = losses()
    moml.backward(made, MGDA())
    moml.backward(made, MGDA())


def after_a_step():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer, made = torch.optim.SGD(net.parameters(), 0.1), net(X)
    named = {"a": made[:, 0].square().mean(), "b": made[:, 1].square().mean()}
    moml.backward(named, MGDA(), retain_graph=True)
    optimizer.step()
    moml.backward(named, MGDA())


SGD = torch.optim.SGD(Whole().parameters(), 0.1)
HEADS = {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)}
INSTANCES = {
    "a rate that is a string": (lambda: FAMO(lr="0.1"), "lr"),
    "an exponent that is None": (lambda: GradNorm(alpha=None), "alpha"),
    "several initial values": (lambda: UW(init=[0.0, 1.0]), "init"),
    "a preference that is a word": (lambda: Constant(preference="equal"), "preference"),
    "one number as a preference": (lambda: Constant(preference=3.0), "preference"),
    "a class inside a wrapper": (lambda: Scaled(MGDA), "weighting"),
    "a class as a scaling": (lambda: Scaled(MGDA(), scaling=UW), "scaling"),
    "a name inside a wrapper": (lambda: CRMOGM("MGDA"), "weighting"),
    "True as a name of a task": (lambda: EW().setup([True]), "names"),
    "an epoch that is a string": (lambda: backward(weighting=DWA(), epoch="1"), "epoch"),
    "half a step": (lambda: backward(step=1.5), "step"),
    "True as a task in a loop": (lambda: moml.backward({True: X.sum()}, EW()), "losses"),
    "the class of a scaler": (lambda: backward(scaler=torch.amp.GradScaler), "scaler"),
    "further batches in a list": (lambda: backward(weighting=MoDo(), further=[1]), "further"),
    "a word for retain_graph": (lambda: backward(retain_graph="no"), "retain_graph"),
    "a graph that was gone through": (after_backward, "losses"),
    "a graph gone through twice": (twice, "losses"),
    "losses from before a step": (after_a_step, "losses"),
    "a number as a folder": (lambda: Checkpoint(3), "folder"),
    "steps between checkpoints as a string": (lambda: Checkpoint("a", every="2"), "every"),
    "a path as a checkpoint": (lambda: fit(checkpoint="x"), "checkpoint"),
    "a function for callbacks": (lambda: fit(callbacks=print), "callbacks"),
    "a function among callbacks": (lambda: fit(callbacks=[print]), "callbacks"),
    "steps as a string": (lambda: fit(steps="3"), "steps"),
    "a name as an optimizer": (lambda: fit(updater="adam"), "updater"),
    "a largest norm as a string": (lambda: GradientStep(SGD, clip_norm="1"), "clip_norm"),
    "the class of an optimizer": (lambda: GradientStep(torch.optim.SGD), "optimizer"),
    "a scheduler in place of what makes one": (
        lambda: GradientStep(SGD, scheduler=torch.optim.lr_scheduler.StepLR(SGD, 1)),
        "scheduler",
    ),
    "a scheduler of another optimizer": (other_scheduler, "scheduler"),
    "one optimizer for several": (lambda: Several(SGD), "updaters"),
    "one decay for two": (lambda: AdaTask(Whole().parameters(), betas=0.9), "betas"),
    "tasks in one string": (lambda: made(TaskSteps, tasks="ab"), "tasks"),
    "groups as a list": (lambda: param_groups(Whole(), ["body"]), "settings"),
    "parameters in place of a network": (
        lambda: param_groups(Whole().parameters(), {"body": {"lr": 1.0}}),
        "module",
    ),
    "the class of an oracle": (lambda: Accumulated(Direct, parts=2), "oracle"),
    "half a part": (lambda: Accumulated(Direct(), parts=2.5), "parts"),
    "representation gradients in parts": (
        lambda: Accumulated(Representation(), parts=2),
        "oracle",
    ),
    "the class of an oracle for processes": (lambda: Distributed(Direct), "oracle"),
    "representation gradients of a whole model": (
        lambda: fit(problem(Whole()), oracle=Representation()),
        "problem",
    ),
    "heads in a list": (lambda: HPS(nn.Linear(2, 3), [nn.Linear(3, 1)]), "heads"),
    "tasks of a whole model in one string": (lambda: WholeModel(Whole(), "ab"), "tasks"),
    "a number as a model": (lambda: WholeModel(3, ["a"]), "model"),
    "a word as a submodule": (lambda: WholeModel(Whole(), ["a"], heads={"a": "body"}), "heads"),
    "a number as an encoder": (lambda: MMoE(3, HEADS), "encoder"),
    "a number as an encoder of MTAN": (lambda: MTAN(3, HEADS), "encoder"),
    "a list as a table": (lambda: SharingTable(Encoder(), HEADS, table=[[0]]), "table"),
    "levels as a string": (lambda: PLE(Encoder(), HEADS, levels="2"), "levels"),
    "a temperature of zero": (lambda: LTB(Encoder(), HEADS, temperature=0.0), "temperature"),
    "a data set of PyTorch": (
        lambda: Loader(torch.utils.data.TensorDataset(X), 2),
        "source",
    ),
    "arrays as inputs": (lambda: TensorSource(X.numpy(), {"a": X}), "inputs"),
    "targets in a list": (lambda: TensorSource(X, [X]), "targets"),
    "items of three": (
        lambda: DatasetSource(Triples(), ["a", "b"]).batch(torch.tensor([0, 1])),
        "dataset",
    ),
    "tasks of a data set in one string": (lambda: DatasetSource(Triples(), "ab"), "tasks"),
    "a number as a data set": (lambda: DatasetSource(3, ["a"]), "dataset"),
    "targets of a batch in a list": (lambda: Batch(X, [X]), "targets"),
    "one tensor of targets": (lambda: Batch(X, X), "targets"),
    "one label for a batch": (lambda: fit(batches=[Batch(X, {"a": X.sum()})]), "targets"),
    "inputs of tasks in a list": (lambda: TaskInputs([X]), "inputs"),
    "loaders in a list": (lambda: MultiLoader([1]), "loaders"),
    "a tensor to hold out of": (lambda: hold_out(X, 0.1), "sources"),
    "workers as a string": (lambda: prefetched(NEEDED["loader"], "2"), "workers"),
    "classes as a string": (lambda: CrossEntropy("3"), "num_classes"),
    "class weights as a word": (lambda: CrossEntropy(2, class_weights="ab"), "class_weights"),
    "a number as a run": (lambda: moml.load_run(3), "path"),
}


@pytest.mark.parametrize(("make", "name"), INSTANCES.values(), ids=list(INSTANCES))
def test_is_refused_in_a_sentence(make, name):
    refused(make, name)


def test_numbers_of_numpy_and_heads_in_a_module_dict_are_taken():
    import numpy as np

    assert type(FAMO(lr=np.float32(0.5)).lr) is float
    assert made(moml.weighting.Every, n=np.int64(3)).n == 3
    heads = nn.ModuleDict({"a": nn.Linear(3, 1)})
    assert HPS(nn.Linear(2, 3), heads).tasks == ("a",)
    weighting = Constant(preference=np.array([1.0, 2.0])).setup(["a", "b"])
    assert weighting.preference.tolist() == [1.0, 2.0]
    weighting = Constant(preference={"a": 1, "b": 2}).setup(["b", "a"])
    assert weighting.preference.tolist() == [2.0, 1.0]


def test_an_error_without_text_inside_a_loss_is_named_by_its_class():
    def loss(prediction, target):
        raise ValueError

    one = moml.MultiTask(HPS(nn.Linear(2, 3), {"a": nn.Linear(3, 1)}), {"a": loss})
    with pytest.raises(ValueError, match=r"should fit loss, .* \(ValueError\)"):
        fit(one, batches=[Batch(X, {"a": torch.zeros(4, 1)})])
