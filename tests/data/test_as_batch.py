"""What data loaders yield, trained on as it is."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import moml
from moml.architecture import HPS
from moml.data import Batch, as_batch
from moml.oracle import Direct
from moml.weighting import EW, MGDA
from tests.helpers import flat_grad

TASKS = ("a", "b")


def tensors(n=12):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=draw)
    return x, torch.randint(3, (n,), generator=draw), torch.randn(n, generator=draw)


class Items(Dataset):
    """Items in one of the usual forms."""

    def __init__(self, form):
        self.form, (self.x, self.a, self.b) = form, tensors()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        x, a, b = self.x[i], self.a[i], self.b[i]
        return {
            "pair": (x, {"a": a, "b": b}),
            "flat mapping": {"x": x, "a": a, "b": b},
            "fields": {"inputs": x, "targets": {"a": a, "b": b}},
            "tuple": (x, (a, b)),
            "tensors": (x, a, b),
        }[self.form]


class Encoder(nn.Linear):
    def forward(self, x):
        return super().forward(x).tanh()


def problem():
    torch.manual_seed(0)
    model = HPS(Encoder(4, 8), {"a": nn.Linear(8, 3), "b": nn.Linear(8, 1)})
    return moml.MultiTask(model, {"a": nn.CrossEntropyLoss(), "b": nn.MSELoss()})


@pytest.mark.supported
@pytest.mark.parametrize("form", ["pair", "flat mapping", "fields", "tuple", "tensors"])
def test_a_data_loader_of_torch_given_to_fit(form):
    loader = DataLoader(Items(form), batch_size=4)
    one, other = problem(), problem()
    x, a, b = tensors()
    batches = [Batch(x[i : i + 4], {"a": a[i : i + 4], "b": b[i : i + 4]}) for i in (0, 4, 8)]
    histories = [
        moml.fit(p, Direct(), MGDA(), torch.optim.SGD(p.module.parameters(), 0.1), data, steps=5)
        for p, data in ((one, loader), (other, batches))
    ]
    assert histories[0].records == histories[1].records


@pytest.mark.supported
def test_a_tensor_data_set_with_one_task():
    x, a, _ = tensors()
    model = HPS(nn.Linear(4, 8), {0: nn.Linear(8, 3)})
    one = moml.MultiTask(model, {0: nn.CrossEntropyLoss()})
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    loader = DataLoader(TensorDataset(x, a), batch_size=6)
    losses = moml.fit(one, Direct(), EW(), optimizer, loader, steps=30).losses(0)
    assert losses[-1] < losses[0]


def test_a_target_of_none_is_a_task_without_labels():
    x, a, _ = tensors()
    assert list(as_batch((x, {"a": a, "b": None}), TASKS).targets) == ["a"]


def test_batches_of_other_problems_stay_as_they_are():
    batch = Batch(*[tensors()[0], {"a": tensors()[1]}])
    assert as_batch(batch, TASKS) is batch


@pytest.mark.refused("arrays and tables are converted by their owner: copies are not made silently")
def test_arrays_and_tables_as_a_batch():
    x, a, b = tensors()
    for bad in ((x.numpy(), {"a": a}), (x, {"a": a.numpy(), "b": b})):
        with pytest.raises(ValueError, match=r"should be a tensor, found numpy.ndarray.*as_tensor"):
            as_batch(bad, TASKS)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ((torch.ones(2), torch.ones(2)), r"mapping from the tasks \['a', 'b'\], or one tensor for"),
        (torch.ones(2), r"found one tensor of shape \(2,\)"),
        ((torch.ones(2),), "found a tuple of 1"),
        ({"x": torch.ones(2), "A": torch.ones(2)}, r"named as the tasks.*found \['x', 'A'\]"),
        ({"inputs": 1, "targets": {}, "mask": 2}, r"found \['mask'\]"),
        ((torch.ones(2), {"a": np.float64(1)}), "found numpy.float64"),
    ],
)
def test_batches_that_fit_nothing(batch, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_batch(batch, TASKS)


@pytest.mark.refused("the batches have to begin anew in every epoch")
def test_a_generator_that_is_exhausted_before_the_last_step():
    x, a, b = tensors()
    one = problem()
    optimizer = torch.optim.SGD(one.module.parameters(), 0.1)
    generator = ((x, {"a": a, "b": b}) for _ in range(3))
    with pytest.raises(ValueError, match="exhausted after 3 batches"):
        moml.fit(one, Direct(), EW(), optimizer, generator, steps=5)


def test_a_single_batch_in_place_of_batches():
    x, a, b = tensors()
    one = problem()
    optimizer = torch.optim.SGD(one.module.parameters(), 0.1)
    for bad in ({"x": x, "a": a, "b": b}, x, 3):
        with pytest.raises(ValueError, match="`batches` should be a stream"):
            moml.fit(one, Direct(), EW(), optimizer, bad, steps=5)


class Dictionary(nn.Module):
    """A model that returns a dictionary, with something besides predictions in it."""

    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x):
        made = self.body(x).tanh()
        return {"b": self.b(made), "features": made, "a": self.a(made)}


@pytest.mark.supported
@pytest.mark.parametrize("declared", [False, True])
def test_a_model_that_returns_a_dictionary_without_an_architecture(declared):
    torch.manual_seed(0)
    model, (x, a, b) = Dictionary(), tensors()
    losses = {"a": nn.CrossEntropyLoss(), "b": nn.MSELoss()}
    network = model
    if declared:
        heads = {"a": model.a, "b": [model.b]}
        network = moml.architecture.WholeModel(model, losses, heads=heads)
    evaluation = Direct()(moml.MultiTask(network, losses), Batch(x, {"a": a, "b": b}))
    made = model(x)
    direct = [nn.functional.cross_entropy(made["a"], a), (made["b"][:, 0] - b).square().mean()]
    torch.testing.assert_close(evaluation.losses.float(), torch.stack(direct).detach())
    shared = list(model.body.parameters() if declared else model.parameters())
    rows = []
    for loss in direct:
        found = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
        pairs = zip(found, shared, strict=True)
        rows.append(
            torch.cat([(p.new_zeros(p.shape) if g is None else g).flatten() for g, p in pairs])
        )
    torch.testing.assert_close(evaluation.jacobian, torch.stack(rows))
    evaluation.apply(torch.tensor([2.0, 3.0]))
    expected = torch.autograd.grad(2 * direct[0] + 3 * direct[1], list(model.parameters()))
    torch.testing.assert_close(
        flat_grad(model.parameters()), torch.cat([g.flatten() for g in expected])
    )


@pytest.mark.supported
def test_a_model_that_returns_a_tuple_in_the_order_of_the_losses():
    class Pair(Dictionary):
        def forward(self, x):
            made = super().forward(x)
            return made["a"], made["b"]

    torch.manual_seed(0)
    x, a, b = tensors()
    one = moml.MultiTask(Pair(), {"a": nn.CrossEntropyLoss(), "b": nn.MSELoss()})
    assert set(one.losses(Batch(x, {"a": a, "b": b}))) == {"a", "b"}


def test_a_model_that_returns_something_else():
    x, a, b = tensors()
    losses = {"a": nn.CrossEntropyLoss(), "b": nn.MSELoss()}
    batch = Batch(x, {"a": a, "b": b})
    with pytest.raises(ValueError, match=r"should return a mapping from .* found Tensor"):
        moml.MultiTask(nn.Linear(4, 3), losses).losses(batch)
    with pytest.raises(ValueError, match=r"for task 'c', found \['b', 'features', 'a'\]"):
        moml.MultiTask(Dictionary(), {**losses, "c": nn.MSELoss()}).losses(
            Batch(x, {"a": a, "c": b})
        )
    with pytest.raises(ValueError, match="submodules of the model, found a Linear"):
        moml.architecture.WholeModel(Dictionary(), losses, heads={"a": nn.Linear(1, 1)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"problem": moml.MultiTask}, "`problem` should be .* found the class MultiTask"),
        ({"problem": nn.Linear(1, 1)}, "found Linear. Say its losses"),
        ({"oracle": Direct}, "found the class Direct. Make an instance"),
        ({"weighting": MGDA}, "found the class MGDA. Make an instance"),
        ({"weighting": "MGDA"}, "found 'MGDA'"),
        ({"updater": torch.optim.Adam}, "found the class Adam"),
        ({"updater": 1e-3}, "found float"),
        ({"steps": 2.5}, "`steps` should be an integer, found 2.5"),
        ({"steps": 0}, "`steps` should be at least 1, found 0"),
    ],
)
def test_arguments_of_fit_that_are_something_else(change, sentence):
    one, (x, a, b) = problem(), tensors()
    given = {
        "problem": one,
        "oracle": Direct(),
        "weighting": EW(),
        "updater": torch.optim.SGD(one.module.parameters(), 0.1),
        "batches": [Batch(x, {"a": a, "b": b})],
        "steps": 1,
    }
    with pytest.raises(ValueError, match=sentence):
        moml.fit(**{**given, **change})


@pytest.mark.parametrize(
    ("network", "losses", "sentence"),
    [
        (nn.Linear, {"a": nn.MSELoss()}, "`architecture` should be a network, found the class"),
        ("net", {"a": nn.MSELoss()}, "should be a network .* found str"),
        (nn.Linear(1, 1), [nn.MSELoss()], "`losses` should be a mapping"),
        (nn.Linear(1, 1), {"a": nn.MSELoss}, r"losses\['a'\]` should be a loss, found the class"),
        (nn.Linear(1, 1), {"a": "mse"}, r"losses\['a'\]` should be .* found str 'mse'"),
        (nn.Linear(1, 1), {"a": nn.MSELoss(reduction="sum")}, "should average, found reduction='s"),
        (nn.Linear(1, 1), {}, "at least one task, found none"),
        (nn.Linear(1, 1), {("a", 1): nn.MSELoss()}, "by strings or integers, found"),
    ],
)
def test_arguments_of_a_problem_that_are_something_else(network, losses, sentence):
    with pytest.raises(ValueError, match=sentence):
        moml.MultiTask(network, losses)
