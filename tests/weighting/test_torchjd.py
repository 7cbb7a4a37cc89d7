"""Methods against TorchJD 0.18, where that is right; where it is not, the test says why."""

import numpy as np
import pytest
import torch
import torchjd.aggregation as peers
import torchjd.scalarization as peer_losses

from moml import Evaluation
from moml.weighting import (
    COSMOS,
    CRMOGM,
    FAMO,
    IMTL,
    MGDA,
    PBI,
    PCD,
    STCH,
    AlignedMTL,
    ConFIG,
    Constant,
    DualProj,
    ExcessMTL,
    FairGrad,
    GradDrop,
    GradVac,
    Krum,
    MoDo,
    SDMGrad,
    TrimmedMean,
    UPGrad,
)
from tests.weighting.test_oracles import derivatives

SEEDS = range(4)


def rows_of(m, seed, n=None):
    rng = np.random.default_rng(1000 * m + seed)
    return torch.from_numpy(rng.standard_normal((m, n or m + 3)))


def names_of(m):
    return [str(i) for i in range(m)]


def update(method, rows, losses=None):
    """Weights and direction of one step."""
    method.setup(names_of(len(rows)))
    parameter = torch.nn.Parameter(torch.zeros_like(rows[0]))
    losses = torch.ones(len(rows)) if losses is None else losses
    weights = method.update(Evaluation.from_jacobian(rows, losses, parameters=[parameter]))
    return weights, parameter.grad


def weights_for(m):
    return torch.arange(1.0, m + 1, dtype=torch.float64) / (m * (m + 1) / 2)


@pytest.mark.parametrize("m", (2, 5))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (AlignedMTL, peers.AlignedMTL),
        (lambda **o: AlignedMTL(scale="median", **o), lambda p: peers.AlignedMTL(p, "median")),
        (lambda **o: AlignedMTL(scale="rmse", **o), lambda p: peers.AlignedMTL(p, "rmse")),
        (ConFIG, peers.ConFIG),
        (UPGrad, peers.UPGrad),
    ],
)
def test_preferences(ours, theirs, m):
    preference = weights_for(m)
    for seed in SEEDS:
        rows = rows_of(m, seed)
        _, found = update(ours(preference=preference.tolist()), rows)
        torch.testing.assert_close(found, theirs(preference)(rows), rtol=1e-3, atol=1e-3)


def test_leaks_of_rows():
    """Where all entries agree the draw does not matter: the rest is the leak's share."""
    rows = torch.tensor([[3.0, -1.0], [1.0, -2.0], [0.5, -0.5]], dtype=torch.float64)
    leak = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    _, found = update(GradDrop(leak=leak.tolist()), rows)
    torch.testing.assert_close(found, peers.GradDrop(leak=leak)(rows))


def test_excess_mtl_with_a_warm_up():
    ours, theirs = ExcessMTL(lr=0.3, warmup=3), peers.ExcessMTL(0.3, n_warmup_steps=3)
    for step in range(8):
        rows = rows_of(3, step) * torch.tensor([[3.0], [1.0], [0.1]])
        _, found = update(ours, rows)
        torch.testing.assert_close(found, theirs(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("m", (1, 2, 5))
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (IMTL, peers.IMTLG),
        (ConFIG, peers.ConFIG),
        (lambda: PCD(tau=0.2), lambda: peers.PCD(tau=0.2, eps=0.0)),
        (lambda: TrimmedMean(trim=0), lambda: peers.TrimmedMean(0)),
        (lambda: FairGrad(alpha=0.7), lambda: peers.FairGrad(0.7, max_iters=5000)),
        (FairGrad, lambda: peers.FairGrad(1.0, max_iters=5000)),
        (lambda: GradDrop(leak=1.0), lambda: peers.GradDrop(leak=torch.ones(5))),
    ],
)
def test_directions(ours, theirs, m):
    for seed in SEEDS:
        rows, peer = rows_of(m, seed), theirs()
        if isinstance(peer, peers.GradDrop):
            peer.leak = torch.ones(m, dtype=torch.float64)
        _, found = update(ours(), rows)
        expected = peer(rows)
        if ours is IMTL and (rows @ expected < 0).all():
            continue  # weights that sum below zero: theirs is an ascent direction for every task
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_dual_proj():
    # exact where theirs is regularised by 1e-4 of the Gramian's trace: lowered for comparison
    from torchjd.linalg import QuadprogProjector

    projector = QuadprogProjector(norm_eps=1e-12, reg_eps=1e-11)
    for seed in SEEDS:
        rows = rows_of(4, seed)
        _, found = update(DualProj(), rows)
        expected = peers.DualProj(projector=projector)(rows)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_trimmed_mean():
    rows = rows_of(6, 0, n=40)
    _, found = update(TrimmedMean(trim=2), rows)
    torch.testing.assert_close(found, peers.TrimmedMean(2)(rows))


def test_krum_on_well_separated_gradients():
    # theirs sums distances, the paper their squares: the same choice where one is far better
    rows = rows_of(7, 0) * torch.tensor([1.0, 1.0, 0.01, 1.0, 1.0, 9.0, 9.0])[:, None]  # around 0
    _, found = update(Krum(byzantine=2), rows)
    torch.testing.assert_close(found, peers.Krum(2)(rows))


@pytest.mark.parametrize(("ours", "theirs"), [(GradVac, peers.GradVac)])
def test_two_tasks_over_steps(ours, theirs):
    # two tasks: one order only, so nothing random is left
    method, peer = ours(), theirs(eps=0.0)
    for seed in range(8):
        rows = rows_of(2, seed)
        torch.testing.assert_close(update(method, rows)[1], peer(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        # a small step size: with 10 the iteration amplifies the 1e-8 that theirs adds to the scale
        (lambda: SDMGrad(lr=0.5), lambda: peers.SDMGradWeighting(lr=0.5)),
        (lambda: MoDo(gamma=0.1), lambda: peers.MoDoWeighting(gamma=0.1)),
        (lambda: CRMOGM(IMTL()), lambda: peers.CRMOGMWeighting(peers.IMTLGWeighting())),
    ],
)
def test_weights_over_steps(ours, theirs):
    method, peer = ours(), theirs()
    for seed in range(6):
        rows = rows_of(4, seed)
        weights, _ = update(method, rows)
        torch.testing.assert_close(weights, peer(rows @ rows.T), rtol=1e-5, atol=1e-5)


def test_excess_mtl_over_steps():
    # theirs uses the first step's excess as it is and divides from the second step on
    method, peer = ExcessMTL(lr=0.3), peers.ExcessMTLWeighting(robust_step_size=0.3)
    first = rows_of(3, 0)
    first = first / first[:, :1].abs() * 0 + torch.eye(3, 6, dtype=torch.float64)  # excesses of 1
    for rows in (first, *(rows_of(3, seed) for seed in range(1, 5))):
        weights, _ = update(method, rows)
        torch.testing.assert_close(weights, peer(rows), rtol=1e-5, atol=1e-5)


LOSSES = torch.tensor([0.3, 2.0, 7.0], dtype=torch.float64)
RAY = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda r: STCH(mu=0.5, preference=r), lambda r: peer_losses.STCH(0.5, r)),
        (lambda r: COSMOS(pull=2.0, preference=r), lambda r: peer_losses.COSMOS(2.0, r)),
        (lambda r: PBI(theta=3.0, preference=r), lambda r: peer_losses.PBI(3.0, r)),
        (lambda r: Constant(preference=r), lambda r: peer_losses.Constant(r)),
        (lambda r: FAMO(), lambda r: peer_losses.FAMO(3).double()),
    ],
)
def test_scalarizations(ours, theirs):
    method = ours(RAY.tolist())
    method.setup([*"abc"])
    expected = derivatives(theirs(RAY), LOSSES)
    torch.testing.assert_close(method.weights(LOSSES), expected, rtol=1e-5, atol=0)


def test_imtl_on_losses():
    method, peer = IMTL(mode="loss"), peer_losses.IMTLL(3).double()
    method.setup([*"abc"])
    values = torch.tensor([0.1, -0.4, 0.2])
    with torch.no_grad():
        method.log_scales.copy_(values)
        for parameter in peer.parameters():
            parameter.copy_(values)
    assert method.penalty(LOSSES).item() == pytest.approx(peer(LOSSES).item(), rel=1e-5)
    expected = derivatives(peer, LOSSES)
    torch.testing.assert_close(method.weights(torch.eye(3)), expected, rtol=1e-5, atol=0)


def test_famo_learns_as_theirs_when_the_next_batch_is_the_same_one():
    # theirs evaluates one batch before and after the step: the losses of our step t and t + 1
    method, peer = FAMO(), peer_losses.FAMO(3).double()
    method.setup([*"abc"])
    draw = torch.Generator().manual_seed(0)
    losses = LOSSES
    for _ in range(20):
        weights, _ = update_losses(method, losses)
        expected = derivatives(peer, losses)
        torch.testing.assert_close(weights, expected, rtol=1e-5, atol=0)
        losses = losses * (0.7 + 0.4 * torch.rand(3, generator=draw, dtype=torch.float64))
        peer.update(losses)


def update_losses(method, losses):
    rows = torch.eye(len(losses), dtype=torch.float64)
    evaluation = Evaluation.from_jacobian(rows, losses)
    return method.update(evaluation), evaluation


def test_mgda_differs_where_theirs_is_not_exact():
    # near Pareto-stationary points Frank-Wolfe's answer is an ascent direction for some task
    rows = rows_of(8, 1, n=8)
    rows = rows - rows.mean(0) + 1e-3 * rows_of(1, 5, n=8)
    gramian = rows @ rows.T
    assert (rows @ (peers.MGDAWeighting()(gramian) @ rows)).min() < 0
    assert (rows @ (MGDA().weights(gramian) @ rows)).min() > 0
