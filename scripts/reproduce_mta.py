"""Multi-task attack generators against single-task ones, on digits in several domains.

One factor at a time around a base setting: MTA with several weightings, GAP (a generator per task)
and GAP as small as MTA; storage, time, fooling rates, one perturbation for all tasks. Of MTA only
the abstract is public, so this reproduces its questions, not its tables. Every result is a JSON
file of its own: run it again after a break and it goes on where it was.

    python scripts/reproduce_mta.py --output runs/mta [--smoke] [--jobs 2]

A method's learning rate is chosen on the validation split of a seed that is not reported: at the
base, which the other settings follow, and again for cross-entropy and for opposing targets.
Victims, data and generators differ from seed to seed; differences are paired by seed. The full size
takes two hours on two cores, ``--smoke`` less than one minute. ``--docs`` writes the tables into a
document.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
from dataclasses import replace
from pathlib import Path

from mta.costs import timings
from mta.jobs import Job, compute, tuned
from mta.protocol import FULL, SETTINGS, SMOKE, Scale, seeds_of
from mta.report import write
from _pages import fill
from mta.tables import (
    cost_grid,
    markdown,
    one_delta_grid,
    opposed_grid,
    overview_grid,
    setting_grid,
)


def main() -> None:
    """Compute what is missing, then write the page."""
    options = _options()
    scale, out = _scale(options), options.output
    out.mkdir(parents=True, exist_ok=True)
    rates = tuned(scale, out, options.jobs)
    for setting in scale.settings:
        compute(
            [
                Job("generator", scale, setting, method, seed, rates[setting][method])
                for seed in seeds_of(scale, setting)
                for method in scale.methods
            ]
            + [Job("attack", scale, setting, seed=seed) for seed in seeds_of(scale, setting)],
            out,
            options.jobs,
        )
    grids = [setting_grid(s, scale, rates[s], out) for s in scale.settings]
    grids.insert(0, overview_grid(scale, rates, out))
    if not options.generators_only:
        jobs = [Job("one", scale, seed=i) for i in range(min(3, scale.seeds))]
        opposing = "opposing targets" in scale.settings
        jobs += [Job("opposed", scale, seed=i) for i in range(scale.seeds) if opposing]
        compute(jobs, out, options.jobs)
        numbers = (2, 3) if options.smoke else (2, 3, 5, 10)
        grids += [one_delta_grid(scale, out)]
        grids += [opposed_grid(scale, out)] if opposing else []
        grids += [cost_grid(timings(scale.images, numbers))]
    write(scale, rates, grids, out)
    if options.docs:
        fill(options.docs, "mta", markdown(grids, level=3))


def _scale(options: argparse.Namespace) -> Scale:
    scale = SMOKE if options.smoke else FULL
    return replace(
        scale,
        seeds=options.seeds or scale.seeds,
        other_seeds=options.other_seeds or scale.other_seeds,
        settings=tuple(options.settings or scale.settings),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/mta"))
    parser.add_argument("--smoke", action="store_true", help="the smallest size, under a minute")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), help="some of them only")
    parser.add_argument("--seeds", type=int, help="seeds where rates are chosen")
    parser.add_argument("--other-seeds", type=int, help="seeds of the other settings")
    parser.add_argument("--generators-only", action="store_true", help="no one-delta, no times")
    parser.add_argument("--docs", type=Path, help="document to write the tables into")
    return parser.parse_args()


if __name__ == "__main__":
    main()
