import re
from xml.etree import ElementTree

import pytest

from moml.report import write_report, write_reports

SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


def read(path):
    return path.read_text(encoding="utf-8")


def loads_nothing(page):
    """No address is left but names of XML dialects; no element that fetches anything."""
    addresses = re.findall(r"https?://[^\"'\s<>]+", page)
    dialects = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    return set(addresses) <= dialects and not re.search(r"<(script|link|img|iframe)|@import", page)


def sections(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.mark.parametrize("suite", ["Pair", "Rooms", "Many"])
def test_the_page_shows_every_task_and_metric_and_loads_nothing(make_run, suites, suite):
    folder = make_run(suite=suite, weighting="MGDA")
    path = write_report(folder)
    page = read(path)
    assert path == folder / "report.html"
    assert sections(page) == [
        "Results", "Losses", "Validation metrics", "Task weights", "Gradient conflicts",
    ]  # fmt: skip
    for record in ("Pair", "Rooms", "Many"):
        assert (f"<dd>{record}</dd>" in page) == (record == suite)
    for task, metrics in suites[suite].items():
        assert f'aria-label="{task}"' in page
        for metric, higher in metrics.items():
            name = metric.replace("_", " ")
            assert f'aria-label="{task}: {name}"' in page
            assert f'{name} <span class="dim">{"↑" if higher else "↓"}</span>' in page
    assert loads_nothing(page)
    assert "moml 0.1.0 · torch 2.13.0" in page
    assert "note: a &lt; b &amp; c" in page


def test_svg_is_valid_xml_and_bytes_repeat(make_run):
    folder = make_run(suite="Rooms")
    first = read(write_report(folder))
    pictures = SVG.findall(first)
    assert len(pictures) == 3 + 5 + 1 + 1 + 3  # losses, metrics, weights, legend, pairs
    for picture in pictures:
        ElementTree.fromstring(picture)
    assert read(write_report(folder)) == first


def test_numbers_of_the_results_table(make_run):
    page = read(write_report(make_run(suite="Rooms")))
    table = re.search(r"<table.*?</table>", page, re.DOTALL).group()
    numbers = re.findall(r'<td class="num">(.*?)</td>', table)
    assert numbers[:4] == ["0.5000", "0.5000", "0.6000", "0.6000"]
    assert '<span class="unit">(m)</span>' in table


def test_cosines_over_time_with_gaps(make_run):
    page = read(write_report(make_run(suite="Rooms")))
    heat = page[page.index('class="heat"') :]
    assert "segmentation × depth" in heat
    assert heat.count('class="hx"') == 2  # the first task's gradient was zero once
    assert "−0.25" in heat
    assert "100%" in heat


def test_how_to_get_cosines_is_told(make_run):
    page = read(write_report(make_run(cosines=False, weights=False)))
    assert "<code>--conflicts_every 10</code>" in page
    assert "The method reports no weights." in page


def test_unfinished_runs_have_a_page(make_run):
    folder = make_run(finished=False)
    page = read(write_report(folder))
    assert "The run is unfinished: validation at step 30, the best so far." in page
    assert "<dd>40 of 40</dd>" in page
    assert "<dd>Pair</dd>" in page
    (folder / "metrics.jsonl").write_text('{"kind": "train", "step": 10, "los')
    page = read(write_report(folder))
    assert "No evaluation yet" in page
    assert "Losses" not in sections(page)


def test_improvement_is_shown(make_run, make_result):
    import json

    folder = make_run()
    content = make_result(delta_percent=-1.234, reference="single.json")
    (folder / "results.json").write_text(json.dumps(content))
    page = read(write_report(folder))
    assert "On test data −1.23 % relative to single.json" in page


def test_names_are_escaped(make_run):
    folder = make_run()
    metrics = folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"left"', '"<b>&left"'))
    page = read(write_report(folder))
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;left" in page
    for picture in SVG.findall(page):
        ElementTree.fromstring(picture)


def test_other_folders_are_refused(tmp_path, make_run):
    with pytest.raises(ValueError, match=r"which has none of metrics\.jsonl"):
        write_report(tmp_path)
    with pytest.raises(ValueError, match="which is not a folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="`run_dirs` should name at least one run folder"):
        write_reports([])
    folder = make_run()
    (folder / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"readable results\.json, found a damaged one"):
        write_report(folder)


def test_several_runs_are_compared_in_the_folder_above_them(tmp_path, make_run):
    folders = [
        make_run(f"sweep/{w}_{s}", weighting=w, seed=s) for w in ("EW", "UW") for s in (0, 1)
    ]
    folders.append(make_run("sweep/unfinished", finished=False))
    *pages, comparison = write_reports(folders)
    assert pages == [folder / "report.html" for folder in folders]
    assert comparison == tmp_path / "sweep" / "comparison.html"
    assert 'href="EW_0/report.html"' in read(comparison)
    assert write_reports(folders, output=tmp_path / "out")[-1] == tmp_path / "out/comparison.html"
    assert 'href="../sweep/EW_0/report.html"' in read(tmp_path / "out" / "comparison.html")
    assert write_reports(folders[:1]) == pages[:1]
