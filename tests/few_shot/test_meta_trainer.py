"""One few-shot run: evaluation, selection, resuming, and what it says about bad settings."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from moml.backbone import MLP
from moml.data import EpisodeLoader
from moml.errors import NonFiniteError
from moml.few_shot.method import IMAML, MAML, ProtoNet
from moml.jobs.few_shot import FewShotJob
from moml.jobs.few_shot_goals import Goals, Threat
from moml.weighting import EW, MGDA, RLW
from tasks import Glyphs, Sinusoid


def trainer(**changes):
    torch.manual_seed(5)
    options = {
        "objectives": ["clean", "robust"], "attack_steps": 2, "eval_attack_steps": 2,
        "meta_batch_size": 2, "steps": 8, "eval_every": 4, "val_episodes": 4, "test_episodes": 6,
        "log_every": 2, "checkpoint_every": 3, "seed": 5,
    }  # fmt: skip
    options |= changes
    suite, method = options.pop("suite", Sinusoid()), options.pop("method", MAML())
    weighting = options.pop("weighting", MGDA)()
    return FewShotJob(suite, method, weighting, **options)


def everything(folder):
    results = json.loads((folder / "results.json").read_text())
    del results["cpu_seconds"]
    weights = load_file(folder / "best.safetensors"), load_file(folder / "weights.safetensors")
    return results, (folder / "metrics.jsonl").read_bytes(), weights


def same(one, other):
    (results, lines, weights), (results_, lines_, weights_) = one, other
    return results == results_ and lines == lines_ and all(
        left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)
        for left, right in zip(weights, weights_, strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("weighting", [MGDA, RLW])
def test_a_broken_run_resumes_to_the_same_bits(weighting, tmp_path, monkeypatch):
    """Attacks, weights and episodes go on where they were: each has random state of its own."""
    trainer(weighting=weighting).run(tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patched:
        whole = EpisodeLoader.batch

        def until(self, number):
            if number == 7:
                raise KeyboardInterrupt
            return whole(self, number)

        patched.setattr(EpisodeLoader, "batch", until)
        with pytest.raises(KeyboardInterrupt):
            trainer(weighting=weighting).run(tmp_path / "broken", quiet=True)
    torch.manual_seed(123)
    trainer(weighting=weighting).run(tmp_path / "broken", resume=True, quiet=True)
    assert same(everything(tmp_path / "whole"), everything(tmp_path / "broken"))


def test_evaluation_is_the_same_every_time_and_leaves_training_alone():
    run = trainer()
    generators = run.composition.problem.objectives["robust"].generators()
    before = [generator.get_state() for generator in generators]
    state = torch.get_rng_state()
    first, second = run.evaluate("val"), run.evaluate("val")
    assert first == second
    assert all(torch.equal(g.get_state(), s) for g, s in zip(generators, before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.metrics["robust"]["mse"] > first.metrics["clean"]["mse"]
    assert first.losses["clean"] == pytest.approx(first.metrics["clean"]["mse"], rel=1e-6)
    assert run.module.training


def test_selection_goes_by_the_mean_of_the_objectives_on_validation_episodes(tmp_path):
    run = trainer(steps=12, eval_every=3)
    results = run.run(tmp_path, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = {r["step"]: r for r in lines if r["kind"] == "eval" and r["split"] == "val"}
    assert list(found) == [3, 6, 9, 12]
    for record in found.values():
        clean, robust = (record["metrics"][name]["mse"] for name in ("clean", "robust"))
        assert record["score"] == pytest.approx(-(clean + robust) / 2)
        assert record["intervals"]["clean"]["mse"] > 0
    best = max(found, key=lambda step: found[step]["score"])
    assert results["best_step"] == best
    assert results["val"] == found[best]["metrics"]
    tests = [r for r in lines if r["kind"] == "eval" and r["split"] == "test"]
    assert [(r["step"], r["metrics"]) for r in tests] == [(best, results["test"])]


def test_classes_are_measured_for_calibration_too(tmp_path):
    run = trainer(
        suite=Glyphs(queries=2), method=ProtoNet(), objectives=["clean", "robust", "calibration"],
        encoder=MLP(784, hidden=(16,)), steps=2,
    )  # fmt: skip
    results = run.run(tmp_path, quiet=True)
    assert {k: set(v) for k, v in results["test"].items()} == {
        "clean": {"accuracy"}, "robust": {"accuracy"}, "calibration": {"brier", "calibration_error"}
    }  # fmt: skip
    assert results["label"] == "ProtoNet, MGDA"


def test_robustness_is_measured_where_a_radius_is_given():
    assert set(trainer(objectives=["clean"]).evaluate("val").metrics) == {"clean"}
    assert set(trainer(objectives=["clean"], eps=0.1).evaluate("val").metrics) == {
        "clean", "robust"
    }  # fmt: skip


def test_a_loss_that_is_not_finite_names_objective_and_step(tmp_path):
    with pytest.raises(NonFiniteError, match=r"Step 1: The lower level's .*'clean', 'robust'"):
        trainer(inner_learning_rate=1e30, inner_steps=5).run(tmp_path, quiet=True)


def test_a_bad_batch_leaves_the_state_before_it(tmp_path, monkeypatch):
    """The attack of the bad step has drawn from its generator; that is undone too."""
    trainer().run(tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patched:
        whole = EpisodeLoader.batch

        def poisoned(self, number):
            batch = whole(self, number)
            if number == 4:
                batch.query.targets["value"][:] = float("nan")
            return batch

        patched.setattr(EpisodeLoader, "batch", poisoned)
        with pytest.raises(NonFiniteError, match=r"Step 5: The loss of task 'clean', 'robust'"):
            trainer().run(tmp_path / "broken", quiet=True)
    trainer().run(tmp_path / "broken", resume=True, quiet=True)
    assert same(everything(tmp_path / "whole"), everything(tmp_path / "broken"))


def test_an_episode_in_which_adaptation_diverges_does_not_end_the_evaluation():
    metrics = trainer(inner_learning_rate=1e30, eval_inner_steps=5).evaluate("val").metrics
    assert not math.isfinite(metrics["clean"]["mse"])
    assert not math.isfinite(metrics["robust"]["mse"])


def test_a_traced_step_gives_the_same_numbers(tmp_path):
    run = trainer(objectives=["clean"], compiled=True, weighting=EW)
    oracle = run.oracle
    oracle.backend = None  # traced, not compiled: a matter of seconds
    batch = run.loader("train").batch(0)
    traced = oracle(run.composition.problem, batch)
    plain = run.composition.oracle(run.composition.problem, batch)
    torch.testing.assert_close(traced.losses, plain.losses)
    torch.testing.assert_close(traced.jacobian, plain.jacobian, rtol=1e-4, atol=1e-6)


def test_attacks_cannot_be_compiled(tmp_path):
    with pytest.raises(ValueError, match="should be a function of its tensors alone"):
        trainer(compiled=True).run(tmp_path, quiet=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objectives": ["clean", "robst"]}, "Did you mean 'robust'?"),
        ({"objectives": []}, "one or more different names"),
        ({"objectives": ["clean", "clean"]}, "one or more different names"),
        ({"objectives": ["calibration"]}, "leave out calibration where there are no classes"),
        ({"inner_steps": 0}, "`inner_steps` should be at least 1, found 0"),
        ({"eps": -1.0}, "found -1"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        trainer(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suite": Glyphs(), "method": ProtoNet()}, "It has no lower level to speed up"),
        ({"method": IMAML()}, "which looks at values"),
    ],
)
def test_what_cannot_be_compiled(changes, message):
    with pytest.raises(ValueError, match=message):
        trainer(compiled=True, objectives=["clean"], **changes)


def test_a_suite_predicts_one_thing():
    class Two(Sinusoid):
        @property
        def tasks(self):
            spec = super().tasks["value"]
            return {"value": spec, "other": spec}

    with pytest.raises(ValueError, match="should predict one thing, found value, other"):
        trainer(suite=Two())


def test_goals_alone():
    suite = Sinusoid()
    threat = Threat.of(suite, eps=None, norm="L2", bounds=None, steps=1, eval_steps=3, seed=0)
    assert threat.ball.eps == suite.defaults.eps
    goals = Goals(["robust"], suite.tasks["value"], threat, judge_robustness=False)
    assert list(goals.measures()) == ["clean", "robust"]
    assert goals.score({"clean": {"mse": 1.0}, "robust": {"mse": 3.0}}) == -3.0


@pytest.mark.parametrize(("stacked", "count"), [(None, 1), (False, 4)])
def test_stacking_is_an_option_of_a_run(stacked, count):
    made = trainer(stacked=stacked, meta_batch_size=4)
    batch = made.loader("train").batch(0)
    assert len(made.composition.problem.episodes(batch)) == count


def test_episodes_are_solved_one_after_the_other_on_request():
    assert trainer(stacked=False).composition.problem.stacked is False
    with pytest.raises(ValueError, match="`stacked` should be left out with ProtoNet, found False"):
        trainer(suite=Glyphs(queries=2), method=ProtoNet(), stacked=False)
