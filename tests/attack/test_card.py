"""The robustness card: right where plain PGD is wrong, and loud about it."""

import json
import warnings

import pytest
import torch
from torch import nn

import moml
from moml.__main__ import main
from moml.attack import Linf, MaskedGradients, robustness_card
from moml.data import Batch, Loader, TaskInputs, TensorSource
from moml.losses import CrossEntropy, MeanSquaredError
from moml.oracle import Direct
from moml.weighting import EW

TASKS = {"digit": CrossEntropy(10), "parity": CrossEntropy(2), "third": CrossEntropy(3),
         "ink": MeanSquaredError()}  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    """One network for tasks of ten, two and three classes and a regression, on real digits."""
    from sklearn.datasets import load_digits

    from moml.backbone import SmallCNN

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels)
    targets = {"digit": y, "parity": y % 2, "third": y % 3, "ink": x.mean((1, 2, 3))}
    torch.manual_seed(0)
    encoder = SmallCNN((8, 8))
    width = encoder.out_features
    heads = {t: nn.Linear(width, loss.num_classes) for t, loss in list(TASKS.items())[:3]}
    heads["ink"] = nn.Sequential(nn.Linear(width, 1), nn.Flatten(0))
    model = moml.architecture.HPS(encoder, heads)
    train = TensorSource(x[:1200], {t: v[:1200] for t, v in targets.items()})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    moml.fit(moml.MultiTask(model, TASKS), Direct(), EW(), optimizer,
             Loader(train, 64, shuffle=True), steps=150)  # fmt: skip
    test = [Batch(x[1200:1400], {t: v[1200:1400] for t, v in targets.items()})]
    return model, test


def card_of(model, test, losses, *, samples=120, steps=20, curve=(0.0, 0.5, 1.0, 2.0)):
    ball = Linf(0.06)
    return robustness_card(model, test, losses, ball, samples=samples, steps=steps, curve=curve)


def test_every_kind_of_task(trained):
    model, test = trained
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card = card_of(model, test, TASKS, samples=60, steps=10)
    assert not card.masked
    for name, task in card.tasks.items():
        if task.score == "accuracy":
            assert task.clean > 0.9, name
            assert task.worst <= min(task.attacks.values()) < task.clean
            assert task.curve[0][1] == pytest.approx(task.clean)
            assert task.curve[-1][1] < task.curve[2][1] < task.clean
        else:
            assert task.worst >= max(task.attacks.values()) > task.clean
    assert set(card.tasks["digit"].attacks) == {
        "FGSM", "PGD-10", "PGD-50", "APGD-CE", "APGD-T", "FAB-T", "Square"
    }  # fmt: skip
    assert set(card.tasks["ink"].attacks) == {"FGSM", "PGD-10", "PGD-50", "APGD", "Square"}
    assert json.loads(json.dumps(card.to_dict()))["masked"] is False


def test_transfer_is_strongest_at_home(trained):
    model, test = trained
    two = {t: TASKS[t] for t in ("digit", "parity")}
    card = card_of(model, test, two, samples=60, steps=5, curve=(1.0,))
    for task in ("digit", "parity"):
        column = {source: scores[task] for source, scores in card.transfer.items()}
        assert min(column, key=column.get) == task
        assert column[task] == pytest.approx(card.tasks[task].attacks["PGD-50"])


class Scaled(nn.Module):
    def __init__(self, model, factor):
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x, tasks):
        return {t: self.factor * out for t, out in self.model(x, tasks).items()}


@pytest.fixture(scope="module")
def plain_cards(trained):
    model, test = trained
    return {
        t: card_of(model, test, {t: TASKS[t]}, curve=(1.0,)).tasks[t] for t in ("digit", "third")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "scale"),
    [
        ("third", 50.0),
        ("third", 200.0),
        ("digit", 50.0),
        ("digit", 200.0),
    ],
)
def test_a_logit_scale_hides_gradients_but_not_from_the_card(trained, plain_cards, task, scale):
    model, test = trained
    plain = plain_cards[task]
    with pytest.warns(MaskedGradients, match=f"Task '{task}'"):
        scaled = card_of(Scaled(model, scale), test, {task: TASKS[task]}, curve=(1.0,)).tasks[task]
    assert abs(scaled.worst - plain.worst) <= 0.01
    assert scaled.plain - plain.plain > 0.05  # what plain PGD says is wrong by as much
    assert scaled.zero_gradients > 0.2 > 0.02 > plain.zero_gradients
    assert scaled.flags


def test_dense_outputs_and_inputs_per_task():
    torch.manual_seed(0)
    net = moml.architecture.HPS(
        nn.Conv2d(1, 4, 3, padding=1), {"seg": nn.Conv2d(4, 3, 1), "depth": nn.Conv2d(4, 1, 1)}
    )
    inputs = {t: torch.rand(6, 1, 5, 5) for t in ("seg", "depth")}
    targets = {"seg": torch.randint(-1, 3, (6, 5, 5)), "depth": torch.rand(6, 1, 5, 5)}
    losses = {"seg": CrossEntropy(3), "depth": MeanSquaredError()}
    batches = [Batch(TaskInputs(inputs), targets)]
    card = robustness_card(net, batches, losses, Linf(0.1), samples=6, steps=5)
    assert card.transfer == {}
    assert "APGD-DLR" in card.tasks["seg"].attacks
    assert card.tasks["seg"].worst < card.tasks["seg"].clean


def test_missing_labels_and_wrong_bounds(trained):
    model, test = trained
    data = test[0]
    with pytest.raises(ValueError, match=r"none for \['digit'\]"):
        card_of(model, [Batch(data.inputs, {})], {"digit": TASKS["digit"]})
    normalised = [Batch((data.inputs - 0.3) / 0.3, data.targets)]
    with pytest.raises(ValueError, match="should be finite and lie within its bounds"):
        card_of(model, normalised, {"digit": TASKS["digit"]})


def test_command(tmp_path, capsys):
    folder = tmp_path / "run"
    main(["train", "--suite", "TwoDigits", "--steps", "30", "--batch_size", "32", "--run_dir",
          str(folder)])  # fmt: skip
    capsys.readouterr()
    assert main(["robustness", str(folder), "--eps", "0.02", "--samples", "40",
                 "--steps", "5"]) in (0, 1)  # fmt: skip
    out = capsys.readouterr().out
    assert "left: accuracy" in out
    card = json.loads((folder / "robustness.json").read_text())
    assert card["tasks"]["left"]["worst"] <= card["tasks"]["left"]["clean"]
    page = (folder / "robustness.html").read_text()
    assert "Scores under attack" in page
    assert "Transfer between tasks" in page


@pytest.mark.parametrize(
    "method", ["APGD", *(pytest.param(m, marks=pytest.mark.slow) for m in ("MTA", "GAP", "UAP"))]
)
def test_attack_command(method, tmp_path, capsys):
    folder = tmp_path / "run"
    main(["train", "--suite", "TwoDigits", "--steps", "60", "--batch_size", "32", "--learning_rate",
          "3e-3", "--run_dir", str(folder)])  # fmt: skip
    weighting = ["--weighting", "MGDA"] if method == "MTA" else []
    common = ["attack", str(folder), "--method", method, "--eps", "0.2", "--steps", "20",
              "--samples", "60", "--train_samples", "128"]  # fmt: skip
    assert main([*common, *weighting]) == 0
    stored = json.loads((folder / f"attack-{method}" / "attack.json").read_text())
    for scores in stored["scores"].values():
        assert scores["PGD-10"] < scores["noise"] <= scores["clean"] + 0.05
        assert scores[method] <= scores["noise"] + 0.05
    assert (folder / f"attack-{method}" / "generator.safetensors").exists() is (
        method in ("MTA", "GAP")
    )
    capsys.readouterr()
    assert main(["attack", str(folder), "--method", method, "--eps", "0.2"]) == 2
    assert "should be a new folder" in capsys.readouterr().err
    other = ["--output", str(tmp_path / "other")]
    assert main([*common, *other, "--target", "99"]) == 2
    assert "`target` should be a class of 'left', 0 to 9, found 99." in capsys.readouterr().err
    assert main([*common, *other, "--target", "3"]) == 0
    assert "left predicted as the target: clean " in capsys.readouterr().out
    for row in json.loads((tmp_path / "other" / "attack.json").read_text())["scores"].values():
        assert row["hits"][method] >= row["hits"]["clean"]
