"""How long reading takes, and how much of it threads hide behind steps that run elsewhere.

Writes pictures and arrays of the published sizes into a temporary folder, reads batches of them,
and repeats that beside a step that waits (as one on an accelerator does) for as long as reading
takes.

    python scripts/bench_reading.py [--batches 12]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from PIL import Image

from moml.data import Loader, prefetched
from tasks._files.images import read_colours
from tasks._files.source import FileSource
from tasks.nyuv2 import NYUv2


def arrays(root: Path) -> FileSource:
    """Eight scenes of NYUv2's size, in the types they are published in."""
    draw = np.random.default_rng(0)
    for kind, shape in (("image", (3,)), ("label", ()), ("depth", (1,)), ("normal", (3,))):
        (root / kind).mkdir()
        for i in range(8):
            array = draw.random((288, 384, *shape))
            np.save(root / kind / f"{i}.npy", np.floor(13 * array) if kind == "label" else array)
    names = [str(i) for i in range(8)]
    return FileSource(96, lambda i: NYUv2._read(root, names, i % 8))


def pictures(root: Path) -> FileSource:
    """Eight pictures of Office-31's size, read at 224 pixels."""
    draw = np.random.default_rng(0)
    for i in range(8):
        coarse = Image.fromarray(draw.integers(0, 256, (20, 20, 3), dtype=np.uint8))
        coarse.resize((300, 300)).save(root / f"{i}.jpg", quality=90)

    def read(i: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return read_colours(root / f"{i % 8}.jpg", (224, 224)), {"class": torch.tensor(i % 8)}

    return FileSource(960, read)


def main() -> None:
    """Print one line per kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=12)
    count = parser.parse_args().batches
    torch.set_num_threads(1)
    print("| files | batch | reading | step with reading, over the step alone: 0, 1, 2 threads |")
    print("|---|---|---|---|")
    for name, make, size in (("NYUv2's arrays", arrays, 8), ("JPEG at 224", pictures, 64)):
        with tempfile.TemporaryDirectory() as folder:
            loader = Loader(make(Path(folder)), size)
            times = []
            for n in range(count):
                started = time.perf_counter()
                loader.batch(n)
                times.append(time.perf_counter() - started)
            step = median(times)
            ratios = []
            for workers in (0, 1, 2):
                batches = prefetched(loader, workers)
                batches.batch(0)
                started = time.perf_counter()
                for n in range(1, count):
                    batches.batch(n)
                    time.sleep(step)
                ratios.append((time.perf_counter() - started) / (count - 1) / step)
            shown = ", ".join(f"{r:.2f}" for r in ratios)
            print(f"| {name} | {size} | {1000 * step:.0f} ms | {shown} |")


if __name__ == "__main__":
    main()
