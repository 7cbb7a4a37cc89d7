"""``moml data``: what was looked at, and what is wrong where."""

import pytest
import torch

from moml.__main__ import main
from moml.data import DatasetSource
from tests.small_suite import Small


class Items:
    """A data set of which one item, far from the first, is damaged."""

    def __init__(self, source, change):
        self.source, self.change = source, change

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        item = self.source.inputs[i], {t: y[i] for t, y in self.source.targets.items()}
        return self.change(*item) if i == 130 else item


def raising(x, y):
    raise OSError("the file is truncated")


CHANGES = {
    "nan": lambda x, y: (x * torch.nan, y),
    "label": lambda x, y: (x, {**y, "left": torch.tensor(7)}),
    "name": lambda x, y: (x, {"lfet": y["left"], "right": y["right"]}),
    "file": raising,
    "shape": lambda x, y: (x[:3], y),
    "none": lambda x, y: (x, y),
}


class Damaged(Small):
    def __init__(self, *, how: str):
        super().__init__()
        self.how = how

    def sources(self, split):
        return DatasetSource(Items(super().sources(split), CHANGES[self.how]), tuple(self.tasks))


def look(*options):
    return main(["data", "--suite", "tests.cli.test_data.Damaged", *options])


def test_how_much_was_looked_at(capsys):
    assert look("--suite.how", "none") == 0
    out = capsys.readouterr().out
    assert "checked: 8 of 160; `--full true` looks at all; shapes and ranges of 8:" in out
    assert look("--suite.how", "none", "--full", "true") == 0
    assert "checked: 160 of 160; shapes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("nan", "Inputs (train, samples from 128) should be finite, found 6 numbers"),
        ("label", "Targets of task 'left' (train, samples from 128) should be labels in 0..2"),
        ("name", "should be named as tasks among ['left', 'right'], found 'lfet'"),
        ("file", "Data (train, samples from 128) should be readable, found OSError: the file is"),
        ("shape", "Inputs in a batch should have one shape, found (3,), (6,)"),
    ],
)
def test_a_full_look_finds_what_is_damaged(how, sentence, capsys):
    assert look("--suite.how", how, "--full", "true") == 2
    assert sentence in capsys.readouterr().err
