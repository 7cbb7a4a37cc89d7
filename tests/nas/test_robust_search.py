"""The search problem on the bi-level engine: what is computed, and what is not."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import moml
from moml.attack import Linf
from moml.bilevel import Bilevel, FiniteDifference, FirstOrder, InnerSGD, Unrolled
from moml.data import Batch, BilevelBatch, TensorSource
from moml.jobs.retrain import RetrainJob
from moml.jobs.search import SearchJob
from moml.losses import CrossEntropy
from moml.nas import (
    ArchParameters,
    BatchedCell,
    MixedCell,
    RobustSearch,
    SuperNet,
    decode,
    decode_sizes,
)
from moml.nas.decode import is_free
from moml.nas.eager import eager
from moml.nas.method import (
    DARTS,
    E2RNAS,
    GDAS,
    DrNAS,
    E2RNASv1,
    FairPathSearch,
    GatedSearch,
    SearchSetting,
)
from moml.nas.objective import AdversarialLoss, CleanLoss, SizeLimits, SizeTarget
from moml.nas.relaxation import Dirichlet, EdgeNormalised, FairPaths, Gumbel, Softmax
from moml.nas.relaxation._base import Moment
from moml.nas.robust_training import Recipe
from moml.training.checkpoint import Checkpoint
from search_spaces import DARTS as DARTSSpace
from search_spaces import NBDigits
from tasks import Digits


def space():
    return NBDigits(3, ("none", "skip", "conv1", "conv3"), channels=4)


def setting(**changed):
    options = {
        "space": space(), "suite": Digits(), "task": "digit", "weighting": None,
        "ball": Linf(0.1), "bounds": (0.0, 1.0), "steps": 6, "batch_size": 16,
        "learning_rate": 0.05, "upper_learning_rate": 0.02, "held_out": 0.5, "budget": 6, "seed": 0,
        "device": "cpu",
    }  # fmt: skip
    return SearchSetting(**{**options, **changed})


def run(parts, steps=6, **options):
    return moml.fit(
        parts.problem, parts.oracle, parts.weighting, parts.updater, parts.stream,
        steps=steps, **options,
    )  # fmt: skip


class WeightGradients(TorchDispatchMode):
    """Counts backward passes of convolutions that form a gradient of the kernel."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.number += bool(args[-1][1])
        return func(*args, **(kwargs or {}))


def test_the_first_order_step_of_alpha_forms_no_weight_gradient():
    parts = DARTS().compose(setting())
    parts.weighting.setup(parts.problem.tasks)
    batch = next(parts.stream)
    with WeightGradients() as seen:
        evaluation = parts.oracle(parts.problem, batch)
        parts.weighting.update(evaluation)
    assert seen.number == 0
    assert all(p.grad.abs().sum() > 0 for p in parts.problem.arch.parameters())
    with WeightGradients() as seen:
        parts.oracle.advance(parts.problem)
    assert seen.number > 0  # the weights' own step does


@pytest.mark.parametrize(
    ("method", "most"),
    [(E2RNAS(), 6), (E2RNASv1(), 6), (E2RNAS(hypergradient=FirstOrder()), 5), (DARTS(), 4)],
    ids=["E2RNAS", "E2RNASv1", "E2RNAS, first order", "DARTS, robust"],
)
def test_forwards_and_backwards_of_a_step(method, most):
    parts = method.compose(setting())
    counts = {"forward": 0, "backward": 0}

    def count(module, inputs, output):
        counts["forward"] += 1
        if output.requires_grad:
            output.register_hook(lambda g: counts.update(backward=counts["backward"] + 1))

    parts.problem.supernet.register_forward_hook(count)
    run(parts, steps=1)
    assert counts["forward"] <= most
    assert counts["backward"] <= most


def test_the_second_order_step_of_alpha_forms_weight_gradients_only_where_they_are_used():
    """In three passes: of the virtual step and of two objectives, not of the two differences."""
    parts = E2RNAS().compose(setting())
    parts.weighting.setup(parts.problem.tasks)
    batch = next(parts.stream)
    with WeightGradients() as seen:
        parts.weighting.update(parts.oracle(parts.problem, batch))
    with WeightGradients() as one:
        parts.oracle.advance(parts.problem)  # the weights' own step is one more
    assert seen.number == 3 * one.number > 0


def test_a_satisfied_limit_has_no_row_and_does_not_stall_the_search():
    largest = 10**9
    parts = E2RNASv1(largest=largest).compose(setting())
    before = [p.detach().clone() for p in parts.problem.arch.parameters()]
    history = run(parts, steps=2)
    assert all("size" not in record.losses for record in history.records)
    assert all(record.weights["clean"] > 0 for record in history.records)
    after = [p.detach() for p in parts.problem.arch.parameters()]
    assert max((a - b).abs().max() for a, b in zip(before, after, strict=True)) > 0.01
    tight = E2RNASv1(largest=100).compose(setting())
    assert all("size" in record.losses for record in run(tight, steps=2).records)


def test_the_row_of_the_size_is_the_gradient_of_the_size_alone():
    """The public code hands MGDA the sum of two gradients, and a size 14 times too large."""
    parts = E2RNAS(target=3000.0).compose(setting())
    evaluation = parts.oracle(parts.problem, next(parts.stream))
    row = evaluation.jacobian[evaluation.names.index("size")].double()
    arch = parts.problem.arch
    p = {name: value.double() for name, value in arch.probabilities().items()}
    size = (arch.space.expected_parameters(p) / 3000.0 - 1).abs()
    (expected,) = torch.autograd.grad(size, list(arch.parameters()))
    assert torch.allclose(row, expected.flatten().double(), rtol=1e-5, atol=1e-9)


def smooth_problem(dtype=torch.float64, *, kinks=False):
    supernet = SuperNet(space(), executor=MixedCell, seed=0)
    if not kinks:
        for module in list(supernet.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.Softplus())
    arch = ArchParameters(space(), Softmax(), seed=1)
    problem = RobustSearch(
        supernet.to(dtype), arch.to(dtype), {"clean": CleanLoss()},
        loss=CrossEntropy(10), task="digit", steps=1,
    )  # fmt: skip
    draw = torch.Generator().manual_seed(2)
    lower, upper = (
        Batch(
            torch.rand(24, 1, 8, 8, generator=draw).to(dtype),
            {"digit": torch.randint(10, (24,), generator=draw)},
        )
        for _ in range(2)
    )
    return problem, BilevelBatch((lower,), upper)


def hypergradient(problem, batch, method):
    return Bilevel(InnerSGD(0.1), method)(problem, batch).jacobian[0]


def test_finite_difference_is_the_exact_hypergradient_of_a_smooth_network():
    problem, batch = smooth_problem()
    first = hypergradient(problem, batch, FirstOrder())
    exact = hypergradient(problem, batch, Unrolled()) - first
    difference = hypergradient(problem, batch, FiniteDifference(1e-3)) - first
    assert exact.norm() > 0
    assert (exact - difference).norm() <= 1e-3 * exact.norm()


def test_eager_losses_keep_the_gradient():
    problem, batch = smooth_problem()
    plain = hypergradient(problem, batch, FiniteDifference(1e-3))
    problem.eager_lower = True
    assert torch.allclose(plain, hypergradient(problem, batch, FiniteDifference(1e-3)), atol=1e-12)
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    z = torch.tensor([3.0, 4.0], requires_grad=True)
    known, (gz,) = eager((x * z).sum(), [x], beside=[z])
    assert gz.tolist() == [1.0, 2.0]
    (gx,) = torch.autograd.grad(2 * known, x)
    assert gx.tolist() == [6.0, 8.0]


@pytest.mark.parametrize(
    "method", [E2RNAS(), GDAS(), DrNAS(), FairPathSearch()], ids=lambda m: type(m).__name__
)
def test_a_stopped_search_goes_on_with_the_same_bits(method, tmp_path):
    whole = method.compose(setting())
    run(whole)
    first = method.compose(setting())
    run(first, steps=3, checkpoint=Checkpoint(tmp_path, every=2))
    torch.rand(5)  # the global state is no part of it
    second = method.compose(setting())
    run(second, checkpoint=Checkpoint(tmp_path, every=2, resume=True))
    for a, b in zip(
        whole.problem.module.state_dict().items(),
        second.problem.module.state_dict().items(),
        strict=True,
    ):
        assert a[0] == b[0]
        assert torch.equal(a[1], b[1])


def test_objectives_that_need_a_ball_say_so():
    supernet, arch = SuperNet(space(), seed=0), ArchParameters(space(), Softmax())
    with pytest.raises(ValueError, match="`ball` should be given"):
        RobustSearch(
            supernet, arch, {"adversarial": AdversarialLoss()}, loss=CrossEntropy(10), task="digit",
            steps=1,
        )  # fmt: skip
    with pytest.raises(ValueError, match="`target` should be positive"):
        SizeTarget(0)
    with pytest.raises(ValueError, match="`lowest` should not exceed"):
        SizeLimits(lowest=2, largest=1)


# Relaxations


def logits(cell, seed=0):
    shape = (len(cell.edges), len(cell.ops))
    return {"ops": torch.randn(shape, generator=torch.Generator().manual_seed(seed))}


def test_fair_paths_run_every_operation_once_in_a_round():
    cell = space().cell
    for start in (0, 4):
        total = sum(
            FairPaths().weights(cell, logits(cell), Moment(step, 8, 17 + step))
            for step in range(start, start + len(cell.ops))
        )
        assert torch.equal(total, torch.ones_like(total))


def test_gumbel_draws_connected_paths_as_often_as_they_are_likely():
    cell = space().cell
    values = logits(cell)
    counts = torch.zeros_like(values["ops"])
    for step in range(400):
        w = Gumbel(start=1.0, end=1.0).weights(cell, values, Moment(step, 400, step))
        assert torch.equal(w.sum(1), torch.ones(len(w)))
        choice = tuple(
            (e, cell.ops[o]) for e, o in zip(cell.edges, w.argmax(1).tolist(), strict=True)
        )
        assert cell.connected(choice)
        counts += w
    usual = values["ops"].softmax(1)[:, 1:] / values["ops"].softmax(1)[:, 1:].sum(1, keepdim=True)
    found = counts[:, 1:] / counts[:, 1:].sum(1, keepdim=True)
    assert (usual - found).abs().max() < 0.08  # those that are not zero keep their ratios nearly


def test_weights_are_a_function_of_the_step():
    cell = space().cell
    for relaxation in (Gumbel(), Dirichlet(), FairPaths()):
        a, b, other = (
            relaxation.weights(cell, logits(cell), Moment(s, 9, 5 + s)) for s in (1, 1, 2)
        )
        assert torch.equal(a, b)
        assert not torch.equal(a, other)
    dirichlet = Dirichlet().weights(cell, logits(cell), Moment(0, 9, 5))
    assert torch.allclose(dirichlet.sum(1), torch.ones(len(dirichlet)))


def test_edges_compete_at_every_node():
    cell = DARTSSpace(channels=4, layers=3).spec.by_name["normal"]
    relaxation = EdgeNormalised(Softmax())
    values = relaxation.initial(cell, torch.Generator().manual_seed(0))
    w = relaxation.weights(cell, values, Moment(0, 1, 0))
    for target in range(cell.inputs, cell.size):
        rows = [cell.edges.index(edge) for edge in cell.into(target)]
        assert torch.allclose(w[rows].sum(), torch.tensor(1.0))


# Decoding


def collapsed(chosen):
    """Strengths that put nearly everything on one operation."""
    found = {}
    for name, cell in chosen.spec.cells:
        found[name] = torch.full((len(cell.edges), len(cell.ops)), 0.01)
        found[name][:, cell.ops.index("skip")] = 1.0
    return found


@pytest.mark.parametrize(
    "make", [NBDigits, lambda: DARTSSpace(3, channels=4, layers=3)], ids=["NBDigits", "DARTS"]
)
def test_a_collapsed_search_never_decodes_to_cells_without_weights(make):
    chosen = make()
    strengths = collapsed(chosen)
    fixed = {"none", "skip", "max_pool_3x3", "avg_pool_3x3"}
    raw = decode(chosen, strengths, allow_free=True)
    assert {op for _, choice in raw.cells for _, op in choice} == {"skip"}
    for genotype in [decode(chosen, strengths), *decode_sizes(chosen, strengths, 3)]:
        assert not is_free(chosen, genotype)
        if chosen.listable:
            assert any(op not in fixed for _, choice in genotype.cells for _, op in choice)


def test_limits_hold_exactly():
    chosen = NBDigits()
    strengths = {"cell": torch.rand(6, 4, generator=torch.Generator().manual_seed(0))}
    sizes = sorted({chosen.num_parameters(g) for g in chosen.enumerate()})
    for largest in sizes[3::40]:
        assert chosen.num_parameters(decode(chosen, strengths, largest=largest)) <= largest
    with pytest.raises(ValueError, match="found none"):
        decode(chosen, strengths, largest=10)
    spread = [chosen.num_parameters(g) for g in decode_sizes(chosen, strengths, 8)]
    assert len(spread) >= 6
    assert spread == sorted(spread)


class Standardised(Digits):
    """Digits of mean zero, for which [0, 1] means nothing."""

    bounds = (-3.0, 3.0)

    def sources(self, split):
        source = super().sources(split)
        batch = source.batch(torch.arange(len(source)))
        return TensorSource(4.0 * batch.inputs - 1.0, batch.targets)


@pytest.mark.supported
def test_a_search_on_standardised_data_keeps_to_the_bounds_of_its_suite():
    trainer = SearchJob(space(), Standardised(), DARTS(), steps=2, batch_size=8, eps=0.5)
    assert trainer.recipe.bounds == trainer.setting.bounds == (-3.0, 3.0)
    parts = trainer.method.compose(trainer.setting)
    batch = next(iter(Standardised().loader("train", batch_size=8)))
    x = batch.inputs
    shifted = parts.problem.shifted(x, torch.ones_like(x))
    assert float((shifted - x).max()) == pytest.approx(0.5) and shifted.max() <= 3.0
    run(parts, steps=1)
    unbounded = Standardised()
    unbounded.bounds = None
    assert RetrainJob(space(), "|conv3~0|+|skip~0|conv1~1|", unbounded).recipe.bounds is None


@pytest.mark.refused("the inputs leave the bounds that the suite declares")
def test_a_search_whose_data_leave_their_bounds():
    suite = Standardised()
    suite.bounds = (0.0, 1.0)
    for make in (
        lambda: SearchJob(space(), suite, DARTS()),
        lambda: RetrainJob(space(), "|conv3~0|+|skip~0|conv1~1|", suite),
    ):
        with pytest.raises(ValueError, match=r"should hold all inputs .* found .* inputs of -"):
            make()


def test_nothing_that_leaves_its_bounds_is_clamped_on_the_way_to_an_attack():
    suite = Standardised()
    batch = next(iter(suite.loader("train", batch_size=8)))
    composition = DARTS().compose(setting(suite=suite))
    with pytest.raises(ValueError, match="within its bounds"):
        composition.problem.shifted(batch.inputs, torch.ones_like(batch.inputs))
    gates = GatedSearch().compose(setting(suite=suite)).problem
    with pytest.raises(ValueError, match="within its bounds"):
        gates.losses(batch)
    network = space().network(space().sample(torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="within its bounds"):
        Recipe(ball=Linf(0.1)).problem(network, suite, "digit").losses(batch)


def test_the_reference_executor_joins_nothing():
    for method in (DARTS(), GatedSearch(), FairPathSearch()):
        parts = method.compose(setting(executor="reference"))
        kinds = {type(m) for m in parts.problem.module.modules()}
        assert MixedCell in kinds and BatchedCell not in kinds
