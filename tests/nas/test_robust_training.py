"""Training what was found: auxiliary head, drop path, cutout, warm-up; and few identities."""

import pytest
import torch
from torch import nn

from moml.attack import Linf
from moml.data import TensorSource
from moml.jobs.retrain import RetrainJob
from moml.nas import decode, decode_sizes
from moml.nas.auxiliary_head import AuxiliaryHead
from moml.nas.cutout import cutout
from moml.nas.decode import num_skips
from moml.nas.drop_path import DropPath
from moml.nas.robust_training import Recipe, warmed_cosine
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from search_spaces import DARTS, NBDigits
from tasks import Digits

DIGITS = {"layers": 3, "image": (1, 8, 8)}
ALL = {"auxiliary_weight": 0.4, "drop_path": 0.3, "cutout": 4, "schedule": "cosine", "warmup": 1}


def space():
    return DARTS(2, ("skip", "sep_conv_3x3", "max_pool_3x3"), channels=2, **DIGITS)


class Few(Digits):
    """A few digits."""

    def sources(self, split):
        batch = super().sources(split).batch(torch.arange(48))
        return TensorSource(batch.inputs, batch.targets)


def small_network():
    return space().network(space().sample(torch.Generator().manual_seed(3)), seed=0)


def test_the_auxiliary_head_has_the_size_that_the_code_of_darts_gives_it():
    head = AuxiliaryHead(576, 10, height=8, width=8)  # 36 channels, 20 layers
    assert sum(p.numel() for p in head.parameters()) == 476_426
    assert head(torch.rand(2, 576, 8, 8)).shape == (2, 10)


@pytest.mark.supported
def test_a_published_cell_is_retrained_with_auxiliary_head_drop_path_cutout_and_warm_up():
    recipe = Recipe(epochs=2, batch_size=16, ball=None, **ALL)
    network = small_network()
    problem = recipe.problem(network, Few(), "digit")
    own = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in problem.shared_parameters()) > own  # the head learns as well
    batch = next(iter(Few().loader("train", batch_size=16)))
    problem.module.step.fill_(3)  # in the second epoch
    loss = problem.losses(batch)["digit"]
    head = problem.extras.head
    grads = torch.autograd.grad(loss, [head.classifier.weight, network.stem[0].weight])
    assert all(g.abs().sum() > 0 for g in grads)
    problem.module.step.fill_(3)
    assert problem.losses(batch)["digit"] == loss  # draws are those of the step
    problem.module.step.fill_(4)
    assert problem.losses(batch)["digit"] != loss
    assert "head" not in " ".join(network.state_dict())  # thrown away


@pytest.mark.parametrize("options", [{}, ALL], ids=["plain", "all"])
@pytest.mark.supported
def test_a_retraining_that_was_stopped_goes_on_with_the_same_bits(options, tmp_path):
    recipe = Recipe(epochs=2, batch_size=16, ball=Linf(0.1), **options)
    whole, stopped, again = small_network(), small_network(), small_network()
    recipe.train(whole, Few(), "digit", checkpoint=Checkpoint(tmp_path / "a", every=2))
    checkpoint = Checkpoint(tmp_path / "b", every=2)
    with pytest.raises(InterruptedError):
        recipe.train(stopped, Few(), "digit", callbacks=[Stop(4)], checkpoint=checkpoint)
    torch.rand(3)  # the global state is no part of it
    checkpoint = Checkpoint(tmp_path / "b", every=2, resume=True)
    recipe.train(again, Few(), "digit", callbacks=[Stop(99)], checkpoint=checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


class Stop(Callback):
    """The machine dies before a step."""

    def __init__(self, step):
        self.step = step

    def before_update(self, training):
        if training.step >= self.step:
            raise InterruptedError


def test_drop_path_leaves_identities_and_expectations_alone():
    cells = space()
    choice = tuple((edge, "skip") for edge in ((0, 2), (1, 2), (0, 3), (1, 3)))
    genotype = cells.genotype({"normal": choice, "reduce": choice})
    drop = DropPath()
    network = cells.network(genotype, seed=0)
    x = torch.rand(64, 1, 8, 8)
    drop.install(network)
    drop.begin(0.9, 0)
    inputs = torch.rand(64, 2, 8, 8)
    ones = network.cells[0](inputs, inputs)  # identities only
    assert torch.equal(ones[:, :2], 2 * inputs)
    many = drop(torch.ones(20_000, 3))
    assert many.unique().tolist() == pytest.approx([0.0, 10.0])
    assert float(many.mean()) == pytest.approx(1.0, abs=0.1)
    assert torch.equal(many[:, 0], many[:, 1])  # whole samples
    drop.eval()
    assert torch.equal(drop(x), x)
    with pytest.raises(ValueError, match="`drop_path` should be 0 for a network without cells"):
        drop.install(nn.Linear(2, 2))


def test_cutout_erases_one_square_per_image():
    x = torch.ones(200, 2, 10, 12)
    cut = cutout(x, 4, torch.Generator().manual_seed(0))
    erased = cut == 0
    assert torch.equal(erased[:, 0], erased[:, 1])
    sizes = erased[:, 0].flatten(1).sum(1)
    assert sizes.max() == 16 and sizes.min() >= 4  # a quarter is left of it in a corner
    rows, columns = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, sizes)
    assert len({tuple(mask.flatten().tolist()) for mask in erased[:, 0]}) > 50


def test_the_rate_warms_up_and_falls_to_zero():
    share = warmed_cosine(100, 10)
    assert [share(0), share(4), share(9), share(10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert share(55) == pytest.approx(0.5) and share(100) == pytest.approx(0.0)
    assert warmed_cosine(50, 0)(0) == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 1}, "0 unless `schedule` is 'cosine'"),
        ({"warmup": 9, "schedule": "cosine"}, "less than `epochs`"),
        ({"drop_path": 1.0}, "`drop_path` should be at least 0 and less than 1"),
        ({"cutout": -1}, "`auxiliary_weight` and `cutout` should be at least 0"),
    ],
)
def test_retraining_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        RetrainJob(space(), space().sample(torch.Generator()).to_json(), Few(), epochs=5, **options)


@pytest.mark.refused("the network gives no features of its middle to an auxiliary head")
def test_an_auxiliary_head_on_a_network_that_has_no_place_for_it():
    network = NBDigits().network(NBDigits().sample(torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="`auxiliary_weight` should be 0 for a network"):
        Recipe(auxiliary_weight=0.4).problem(network, Few(), "digit")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.supported
def test_decoded_cells_have_no_more_identities_than_is_asked_for(seed):
    for kind in (DARTS(2, channels=4, layers=3), NBDigits(3)):
        draw = torch.Generator().manual_seed(seed)
        strengths = {}
        for name, cell in kind.spec.cells:
            table = torch.rand(len(cell.edges), len(cell.ops), generator=draw)
            table[:, cell.ops.index("skip")] += 0.8  # a search that collapses
            strengths[name] = table
        if seed == 0:
            assert num_skips(kind, decode(kind, strengths)) > 1
        genotype = decode(kind, strengths, most_skips=1)
        assert num_skips(kind, genotype) <= 1
        found = decode_sizes(kind, strengths, 5, most_skips=1)
        assert found and all(num_skips(kind, g) <= 1 for g in found)
