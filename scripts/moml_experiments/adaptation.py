"""Semi-supervised domain adaptation: MOML on minimax entropy against its base and S+T.

Typefaces are the domains (`tasks.FontAdaptation`). Every method takes equally many steps with the
same optimizer, its rate chosen on the validation split of a seed that is not reported; weights are
selected on validation images of the target domain, and tested on others.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import moml
from moml.bilevel import Bilevel, FirstOrder, InnerSGD, Unrolled
from moml.training.callback import Callback, Training
from moml.domain_adaptation import CosineClassifier, DomainAdaptation, MinimaxEntropy
from moml.oracle import Direct, Oracle
from moml.problem import Objectives
from moml.report.html import cell, element, escape, section, table
from moml.training.validation import evaluating
from moml.weighting import EW, MGDA, CAGrad, GradientNormalization, Weighting, WeightSum
from moml_experiments._shards import run_shards, spread
from tasks import FontAdaptation

INNER_RATE = 0.1  # of the entropy step, for all bi-level methods
VALIDATION_SEED = 100
FULL: dict[str, Any] = {
    "steps": 300, "batch_size": 16, "seeds": [0, 1, 2], "rates": [1e-3, 3e-3, 1e-2],
    "pairs": [["sans", "stix"]],
}  # fmt: skip
SMOKE: dict[str, Any] = {
    "steps": 5, "batch_size": 8, "seeds": [0], "rates": [3e-3], "pairs": [["sans", "stix"]],
}  # fmt: skip

Made = tuple[Objectives, Oracle, Weighting]


def _unrolled(weighting: Weighting) -> Callable[[CosineClassifier], Made]:
    return lambda net: (
        DomainAdaptation(net), Bilevel(InnerSGD(INNER_RATE), Unrolled()), weighting
    )  # fmt: skip


METHODS: dict[str, Callable[[CosineClassifier], Made]] = {
    "S+T": lambda net: (MinimaxEntropy(net, entropy=None), Direct(), EW()),
    "MME": lambda net: (MinimaxEntropy(net), Direct(), EW()),
    "MOML, EW": _unrolled(EW()),
    "MOML, MGDA (l2)": _unrolled(GradientNormalization(MGDA(), by="l2")),
    "MOML, CAGrad": _unrolled(WeightSum(CAGrad())),
    "MOML, MGDA (l2), first order": lambda net: (
        DomainAdaptation(net),
        Bilevel(InnerSGD(INNER_RATE), FirstOrder()),
        GradientNormalization(MGDA(), by="l2"),
    ),
}
SMOKE_METHODS = ("MME", "MOML, MGDA (l2)")


class KeepBest(Callback):
    """Keeps the weights with the best accuracy on validation batches."""

    def __init__(self, model: nn.Module, batches: list[Any], *, every: int) -> None:
        self.model, self.batches, self.every = model, batches, every
        self.best, self.state = -1.0, copy.deepcopy(model.state_dict())

    def after_step(self, training: Training) -> None:
        """Look every few steps and at the end."""
        if training.step % self.every and training.step != training.steps:
            return
        if (score := accuracy(self.model, self.batches)) > self.best:
            self.best, self.state = score, copy.deepcopy(self.model.state_dict())


def accuracy(model: nn.Module, batches: list[Any]) -> float:
    """Share of target images classified correctly, in percent."""
    right = total = 0
    with evaluating(model):
        for batch in batches:
            right += int((model(batch.inputs).argmax(1) == batch.targets["class"]).sum())
            total += len(batch.targets["class"])
    return 100.0 * right / total


def train(
    *, method: str, source: str, target: str, rate: float, seed: int, steps: int, batch_size: int
) -> dict[str, Any]:
    """One run: validation and test accuracy at the best step."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    suite = FontAdaptation(source=source, target=target, seed=seed)
    net = CosineClassifier(suite.encoder(), suite.classes)
    problem, oracle, weighting = METHODS[method](net)
    loaders = {split: list(suite.loader(split)) for split in ("val", "test")}  # type: ignore[arg-type]
    keep = KeepBest(net, loaders["val"], every=max(steps // 10, 1))
    optimizer = torch.optim.Adam(net.parameters(), rate)
    start = time.process_time()
    moml.fit(
        problem, oracle, weighting, optimizer,
        suite.loader("train", batch_size=batch_size, seed=seed), steps=steps, callbacks=[keep],
    )  # fmt: skip
    seconds = time.process_time() - start
    net.load_state_dict(keep.state)
    return {"val": keep.best, "test": accuracy(net, loaders["test"]), "seconds": seconds}


def run(out: Path, *, smoke: bool, jobs: int) -> str:
    """Tune, train, and write the section."""
    scale = SMOKE if smoke else FULL
    methods = SMOKE_METHODS if smoke else tuple(METHODS)
    folder = out / "shards" / f"adaptation-{'smoke' if smoke else 'full'}"
    common = {key: scale[key] for key in ("steps", "batch_size")}

    def job(method: str, pair: list[str], rate: float, seed: int) -> dict[str, Any]:
        return {"method": method, "source": pair[0], "target": pair[1], "rate": rate,
                "seed": seed, **common}  # fmt: skip

    def name(args: dict[str, Any]) -> str:
        kind = "".join(c if c.isalnum() else "-" for c in args["method"])
        return f"{kind}_{args['source']}-{args['target']}_{args['rate']:g}_{args['seed']}"

    first = scale["pairs"][0]
    tuning = [job(m, first, r, VALIDATION_SEED) for m in methods for r in scale["rates"]]
    if len(scale["rates"]) == 1:
        tuning = []
    found = run_shards(train, {name(a): a for a in tuning}, folder, processes=jobs)
    chosen = {
        m: max(scale["rates"], key=lambda r: found[name(job(m, first, r, VALIDATION_SEED))]["val"])
        if tuning else scale["rates"][0]
        for m in methods
    }  # fmt: skip
    rows = [
        job(m, pair, chosen[m], seed)
        for pair in scale["pairs"] for seed in scale["seeds"] for m in methods
    ]  # fmt: skip
    results = run_shards(train, {name(a): a for a in rows}, folder, processes=jobs)
    return _section(rows, [results[name(a)] for a in rows], methods, scale)


def _section(
    jobs: list[dict[str, Any]], results: list[dict[str, Any]], methods: tuple[str, ...],
    scale: dict[str, Any],
) -> str:  # fmt: skip
    pairs = [f"{source} → {target}" for source, target in scale["pairs"]]
    heads = ["Method", *pairs, "Rate", "CPU s"]
    head = [cell(escape(t), tag="th", class_="num" if i else "") for i, t in enumerate(heads)]
    lines = []
    for method in methods:
        own = [(j, r) for j, r in zip(jobs, results, strict=True) if j["method"] == method]
        cells = [cell(escape(method), tag="th")]
        texts = [
            spread([r["test"] for j, r in own if [j["source"], j["target"]] == pair])
            for pair in scale["pairs"]
        ]
        texts += [f"{own[0][0]['rate']:g}", f"{sum(r['seconds'] for _, r in own) / len(own):.0f}"]
        lines.append([*cells, *(cell(escape(t), class_="num") for t in texts)])
        print(f"  {method:30s} " + "  ".join(f"{t:>14s}" for t in texts))
    note = (
        f"Accuracy in percent on unseen target typefaces, one labelled image a class, mean ± "
        f"sample standard deviation over {len(scale['seeds'])} seeds; {scale['steps']} steps of "
        "Adam for every method, rate chosen and weights selected on validation images. CPU time "
        "shows what a method evaluates besides."
    )
    return section("Domain adaptation", table(head, lines), note=element("span", escape(note)))
