import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from moml.report import Comparison, summary_table, write_comparison
from moml.report.picture import draw

METHODS = ("EW", "MGDA", "UPGrad")


@pytest.fixture
def make_rows(make_result):
    def make(suite="Pair", seeds=3, **more):
        return [
            make_result(suite, w, s, shift=0.02 * i * (1 + s), **more)
            for i, w in enumerate(METHODS)
            for s in range(seeds)
        ]

    return make


def shown(table, width=120):
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue()


def test_means_and_deviations_equal_numpy(make_rows):
    rows = make_rows("Rooms")
    comparison = Comparison(rows)
    assert comparison.methods == list(METHODS)
    assert len(comparison.columns) == 5
    for method in METHODS:
        for column in comparison.columns:
            values = [
                r["test"][column.task][column.metric] for r in rows if r["weighting"] == method
            ]
            cell = comparison.cell(method, column)
            assert cell.mean == pytest.approx(np.mean(values), rel=1e-12)
            assert cell.std == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def test_main_metrics_labels_and_missing_values(make_rows):
    rows = make_rows("Rooms")
    assert [c.metric for c in Comparison(rows).main] == ["mIoU", "abs_err", "mean"]
    for row in rows:
        del row["main"]
    assert [c.metric for c in Comparison(rows).main] == ["mIoU", "abs_err", "mean"]
    rows[0]["main"] = {"normals": "within_11.25"}
    assert [c.metric for c in Comparison(rows).main] == ["mIoU", "abs_err", "within_11.25"]
    rows[0]["label"] = "EW, tuned"
    rows[1]["test"]["depth"]["abs_err"] = None
    comparison = Comparison(rows)
    assert comparison.methods == ["EW, tuned", "EW", "MGDA", "UPGrad"]
    cell = comparison.cell("EW", comparison.main[1])
    assert len(cell.values) == 1
    assert cell.std is None
    assert "(of 1)" in shown(summary_table(rows))


def test_the_best_follows_the_direction(make_rows):
    comparison = Comparison(make_rows("Rooms"))
    assert comparison.best(comparison.main[0]) == {"UPGrad"}
    assert comparison.best(comparison.main[1]) == {"EW"}


@pytest.mark.parametrize("suite", ["Pair", "Rooms", "Many"])
def test_page_markdown_and_picture(tmp_path, make_rows, suite):
    rows = make_rows(suite, delta_percent=1.5)
    path = write_comparison(rows, tmp_path / "out")
    page = path.read_text(encoding="utf-8")
    assert path == tmp_path / "out" / "comparison.html"
    assert (path.parent / "comparison.png").read_bytes().startswith(b"\x89PNG")
    text = (path.parent / "comparison.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(METHODS)
    assert len({line.count("|") for line in table}) == 1
    assert "+1.50 ± 0.00" in table[2]
    assert "12.5 s" in table[2]
    for task in rows[0]["test"]:
        assert task in page
        assert task in table[0]
    (picture,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ElementTree.fromstring(picture)
    assert "var(--ink)" in picture
    dialects = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"'\s<>]+", page)) <= dialects


def test_files_repeat_byte_by_byte(tmp_path, make_rows):
    for name in ("a", "b"):
        write_comparison(make_rows(), tmp_path / name)
    for name in ("comparison.html", "comparison.md", "comparison.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_picture_puts_better_to_the_upper_right(make_result):
    rows = [make_result("Rooms", w, 0) for w in METHODS]
    for row in rows:
        del row["test"]["normals"]
    axes = draw(Comparison(rows)).axes[0]
    assert not axes.xaxis_inverted()  # mIoU
    assert axes.yaxis_inverted()  # absolute error
    assert axes.get_xlabel() == "segmentation: mIoU ↑"


def test_the_picture_of_many_tasks_is_relative_to_equal_weighting(make_rows):
    figure = draw(Comparison(make_rows("Rooms")))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "segmentation", "depth", "normals",
    ]  # fmt: skip
    means = {
        line.get_xydata()[0][1]: line for line in figure.axes[1].lines if len(line.get_xdata()) == 1
    }
    assert means[0].get_xdata()[0] == pytest.approx(0)
    base, worse = 0.51 + 0.013, 0.51 + 0.013 + 0.02 * 2
    assert means[1].get_xdata()[0] == pytest.approx(-100 * (worse - base) / base)


@pytest.mark.parametrize("suite", ["Pair", "Rooms"])
def test_one_method_and_one_seed(tmp_path, make_result, suite):
    rows = [make_result(suite)]
    write_comparison(rows, tmp_path)
    text = shown(summary_table(rows))
    assert "0.5000" in text
    assert "±" not in text


def test_a_baseline_of_zero_is_not_divided_by(tmp_path, make_rows):
    rows = make_rows("Rooms")
    for row in rows:
        row["test"]["depth"]["abs_err"] = 0.0
    write_comparison(rows, tmp_path)


def test_the_terminal_table(make_rows):
    lines = shown(summary_table(make_rows())).splitlines()
    assert lines[0].strip() == "Pair, test data"
    row = next(line for line in lines if line.strip().startswith("MGDA"))
    assert row.split()[1:5] == ["3", "0.5530", "±", "0.0330"]
    turned = shown(summary_table(make_rows("Many"))).splitlines()
    assert turned[2].split() == ["Method", *METHODS]
    assert any(line.split()[:2] == ["target_8", "mae"] for line in turned)


def test_refusals(make_result):
    with pytest.raises(ValueError, match="`rows` should hold at least one result"):
        summary_table([])
    with pytest.raises(ValueError, match="from one suite, found 'Pair', 'Rooms'"):
        Comparison([make_result("Pair"), make_result("Rooms")])
