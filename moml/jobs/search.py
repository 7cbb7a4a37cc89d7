"""One architecture search: from settings to a run folder with a front of trained networks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from moml._support.safetensors_file import save_weights
from moml._support.signals import StopSignals
from moml.attack import L1, L2, Ball, Linf
from moml.data import Suite
from moml.data.declared_bounds import BoundsOption, data_bounds, shown
from moml.errors import NonFiniteError
from moml.jobs.job import Job, Results
from moml.jobs.options import wrap
from moml.jobs.preflight import above_zero, positive, usable_device
from moml.jobs.records import RunRecords
from moml.loop import fit
from moml.losses import CrossEntropy
from moml.nas.genotype import Genotype
from moml.nas.method import Executor, SearchComposition, SearchMethod, SearchSetting
from moml.nas.outer import Exhausted, OuterSearch
from moml.nas.robust_training import Recipe, accuracies
from moml.nas.search_space import SearchSpace
from moml.training.callback import Callback
from moml.training.checkpoint import read_state, write_atomically
from moml.weighting import Normalization, Weighting

BALLS: dict[str, type[Ball]] = {"Linf": Linf, "L2": L2, "L1": L1}
Norm = Literal["Linf", "L2", "L1"]


class SearchJob(Job):
    """Searches for architectures that are accurate, robust and small, and trains what it proposes.

    A search has two phases: what the method learns by gradients, if anything, and the training of
    the architectures it then asks for, each from scratch. Objectives are the errors on validation
    data, clean and under ten steps of PGD, and the number of parameters, which is exact. The result
    is the front of all networks that were trained; the test split is looked at once, for the front.

    Args:
        space: The search space.
        suite: Data with one classification task, of the space's image size.
        method: How to search.
        weighting: How upper objectives are traded off, by methods that use gradients; their own
            unless given.
        normalize: Gradients are scaled before a weighting that is given sees them.
        steps: Steps of the gradient phase.
        batch_size: Samples per batch of that phase.
        learning_rate: Of the supernet's weights.
        upper_learning_rate: Of the architecture parameters.
        held_out: Share of the training split for the upper level.
        budget: Architectures trained at most.
        epochs: Passes over the training split for each of them.
        eps: Radius of the perturbations, in units of the data.
        norm: Their norm.
        bounds: Interval of valid inputs, which attacks keep to; the suite's unless given, ``None``
            for inputs without bounds.
        clean_training: Train the proposed networks on clean samples instead of perturbed ones.
        executor: ``reference`` computes supernets operation by operation instead of joining what
            edges have in common.
        most_skips: Most identities in the cells that methods by gradient propose, as in P-DARTS,
            which allows two; any number unless given.
        seed: Seed of everything.
        device: Where networks live.
        threads: Threads of PyTorch's operations.
        log_every: Steps between lines of the metrics file.
        checkpoint_every: Steps between checkpoints of the gradient phase.
    """

    def __init__(
        self,
        space: SearchSpace,
        suite: Suite,
        method: SearchMethod,
        *,
        weighting: Weighting | None = None,
        normalize: Normalization = "none",
        steps: int = 300,
        batch_size: int = 64,
        learning_rate: float = 0.1,
        upper_learning_rate: float = 0.02,
        held_out: float = 0.5,
        budget: int = 20,
        epochs: int = 10,
        eps: float = 0.1,
        norm: Norm = "Linf",
        bounds: BoundsOption = "suite",
        clean_training: bool = False,
        executor: Executor = "fast",
        most_skips: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        threads: int = 1,
        log_every: int = 10,
        checkpoint_every: int = 50,
    ) -> None:
        torch.set_num_threads(positive("threads", threads))
        self.device = usable_device(device)
        self.space, self.suite, self.method = space, suite, method
        self.task = only_classes(suite, space)
        self.steps, self.budget = positive("steps", steps), positive("budget", budget)
        self.log_every = positive("log_every", log_every)
        self.checkpoint_every = positive("checkpoint_every", checkpoint_every)
        if not 0.0 < held_out < 1.0:
            raise ValueError(f"`held_out` should lie between 0 and 1, found {held_out}.")
        self.ball, self.seed = BALLS[norm](eps), seed
        within: Any = data_bounds(suite, bounds)
        self.recipe = Recipe(
            epochs=positive("epochs", epochs), ball=None if clean_training else self.ball,
            bounds=within, seed=seed,
        )  # fmt: skip
        if most_skips is not None and (most_skips < 0 or not method.weighs):
            raise ValueError(
                f"`most_skips` should be at least 0, and left out with methods that decode no "
                f"mixture, found {most_skips} with {type(method).__name__}."
            )
        if weighting is not None and not method.weighs:
            raise ValueError(
                f"`weighting` should be left out with {type(method).__name__}, found "
                f"{type(weighting).__name__}. It has no gradients of several objectives to weigh."
            )
        chosen = weighting and wrap(weighting, normalize, "as_is", 1)
        self.weighting_name = None if weighting is None else type(weighting).__name__
        self.setting = SearchSetting(
            space=space, suite=suite, task=self.task, weighting=chosen, ball=self.ball,
            bounds=self.recipe.bounds, steps=steps, batch_size=positive("batch_size", batch_size),
            learning_rate=above_zero("learning_rate", learning_rate),
            upper_learning_rate=above_zero("upper_learning_rate", upper_learning_rate),
            held_out=held_out, budget=budget, seed=seed, device=self.device, executor=executor,
            most_skips=most_skips,
        )  # fmt: skip

    # Phases ------------------------------------------------------------------------------------

    @property
    def goal(self) -> dict[str, int]:
        """The number of architectures to train."""
        return {"budget": self.budget}

    def work(self, folder: Path, records: RunRecords, *, quiet: bool) -> Results:
        """Search, train what is proposed, and test the front."""
        learnt = self.method.compose(self.setting)
        if learnt is not None:
            history = fit(
                learnt.problem, learnt.oracle, learnt.weighting, learnt.updater, learnt.stream,
                steps=self.steps, callbacks=list[Callback](records.logs),
                checkpoint=records.checkpoint,
            )  # fmt: skip
            if history.stopped:
                return {"stopped": history.stopped}
        console = Console(quiet=quiet)
        trainings = Trainings(folder, self._train, console=console)
        outer = self.method.outer(self.setting, learnt)
        seconds = records.checkpoint.cpu_seconds
        stopped = trainings.run(outer, budget=self.budget)
        if stopped:
            return {"stopped": stopped}
        return self._conclude(folder, outer, trainings, learnt, seconds)

    def _train(self, genotype: Genotype) -> tuple[torch.nn.Module, dict[str, Any]]:
        """A network trained from scratch, and what it reaches on validation data."""
        started = time.process_time()
        network = self.space.network(genotype, seed=self.seed).to(self.device)
        self.recipe.train(network, self.suite, self.task, device=self.device)
        found = self._accuracies(network, "val")
        return network, {"val": found, "cpu_seconds": round(time.process_time() - started, 2)}

    def _accuracies(
        self, network: torch.nn.Module, split: Literal["val", "test"]
    ) -> dict[str, float]:
        return accuracies(
            network, self.suite, self.task, split, self.ball,
            bounds=self.recipe.bounds, device=self.device,
        )  # fmt: skip

    def _conclude(
        self,
        folder: Path,
        outer: OuterSearch,
        trainings: Trainings,
        learnt: SearchComposition | None,
        seconds: float,
    ) -> dict[str, Any]:
        """Test the front, write its genotypes, weights and the results."""
        shutil.rmtree(folder / "front", ignore_errors=True)  # of a smaller budget
        (folder / "front").mkdir()
        front = []
        for number, trained in enumerate(sorted(outer.front(), key=lambda t: t.objectives[-1]), 1):
            record = trainings.records[trained.genotype]
            network = self.space.network(trained.genotype, seed=self.seed).to(self.device)
            network.load_state_dict(trainings.weights(trained.genotype))
            stem = folder / "front" / f"{number:02d}"
            save_weights(network, stem.with_suffix(".safetensors"))
            stem.with_suffix(".json").write_text(trained.genotype.to_json() + "\n")
            test = self._accuracies(network, "test")
            front.append({**record, "test": test, "file": f"front/{number:02d}.json"})
        spent = sum(record["cpu_seconds"] for record in trainings.records.values())
        return {
            "suite": type(self.suite).__name__,
            "space": type(self.space).__name__,
            "method": type(self.method).__name__,
            "weighting": self.weighting_name,
            "seed": self.seed,
            "eps": self.ball.eps,
            "bounds": shown(self.recipe.bounds),
            "training": "clean" if self.recipe.ball is None else "adversarial (one step)",
            "steps": 0 if learnt is None else self.steps,
            "budget": self.budget,
            "trained": len(trainings.records),
            "failed": len(trainings.failed),
            "front": front,
            "search_cpu_seconds": round(seconds, 2),
            "cpu_seconds": round(seconds + spent, 2),
        }


class Trainings:
    """Networks trained so far, kept in the run folder, so that no training is lost or repeated.

    Args:
        folder: The run folder.
        train: Trains a genotype; gives the network and a record.
        console: Where progress is told.
    """

    def __init__(
        self,
        folder: Path,
        train: Callable[[Genotype], tuple[torch.nn.Module, dict[str, Any]]],
        *,
        console: Console,
    ) -> None:
        self.folder, self.train, self.console = folder / "trained", train, console
        self.folder.mkdir(exist_ok=True)
        self.records: dict[Genotype, dict[str, Any]] = {}
        self.failed: list[dict[str, Any]] = []

    def run(self, outer: OuterSearch, *, budget: int) -> str:
        """Propose, train, report; return why it stopped early, empty if it did not.

        What the folder holds already is reported again in the same order: a search goes on as if it
        had not been interrupted, since it depends on reports and on its own generator alone. A
        training whose loss is not finite has failed; it counts as one of the budget.

        Raises:
            ValueError: If every training failed.
        """
        with StopSignals() as signals:
            while outer.spent + 1 <= budget and outer.remaining:
                try:
                    genotype = outer.ask()
                except Exhausted:
                    break
                record = self._known(genotype) or self._trained(genotype, outer)
                self._report(genotype, record, outer)
                if signals.received:
                    return f"{signals.received} after {len(self.records)} trainings"
        if self.failed and not self.records:
            raise ValueError(
                f"At least one training should succeed, found that all {len(self.failed)} failed. "
                f"The last one: {self.failed[-1]['failed']}"
            )
        return ""

    def _report(self, genotype: Genotype, record: dict[str, Any], outer: OuterSearch) -> None:
        if "failed" in record:
            self.failed.append(record)
            outer.fail(genotype)
            line = f"failed: {record['failed']}"
        else:
            self.records[genotype] = record
            val = record["val"]
            outer.tell(genotype, (1 - val["clean"], 1 - val["pgd"]))
            line = (
                f"clean {val['clean']:.3f}  pgd {val['pgd']:.3f}  "
                f"{record['parameters']:7d} parameters"
            )
        number = len(self.records) + len(self.failed)
        self.console.print(
            f"  {number:3d}  {line}  {describe(genotype)}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip

    def weights(self, genotype: Genotype) -> dict[str, torch.Tensor]:
        """The weights of a network that was trained."""
        weights: dict[str, torch.Tensor] = read_state(self._path(genotype))["network"]
        return weights

    def _known(self, genotype: Genotype) -> dict[str, Any] | None:
        path = self._path(genotype)
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(read_state(path)["record"])
        return found

    def _trained(self, genotype: Genotype, outer: OuterSearch) -> dict[str, Any]:
        try:
            network, record = self.train(genotype)
            weights = network.state_dict()
        except NonFiniteError as error:
            weights, record = {}, {"failed": str(error)}
        record = {
            "genotype": json.loads(genotype.to_json()),
            "parameters": outer.space.num_parameters(genotype),
            "flops": outer.space.num_flops(genotype),
            **record,
        }
        state = {"record": json.dumps(record), "network": weights}
        write_atomically(state, self._path(genotype))
        return record

    def _path(self, genotype: Genotype) -> Path:
        return self.folder / f"{genotype.digest}.pt"


def describe(genotype: Genotype) -> str:
    """The cells in one line."""
    parts = []
    for name, choice in genotype.cells:
        edges = " ".join(f"{i}→{j}:{op}" for (i, j), op in choice if op != "none")
        parts.append(f"{name} {edges}" if len(genotype.cells) > 1 else edges)
    return " | ".join(parts)


def only_classes(suite: Suite, space: SearchSpace) -> str:
    """The only task of a suite that a space's networks can be trained on.

    Raises:
        ValueError: If there are several, it is no classification, images do not fit, or their
            values leave the bounds of the suite.
    """
    if len(suite.tasks) != 1:
        raise ValueError(
            f"`suite` should have one task, found {', '.join(suite.tasks)}. Architectures of "
            "several tasks are compared by `moml compare`."
        )
    ((task, spec),) = suite.tasks.items()
    if not isinstance(spec.loss, CrossEntropy):
        raise ValueError(f"`suite` should classify, found the loss {type(spec.loss).__name__}.")
    batch = next(iter(suite.loader("val", batch_size=2)))
    x = batch.inputs_of(task)
    if tuple(x.shape[1:]) != tuple(space.image) or spec.loss.num_classes != space.num_classes:
        raise ValueError(
            f"`space` should be for images {tuple(x.shape[1:])} of {spec.loss.num_classes} "
            f"classes, found images {tuple(space.image)} and {space.num_classes} classes. "
            "Set `--space.image` and `--space.num_classes`."
        )
    return task
