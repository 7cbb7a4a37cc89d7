"""The robustness card as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moml.report.html import cell, element, escape, facts, section, table
from moml.report.line_chart import Series, line_chart
from moml.report.page import page
from moml.report.scale import fit_scale
from moml.report.text import number

Card = Mapping[str, Any]


def write_robustness(card: Card, folder: str | Path) -> Path:
    """Write ``robustness.html`` into a folder.

    Args:
        card: As `moml.attack.card.Card.to_dict` gives it.
        folder: Usually the run folder.
    """
    verdict = "gradients seem masked" if card["masked"] else "no sign of masked gradients"
    tiles = [("Threat", card["ball"]), ("Samples", str(card["samples"])), ("Verdict", verdict)]
    content = [facts(tiles), _flags(card), _scores(card), _curves(card), _transfer(card)]
    path = Path(folder) / "robustness.html"
    path.write_text(page("Robustness card", Path(folder).name, filter(None, content)), "utf-8")
    return path


def _flags(card: Card) -> str:
    lines = [
        element("p", f"<strong>{escape(name)}</strong>: {escape(flag)}")
        for name, task in card["tasks"].items()
        for flag in task["flags"]
    ]
    return section("Masked gradients", *lines) if lines else ""


def _scores(card: Card) -> str:
    names = list(dict.fromkeys(a for task in card["tasks"].values() for a in task["attacks"]))
    titles = ["Task", "Score", "Clean", *names, "Worst case", "Scale-free", "Zero gradients"]
    rows = []
    for name, task in card["tasks"].items():
        arrow = "↑" if task["score"] == "accuracy" else "↓"
        row = [cell(escape(name), tag="th"), cell(f"{task['score']} {arrow}")]
        row.append(_number(task["clean"]))
        row += [_number(task["attacks"].get(attack)) for attack in names]
        row += [_number(task["worst"], bold=True), _number(task["scale_free"])]
        row.append(cell(f"{task['zero_gradients']:.1%}", class_="number"))
        rows.append(row)
    note = (
        "Worst case: for every sample the attack that hurts most, so an upper bound of the true "
        "robustness. Scale-free: PGD on a loss that no logit scale can flatten."
    )
    random = [name for name, task in card["tasks"].items() if task.get("passes", 1) > 1]
    if random:
        passes = max(task.get("passes", 1) for task in card["tasks"].values())
        note += (
            f" The network is random for {', '.join(random)}: gradients, goals and scores are "
            f"means over {passes} passes."
        )
    return section("Scores under attack", table(_head(titles), rows), note=note)


def _curves(card: Card) -> str:
    cards = []
    for name, task in card["tasks"].items():
        largest = max(eps for eps, _ in task["curve"]) or 1.0
        points = [(100 * eps / largest, score) for eps, score in task["curve"]]
        chart = line_chart(
            [Series(task["score"], points, dots=True)],
            title=f"{name}: {task['score']} over the radius",
            last_step=100,
            scale=fit_scale([0.0, *(score for _, score in points)]),
        )
        head = element("h3", escape(name)) + element("span", escape(task["score"]))
        cards.append(element("figure", element("figcaption", head) + chart))
    grid = element("div", "".join(cards), class_="grid")
    largest = max(eps for task in card["tasks"].values() for eps, _ in task["curve"])
    note = f"PGD-20 on the scale-free loss; 100 stands for a radius of {largest:g}."
    return section("Score over the radius", grid, note=note)


def _transfer(card: Card) -> str:
    transfer = card["transfer"]
    if len(transfer) < 2:
        return ""
    rows = [
        [cell(escape(source), tag="th"), *(_number(scores.get(task)) for task in transfer)]
        for source, scores in transfer.items()
    ]
    head = _head(["Perturbed against", *transfer])
    note = "Score of every task on inputs that PGD-50 perturbed against one of them."
    return section("Transfer between tasks", table(head, rows), note=note)


def _head(titles: list[str]) -> list[str]:
    return [cell(escape(t), tag="th", class_="number" if i else "") for i, t in enumerate(titles)]


def _number(value: float | None, *, bold: bool = False) -> str:
    text = "–" if value is None else number(value)
    return cell(element("strong", text) if bold else text, class_="number")
