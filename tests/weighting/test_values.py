"""Reference values, one or more rows a method, each with its source."""

import math

import pytest
import torch

from moml import Evaluation
from moml.weighting import (
    COSMOS,
    DBMTL,
    DRUW,
    DWA,
    EPO,
    EW,
    FAMO,
    GALW,
    GLS,
    IMTL,
    MGDA,
    PBI,
    PCD,
    PMGDA,
    PMTL,
    RLW,
    RRUW,
    SI,
    STCH,
    UW,
    AlignedMTL,
    CAGrad,
    ConFIG,
    Constant,
    DualProj,
    ExcessMTL,
    FairGrad,
    GradDrop,
    GradNorm,
    GradVac,
    Krum,
    MoCo,
    MoDo,
    NashMTL,
    PCGrad,
    Scaled,
    SDMGrad,
    Tchebycheff,
    TrimmedMean,
    UPGrad,
)
from moml.weighting._normalization import gradient_factors

S2 = math.sqrt(2.0)
# g1 = (1, 0), g2 = (-1, 1) conflict; all values below are exact arithmetic on them.
CONFLICT = [[1.0, 0.0], [-1.0, 1.0]]
ORTHOGONAL = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]


def _epo_share():
    mu = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    anchor = [0.5 * (math.log(4 / 3) - mu), 0.5 * (math.log(2 / 3) - mu)]
    return (2 + anchor[0] - 2 * anchor[1]) / 3


def _epo_fall():
    """Where w'Ga of the losses 2 and 1 is zero, if that is above 1/2."""
    mu = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    anchor = [math.log(4 / 3) - mu, math.log(2 / 3) - mu]
    first, second = anchor[0] - anchor[1], 2 * anchor[1] - anchor[0]
    return max(-second / (first - second), 1 / 2)


VALUES = [
    # every weight 1, by definition
    ("EW", EW(), CONFLICT, [1, 1]),
    # K = 2 closed form: w1 = (g2 - g1)·g2 / |g1 - g2|^2 = 3/5
    ("MGDA two", MGDA(), CONFLICT, [3 / 5, 2 / 5]),
    # the same, clamped: (g2 - g1)·g2 < 0, the shorter gradient alone
    ("MGDA clamped", MGDA(), [[1, 0], [2, 1]], [1, 0]),
    # orthogonal gradients: w_i proportional to 1 / |g_i|^2 = 1/4, 1, 4
    ("MGDA orthogonal", MGDA(), ORTHOGONAL, [1 / 21, 4 / 21, 16 / 21]),
    # g3 = g1 + g2 has g3·d >= |d|^2 for d of (g1, g2): outside the support
    ("MGDA support", MGDA(), [[1, 0], [0, 1], [1, 1]], [1 / 2, 1 / 2, 0]),
    # unit gradients: the point nearest to 0 is the midpoint, whatever the norms
    ("MGDA l2", MGDA(normalize="l2"), [[3, 0], [0, 1]], [1 / 2, 1 / 2]),
    # losses (2, 1): g1 / 2 and g2, orthogonal with norms 1/2 and 1: weights 4 to 1
    ("MGDA loss", MGDA(normalize="loss"), [[1, 0], [0, 1]], [4 / 5, 1 / 5]),
    # losses (2, 1) and norms (3, 1): scaled norms 1/2 and 1
    ("MGDA loss+", MGDA(normalize="loss+"), [[3, 0], [0, 1]], [4 / 5, 1 / 5]),
    # Frank-Wolfe from (1/2, 1/2), exact line search: a segment is solved by one step
    ("MGDA Frank-Wolfe", MGDA(solver="frank_wolfe"), CONFLICT, [3 / 5, 2 / 5]),
    # K = 2: a_i = 1 / (|g_i| sqrt(1 + cos)), cos = -1/sqrt(2); Navon et al., claim on K = 2
    (
        "Nash two",
        NashMTL(max_norm=None),
        CONFLICT,
        [1 / math.sqrt(1 - 1 / S2), 1 / (S2 * math.sqrt(1 - 1 / S2))],
    ),
    # orthogonal: a_i = 1 / |g_i|
    ("Nash orthogonal", NashMTL(max_norm=None), ORTHOGONAL, [1 / 2, 1, 2]),
    # |G a| = sqrt(K), so max_norm = 1 divides by sqrt(3)
    ("Nash clipped", NashMTL(), ORTHOGONAL, [x / math.sqrt(3) for x in (1 / 2, 1, 2)]),
    # c = 0: the average, no rescaling left
    ("CAGrad c = 0", CAGrad(c=0.0), CONFLICT, [1 / 2, 1 / 2]),
    # unit orthogonal gradients: d = g0 (1 + c) by symmetry, over 1 + c^2, 1 + c or 1
    ("CAGrad symmetric", CAGrad(c=0.5), [[1, 0], [0, 1]], [0.75 / 1.25] * 2),
    ("CAGrad rescale 2", CAGrad(c=0.5, rescale=2), [[1, 0], [0, 1]], [1 / 2, 1 / 2]),
    ("CAGrad rescale 0", CAGrad(c=0.5, rescale=0), [[1, 0], [0, 1]], [0.75, 0.75]),
    # opposite gradients 1 and -3, g0 = -1: max_d min(d, -3d) on |d + 1| <= c is at d = -1 + c, by
    # w = (1, 0): 1/2 + c and 1/2
    ("CAGrad opposite", CAGrad(c=0.5, rescale=0), [[1.0], [-3.0]], [1, 1 / 2]),
    # orthogonal: eigenvalues 4, 1, 1/4; each gradient is brought to length sqrt(1/4), then the mean
    ("Aligned min", AlignedMTL(), ORTHOGONAL, [1 / 12, 1 / 6, 1 / 3]),
    ("Aligned median", AlignedMTL(scale="median"), ORTHOGONAL, [1 / 6, 1 / 3, 2 / 3]),
    # of eigenvalues 4 and 1 the lower, as torch.median: lengths 1
    (
        "Aligned median of two",
        AlignedMTL(scale="median"),
        [[2, 0], [0, 1]],
        [1 / 4, 1 / 2],
    ),
    # shares of the aligned gradients, which have length 1/2
    ("Aligned preferred", AlignedMTL(preference=[1, 2, 1]), ORTHOGONAL, [1 / 16, 1 / 4, 1 / 4]),
    (
        "Aligned rmse",
        AlignedMTL(scale="rmse"),
        ORTHOGONAL,
        [math.sqrt(1.75) / 6, math.sqrt(1.75) / 3, 2 * math.sqrt(1.75) / 3],
    ),
    # no conflict: the mean
    ("UPGrad mean", UPGrad(), [[1, 0], [1, 1]], [1 / 2, 1 / 2]),
    # g1 - (g1·g2 / g2·g2) g2 = g1 + g2/2 and g2 + g1, halved
    ("UPGrad two", UPGrad(), CONFLICT, [1, 3 / 4]),
    # a quarter of g1 + g2/2 and three quarters of g2 + g1
    ("UPGrad preferred", UPGrad(preference=[1, 3]), CONFLICT, [1, 7 / 8]),
    # K = 2: sum of the same two projections
    ("PCGrad two", PCGrad(), CONFLICT, [2, 3 / 2]),
    # g1 = (1,0,0) conflicts with g2 only, g2 with g1 only, g3 with none: order does not matter
    ("PCGrad three", PCGrad(), [[1, 0, 0], [-1, 1, 0], [0, 0, 1]], [2, 3 / 2, 1]),
    # derivatives of sqrt(2 * 1): sqrt(2) / (2 * 2), sqrt(2) / (2 * 1)
    ("GLS", GLS(), CONFLICT, [S2 / 4, S2 / 2]),
    # 1 / (2 exp(-1/2)) and 1/2 before any training
    ("UW", UW(), CONFLICT, [math.exp(0.5) / 2] * 2),
    ("UW init", UW(init=0.0), CONFLICT, [1 / 2, 1 / 2]),
    # first epoch
    ("DWA", DWA(), CONFLICT, [1, 1]),
    # as given; by name
    ("Constant", Constant(preference={"1": 0.7, "0": 0.3}), CONFLICT, [0.3, 0.7]),
    # 1 / L
    ("SI", SI(), CONFLICT, [1 / 2, 1]),
    # z = 1/2, so proportional to 1 / L, and sums to 1
    ("FAMO", FAMO(), CONFLICT, [1 / 3, 2 / 3]),
    # before any training
    ("GradNorm", GradNorm(), CONFLICT, [1, 1]),
    ("GALW", GALW(), CONFLICT, [1 / 2, 1 / 2]),
    # 1 / (K alpha^2) with alpha = 1/K; DWA adds 1
    ("RRUW", RRUW(), CONFLICT, [2, 2]),
    ("DRUW", DRUW(), CONFLICT, [3, 3]),
    # lambda = 1/2, softmax(1, 1/2)
    ("STCH", STCH(), CONFLICT, [0.5 / (1 + math.exp(-0.5)), 0.5 / (1 + math.exp(0.5))]),
    # warm-up: 1 / L
    ("STCH warm-up", STCH(warmup=2), CONFLICT, [1 / 2, 1]),
    # lambda_i L_i is (1, 1/2), then (1/2, 3/4), then equal
    ("Tchebycheff", Tchebycheff(), CONFLICT, [1 / 2, 0]),
    ("Tchebycheff preferred", Tchebycheff(preference=[1, 3]), CONFLICT, [0, 3 / 4]),
    ("Tchebycheff tied", Tchebycheff(preference=[1, 2]), CONFLICT, [1 / 6, 1 / 3]),
    # r = (1/2, 1/2), cos = 3 / sqrt(10); its derivative is (1, 1)/sqrt(2)/sqrt(5) - cos (2, 1)/5
    (
        "COSMOS",
        COSMOS(),
        CONFLICT,
        [
            0.5 - (1 / math.sqrt(10) - 6 / 5 / math.sqrt(10)),
            0.5 - (1 / math.sqrt(10) - 3 / 5 / math.sqrt(10)),
        ],
    ),
    # along (1, 1) / sqrt(2), and 5 times beside it along (1, -1) / sqrt(2)
    ("PBI", PBI(), CONFLICT, [6 / S2, -4 / S2]),
    # on the ray
    ("PBI on the ray", PBI(preference=[2, 1]), CONFLICT, [2 / math.sqrt(5), 1 / math.sqrt(5)]),
    # K = 2: w_i |g_i| equal, and sum 1
    ("IMTL two", IMTL(), CONFLICT, [S2 / (1 + S2), 1 / (1 + S2)]),
    ("IMTL orthogonal", IMTL(), ORTHOGONAL, [1 / 7, 2 / 7, 4 / 7]),
    # before training of the scales
    ("IMTL losses", IMTL(mode="loss"), CONFLICT, [1, 1]),
    # targets of zero: PCGrad
    ("GradVac", GradVac(), CONFLICT, [2, 3 / 2]),
    # diagonal G: w_i = |g_i|^(-2 / (1 + 1/alpha))
    ("FairGrad 2", FairGrad(alpha=2.0), ORTHOGONAL, [2 ** (-4 / 3), 1, 2 ** (4 / 3)]),
    ("FairGrad 1/2", FairGrad(alpha=0.5), ORTHOGONAL, [2 ** (-2 / 3), 1, 2 ** (2 / 3)]),
    # u = (1, 1, 1) / sqrt(3), length 3.5 / sqrt(3)
    ("ConFIG", ConFIG(), ORTHOGONAL, [7 / 12, 7 / 6, 7 / 3]),
    # mean (-1, 1/2) loses for g1: + g1
    ("DualProj", DualProj(), [[1, 0], [-3, 1]], [3 / 2, 1 / 2]),
    ("DualProj mean", DualProj(), CONFLICT, [1 / 2, 1 / 2]),
    # tau = 0: g1 onto the half-plane of g2 is (1/2, 1/2), stretched to norm 1
    ("PCD", PCD(tau=0.0), CONFLICT, [S2, S2 / 2]),
    ("PCD primary", PCD(primary="1", tau=0.0), [[-1, 1], [1, 0]], [S2 / 2, S2]),
    # two opposite secondary gradients
    ("PCD infeasible", PCD(tau=0.5), [[1, 0], [0, 1], [0, -1]], [1, 0, 0]),
    # sums of the two smallest squared distances: .0325, .0125, large, .025
    ("Krum", Krum(byzantine=0), [[1, 0], [1.1, 0], [0, 5], [1.15, 0]], [0, 1, 0, 0]),
    (
        "Krum two",
        Krum(byzantine=0, selected=2),
        [[1, 0], [1.1, 0], [0, 5], [1.15, 0]],
        [0, 1 / 2, 0, 1 / 2],
    ),
    # (1/2, 1/2) - 0.001 (G + 0.1) (1/2, 1/2), back onto the simplex
    ("MoDo", MoDo(), CONFLICT, [0.50025, 0.49975]),
    # one step of size 10 leads beyond the vertex w = (1, 0); plus 0.15 each, over 1.3
    ("SDMGrad", SDMGrad(iterations=1), CONFLICT, [1.15 / 1.3, 0.15 / 1.3]),
    # w - 0.1 G (w + 0.15) / s = w - 0.1 (0, 0.65) / s with s = ((1 + sqrt 2) / 2)^2, projected
    (
        "SDMGrad small step",
        SDMGrad(iterations=1, lr=0.1),
        CONFLICT,
        [(0.65 + 0.13 / (1 + S2) ** 2) / 1.3, (0.65 - 0.13 / (1 + S2) ** 2) / 1.3],
    ),
    # first step: every excess is 1
    ("ExcessMTL", ExcessMTL(), CONFLICT, [1 / 2, 1 / 2]),
    # inside the cone: MGDA; outside: the violated constraint's gradient g1 - g2 alone
    ("PMTL inside", PMTL(), CONFLICT, [3 / 5, 2 / 5]),
    ("PMTL outside", PMTL(preference=[0, 1]), CONFLICT, [S2 / S2, -S2 / S2]),
    # losses on the ray, where h has no gradient: MGDA
    ("PMGDA on the ray", PMGDA(preference=[2, 1]), CONFLICT, [3 / 5, 2 / 5]),
    # heights (1, 1/2), mu = (2/3) ln(4/3) + (1/3) ln(2/3); (G w)_2 = 2 - 3x stays at (G a)_2
    ("EPO", EPO(), CONFLICT, [2 * _epo_share(), 2 * (1 - _epo_share())]),
    # balanced: w'G 1 with G w >= 0: x in [1/2, 2/3], value (1 - x), so x = 1/2
    ("EPO balanced", EPO(preference=[1, 2]), CONFLICT, [1, 1]),
    # losses 2 and 1 have the non-uniformity .057 < .1. Relaxed: x in [1/2, 2/3] for the floors of
    # zero, value 1 - x. Restricted: w'Ga >= 0 with (Ga)_1 = a1 - a2 > 0 > (Ga)_2 = 2 a2 - a1
    ("EPO relaxed", EPO(tolerance=0.1, descent="relaxed"), CONFLICT, [1, 1]),
    ("EPO restricted", EPO(tolerance=0.1), CONFLICT, [2 * _epo_fall(), 2 * (1 - _epo_fall())]),
    # log-MGDA: g1 / 2 and g2: w = (g2 - g1/2)·g2 / |g1/2 - g2|^2 = 2.5 / 3.25
    ("log-MGDA", Scaled(MGDA()), CONFLICT, [2.5 / 3.25 / 2, 0.75 / 3.25]),
]


@pytest.mark.parametrize(
    ("method", "rows", "expected"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES]
)
def test_values(method, rows, expected):
    rows = torch.tensor(rows, dtype=torch.float64)
    losses = torch.tensor([2.0, 1.0, 1.0, 1.0], dtype=torch.float64)[: len(rows)]
    method.setup([str(i) for i in range(len(rows))])
    weights = method.update(Evaluation.from_jacobian(rows, losses))
    torch.testing.assert_close(
        weights, torch.tensor(expected, dtype=torch.float64), rtol=1e-7, atol=1e-12
    )  # 1e-7: the variances of UW are float32


MEDIAN = [[1.0, 5.0], [-1.0, 0.0], [0.5, 1.0]]
DIRECTIONS = [
    # coordinate-wise median of three
    ("TrimmedMean", TrimmedMean(), MEDIAN, [0.5, 1.0]),
    ("TrimmedMean 0", TrimmedMean(trim=0), MEDIAN, [1 / 6, 2.0]),
    # all entries agree in sign: nothing is dropped
    ("GradDrop agreed", GradDrop(), [[1.0, -2.0], [3.0, -1.0]], [4.0, -3.0]),
    ("GradDrop leak 1", GradDrop(leak=1.0), CONFLICT, [0.0, 1.0]),
    # all of the first, of the others what has the sign drawn: the positive one, they agree on it
    ("GradDrop leaks", GradDrop(leak=[1.0, 0.0]), [[-1.0, 2.0], [0.0, 3.0]], [-1.0, 5.0]),
    # y = g / 2; lambda = (1/2, 1/2) - 0.1 (G / 4) (1/2, 1/2), back onto the simplex
    ("MoCo", MoCo(), CONFLICT, [(0.50625 - 0.49375) / 2, 0.49375 / 2]),
    # g / L times 1 - beta, then unit vectors times the longest, sqrt(2) / 10
    ("DBMTL", DBMTL(), CONFLICT, [(1 - 1 / S2) * S2 / 10, 1 / 10]),
]


@pytest.mark.parametrize(
    ("method", "rows", "expected"), [row[1:] for row in DIRECTIONS], ids=[r[0] for r in DIRECTIONS]
)
def test_directions(method, rows, expected):
    rows = torch.tensor(rows, dtype=torch.float64)
    method.setup([str(i) for i in range(len(rows))])
    losses = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)[: len(rows)]
    found = method.direction(rows, losses)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_grad_drop_keeps_one_sign_as_often_as_tasks_agree():
    # P = (1 + (3 - 1) / 4) / 2 = 3/4: 3 with that probability, else -1
    rows = torch.tensor([[3.0], [-1.0]]).expand(2, 20_000)
    found = GradDrop(seed=1).direction(rows)
    assert set(found.unique().tolist()) == {3.0, -1.0}
    assert (found == 3.0).double().mean().item() == pytest.approx(0.75, abs=0.01)


def test_nash_direction_bisects_unit_gradients():
    rows = torch.tensor([[3.0, 1.0], [-1.0, 0.2]], dtype=torch.float64)
    direction = NashMTL().weights(rows @ rows.mT) @ rows
    bisector = (rows / rows.norm(dim=1, keepdim=True)).sum(0)
    torch.testing.assert_close(direction, bisector / bisector.norm())


def test_cagrad_of_two_against_a_grid():
    # the dual over the segment w = (x, 1 - x), refined around the best of a fine grid
    rows = torch.tensor([[1.0, 0.3], [-0.9, 0.4]], dtype=torch.float64)
    average = rows.mean(0)
    for c in (0.1, 0.4, 0.9):
        low, high = 0.0, 1.0
        for _ in range(12):
            x = torch.linspace(low, high, 1001, dtype=torch.float64)
            points = x[:, None] * rows[0] + (1 - x)[:, None] * rows[1]
            best = (points @ average + c * average.norm() * points.norm(dim=1)).argmin()
            low, high = x[max(best - 1, 0)].item(), x[min(best + 1, 1000)].item()
        point = points[best]
        expected = average + c * average.norm() / point.norm() * point
        direction = CAGrad(c=c, rescale=0).weights(rows @ rows.mT) @ rows
        torch.testing.assert_close(direction, expected, rtol=1e-6, atol=1e-7)


# Standard deviations of one weight for K = 3: dirichlet in theory sqrt(1/18); the two softmax ones
# by 2e5 draws of numpy, to four digits.
MOMENTS = {"normal": 0.2224, "uniform": 0.0773, "dirichlet": math.sqrt(1 / 18)}


@pytest.mark.parametrize("distribution", MOMENTS)
def test_rlw_moments(distribution):
    weighting = RLW(distribution=distribution)
    losses = torch.ones(3)
    draws = torch.stack([weighting.weights(losses) for _ in range(20_000)])
    torch.testing.assert_close(draws.sum(1), torch.ones(20_000, dtype=torch.float64))
    assert draws.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.005)
    assert draws.std(0).tolist() == pytest.approx([MOMENTS[distribution]] * 3, abs=0.004)


def test_rlw_bernoulli():
    weighting = RLW(distribution="bernoulli")
    draws = torch.stack([weighting.weights(torch.ones(3)) for _ in range(7_000)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert (draws.sum(1) > 0).all()
    assert draws.mean(0).tolist() == pytest.approx([4 / 7] * 3, abs=0.03)  # given not all zero


@pytest.mark.parametrize(("ones", "tasks", "found"), [(1, 4, 1), (3, 4, 3), (3, 2, 2)])
def test_rlw_picks_exactly_so_many(ones, tasks, found):
    weighting = RLW(distribution="bernoulli_one", ones=ones)
    draws = torch.stack([weighting.weights(torch.ones(tasks)) for _ in range(2_000)])
    assert set(draws.unique().tolist()) <= {0.0, 1.0}
    assert (draws.sum(1) == found).all()
    assert draws.mean(0).tolist() == pytest.approx([found / tasks] * tasks, abs=0.05)


def test_rlw_random_normal_keeps_its_means():
    weighting = RLW(distribution="random_normal", seed=5)
    with pytest.raises(ValueError, match="setup"):
        weighting.weights(torch.ones(3))
    weighting.setup([*"abc"])
    draws = torch.stack([weighting.weights(torch.ones(3)).log() for _ in range(20_000)])
    differences = draws.mean(0) - draws.mean(0)[0]  # of log-softmax: those of the means
    expected = weighting.means - weighting.means[0]
    assert ((weighting.means >= 0) & (weighting.means <= 1)).all()
    torch.testing.assert_close(differences, expected, rtol=0, atol=0.03)
    present = torch.tensor([2])
    assert weighting.weights(torch.ones(1), tasks=present).tolist() == [1.0]


def test_rgw_leaves_heads_alone():
    class Step(Evaluation):
        names, tasks, losses = ("a",), torch.arange(1), torch.ones(1)
        gramian = jacobian = None
        pullback = assign = None

        def apply(self, weights, *, heads=None):
            self.heads = heads

    for level, heads in (("loss", None), ("gradient", "unit")):
        step = Step()
        RLW(level=level).update(step)
        assert step.heads == heads


def test_uw_weights_and_penalty_are_its_objective():
    weighting = UW()
    weighting.setup([*"abc"])
    losses = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    tasks = torch.tensor([0, 2])
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([0.3, 9.0, -0.7]))
    s = weighting.log_variances[tasks]
    objective = (losses / (2 * s.exp()) + s / 2).sum()
    by_loss, by_parameter = torch.autograd.grad(objective, [losses, weighting.log_variances])
    penalty = weighting.penalty(losses.detach(), tasks=tasks)
    assert penalty.item() == pytest.approx(objective.item())
    torch.testing.assert_close(
        torch.autograd.grad(penalty, weighting.log_variances)[0], by_parameter
    )
    torch.testing.assert_close(weighting.weights(losses, tasks=tasks), by_loss.double())
    assert by_parameter[1] == 0  # the absent task


def drive(weighting, table):
    """Weights of steps given as ``(epoch, {task: loss})``."""
    names = ["a", "b"]
    weighting.setup(names)
    history = []
    for epoch, losses in table:
        rows = torch.eye(len(losses), dtype=torch.float64)
        evaluation = Evaluation.from_jacobian(
            rows, torch.tensor(list(losses.values()), dtype=torch.float64), names=list(losses)
        )
        evaluation.epoch = epoch
        evaluation.tasks = torch.tensor([names.index(name) for name in losses])
        history.append(weighting.update(evaluation).tolist())
    return history


def softmax_two(first, second, temperature=2.0):
    a, b = math.exp(first / temperature), math.exp(second / temperature)
    return pytest.approx([2 * a / (a + b), 2 * b / (a + b)])


def test_dwa_by_epochs():
    table = [
        (0, {"a": 4.0, "b": 1.0}),
        (0, {"a": 2.0, "b": 1.0}),  # epoch means 3, 1
        (1, {"a": 2.0, "b": 1.0}),
        (1, {"a": 1.0, "b": 1.0}),  # 1.5, 1
        (2, {"a": 9.0, "b": 9.0}),
        (3, {"a": 1.0, "b": 1.0}),
    ]
    history = drive(DWA(), table)
    assert history[:4] == [[1.0, 1.0]] * 4
    assert history[4] == softmax_two(0.5, 1.0)
    assert history[5] == softmax_two(6.0, 9.0)


def test_dwa_by_window_ignores_epochs():
    table = [(0, {"a": a, "b": 1.0}) for a in (4.0, 2.0, 2.0, 1.0, 9.0)]
    history = drive(DWA(window=2, temperature=1.0), table)
    assert history[:4] == [[1.0, 1.0]] * 4
    assert history[4] == softmax_two(0.5, 1.0, temperature=1.0)


def test_dwa_absent_task_moves_no_history():
    table = [
        (0, {"a": 4.0, "b": 1.0}),
        (1, {"a": 2.0}),  # b absent for an epoch
        (2, {"a": 1.0, "b": 3.0}),
        (3, {"a": 1.0, "b": 1.0}),
    ]
    history = drive(DWA(), table)
    assert history[1] == [1.0]
    assert history[2] == softmax_two(0.5, 1.0)  # b has one epoch so far: neutral
    assert history[3] == softmax_two(0.5, 3.0)


def test_gls_does_not_underflow():
    # LibMTL's product of 32 losses of 1e-3 or so is zero in float32
    losses = torch.full((32,), 1e-30, dtype=torch.float64)
    assert GLS().weights(losses).tolist() == pytest.approx([1 / 32] * 32)


@pytest.mark.parametrize("bad", (-1.0, float("nan")))
def test_gls_needs_losses_that_are_not_negative(bad):
    weighting = GLS()
    losses = torch.tensor([1.0, bad])
    with pytest.raises(ValueError, match=r"`losses` should not be negative for GLS.*\(s\) 1\."):
        weighting.weights(losses)
    weighting.setup(["depth", "normal", "edges"])
    with pytest.raises(ValueError, match=r"task\(s\) 'edges'\."):
        weighting.weights(losses, tasks=torch.tensor([0, 2]))


def test_gradient_factors():
    gramian = torch.diag(torch.tensor([4.0, 0.0, 1.0], dtype=torch.float64))
    losses = torch.tensor([0.0, 2.0, 8.0], dtype=torch.float64)
    # a zero norm or loss takes the smallest factor of the others
    for by, expected in (
        ("none", [1, 1, 1]),
        ("l2", [1 / 2, 1 / 2, 1]),
        ("loss", [1 / 8, 1 / 2, 1 / 8]),
        ("loss+", [1 / 8, 1 / 8, 1 / 8]),
    ):
        factors = gradient_factors(by, gramian=gramian, losses=losses)
        assert factors.tolist() == pytest.approx(expected)
    assert gradient_factors("l2", gramian=torch.zeros(2, 2)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="should be given"):
        gradient_factors("loss", gramian=gramian)
    with pytest.raises(ValueError, match="should not be negative"):
        gradient_factors("loss+", gramian=gramian, losses=-losses)


@pytest.mark.parametrize(
    "build",
    [
        lambda: RLW(distribution="gaussian"),
        lambda: RLW(level="heads"),
        lambda: RLW(ones=0),
        lambda: DWA(temperature=0.0),
        lambda: DWA(window=0),
        lambda: MGDA(normalize="l1"),
        lambda: MGDA(solver="fw"),
        lambda: CAGrad(c=-0.1),
        lambda: CAGrad(rescale=3),
        lambda: NashMTL(max_norm=0.0),
        lambda: GradNorm(alpha=-1.0),
        lambda: GradVac(beta=2.0),
        lambda: FairGrad(alpha=0.0),
        lambda: IMTL(mode="both"),
        lambda: PCD(tau=1.5),
        lambda: Krum(selected=0),
        lambda: MoCo(beta=0.0),
        lambda: DBMTL(beta=1.0),
        lambda: STCH(mu=0.0),
        lambda: FAMO(lr=0.0),
        lambda: GALW(num_groups=0),
        lambda: EPO(tolerance=0.0),
        lambda: EPO(descent="free"),
        lambda: ExcessMTL(warmup=-1),
        lambda: GradDrop(leak=-0.1),
        lambda: TrimmedMean(trim=-1),
    ],
)
def test_bad_options_are_explained(build):
    with pytest.raises(ValueError, match=r"`\w+` should (not )?be .*, found"):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Constant(preference=[1.0]), "one finite number for each"),
        (lambda: Constant(preference={"a": 1.0, "c": 1.0}), "should name the tasks"),
        (lambda: STCH(preference=[-1.0, 1.0]), "non-negative and not all zero"),
        (lambda: FAMO(min_losses=[0.0]), "one finite number for each"),
        (lambda: GradDrop(leak=[0.0, 2.0]), "`leak` should be between 0 and 1, found 0.0 to 2.0"),
        (lambda: PCD(primary="c"), "`primary` should be among"),
        (lambda: GALW(groups={"a": 0}), "`groups` should give each of"),
        (lambda: Scaled(UW()), "no learnable parameters"),
    ],
)
def test_options_that_do_not_fit_the_tasks_are_explained(build, message):
    with pytest.raises(ValueError, match=message):
        build().setup(["a", "b"])


@pytest.mark.parametrize("method", (UW, DWA, Constant, FAMO, RRUW, GALW))
def test_state_per_task_needs_names(method):
    with pytest.raises(ValueError, match=r"Call `setup\(names\)` first"):
        method().weights(torch.ones(2))
