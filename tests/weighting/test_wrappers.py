"""Wrappers: what they compute, what they touch, and how they nest."""

import pytest
import torch
from torch.nn import Parameter

from moml import Evaluation
from moml.weighting import (
    EW,
    MGDA,
    RLW,
    SI,
    UW,
    Every,
    GradientNormalization,
    JacobianAggregator,
    NashMTL,
    UPGrad,
    Weighting,
    WeightSum,
)

NAMES = ("a", "b", "c")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


ROWS = tensor([[3.0, 0.0, 1.0], [-1.0, 0.5, 0.0], [0.0, 2.0, 0.1]])
LOSSES = tensor([0.5, 2.0, 1.0])


class Step(Evaluation):
    """Records what is touched and applied."""

    def __init__(self, rows=ROWS, losses=LOSSES, tasks=None):
        self.tasks = torch.arange(len(rows)) if tasks is None else torch.tensor(tasks)
        self.names = tuple(NAMES[i] for i in self.tasks.tolist())
        self.rows, self.given = rows[self.tasks], losses[self.tasks]
        self.touched, self.applied, self.heads = [], None, None

    @property
    def losses(self):
        return self.given

    @property
    def gramian(self):
        self.touched.append("gramian")
        return self.rows @ self.rows.mT

    @property
    def jacobian(self):
        self.touched.append("jacobian")
        return self.rows

    def pullback(self, weights):
        return weights @ self.rows

    def apply(self, weights, *, heads=None):
        self.applied, self.heads = weights, heads

    def assign(self, direction):
        self.applied = direction


class Direction(JacobianAggregator):
    def direction(self, jacobian, losses=None, *, tasks=None):
        return jacobian.mean(0)


def updated(weighting, **options):
    weighting.setup(NAMES)
    step = Step(**options)
    weights = weighting.update(step)
    torch.testing.assert_close(step.applied, weights)  # what is returned is what is applied
    return weights, step


# ------------------------------------------------------------------------------------------- Every


def test_every_renews_and_repeats():
    weighting, plain = Every(MGDA(), n=3), MGDA()
    for step in range(7):
        rows = ROWS + 0.1 * step * torch.eye(3, dtype=torch.float64)
        weights, evaluation = updated(weighting, rows=rows)
        if step % 3 == 0:
            expected = plain.weights(rows @ rows.mT)
            assert evaluation.touched == ["gramian"]
        else:
            assert evaluation.touched == []
        assert torch.equal(weights, expected)


def test_every_one_is_the_method_itself():
    wrapped, plain = Every(RLW(seed=3), n=1), RLW(seed=3)
    for _ in range(4):
        assert torch.equal(updated(wrapped)[0], updated(plain)[0])


def test_every_repeats_how_heads_are_scaled():
    weighting = Every(RLW(level="gradient"), n=2)
    assert [updated(weighting)[1].heads for _ in range(3)] == ["unit"] * 3
    weighting = Every(RLW(), n=2)
    assert [updated(weighting)[1].heads for _ in range(3)] == [None] * 3


def test_every_with_absent_tasks():
    weighting = Every(MGDA(), n=10)
    first, _ = updated(weighting, tasks=[0, 2])
    again, step = updated(weighting, tasks=[2])  # known: its stored weight
    assert step.touched == []
    assert torch.equal(again, first[1:])
    full, step = updated(weighting)  # b has no weight yet: renewal
    assert step.touched == ["gramian"]
    assert torch.equal(full, MGDA().weights(ROWS @ ROWS.mT))
    _, step = updated(weighting)
    assert step.touched == []


def test_every_counts_from_the_last_renewal():
    weighting = Every(MGDA(), n=3)
    touched = [bool(updated(weighting, tasks=tasks)[1].touched)
               for tasks in ([0], [0], [0, 1, 2], [0], [0], [0])]  # fmt: skip
    assert touched == [True, False, True, False, False, True]


def test_every_hands_on_the_penalty():
    weighting = Every(UW(), n=5)
    weighting.setup(NAMES)
    assert weighting.penalty(LOSSES).item() == weighting.weighting.penalty(LOSSES).item()
    assert [name for name, _ in weighting.named_parameters()] == ["weighting.log_variances"]
    assert Every(MGDA(), n=5).penalty(LOSSES) is None


@pytest.mark.parametrize(
    "build",
    [
        lambda inner: Every(inner, n=2),
        lambda inner: WeightSum(inner),
        lambda inner: GradientNormalization(inner, by="loss", apply=False),
    ],
)
def test_weights_are_required(build):
    class Nothing(Weighting):
        needs = "losses"

        def update(self, evaluation):
            return None

    for inner, found in ((Direction(), "a direction"), (Nothing(), "nothing")):
        weighting = build(inner)
        weighting.setup(NAMES)
        message = f"should apply weights, found {type(inner).__name__}, which applies {found}"
        with pytest.raises(ValueError, match=message):
            weighting.update(Step())


# --------------------------------------------------------------------------------------- WeightSum


@pytest.mark.parametrize(("total", "found"), [("one", 1.0), ("tasks", 3.0)])
@pytest.mark.parametrize("inner", (EW, MGDA, NashMTL, UPGrad, UW))
def test_weight_sum(inner, total, found):
    weights, _ = updated(WeightSum(inner(), total=total))
    assert weights.sum().item() == pytest.approx(found)
    plain, _ = updated(inner())
    torch.testing.assert_close(weights / weights.sum(), plain / plain.sum())


def test_weight_sum_counts_tasks_present():
    weights, _ = updated(WeightSum(MGDA()), tasks=[0, 1])
    assert weights.sum().item() == pytest.approx(2.0)


def test_weight_sum_leaves_a_sum_of_zero():
    weights, _ = updated(WeightSum(SI()), losses=torch.zeros(3, dtype=torch.float64))
    assert weights.tolist() == [0.0, 0.0, 0.0]


def test_weight_sum_at_extreme_scales():
    for scale in (1e-150, 1e150):
        weights, _ = updated(WeightSum(NashMTL(max_norm=None), total="one"), rows=scale * ROWS)
        torch.testing.assert_close(weights, updated(WeightSum(NashMTL(), total="one"))[0])


# --------------------------------------------------------------------------- GradientNormalization

FACTORS = {
    "none": torch.ones(3, dtype=torch.float64),
    "l2": 1 / ROWS.norm(dim=1),
    "loss": 1 / LOSSES,
    "loss+": 1 / (LOSSES * ROWS.norm(dim=1)),
}


@pytest.mark.parametrize("by", FACTORS)
def test_normalized_gradients_are_combined(by):
    scaled = FACTORS[by][:, None] * ROWS
    inner = MGDA().weights(scaled @ scaled.mT)
    weights, step = updated(GradientNormalization(MGDA(), by=by))
    torch.testing.assert_close(step.pullback(weights), inner @ scaled)


@pytest.mark.parametrize("by", FACTORS)
def test_weights_of_normalized_gradients_on_raw_ones(by):
    scaled = FACTORS[by][:, None] * ROWS
    weights, _ = updated(GradientNormalization(MGDA(), by=by, apply=False))
    torch.testing.assert_close(weights, MGDA().weights(scaled @ scaled.mT))
    torch.testing.assert_close(weights, updated(MGDA(normalize=by))[0])


def test_normalization_touches_what_it_needs():
    assert GradientNormalization(EW(), by="loss").needs == "losses"
    assert updated(GradientNormalization(EW(), by="loss"))[1].touched == []
    assert GradientNormalization(EW(), by="l2").needs == "gramian"
    assert GradientNormalization(MGDA(), by="loss").needs == "gramian"
    assert GradientNormalization(Direction(), by="loss").needs == "jacobian"
    assert Every(Every(EW(), n=2), n=2).needs == "losses"


@pytest.mark.parametrize("apply", (True, False))
@pytest.mark.parametrize("by", FACTORS)
def test_zero_gradients_and_losses_stay_finite(by, apply):
    rows, losses = ROWS.clone(), LOSSES.clone()
    rows[1] = 0.0
    losses[2] = 0.0
    for inner in (EW, MGDA, NashMTL):
        weights, _ = updated(
            GradientNormalization(inner(), by=by, apply=apply), rows=rows, losses=losses
        )
        assert weights.isfinite().all()


def test_normalized_directions():
    weighting = GradientNormalization(Direction(), by="l2")
    weighting.setup(NAMES)
    step = Step()
    assert weighting.update(step) is None
    torch.testing.assert_close(step.applied, (FACTORS["l2"][:, None] * ROWS).mean(0))


# ----------------------------------------------------------------------------------------- nesting


def test_nested_wrappers_return_what_is_applied():
    weighting = WeightSum(
        Every(GradientNormalization(WeightSum(RLW(level="gradient")), by="l2"), n=2), total="one"
    )
    for _ in range(3):
        weights, step = updated(weighting)
        assert weights.sum().item() == pytest.approx(1.0)
        assert step.heads == "unit"


def test_wrapped_gradients_reach_parameters():
    parameter = Parameter(torch.zeros(3, dtype=torch.float64))
    weighting = WeightSum(Every(MGDA(), n=2), total="tasks")
    weighting.setup(NAMES)
    weights = weighting.update(
        Evaluation.from_jacobian(ROWS, LOSSES, names=NAMES, parameters=[parameter])
    )
    torch.testing.assert_close(parameter.grad, weights @ ROWS)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Every(MGDA(), n=0),
        lambda: WeightSum(MGDA(), total="all"),
        lambda: GradientNormalization(MGDA(), by="l1"),
    ],
)
def test_bad_options_are_explained(build):
    with pytest.raises(ValueError, match=r"`\w+` should be .*, found"):
        build()


def test_every_needs_names():
    with pytest.raises(ValueError, match=r"Call `setup\(names\)` first"):
        Every(MGDA(), n=2).update(Step())
