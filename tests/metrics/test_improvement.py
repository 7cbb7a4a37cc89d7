import subprocess
import sys

import pytest

from moml.metrics import delta_percent

HIGHER = {"seg": {"mIoU": True}, "depth": {"abs": False, "rel": False}}
REFERENCE = {"seg": {"mIoU": 0.5}, "depth": {"abs": 0.4, "rel": 0.2}}


def test_hand_number_every_task_counts_the_same():
    results = {"seg": {"mIoU": 0.55}, "depth": {"abs": 0.3, "rel": 0.25}}
    # seg +10 %; depth: +25 % and -25 %, so 0 %.
    assert delta_percent(results, REFERENCE, HIGHER) == pytest.approx(5.0)


def test_the_reference_itself_is_zero():
    assert delta_percent(REFERENCE, REFERENCE, HIGHER) == 0


def test_negative_references_keep_the_sign():
    assert delta_percent({"a": {"R2": 0.0}}, {"a": {"R2": -0.5}}, {"a": {"R2": True}}) == 100


def test_metrics_without_a_direction_are_left_out():
    results = {"seg": {"mIoU": 0.6, "extra": 9.0}}
    assert delta_percent(results, REFERENCE, {"seg": {"mIoU": True}}) == pytest.approx(20)


def test_zero_reference_is_named():
    with pytest.raises(ValueError, match="found 0 for metric 'mIoU' of task 'seg'"):
        delta_percent({"seg": {"mIoU": 1.0}}, {"seg": {"mIoU": 0.0}}, {"seg": {"mIoU": True}})


@pytest.mark.parametrize(
    ("results", "reference", "name"),
    [({"seg": {}}, REFERENCE, "results"), (REFERENCE, {"depth": {"abs": 1.0}}, "reference")],
)
def test_missing_metric_is_named(results, reference, name):
    with pytest.raises(ValueError, match=f"`{name}` should hold metric 'mIoU' of task 'seg'"):
        delta_percent(results, reference, {"seg": {"mIoU": True}})


def test_no_metric_at_all():
    with pytest.raises(ValueError, match="at least one metric, found none"):
        delta_percent({}, {}, {"seg": {}})


def test_importing_metrics_and_tasks_stays_light():
    heavy = "torchmetrics", "sklearn", "networkx"
    code = f"import sys, moml.metrics, tasks; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_unknown_metric_is_an_attribute_error():
    import moml.metrics

    with pytest.raises(AttributeError, match="Nonsense"):
        _ = moml.metrics.Nonsense
