"""Few-shot learning: the front between clean and robust accuracy, and methods side by side.

Characters of five classes from one view each (`tasks.Glyphs`), a fully connected network, MAML.
Two objectives: the loss of the queries, and of queries perturbed by FGSM; evaluation perturbs by
PGD-10 in the same ball. Every line takes equally many meta-steps of Adam; its rate is chosen, and
the weight of equal weighting, on validation episodes of a seed that is not reported; weights of the
network are selected on validation episodes, and test episodes looked at once.

    python scripts/moml_experiments/few_shot.py --output runs/moml [--smoke] [--docs docs/meta.md]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import base64
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from _pages import fill

from moml.report.html import element, section
from moml_experiments._grid import Grid, html, markdown
from moml_experiments.few_shot_front import front, front_grid
from moml_experiments.few_shot_methods import method_grid
from moml_experiments.few_shot_picture import picture
from moml_experiments.few_shot_runs import FULL, SMOKE


def run(out: Path, *, smoke: bool, jobs: int) -> str:
    """Compute what is missing; return the section, and write its text and picture."""
    scale, size = (SMOKE, "smoke") if smoke else (FULL, "full")
    folder = out / "shards" / f"few-shot-{size}"
    points, best = front(scale, folder, jobs)
    first = front_grid(points, best, scale)
    _write(out, "front", first)
    (out / "few_shot_front.svg").write_bytes(picture(points, "svg"))
    second = method_grid(scale, folder, jobs)
    _write(out, "methods", second)
    data = base64.b64encode(picture(points, "png")).decode()
    image = element("img", "", src=f"data:image/png;base64,{data}", style="max-width:100%",
                    alt="Clean against robust accuracy of every weighting")  # fmt: skip
    parts = [element("h3", first[0]), html(first), image, element("h3", second[0])]
    return section("Few-shot learning", *parts, html(second))


def _write(out: Path, name: str, grid: Grid) -> None:
    text = markdown(grid)
    (out / f"few_shot_{name}.md").write_text(text, encoding="utf-8")
    print(text)


def fill_page(page: Path, out: Path) -> None:
    """Put the tables between the markers of a page, and the picture beside it."""
    for name in ("few_shot_front", "few_shot_methods"):
        fill(page, name, (out / f"{name}.md").read_text(encoding="utf-8"))
    (page.parent / "few_shot_front.svg").write_bytes((out / "few_shot_front.svg").read_bytes())


def main() -> None:
    """This section alone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("runs/moml"))
    parser.add_argument("--smoke", action="store_true", help="the smallest size")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--docs", type=Path, help="page whose markers are filled")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    run(options.output, smoke=options.smoke, jobs=options.jobs)
    if options.docs is not None:
        fill_page(options.docs, options.output)


if __name__ == "__main__":
    main()
