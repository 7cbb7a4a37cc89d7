"""Methods with a memory, over many steps: by the papers' loops on vectors, and where they end."""

import math

import numpy as np
import pytest
import torch

from moml import Evaluation
from moml.gradients.task_gradients import FurtherBatches
from moml.weighting import (
    CRMOGM,
    DBMTL,
    DRUW,
    EW,
    FAMO,
    GALW,
    MGDA,
    RLW,
    RRUW,
    STCH,
    ExcessMTL,
    GradDrop,
    GradNorm,
    Grouped,
    MoCo,
    MoDo,
    PCGrad,
    Scaled,
    SDMGrad,
)
from moml.weighting._clusters import clusters
from moml.weighting._simplex import project_onto_simplex


def rows_of(seed, m=3, n=6):
    return np.random.default_rng(seed).standard_normal((m, n))


def evaluation_of(rows, losses=None, *, tasks=None, epoch=0):
    rows = torch.as_tensor(rows, dtype=torch.float64)
    losses = (
        torch.ones(len(rows), dtype=torch.float64) if losses is None else torch.as_tensor(losses)
    )
    found = Evaluation.from_jacobian(
        rows, losses, parameters=[torch.nn.Parameter(torch.zeros_like(rows[0]))]
    )
    found.epoch = epoch
    if tasks is not None:
        found.tasks = torch.tensor(tasks)
    return found


def applied(method, rows, losses=None, **options):
    method.setup([str(i) for i in range(len(rows) if "tasks" not in options else 3)])
    evaluation = evaluation_of(rows, losses, **options)
    method.update(evaluation)
    return evaluation.written().numpy()


def simplex_by_bisection(point):
    low, high = point.min() - 1, point.max()
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(point - level, 0).sum() > 1 else (low, level)
    return np.maximum(point - level, 0)


def test_projection_onto_the_simplex():
    for seed in range(20):
        point = np.random.default_rng(seed).standard_normal(7) * 10.0 ** (seed % 5 - 2)
        found = project_onto_simplex(torch.from_numpy(point)).numpy()
        np.testing.assert_allclose(found, simplex_by_bisection(point), atol=1e-12)


def test_moco_is_the_papers_loop():
    method, y, share = MoCo(rho=0.2), np.zeros((3, 6)), np.full(3, 1 / 3)
    for step in range(1, 12):
        rows = rows_of(step)
        y = y - 0.5 / step**0.5 * (y - rows)
        share = simplex_by_bisection(share - 0.1 / step**0.5 * (y @ y.T + 0.2 * np.eye(3)) @ share)
        np.testing.assert_allclose(applied(method, rows), share @ y, rtol=1e-9, atol=1e-12)


def test_moco_ends_at_the_minimum_norm_point():
    rows, method = rows_of(1), MoCo(beta_sigma=0.0, gamma=0.2, gamma_sigma=0.0)
    for _ in range(400):
        found = applied(method, rows)
    gramian = torch.from_numpy(rows @ rows.T)
    np.testing.assert_allclose(found, MGDA().weights(gramian).numpy() @ rows, atol=1e-6)


def test_db_mtl_is_the_papers_loop():
    method, smooth = DBMTL(beta=0.8, sigma=0.3), np.zeros((3, 6))
    for step in range(1, 10):
        rows, losses = rows_of(step), np.random.default_rng(step).uniform(0.1, 2, 3)
        beta = 0.8 / step**0.3
        smooth = beta * smooth + (1 - beta) * rows / losses[:, None]
        norms = np.linalg.norm(smooth, axis=1)
        expected = norms.max() * (smooth / norms[:, None]).sum(0)
        np.testing.assert_allclose(applied(method, rows, losses), expected, rtol=1e-9)


def test_excess_mtl_is_the_papers_loop():
    method, sums, share, first = ExcessMTL(lr=0.5), np.zeros((3, 6)), np.full(3, 1 / 3), None
    for step in range(8):
        rows = rows_of(step) * np.array([[3.0], [1.0], [0.1]])
        sums += rows**2
        excess = (rows**2 / np.sqrt(sums)).sum(1)
        first = excess if first is None else first
        share = share * np.exp(0.5 * excess / first)
        share /= share.sum()
        np.testing.assert_allclose(applied(method, rows), share @ rows, rtol=1e-9)


@pytest.mark.parametrize("method", (MoCo, DBMTL, ExcessMTL))
def test_an_absent_task_keeps_its_memory(method):
    found = method()
    applied(found, rows_of(0))
    memory = next(m for m in found.children() if hasattr(m, "counts"))
    before = memory.values.clone()
    applied(found, rows_of(1)[:2], tasks=[0, 2])
    assert torch.equal(memory.values[1], before[1])
    assert not torch.equal(memory.values[0], before[0])
    assert memory.counts.tolist() == [2, 1, 2]


def test_memory_refuses_rows_of_another_length():
    method = MoCo()
    applied(method, rows_of(0))
    with pytest.raises(
        ValueError, match="should have 6 columns for a parameter as in the first step, found 5"
    ):
        applied(method, rows_of(0, n=5))


class Batches(FurtherBatches):
    """Further batches whose gradients are the true ones plus independent noise."""

    def __init__(self, true, noise, rng):
        self.true, self.noise, self.rng = true, noise, rng
        self.asked = []

    def sample(self):
        return self.true + self.noise * self.rng.standard_normal(self.true.shape)

    def further(self, i):
        self.asked.append(i)
        return evaluation_of(self.sample())

    def again(self):
        raise NotImplementedError


@pytest.mark.slow
def test_independent_batches_give_unbiased_weights():
    """With one batch the noise counts as length of the gradients and distorts the weights."""
    true = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]])
    exact = MGDA().weights(torch.from_numpy(true @ true.T))  # 4/5, 1/5
    means = {}
    for independent in (True, False):
        method, rng, history = MoDo(gamma=0.02, rho=0.0), np.random.default_rng(0), []
        method.setup(["0", "1"])
        source = Batches(true, 1.5 * np.array([[1.0], [0.1]]), rng)
        for step in range(3000):
            evaluation = evaluation_of(source.sample())
            evaluation.source = source if independent else None
            weights = method.update(evaluation)
            if step >= 500:
                history.append(weights)
        means[independent] = torch.stack(history).mean(0)
        assert set(source.asked) == ({1, 2} if independent else set())
    assert (means[True] - exact).abs().max() < 0.05
    assert (means[False] - exact).abs().max() > 0.15


def test_sdmgrad_is_the_authors_loop_on_two_batches():
    """Their scale: the mean root of the diagonal of the products of both batches, squared."""
    for seed in range(5):
        method, share = SDMGrad(), np.full(3, 1 / 3)
        method.setup(["0", "1", "2"])
        rng = np.random.default_rng(seed)
        true = rng.standard_normal((3, 6))
        for _ in range(4):
            source = Batches(true, 10.0, np.random.default_rng(rng.integers(99)))  # noise / signal
            draws = [source.sample() for _ in range(2)]
            further = iter([evaluation_of(rows) for rows in draws])
            source.further = lambda i, found=list(further): found[i - 1]
            evaluation = evaluation_of(true)
            evaluation.source = source
            weights = method.update(evaluation).numpy()
            products = draws[0] @ draws[1].T
            scale = np.sqrt(np.maximum(np.diagonal(products), 0)).mean() ** 2
            velocity = np.zeros(3)
            for _ in range(20 if scale > 0 else 0):
                velocity = 0.5 * velocity + products @ (share + 0.3 / 3) / scale
                share = simplex_by_bisection(share - 10.0 * velocity)
            np.testing.assert_allclose(weights, (share + 0.1) / 1.3, rtol=1e-9, atol=1e-9)


def test_excess_mtl_rests_in_its_warm_up_and_measures_by_its_mean():
    method = ExcessMTL(lr=1.0, warmup=2)
    for size in (1.0, 3.0):
        applied(method, size * np.eye(2))
        assert method.logits.tolist() == [0.0, 0.0]
    # excesses: 1, 9 / sqrt(10); then 4 / sqrt(14) and 16 / sqrt(26)
    applied(method, np.diag([2.0, 4.0]))
    gains = np.array([4 / 14**0.5, 16 / 26**0.5]) / ((1 + 9 / 10**0.5) / 2)
    np.testing.assert_allclose(method.logits.diff().item(), gains[1] - gains[0], rtol=1e-12)


def test_famo_gives_weight_to_the_loss_that_does_not_fall():
    method = FAMO()
    losses = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64)
    for _ in range(60):
        method.setup([*"abc"])
        weights = method.update(evaluation_of(np.eye(3), losses))
        losses = losses * torch.tensor([0.95, 1.0, 0.9])
    shares = method.logits.softmax(0)
    assert shares.argmax() == 1
    assert shares[1] > 0.8
    assert weights.sum().item() == pytest.approx(1.0)


def test_grad_norm_brings_norms_together():
    # equal progress: the targets are the mean norm, so weights go to 1 / |g|
    method, rows = GradNorm(lr=0.01), np.diag([4.0, 1.0, 0.5])
    for _ in range(3000):
        applied(method, rows)
    norms = method.shares.numpy() * np.array([4.0, 1.0, 0.5])
    assert norms.max() / norms.min() < 1.1
    assert method.shares.sum().item() == pytest.approx(3.0)


def test_grad_norm_favours_the_slow_task():
    method, rows = GradNorm(lr=0.01), np.eye(3)
    for step in range(300):
        applied(method, rows, [1.0, 0.99**step, 0.98**step])
    assert method.shares[0] > method.shares[1] > method.shares[2]


def minimise(weighting, losses, steps, lr):
    """Train a weighting's own parameters on fixed losses."""
    losses = torch.as_tensor(losses, dtype=torch.float64)
    weighting.setup([str(i) for i in range(len(losses))])
    optimizer = torch.optim.Adam(weighting.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        weighting.penalty(losses).backward()
        optimizer.step()
        schedule.step()
    return weighting


@pytest.mark.slow
def test_rruw_ends_at_its_closed_form():
    # sum of |alpha| held at a large value is the free optimum with a constant slope: choose phi so
    losses = np.array([3.0, 1.0, 0.5])
    free = np.sqrt(0.5 * (losses / 3 + np.sqrt((losses / 3) ** 2 + 4 * losses / 3)))
    found = minimise(RRUW(restraint=float(free.sum())), losses, 4000, 0.02)
    np.testing.assert_allclose(found.alphas.detach().numpy(), free, rtol=1e-3)


@pytest.mark.slow
def test_the_restraint_caps_the_weights_of_solved_tasks():
    weights = minimise(RRUW(), [1e-2] * 3, 4000, 0.01).weights(torch.ones(3))
    assert weights.tolist() == pytest.approx([3.0] * 3, rel=0.05)  # free: 5.6
    large = minimise(RRUW(), [1.0] * 3, 4000, 0.01).weights(torch.ones(3))
    assert (large < 1.0).all()


def test_druw_adds_dwa_and_trains_its_uncertainties():
    method = DRUW(window=1)
    method.setup([*"ab"])
    for losses in ([4.0, 1.0], [2.0, 1.0], [9.0, 9.0]):
        weights = method.update(evaluation_of(np.eye(2), losses))
    a, b = math.exp(0.5 / 10), math.exp(1.0 / 10)
    expected = [2 * a / (a + b) + 2, 2 * b / (a + b) + 2]
    assert weights.tolist() == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(method.penalty(torch.ones(2)), list(method.parameters()))
    assert (gradient != 0).all()


@pytest.mark.slow
def test_galw_with_a_group_per_task_is_uw_and_with_one_is_ew():
    losses = np.array([4.0, 1.0, 0.25])
    alone = GALW(groups={"0": 0, "1": 1, "2": 2})
    weights = minimise(alone, losses, 3000, 0.02).weights(torch.ones(3))
    np.testing.assert_allclose(weights.numpy() * losses, 0.5, rtol=1e-3)  # sigma^2 = L, as for UW
    together = GALW(groups={"0": 0, "1": 0, "2": 0})
    weights = minimise(together, losses, 3000, 0.02).weights(torch.ones(3))
    np.testing.assert_allclose(weights.numpy(), 0.5 / losses.sum(), rtol=1e-3)  # a multiple of EW
    rows = torch.from_numpy(rows_of(0))
    cosine = torch.cosine_similarity(weights @ rows, EW().weights(torch.ones(3)) @ rows, dim=0)
    assert cosine.item() == pytest.approx(1.0)


def test_galw_finds_planted_rates():
    rates = np.repeat([0.3, 0.1, 0.02], 3)
    for seed in range(9):
        rng = np.random.default_rng(seed)
        order = rng.permutation(9)
        scale = np.exp(rng.uniform(-2, 2, 9))
        method = GALW(num_groups=3, warmup=30)
        for step in range(30):
            norms = scale * np.exp(-rates[order] * step) * np.exp(0.1 * rng.standard_normal(9))
            applied(method, np.diag(norms))
        expected = np.repeat([2, 1, 0], 3)[order]
        assert method.group.tolist() == expected.tolist()
    before = method.group.clone()
    applied(method, np.diag(rng.uniform(1, 2, 9)))
    assert torch.equal(before, method.group)


def test_clusters_by_brute_force():
    from itertools import combinations

    values = torch.tensor([0.1, 5.0, 0.2, 5.5, 9.0, 0.0])
    ordered = values.sort().values.tolist()

    def cost(cuts):
        parts = np.split(np.array(ordered), cuts)
        return sum(((part - part.mean()) ** 2).sum() for part in parts)

    best = min(combinations(range(1, 6), 2), key=cost)
    expected = np.searchsorted(best, np.arange(6), side="right")
    assert clusters(values, 3)[values.argsort()].tolist() == expected.tolist()
    assert clusters(values, 1).tolist() == [0] * 6
    assert sorted(clusters(values, 6).tolist()) == list(range(6))


def test_stch_with_warm_up_weighs_by_the_scales_it_saw():
    method = STCH(warmup=1, mu=0.5)
    method.setup([*"ab"])
    for losses in ([2.0, 10.0], [4.0, 30.0]):
        weights = method.update(evaluation_of(np.eye(2), losses))
        assert weights.tolist() == pytest.approx([1 / losses[0], 1 / losses[1]])
    weights = method.update(evaluation_of(np.eye(2), [3.0, 40.0], epoch=1))
    relative = np.array([3.0 / 3.0, 40.0 / 20.0]) ** (1 / 0.5)
    expected = 2 * relative / relative.sum() / np.array([3.0, 40.0])
    assert weights.tolist() == pytest.approx(expected.tolist())


# ---------------------------------------------------------------------------------------- wrappers


def test_crmogm_smooths_and_keeps_how_heads_are_scaled():
    method, plain, mean = CRMOGM(RLW(seed=3), alpha=0.7), RLW(seed=3), None
    method.setup([*"abc"])
    for step in range(5):
        fresh = plain.weights(torch.ones(3))
        mean = fresh if mean is None else 0.7 * mean + 0.3 * fresh
        found = method.update(evaluation_of(rows_of(step)))
        torch.testing.assert_close(found, mean)


def test_scaled_by_logarithms_is_the_method_on_the_losses_logarithms():
    losses, rows = np.array([0.5, 2.0, 8.0]), rows_of(4)
    logs = torch.from_numpy(rows / losses[:, None])
    expected = MGDA().weights(logs @ logs.T) @ logs
    np.testing.assert_allclose(applied(Scaled(MGDA()), rows, losses), expected.numpy(), rtol=1e-9)


def test_grouped_is_the_method_on_each_part():
    rows = torch.from_numpy(rows_of(5, n=10))
    sizes = (4, 3, 3)
    parameters = [torch.nn.Parameter(torch.zeros(n, dtype=torch.float64)) for n in sizes]
    evaluation = Evaluation.from_jacobian(rows, torch.ones(3), parameters=parameters)
    method = Grouped(MGDA(), groups=3)
    method.setup(evaluation.names)
    assert method.update(evaluation) is None
    for part, parameter in zip(rows.split(sizes, dim=1), parameters, strict=True):
        expected = MGDA().weights(part @ part.T) @ part
        torch.testing.assert_close(parameter.grad, expected)


def test_one_group_is_the_method_itself():
    rows = rows_of(6)
    np.testing.assert_allclose(applied(Grouped(MGDA(), groups=1), rows), applied(MGDA(), rows))


def test_grouped_draws_further_batches_for_its_parts():
    true = rows_of(7)
    evaluation = evaluation_of(true)
    evaluation.source = Batches(true, np.zeros((3, 1)), np.random.default_rng(0))
    method = Grouped(MoDo(gamma=0.1), groups=1)
    method.setup(evaluation.names)
    method.update(evaluation)
    assert set(evaluation.source.asked) == {1, 2}
    np.testing.assert_allclose(evaluation.written().numpy(), applied(MoDo(gamma=0.1), true))


@pytest.mark.parametrize("method", (lambda: RLW(seed=3), lambda: PCGrad(seed=3), GradDrop))
def test_grouped_draws_another_stream_for_every_group(method):
    """The same gradients in both groups: with one stream both would move alike."""
    found = Grouped(method(), groups=2)
    found.setup(["0", "1", "2"])
    again = Grouped(method(), groups=2)
    again.setup(["0", "1", "2"])
    rows, alike = np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.8]]), 0  # the order matters
    for _ in range(8):
        pieces = []
        for one in (found, again):
            parameters = [torch.nn.Parameter(torch.zeros(2).double()) for _ in range(2)]
            both = torch.from_numpy(np.hstack([rows, rows]))
            one.update(Evaluation.from_jacobian(both, torch.ones(3), parameters=parameters))
            pieces.append([p.grad for p in parameters])
        assert all(torch.equal(a, b) for a, b in zip(*pieces, strict=True))  # by the seed
        alike += torch.allclose(*pieces[0])
    assert alike < 6
