"""The page with pictures, and the text."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import torch
from mta.jobs import Job, read
from mta.protocol import SEPARATE, Scale, seeds_of
from mta.tables import Grid, markdown

from moml.report.html import cell, element, escape, facts, section, table
from moml.report.page import page


def picture(scale: Scale, rates: dict[str, float], out: Path) -> str:
    """Clean inputs, perturbations and perturbed inputs, as an image within the page."""
    from matplotlib.figure import Figure

    shown = [m for m in ("MTA EW", SEPARATE) if m in scale.methods]
    found = {
        m: read(out, Job("generator", scale, "base", m, 0, rates[m]))["pictures"] for m in shown
    }
    tasks = list(found[shown[0]])
    figure = Figure(figsize=(1.1 * (1 + 2 * len(shown)) * 3, 1.25 * len(tasks)))
    axes = figure.subplots(len(tasks), 3 * (1 + 2 * len(shown)), squeeze=False)
    for row, task in zip(axes, tasks, strict=True):
        for i in range(3):
            clean = torch.tensor(found[shown[0]][task]["clean"][i])
            cells = [(clean, f"{found[shown[0]][task]['said'][0][i]}")]
            for method in shown:
                x_adv = torch.tensor(found[method][task]["perturbed"][i])
                cells.append(((x_adv - clean) / 0.3 + 0.5, method.split(",")[0]))
                cells.append((x_adv, f"{found[method][task]['said'][1][i]}"))
            for axis, (image, title) in zip(row[i * len(cells) :], cells, strict=False):
                axis.imshow(image, cmap="gray", vmin=0, vmax=1)
                axis.set_title(title, fontsize=7, pad=2)
    for axis in axes.flat:
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = "Clean digits, perturbations and perturbed digits with the victims' predictions"
    return element("img", "", src=f"data:image/png;base64,{data}", alt=alt, style="max-width:100%")


def write(scale: Scale, rates: dict[str, dict[str, float]], grids: list[Grid], out: Path) -> None:
    """The page and the text."""
    sections = [
        section(
            title,
            table(
                [cell(escape(c), tag="th") for c in head],
                [[cell(escape(c)) for c in row] for row in rows],
            ),
            note=escape(note),
        )
        for title, head, rows, note in grids
    ]
    protocol = facts([
        ("seeds", ", ".join(f"{s} {len(seeds_of(scale, s))}" for s in scale.settings)),
        ("steps", str(scale.steps)), ("samples per step and task", str(scale.batch_size)),
        *((f"rate, {m}", f"{r:g}") for m, r in rates[scale.settings[0]].items()),
    ])  # fmt: skip
    if "base" in scale.settings:
        note = "Above each input what its victim says; perturbations on a grey ground."
        shown = picture(scale, rates["base"], out)
        sections.insert(1, section("Perturbations", shown, note=note))
    html = page("Multi-task attack generators", "moml · reproduce_mta", [protocol, *sections])
    (out / "mta.html").write_text(html, encoding="utf-8")
    text = "# Multi-task attack generators\n\n" + markdown(grids)
    (out / "mta.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"Written: {out / 'mta.html'} and {out / 'mta.md'}")
