"""Tasks without a gradient on anything shared, losses of zero, gradients that are no numbers."""

import math

import pytest
import torch

import moml
from moml import Evaluation
from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Given
from moml.weighting import (
    DBMTL,
    EPO,
    FAMO,
    GALW,
    GLS,
    IMTL,
    MGDA,
    SI,
    STCH,
    CAGrad,
    ConFIG,
    Every,
    ExcessMTL,
    GradDrop,
    GradNorm,
    GramianWeighting,
    Grouped,
    JacobianAggregator,
    Krum,
    MoCo,
    MoDo,
    NashMTL,
    Scaled,
    SDMGrad,
    TrimmedMean,
    UPGrad,
)
from tests.weighting.test_conformance import BUILDS, jacobian_of, losses_of, names_of


class Step(Given):
    """Given rows, private parameters of one number each, and what is written on both."""

    def __init__(self, rows, losses, *, tasks=None):
        present = list(range(len(rows))) if tasks is None else tasks
        super().__init__(rows, losses, tuple(f"task{i}" for i in present), [])
        self.tasks = torch.tensor(present)
        self.direction, self.heads = torch.zeros(rows.shape[1]).double(), torch.zeros(len(rows))

    def apply(self, weights, *, heads=None):
        self.direction = self.direction + self.pullback(weights)
        self.heads = self.heads + (torch.ones(len(weights)) if heads == "unit" else weights)

    def assign(self, direction):
        self.direction = self.direction + direction
        self.heads = self.heads + 1.0


def step(weighting, rows, losses, **options):
    rows = torch.as_tensor(rows, dtype=torch.float64)
    evaluation = Step(rows, torch.as_tensor(losses, dtype=torch.float64), **options)
    weighting.setup(weighting.names or names_of(len(rows)))
    weighting.update(evaluation)
    return evaluation


# ---------------------------------------------------------------------------- no gradient at all


def trades_off(weighting):
    """Whether heads are scaled by a trade-off between gradients, not by a scale of the losses."""
    if getattr(weighting, "log_heads", False):
        return False
    kinds = (GramianWeighting, JacobianAggregator, MoDo, SDMGrad, ExcessMTL, Grouped)
    return isinstance(weighting, kinds)


@pytest.mark.supported
@pytest.mark.parametrize("build", BUILDS)
def test_frozen_encoder_trains_heads_by_their_own_losses_under_every_weighting(build):
    for m in (1, 3):
        for _ in range(3):  # states move on
            found = step(build(), torch.zeros(m, 0), losses_of(m))
            assert found.direction.shape == (0,)
            assert found.heads.isfinite().all()
            if trades_off(build()):
                torch.testing.assert_close(found.heads.double(), torch.ones(m).double())


@pytest.mark.parametrize("build", BUILDS)
def test_gradients_that_are_all_zero_train_heads_by_their_own_losses(build):
    weighting = build()
    for _ in range(3):
        found = step(weighting, torch.zeros(3, 4), losses_of(3))
        assert not found.direction.any()
        if trades_off(weighting) and not isinstance(weighting, (MoDo, SDMGrad)):
            torch.testing.assert_close(found.heads.double(), torch.ones(3).double())
        elif weighting.needs != "losses":
            assert (found.heads > 0).all()


@pytest.mark.supported
@pytest.mark.parametrize("build", BUILDS)
def test_linear_probe_beside_trained_tasks_leaves_their_trade_off_alone(build):
    """A task that sees a detached encoder: the others go on as without it, and its head trains."""
    weighting, alone = build(), build()
    if weighting.needs == "losses":
        pytest.skip("no gradient is looked at")
    rows, losses = jacobian_of("not_stationary", 4), losses_of(4)
    rows[1] = 0.0
    alone.setup(names_of(4))
    for _ in range(3):
        found = step(weighting, rows, losses)
        assert found.heads[1] > 0
        assert (rows @ found.direction).abs().max() > 1e-3  # the encoder trains
        if trades_off(weighting) and not isinstance(
            weighting, (MoDo, SDMGrad, ExcessMTL, GradNorm)
        ):
            rest = [0, 2, 3]
            expected = step(alone, rows[rest], losses[rest], tasks=rest)
            torch.testing.assert_close(found.direction, expected.direction)


@pytest.mark.supported
@pytest.mark.parametrize(
    "method", (MGDA, NashMTL, Krum, ConFIG, MoCo, MoDo, ExcessMTL, lambda: Grouped(MGDA()))
)
def test_linear_probes_on_a_frozen_encoder_get_the_gradients_of_plain_training(method):
    torch.manual_seed(0)
    encoder, x = torch.nn.Linear(3, 4).requires_grad_(False), torch.randn(5, 3)
    heads = torch.nn.ModuleDict({name: torch.nn.Linear(4, 1) for name in ("a", "b")})

    def losses():
        return {name: head(encoder(x)).square().mean() for name, head in heads.items()}

    expected = torch.autograd.grad(sum(losses().values()), list(heads.parameters()))
    moml.backward(losses(), method())
    for parameter, gradient in zip(heads.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_weight_of_a_probe_is_the_mean_of_the_others():
    rows = [[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    for method, expected in (
        (MGDA(), [1 / 5, 1 / 2, 4 / 5]),
        (NashMTL(max_norm=None), [1 / 2, 3 / 4, 1]),
        (UPGrad(), [1 / 2, 1 / 2, 1 / 2]),
        (CAGrad(c=0.0), [1 / 2, 1 / 2, 1 / 2]),
    ):
        assert step(method, rows, [1.0, 1.0, 1.0]).heads.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("method", (MoDo, lambda: SDMGrad(pull=0.0), MoCo))
def test_stochastic_minimum_norm_points_do_not_run_to_the_probe(method):
    """Its products are zero, the smallest: every step of the weights would lead to it."""
    weighting, rows = method(), torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]).double()
    for _ in range(200):
        found = step(weighting, rows, torch.ones(3))
    assert (rows[[0, 2]] @ found.direction > 0.1).all()


def test_tasks_absent_from_further_batches_keep_their_share():
    for weighting in (MoDo(gamma=0.1), SDMGrad()):
        weighting.setup(names_of(3))
        for _ in range(20):
            step(weighting, [[1.0, 0.0], [0.0, 2.0]], [1.0, 1.0], tasks=[0, 2])
        assert weighting.shares[1].item() == pytest.approx(1 / 3)
        assert weighting.shares.sum().item() == pytest.approx(1)


def test_galw_measures_no_rate_where_there_is_no_gradient():
    found, expected = GALW(num_groups=2, warmup=4), GALW(num_groups=2, warmup=4)
    for k in range(4):
        rows = torch.diag(torch.tensor([math.exp(-k), math.exp(-0.01 * k), math.exp(-k)])).double()
        step(expected, rows, torch.ones(3))
        rows[0] *= k != 2
        step(found, rows, torch.ones(3))
    assert found.group.tolist() == expected.group.tolist() == [1, 0, 1]


def test_grouped_trades_off_nothing_where_a_group_is_out_of_reach():
    """Task 1 does not reach the second tensor: there the other two are alone."""
    rows = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]]).double()
    parts = [torch.nn.Parameter(torch.zeros(2).double()) for _ in range(2)]
    method = Grouped(MGDA(), groups=2)
    method.setup(names_of(3))
    method.update(
        Evaluation.from_jacobian(rows, torch.ones(3), names=names_of(3), parameters=parts)
    )
    torch.testing.assert_close(parts[1].grad, torch.tensor([2 / 5, 4 / 5]).double())


# ------------------------------------------------------------------------------- losses of zero

ROWS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]).double()  # a hinge at 0
LOSSES = torch.tensor([2.0, 0.0, 1.0]).double()


@pytest.mark.supported
@pytest.mark.parametrize("build", BUILDS)
def test_hinge_or_triplet_loss_at_zero_stops_no_weighting(build):
    """Losses of zero for some steps, with the zero gradient they have there."""
    weighting = build()
    for k in range(6):
        rows, losses = ROWS.clone(), LOSSES.clone()
        if k % 2:
            rows[1], losses[1] = torch.tensor([0.2, 0.1, 1.0]), 0.5
        found = step(weighting, rows, losses)
        assert found.direction.isfinite().all()
        assert found.heads.isfinite().all()
    if weighting.needs != "losses":
        assert found.direction.norm() > 1e-3


@pytest.mark.parametrize("build", BUILDS)
def test_all_losses_at_zero_are_no_error(build):
    weighting = build()
    for k in range(3):
        rows, losses = (
            (jacobian_of("not_stationary", 3), losses_of(3)) if k == 1 else (0 * ROWS, 0 * LOSSES)
        )
        found = step(weighting, rows[:, :3], losses)
        assert found.direction.isfinite().all()
        assert found.heads.isfinite().all()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (SI(), [1 / 2, 0, 1]),
        # the geometric mean of 2 and 1: sqrt(2) / (2 L)
        (GLS(), [math.sqrt(2) / 4, 0, math.sqrt(2) / 2]),
        (FAMO(), [1 / 3, 0, 2 / 3]),
        (STCH(warmup=1), [1 / 2, 0, 1]),
        # log-MGDA: g1 / 2 and g3: weights 16 : 1 on them, on the raw losses 8 / 17 and 1 / 17
        (Scaled(MGDA()), [8 / 17, 0, 1 / 17]),
    ],
)
def test_weights_where_a_loss_is_zero(method, expected):
    found = step(method, ROWS, LOSSES)
    assert found.heads.tolist() == pytest.approx(expected)


def test_db_mtl_and_epo_go_on_as_without_the_task_at_zero():
    for make in (DBMTL, EPO):
        method, alone = make(), make()
        method.setup(names_of(3))
        alone.setup(names_of(3))
        found = step(method, ROWS, LOSSES)
        expected = step(alone, ROWS[[0, 2]], LOSSES[[0, 2]], tasks=[0, 2])
        torch.testing.assert_close(found.direction, expected.direction)


def test_famo_measures_no_decrease_to_or_from_zero():
    method = FAMO()
    method.setup(names_of(2))
    for losses in ([1.0, 1.0], [1.0, 0.0], [1.0, 0.5]):
        method.weights(torch.tensor(losses).double())
        step(method, torch.eye(2), losses)
    assert method.logits.abs().max() < 0.1
    assert method.adam.count.tolist() == [2, 0]


def test_famo_subtracts_the_smallest_conceivable_losses():
    # z = 1/2; 1 / (L - b) = 1/2, 1/4, normalised
    method = FAMO(min_losses={"task0": 1.0, "task1": -3.0})
    assert step(method, torch.eye(2), [3.0, 1.0]).heads.tolist() == pytest.approx([2 / 3, 1 / 3])
    with pytest.raises(ValueError, match=r"below `min_losses` \[1\.0\] for FAMO.*'task0'"):
        step(method, torch.eye(2), [0.5, 1.0])


# --------------------------------------------------------------- gradients that are not numbers


@pytest.mark.parametrize("bad", (float("nan"), float("inf")))
@pytest.mark.parametrize("build", BUILDS)
def test_gradients_that_are_no_numbers_are_named_and_nothing_is_written(build, bad):
    weighting = build()
    if weighting.needs == "losses":
        pytest.skip("no gradient is looked at")
    weighting.setup(names_of(3))
    rows = jacobian_of("not_stationary", 3)
    rows[1, 2] = bad
    evaluation = Step(rows, losses_of(3))
    with pytest.raises(NonFiniteError, match="gradient of task 'task1' should be finite"):
        weighting.update(evaluation)
    assert not evaluation.direction.any()
    assert not evaluation.heads.any()


def test_huge_and_tiny_float32_gradients_are_numbers():
    for scale in (1e30, 1e-30):
        rows = torch.tensor([[1.0, 2.0], [3.0, -3.0]]) * scale  # the second one's sum is zero
        for method in (GradDrop(leak=1.0), TrimmedMean(trim=0)):
            found = Step(rows, torch.ones(2))
            method.setup(names_of(2)).update(found)
            assert found.direction.abs().max() > scale


# ---------------------------------------------------------------------------- heads of the papers


@pytest.mark.parametrize("oracle", ("parameters", "representation"))
def test_heads_of_the_papers(oracle):
    """DB-MTL's are gradients of logarithms, IMTL's those of the scaled losses; the trunk's stay."""
    torch.manual_seed(0)
    trunk, x = torch.nn.Linear(3, 4).double(), torch.randn(5, 3).double()
    heads = torch.nn.ModuleList([torch.nn.Linear(4, 1).double() for _ in range(3)])

    def gradients(weighting):
        weighting.setup(["0", "1", "2"])
        if isinstance(weighting, IMTL):
            weighting.log_scales.data.copy_(torch.tensor([0.5, -1.0, 0.0]))
        trunk.zero_grad()
        heads.zero_grad()
        z = trunk(x).tanh()
        losses = [(k + 1) * head(z).square().mean() for k, head in enumerate(heads)]
        moml.backward(losses, weighting, features=z, representation=oracle == "representation")
        ratios = []
        for k, head in enumerate(heads):
            own = (k + 1) * head(trunk(x).tanh()).square().mean()
            ratios.append(head.weight.grad / torch.autograd.grad(own, head.weight)[0])
        return trunk.weight.grad.clone(), ratios, losses

    for plain, paper in (
        (DBMTL(), DBMTL(log_heads=True)),
        (IMTL(mode="hybrid"), IMTL(mode="hybrid", scaled_heads=True)),
    ):
        trunk_plain, _, _ = gradients(plain)
        trunk_paper, ratios, losses = gradients(paper)
        torch.testing.assert_close(trunk_paper, trunk_plain)
        for k, ratio in enumerate(ratios):
            factor = 1 / losses[k] if isinstance(paper, DBMTL) else paper.log_scales[k].exp()
            torch.testing.assert_close(ratio, factor.double().detach().expand_as(ratio))


@pytest.mark.refused("stored or smoothed weights are one per task, and heads have others there")
def test_heads_of_the_papers_inside_wrappers_that_store_weights():
    with pytest.raises(ValueError, match="should apply weights, found IMTL, which applies weights"):
        step(Every(IMTL(mode="hybrid", scaled_heads=True), n=2), ROWS, LOSSES)
