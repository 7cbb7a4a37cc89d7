"""Every weighting found in the package, on Jacobians of known stationarity.

What a class declares in ``traits`` is proven here, for its default options:

- ``simplex``: weights are non-negative and sum to 1 over all tasks, or over those whose gradient is
  not zero: the others' weights matter to their private parameters alone.
- ``non_conflicting``: the direction d loses for no task, ``g_i·d >= 0`` for all i.
- ``descent``: where the gradients are not Pareto stationary, ``g_i·d > 0`` for all i whose gradient
  is not zero.
- ``permutation``: numbering the tasks differently does not change the direction.
- ``scale_invariant``: multiplying all gradients by one number does not change the weights' ratios.
- ``task_scale_invariant``: multiplying each gradient by a number of its own does not change the
  direction.
- ``linear_under_scaling``: the direction is linear in such numbers.

Losses are the same in both steps that are compared, and so is the state of a random generator.
"""

import copy
import importlib
import inspect
import pkgutil

import pytest
import torch
from torch.nn import Parameter

import moml.weighting
from moml import Evaluation
from moml.weighting import (
    CRMOGM,
    DBMTL,
    DRUW,
    DWA,
    EPO,
    EW,
    GALW,
    GLS,
    IMTL,
    MGDA,
    PCD,
    RLW,
    RRUW,
    SI,
    STCH,
    UW,
    AlignedMTL,
    CAGrad,
    Constant,
    Every,
    ExcessMTL,
    FairGrad,
    GradDrop,
    GradientNormalization,
    GradVac,
    GramianWeighting,
    Grouped,
    JacobianAggregator,
    Krum,
    MoCo,
    NashMTL,
    PCGrad,
    Scaled,
    UPGrad,
    Weighting,
    WeightSum,
)

SCALES = (1e-8, 1.0, 1e8)
SIZES = (1, 2, 8, 32)


def public_weightings():
    """Concrete weightings of the package, by walking its modules."""
    found = set()
    for module in pkgutil.walk_packages(moml.weighting.__path__, "moml.weighting."):
        for value in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(value) and issubclass(value, Weighting):
                public = not any(part.startswith("_") for part in value.__module__.split("."))
                if public and not inspect.isabstract(value):
                    found.add(value)
    return sorted(found, key=lambda cls: cls.__name__)


WEIGHTINGS = public_weightings()
# How to build those that have no defaults for everything, and further options worth the same tests.
OPTIONS = {
    Every: [lambda: Every(MGDA(), n=3), lambda: Every(RLW(level="gradient"), n=2)],
    WeightSum: [lambda: WeightSum(MGDA()), lambda: WeightSum(RLW(), total="one")],
    GradientNormalization: [
        lambda: GradientNormalization(CAGrad(), by="loss+"),
        lambda: GradientNormalization(MGDA(), by="l2", apply=False),
        lambda: GradientNormalization(Every(UW(), n=2), by="loss"),
    ],
    RLW: [
        lambda d=d: RLW(distribution=d)
        for d in ("normal", "uniform", "dirichlet", "random_normal", "bernoulli", "bernoulli_one")
    ],
    DWA: [DWA, lambda: DWA(window=2)],
    MGDA: [
        MGDA,
        *(lambda n=n: MGDA(normalize=n) for n in ("l2", "loss", "loss+")),
        lambda: MGDA(solver="frank_wolfe"),
    ],
    NashMTL: [NashMTL, lambda: NashMTL(max_norm=None)],
    CRMOGM: [lambda: CRMOGM(MGDA()), lambda: CRMOGM(RLW(level="gradient"))],
    Scaled: [
        lambda: Scaled(MGDA()),
        lambda: Scaled(CAGrad(), scaling=UW()),
        lambda: Scaled(MoCo(), scaling=DWA()),
        lambda: Scaled(Grouped(MGDA(), groups=2), scaling=DRUW(window=1)),
    ],
    Grouped: [lambda: Grouped(MGDA()), lambda: Grouped(GradVac(), groups=2)],
    IMTL: [
        *(lambda m=m: IMTL(mode=m) for m in ("gradient", "loss", "hybrid")),
        lambda: IMTL(mode="hybrid", scaled_heads=True),
    ],
    AlignedMTL: [lambda s=s: AlignedMTL(scale=s) for s in ("min", "median", "rmse")],
    FairGrad: [lambda a=a: FairGrad(alpha=a) for a in (1.0, 0.5, 2.0)],
    STCH: [STCH, lambda: STCH(warmup=2, mu=0.5)],
    GALW: [GALW, lambda: GALW(warmup=3)],
    DRUW: [DRUW, lambda: DRUW(window=1)],
    Krum: [Krum, lambda: Krum(selected=2, byzantine=0)],
    GradDrop: [GradDrop, lambda: GradDrop(leak=0.3)],
    DBMTL: [DBMTL, lambda: DBMTL(log_heads=True)],
    EPO: [EPO, lambda: EPO(descent="relaxed")],
    ExcessMTL: [ExcessMTL, lambda: ExcessMTL(warmup=2)],
    Constant: [Constant, lambda: Constant(preference=None)],
}
BUILDS = [
    pytest.param(build, id=f"{cls.__name__}-{i}")
    for cls in WEIGHTINGS
    for i, build in enumerate(OPTIONS.get(cls, [cls]))
]


def jacobian_of(kind, m, seed=0):
    """Rows that are stationary in a known sense, float64, ``(m, n)``."""
    draw = torch.Generator().manual_seed(100 * m + seed)
    rows = torch.randn(m, m + 5, generator=draw, dtype=torch.float64)
    if kind == "not_stationary":  # u·g_i > 0 for some u: no convex combination vanishes
        rows[:, 0] = rows[:, 0].abs() + 0.1
    elif kind == "weakly":  # weights (1, 0, …, 0) give zero, all others do not
        rows[:, 0] = rows[:, 0].abs() + 0.1
        rows[0] = 0.0
    elif kind == "strongly":  # a combination with positive weights vanishes
        positive = torch.rand(m, generator=draw, dtype=torch.float64) + 0.1
        rows -= positive @ rows / positive.sum()
    elif kind == "duplicates":
        rows[m // 2 :] = rows[: m - m // 2]
    elif kind == "opposing":  # pairs of opposite gradients, of other lengths
        rows[1::2] = -2.0 * rows[: m - m % 2 : 2]
    elif kind == "zeros":
        rows[:] = 0.0
    return rows


KINDS = ("not_stationary", "weakly", "strongly", "duplicates", "opposing", "zeros")


def losses_of(m, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(m, generator=draw, dtype=torch.float64) + 0.1


def names_of(m):
    return [f"task{i}" for i in range(m)]


def step_of(rows, losses, *, step=0, tasks=None, parameter=None):
    """One step's evaluation; ``tasks``: only these rows are present."""
    present = torch.arange(len(rows)) if tasks is None else torch.as_tensor(tasks)
    evaluation = Evaluation.from_jacobian(
        rows[present],
        losses[present],
        names=[f"task{i}" for i in present.tolist()],
        parameters=[] if parameter is None else [parameter],
    )
    evaluation.tasks, evaluation.step, evaluation.epoch = present, step, step // 2
    return evaluation


def weights_of(weighting, rows, losses):
    """Weights of one step that leaves the weighting as it was; binds it if need be."""
    weighting.setup(names_of(len(rows)))
    return copy.deepcopy(weighting).update(step_of(rows, losses))


def applied_by(weighting, rows, losses):
    """The combined gradient of one step, and the weights if there are any."""
    weighting.setup(names_of(len(rows)))
    parameter = Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
    weights = copy.deepcopy(weighting).update(step_of(rows, losses, parameter=parameter))
    return parameter.grad, weights


# ---------------------------------------------------------------------------------------- contract


def test_every_method_of_the_issue_is_found():
    names = """
        EW GradNorm UW MGDA DWA GLS PCGrad GradDrop IMTL GradVac CAGrad NashMTL RLW MoCo AlignedMTL
        FAMO SDMGrad MoDo STCH ExcessMTL FairGrad DBMTL UPGrad ConFIG DualProj PCD CRMOGM Krum
        TrimmedMean Constant COSMOS PBI Tchebycheff GALW DRUW RRUW SI EPO PMTL PMGDA Scaled
        Grouped
    """
    assert set(names.split()) <= {cls.__name__ for cls in WEIGHTINGS}


@pytest.mark.parametrize("cls", WEIGHTINGS, ids=lambda cls: cls.__name__)
def test_one_class_per_file_exported_and_documented(cls):
    module = importlib.import_module(cls.__module__)
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and name[0] != "_"
    ]
    assert own == [cls.__name__]
    assert module.__name__.rsplit(".")[-1].replace("_", "") == cls.__name__.lower()
    assert cls.__name__ in moml.weighting.__all__
    assert getattr(moml.weighting, cls.__name__) is cls
    assert cls.__doc__.splitlines()[0].rstrip().endswith(".")
    if ".wrappers." not in cls.__module__:
        assert cls.paper


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", BUILDS)
def test_finite_detached_float64(build, kind, scale):
    for m in SIZES:
        weighting = build()
        weighting.setup(names_of(m))
        rows = scale * jacobian_of(kind, m)
        parameter = Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
        weights = weighting.update(step_of(rows, losses_of(m), parameter=parameter))
        assert parameter.grad.isfinite().all()
        if weights is None:  # a direction that no weights express
            continue
        assert weights.shape == (m,)
        assert weights.dtype == torch.float64
        assert weights.isfinite().all()
        assert not weights.requires_grad
        torch.testing.assert_close(parameter.grad, weights @ rows, rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize("build", BUILDS)
def test_one_task_keeps_its_direction(build):
    rows = jacobian_of("not_stationary", 1)
    direction, _ = applied_by(build(), rows, losses_of(1))
    assert torch.cosine_similarity(direction, rows[0], dim=0).item() == pytest.approx(1.0)


K_COUNTS = (RRUW, DRUW)  # the number of all tasks is in their formulas


@pytest.mark.parametrize("build", BUILDS)
def test_absent_tasks_are_as_if_there_were_none(build):
    """In the first step, where no task has a history."""
    rows, losses, present = jacobian_of("not_stationary", 5), losses_of(5), [1, 2, 4]
    some, alone = build().setup(names_of(5)), build().setup([f"task{i}" for i in present])
    parts = (some, getattr(some, "scaling", some))
    if any(isinstance(part, (*K_COUNTS, PCD)) for part in parts):
        pytest.skip("who leads, or the number of tasks, is another")
    if getattr(some, "distribution", "") == "random_normal":
        pytest.skip("numbers are drawn once for all tasks")
    found = []
    for weighting, tasks in ((some, present), (alone, [0, 1, 2])):
        parameter = Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
        evaluation = step_of(rows, losses, tasks=present, parameter=parameter)
        evaluation.tasks = torch.tensor(tasks)
        weighting.update(evaluation)
        found.append(parameter.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("build", BUILDS)
def test_needs_is_all_that_is_touched(build):
    class Forbidding(Evaluation):
        names, tasks = ("task0", "task1"), torch.arange(2)
        losses = torch.tensor([0.5, 0.25], dtype=torch.float64)
        blocks = (2,)  # sizes cost nothing

        @property
        def jacobian(self):
            assert weighting.needs == "jacobian"
            return torch.eye(2, dtype=torch.float64)

        @property
        def gramian(self):
            assert weighting.needs in ("gramian", "jacobian")
            return torch.eye(2, dtype=torch.float64)

        def pullback(self, weights):
            raise NotImplementedError

        def apply(self, weights, *, heads=None):
            assert heads in (None, "unit", "weighted")

        def assign(self, direction):
            assert weighting.needs == "jacobian"

    weighting = build()
    weighting.setup(names_of(2))
    assert weighting.needs in ("losses", "gramian", "jacobian")
    weighting.update(Forbidding())


@pytest.mark.parametrize("build", BUILDS)
def test_same_seed_same_weights(build):
    runs = []
    for _ in range(2):
        weighting = build()
        weighting.setup(names_of(4))
        runs.append(run(weighting, range(6)))
    assert torch.equal(*runs)


@pytest.mark.parametrize("build", BUILDS)
def test_global_generator_is_left_alone(build):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    weights_of(build(), jacobian_of("not_stationary", 4), losses_of(4))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("build", BUILDS)
def test_resumes_bit_for_bit(build):
    weighting = build()
    weighting.setup(names_of(4))
    run(weighting, range(5))
    state = {name: value.clone() for name, value in weighting.state_dict().items()}
    expected = run(weighting, range(5, 12))
    fresh = build()
    fresh.setup(names_of(4))
    fresh.load_state_dict(state)
    assert torch.equal(run(fresh, range(5, 12)), expected)


def run(weighting, steps):
    """Directions of several steps; in some, tasks are absent, and own parameters are trained."""
    history = []
    for step in steps:
        present = [0, 1, 2, 3] if step % 3 else [0, 2]
        rows, losses = jacobian_of("not_stationary", 4, seed=step), losses_of(4, seed=step)
        parameter = Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
        weighting.update(step_of(rows, losses, step=step, tasks=present, parameter=parameter))
        history.append(parameter.grad)
        penalty = weighting.penalty(losses[present], tasks=torch.tensor(present))
        parameters = list(weighting.parameters())
        assert (penalty is None) == (not parameters)
        if penalty is not None:
            gradients = torch.autograd.grad(penalty, parameters)
            for _ in range(2):  # accumulates
                weighting.learn(losses[present], tasks=torch.tensor(present))
            for parameter, gradient in zip(parameters, gradients, strict=True):
                torch.testing.assert_close(parameter.grad, 2 * gradient, rtol=1e-12, atol=0)
                parameter.grad = None
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= 0.1 * gradient
    return torch.stack(history)


@pytest.mark.parametrize("build", BUILDS)
def test_binding(build):
    weighting = build()
    weighting.setup(["a", "b"])
    state = weighting.state_dict()
    weighting.setup(["a", "b"])
    assert list(weighting.state_dict()) == list(state)
    with pytest.raises(ValueError, match="`names` should be"):
        weighting.setup(["a", "c"])
    with pytest.raises(ValueError, match="distinct task names"):
        build().setup(["a", "a"])


@pytest.mark.parametrize("cls", [cls for cls in WEIGHTINGS if issubclass(cls, GramianWeighting)])
def test_gramian_weightings_work_on_plain_tensors(cls):
    """Without state at once, else after `setup`; without losses if it does not need them."""
    rows, losses = jacobian_of("not_stationary", 4), losses_of(4)
    bound = weights_of(cls(), rows, losses)
    plain, method = rows @ rows.mT, cls()
    method.setup(names_of(4))
    if next(method.buffers(), None) is not None:
        for unbound in (plain, plain[None]):
            try:
                cls().weights(unbound, losses)
            except ValueError as error:
                assert "Call `setup(names)` first" in str(error)
    else:
        assert cls().weights(plain.expand(2, 3, 4, 4), losses.expand(2, 3, 4)).shape == (2, 3, 4)
    torch.testing.assert_close(method.weights(plain, losses), bound)


# ------------------------------------------------------------------------------------------ traits


def simplex(weighting, rows, losses):
    weights = weights_of(weighting, rows, losses)
    assert (weights >= 0).all()
    live = rows.any(1)
    sums = [weights.sum().item(), weights[live].sum().item()] if live.any() else [1.0]
    assert min(abs(total - 1) for total in sums) < 1e-12


def direction_of(weighting, rows, losses):
    """The combined gradient, and how much of it is rounding."""
    direction, weights = applied_by(weighting, rows, losses)
    size = 1.0 if weights is None else weights.abs()
    return direction, 1e-9 * (size * rows.norm(dim=1)).sum().item()


def non_conflicting(weighting, rows, losses):
    direction, rounding = direction_of(weighting, rows, losses)
    # 0 in the hull: the direction is the square root of the Gramian's rounding
    rounding = max(rounding, 1e-7 * rows.norm(dim=1).max().item() * (direction.norm() < 1e-6))
    assert (rows @ direction >= -rounding * rows.norm(dim=1)).all()


def descent(weighting, rows, losses):
    direction, rounding = direction_of(weighting, rows, losses)
    if stationary(rows):
        return
    assert (rows @ direction > rounding * rows.norm(dim=1)).all()


def stationary(rows):
    weights = MGDA().weights(rows @ rows.mT)
    return (weights @ rows).norm() <= 1e-6 * rows.norm(dim=1).max()


def permutation(weighting, rows, losses):
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(3)).flip(0)
    direction, rounding = direction_of(weighting, rows, losses)
    other, _ = direction_of(weighting, rows[order], losses[order])
    assert (direction - other).norm() <= 100 * rounding + noise(rows)


def scale_invariant(weighting, rows, losses):
    def shares(rows):
        direction, weights = applied_by(weighting, rows, losses)
        return direction if weights is None else weights

    weights = shares(rows)
    for scale in (1e-12, 1e-3, 1e12):
        other = shares(scale * rows)
        total = weights.abs().sum(), other.abs().sum()
        assert (total[0] == 0) == (total[1] == 0)
        if total[0] > 0 and not stationary(rows):  # else weights are not unique
            torch.testing.assert_close(other / total[1], weights / total[0], rtol=0, atol=1e-6)


def factors_for(rows, seed):
    draw = torch.Generator().manual_seed(seed)
    return 10.0 ** (2 * torch.rand(len(rows), 1, generator=draw, dtype=torch.float64) - 1)


def task_scale_invariant(weighting, rows, losses):
    direction, rounding = direction_of(weighting, rows, losses)
    other, _ = direction_of(weighting, factors_for(rows, 0) * rows, losses)
    if not stationary(rows):
        assert (direction - other).norm() <= 100 * rounding


def linear_under_scaling(weighting, rows, losses):
    first, second = factors_for(rows, 0), factors_for(rows, 1)
    parts = [direction_of(weighting, factor * rows, losses) for factor in (first, second)]
    whole, rounding = direction_of(weighting, (first + 2 * second) * rows, losses)
    error = (whole - parts[0][0] - 2 * parts[1][0]).norm()
    assert error <= 100 * rounding + noise(rows)


def noise(rows):
    """At stationary points directions are the square root of the Gramian's rounding."""
    return 1e-6 * rows.norm(dim=1).max() if stationary(rows) else 0.0


TRAITS = {
    check.__name__: check
    for check in (
        simplex,
        non_conflicting,
        descent,
        permutation,
        scale_invariant,
        task_scale_invariant,
        linear_under_scaling,
    )
}


def prove(trait, build):
    for kind in KINDS:
        for m in SIZES:
            for scale in SCALES if m < 32 and kind != "opposing" else (1.0,):
                TRAITS[trait](build(), scale * jacobian_of(kind, m, seed=1), losses_of(m, seed=1))


@pytest.mark.parametrize(
    ("cls", "trait"),
    [
        pytest.param(cls, trait, id=f"{cls.__name__}-{trait}")
        for cls in WEIGHTINGS
        for trait in sorted(cls.traits)
    ],
)
def test_declared_traits_hold(cls, trait):
    prove(trait, cls)


class Backwards(GramianWeighting):
    """Follows the last task alone, and away from its minimum: breaks every trait."""

    def weights(self, gramian, losses=None, *, tasks=None):
        weights = torch.zeros(len(gramian), dtype=torch.float64)
        weights[-1] = -1.0 - gramian[0, 0] - gramian[-1, -1].clamp_max(1.0)
        weights[0] -= 1.0
        return weights


@pytest.mark.parametrize("trait", TRAITS)
def test_false_traits_are_caught(trait):
    with pytest.raises(AssertionError):
        prove(trait, Backwards)


@pytest.mark.parametrize(
    ("cls", "trait"),
    [
        (EW, "non_conflicting"),
        (EW, "simplex"),
        (MGDA, "linear_under_scaling"),
        (MGDA, "task_scale_invariant"),
        (GLS, "descent"),
        (CAGrad, "non_conflicting"),
        (NashMTL, "simplex"),
        (IMTL, "task_scale_invariant"),
        (Krum, "permutation"),
        (MoCo, "scale_invariant"),
        (DBMTL, "non_conflicting"),
        (PCD, "permutation"),
        (SI, "simplex"),
        (PCGrad, "non_conflicting"),
        (UPGrad, "simplex"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_plausible_false_traits_are_caught(cls, trait):
    with pytest.raises(AssertionError):
        prove(trait, cls)


def test_jacobian_aggregators_apply_a_direction():
    class Mean(JacobianAggregator):
        def direction(self, jacobian, losses=None, *, tasks=None):
            return jacobian.mean(0)

    rows = jacobian_of("not_stationary", 3)
    parameter = Parameter(torch.zeros(rows.shape[1], dtype=torch.float64))
    assert Mean().update(step_of(rows, losses_of(3), parameter=parameter)) is None
    torch.testing.assert_close(parameter.grad, rows.mean(0))
