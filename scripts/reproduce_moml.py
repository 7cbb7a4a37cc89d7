"""Multi-objective meta-learning on problems that need no download: one page, a section each.

The multi-task and domain-adaptation experiments of MOML as its released code has them, on other
data, and the few-shot experiment, of which only the question is public: this reproduces questions,
not tables. Finished pieces are files of their own: run it
again after a break and it goes on where it was.

    python scripts/reproduce_moml.py --output runs/moml [--smoke] [--jobs 2] [--sections mtl …]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import time
from pathlib import Path

from moml.report.page import page
from moml_experiments import adaptation, few_shot, mtl

SECTIONS = {"mtl": mtl.run, "adaptation": adaptation.run, "few_shot": few_shot.run}


def main() -> None:
    """Run the sections asked for, and write the page of all that were ever run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("runs/moml"))
    parser.add_argument("--smoke", action="store_true", help="the smallest size")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    size = "smoke" if options.smoke else "full"
    store = options.output / "sections"
    store.mkdir(parents=True, exist_ok=True)
    for name in options.sections:
        print(f"{name}:", flush=True)
        start = time.monotonic()
        text = SECTIONS[name](options.output, smoke=options.smoke, jobs=options.jobs)
        (store / f"{size}-{name}.json").write_text(json.dumps(text))
        print(f"  {time.monotonic() - start:.0f} s")
    files = [store / f"{size}-{name}.json" for name in SECTIONS]
    content = [json.loads(file.read_text()) for file in files if file.exists()]
    path = options.output / ("moml.html" if size == "full" else "moml-smoke.html")
    path.write_text(page("Multi-objective meta-learning", f"{size} size", content))
    print(f"Page: {path}")


if __name__ == "__main__":
    main()
