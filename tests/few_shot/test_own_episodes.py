"""Few-shot learning on episodes, labels and losses that somebody else brings."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import moml
from moml.bilevel import Bilevel, InnerSGD, Unrolled
from moml.data import Batch, EpisodeBatch
from moml.few_shot import Calibration, Clean, FewShot
from moml.losses import CrossEntropy

RATE = 0.5


def network(width=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, width)).double()


def part(size=6, count=2, *, seed=1, **fields):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, size, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (count, size), generator=generator)
    return Batch(inputs, {"class": labels}, **fields)


def pairs(support, query):
    both = EpisodeBatch(support, query)
    found = [both.episode(i) for i in range(len(both))]
    return [(one.lower[0], one.upper) for one in found]


def value(problem, batch):
    return Bilevel(InnerSGD(RATE), Unrolled())(problem, batch).losses.item()


def by_hand(net, batch, loss):
    """Mean query loss after one step, of ``loss(prediction, batch, episode)``."""
    total = 0.0
    for e in range(len(batch)):
        start = dict(net.named_parameters())
        low = loss(functional_call(net, start, batch.support.inputs[e]), batch.support, e)
        slopes = torch.autograd.grad(low, list(start.values()))
        theta = {n: p - RATE * g for (n, p), g in zip(start.items(), slopes, strict=True)}
        total += loss(functional_call(net, theta, batch.query.inputs[e]), batch.query, e).item()
    return total / len(batch)


def marks(kind, seed, size):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(2, size, generator=generator, dtype=torch.float64)
    return {"class": drawn > 0.4 if kind == "present" else drawn}


@pytest.mark.supported
@pytest.mark.parametrize("own", [CrossEntropy(3), nn.CrossEntropyLoss()], ids=["moml", "torch"])
@pytest.mark.parametrize("kind", ["present", "weights"])
def test_episodes_with_missing_labels_or_sample_weights(kind, own):
    support = part(6, **{kind: marks(kind, 3, 6)})
    query = part(8, seed=2, **{kind: marks(kind, 4, 8)})
    batch, net = EpisodeBatch(support, query), network()

    def loss(prediction, some, e):
        each = nn.functional.cross_entropy(prediction, some.targets["class"][e], reduction="none")
        share = getattr(some, kind)["class"][e].double()
        return (each * share).sum() / share.sum()

    problem = FewShot(net, own)
    right = by_hand(net, batch, loss)
    assert value(problem, batch) == pytest.approx(right, rel=1e-9)
    assert value(problem, pairs(support, query)) == pytest.approx(right, rel=1e-9)
    assert right != pytest.approx(value(problem, EpisodeBatch(part(6), part(8, seed=2))), rel=1e-3)


def test_calibration_weighs_queries():
    weights = {"class": torch.tensor([[1.0, 0, 0], [1.0, 0, 0]], dtype=torch.float64)}
    query = part(3, seed=2, weights=weights)
    first = Batch(query.inputs[:, :1], {"class": query.targets["class"][:, :1]})
    problem = FewShot(network(), CrossEntropy(3), objectives={"brier": Calibration()})
    weighed = value(problem, EpisodeBatch(part(), query))
    assert weighed == pytest.approx(value(problem, EpisodeBatch(part(), first)), rel=1e-9)


def test_stacked_and_joined_episodes_keep_masks_and_weights():
    support = part(6, present=marks("present", 3, 6), weights=marks("weights", 3, 6))
    both = EpisodeBatch.cat([EpisodeBatch(support, part(8)), EpisodeBatch(part(6), part(8))])
    expected = torch.cat([support.present["class"], torch.ones(2, 6, dtype=torch.bool)])
    assert both.support.present["class"].equal(expected)
    assert both.support.weights["class"][:2].equal(support.weights["class"])
    assert both.support.weights["class"][2:].eq(1).all() and both.query.present is None


@pytest.mark.supported
@pytest.mark.parametrize("stacked", [False, True])
def test_few_shot_regression_with_predictions_of_one_column_and_flat_targets(stacked):
    net = network(1)
    both = [
        Batch(b.inputs, {"y": b.inputs.sum(-1)}) for b in (part(6), part(8, seed=2))
    ]  # fmt: skip
    batch = EpisodeBatch(*both)
    problem = FewShot(net, nn.MSELoss(), target="y", stacked=stacked)
    right = by_hand(
        net, batch, lambda out, some, e: (out[:, 0] - some.targets["y"][e]).square().mean()
    )
    assert value(problem, batch) == pytest.approx(right, rel=1e-9)


TENSORS = (part().inputs, part().targets["class"])
NOT_EPISODES = {
    "none": (None, "`batch` should be an `EpisodeBatch"),
    "batch": (part(), "`batch` should be an `EpisodeBatch.*found Batch"),
    "dict": ({"support": TENSORS, "query": TENSORS}, "`batch` should be .*found dict"),
    "pair": ((part(), part()), r"`batch\[0\]` should be a pair"),
    "tensors": ([(TENSORS, TENSORS)], r"`batch\[0\]\[0\]` should be a `Batch`, found tuple"),
    "stacked tensors": (EpisodeBatch(TENSORS, TENSORS), "`support` should be a `Batch`"),
    "empty": ([], "`batch` should be .*found none"),
}


@pytest.mark.refused("episodes are an `EpisodeBatch` or a list of (support, query) pairs")
@pytest.mark.parametrize("name", NOT_EPISODES)
def test_episodes_as_tuples_or_dictionaries_of_tensors(name):
    batch, message = NOT_EPISODES[name]
    with pytest.raises(ValueError, match=message):
        value(FewShot(network(), CrossEntropy(3)), batch)


@pytest.mark.refused("the target is one of the batch's")
def test_few_shot_with_a_target_that_the_episodes_do_not_have():
    problem = FewShot(network(), CrossEntropy(3), target="label")
    with pytest.raises(ValueError, match=r"`target` should be .*\['class'\], found 'label'"):
        value(problem, EpisodeBatch(part(), part()))


@pytest.mark.refused("each episode has a support and a query set")
def test_support_and_query_sets_with_different_numbers_of_episodes():
    with pytest.raises(ValueError, match="one number of episodes in front, found 2 and 3"):
        value(FewShot(network(), CrossEntropy(3)), EpisodeBatch(part(), part(count=3)))


@pytest.mark.refused("a set without a label adapts nothing")
def test_an_episode_without_any_label():
    none = {"class": torch.zeros(2, 6, dtype=torch.bool)}
    with pytest.raises(ValueError, match="should have a sample with a label of 'class'"):
        value(FewShot(network(), CrossEntropy(3)), EpisodeBatch(part(present=none), part()))


LABELS = {
    "out of range": lambda y: y + 5,
    "one column": lambda y: y[..., None],
    "float": lambda y: y.double(),
}


@pytest.mark.refused("class labels are integers in range, one per sample")
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("where", ["support", "query"])
@pytest.mark.parametrize("loss", [CrossEntropy(3), nn.CrossEntropyLoss()], ids=["moml", "torch"])
@pytest.mark.parametrize("name", LABELS)
def test_few_shot_labels_out_of_range_in_columns_or_as_floats(name, loss, where, stacked):
    parts = {"support": part(), "query": part(seed=2)}
    good = parts[where]
    parts[where] = Batch(good.inputs, {"class": LABELS[name](good.targets["class"])})
    with pytest.raises(ValueError, match=r"target of task 'class' should|Targets of task 'class'"):
        value(FewShot(network(), loss, stacked=stacked), EpisodeBatch(**parts))


ARGUMENTS = {
    "network class": ((nn.Linear, CrossEntropy(3)), {}, "`network` .*found the class Linear"),
    "network function": ((lambda x: x, CrossEntropy(3)), {}, "`network` should be a `torch.nn.M"),
    "loss class": ((network(), nn.CrossEntropyLoss), {}, "`loss` .*found the class CrossEntropyL"),
    "loss name": ((network(), "mse"), {}, "`loss` should be .*found str 'mse'"),
    "loss sum": ((network(), nn.MSELoss(reduction="sum")), {}, "`loss` should average"),
    "class": ((network(), CrossEntropy(3)), {"objectives": {"a": Clean}}, "the class Clean"),
    "function": ((network(), CrossEntropy(3)), {"objectives": {"a": max}}, r"`objectives\['a'\]`"),
    "list": ((network(), CrossEntropy(3)), {"objectives": [Clean()]}, "`objectives` .*found list"),
    "none": ((network(), CrossEntropy(3)), {"objectives": {}}, "`objectives` .*an empty one"),
}


@pytest.mark.refused("each argument of `FewShot` is an instance of what it is called")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_few_shot_with_classes_names_or_functions_as_arguments(name):
    given, options, message = ARGUMENTS[name]
    with pytest.raises(ValueError, match=message):
        FewShot(*given, **options)


@pytest.mark.refused("a few-shot problem has a lower level, which `Bilevel` solves")
@pytest.mark.parametrize(
    "oracle",
    [moml.oracle.Direct(), moml.oracle.Accumulated(moml.oracle.Direct(), parts=2)],
    ids=["direct", "accumulated"],
)
def test_few_shot_with_an_oracle_for_plain_losses(oracle):
    with pytest.raises(ValueError, match=r"`oracle` should be `moml.bilevel.Bilevel"):
        oracle(FewShot(network(), CrossEntropy(3)), EpisodeBatch(part(), part()))


@pytest.mark.refused("`Bilevel` takes a lower solver, then a hypergradient, and bi-level problems")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bilevel(Unrolled(), InnerSGD(0.1)), "The two are swapped"),
        (
            lambda: Bilevel(torch.optim.SGD(network().parameters(), 0.1), Unrolled()),
            "`inner` should be a lower solver .*found SGD",
        ),
        (lambda: Bilevel(InnerSGD, Unrolled()), "`inner` .*found the class InnerSGD"),
        (lambda: Bilevel(InnerSGD(0.1), Unrolled), "`hypergradient` .*the class Unrolled"),
        (lambda: InnerSGD(0.1, steps=2.5), "`steps` should be an integer, found 2.5"),
        (lambda: InnerSGD("0.1"), "`lr` should be a number, found '0.1'"),
        (lambda: value(moml.MultiTask(network(), {"a": CrossEntropy(3)}), part()), "`problem`"),
    ],
)  # fmt: skip
def test_bilevel_with_swapped_or_foreign_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
