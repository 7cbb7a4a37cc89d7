"""One architecture of a search space, trained from scratch and attacked."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from moml._support.safetensors_file import save_weights
from moml.attack import PGD
from moml.attack.card import MaskedGradients, robustness_card
from moml.data import Suite
from moml.data.declared_bounds import BoundsOption, data_bounds, shown
from moml.jobs.job import Job, Results
from moml.jobs.preflight import above_zero, positive, usable_device
from moml.jobs.records import RunRecords
from moml.jobs.search import BALLS, Norm, only_classes
from moml.nas.genotype import Genotype
from moml.nas.robust_training import Classifier, Recipe, Schedule, accuracies
from moml.nas.search_space import SearchSpace


class RetrainJob(Job):
    """Trains the network of a genotype on the whole training split and judges its robustness.

    Judged are accuracies on validation and test data: clean, under FGSM, PGD with 10 steps, PGD
    with 20 steps and five restarts, and the worst case of the robustness card (APGD on
    cross-entropy and on targeted margins among others). Whether training was clean or adversarial
    stands in the results.

    Args:
        space: The search space.
        genotype: A JSON file, JSON, a string in the space's own notation, or the name of a cell
            that the space knows as published.
        suite: Data with one classification task.
        epochs: Passes over the training split.
        batch_size: Samples per step.
        learning_rate: Largest rate of SGD.
        schedule: Whether the rate rises and falls once, or falls along a half cosine.
        warmup: Epochs in which the rate of ``cosine`` rises linearly before.
        auxiliary_weight: Weight of the loss of an auxiliary head at two thirds of the depth; 0 for
            no head. DARTS takes 0.4.
        drop_path: Probability of leaving out an edge in the last epoch; it rises from 0. DARTS
            takes 0.2.
        cutout: Side of the square that is erased from every training image; 0 for none. DARTS takes
            16 for images of 32×32.
        eps: Radius of the perturbations, in units of the data.
        norm: Their norm.
        bounds: Interval of valid inputs, which attacks keep to; the suite's unless given, ``None``
            for inputs without bounds.
        clean_training: Train on clean samples instead of perturbed ones.
        samples: Test samples of the robustness card.
        seed: Seed of everything.
        device: Where the network lives.
        threads: Threads of PyTorch's operations.
        log_every: Steps between lines of the metrics file.
        checkpoint_every: Steps between checkpoints.
    """

    def __init__(
        self,
        space: SearchSpace,
        genotype: str,
        suite: Suite,
        *,
        epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        schedule: Schedule = "one_cycle",
        warmup: int = 0,
        auxiliary_weight: float = 0.0,
        drop_path: float = 0.0,
        cutout: int = 0,
        eps: float = 0.1,
        norm: Norm = "Linf",
        bounds: BoundsOption = "suite",
        clean_training: bool = False,
        samples: int = 256,
        seed: int = 0,
        device: str = "cpu",
        threads: int = 1,
        log_every: int = 10,
        checkpoint_every: int = 50,
    ) -> None:
        torch.set_num_threads(positive("threads", threads))
        self.device = usable_device(device)
        self.space, self.suite = space, suite
        self.task = only_classes(suite, space)
        self.genotype = read_genotype(space, genotype)
        self.ball, self.seed = BALLS[norm](eps), seed
        self.samples = positive("samples", samples)
        within: Any = data_bounds(suite, bounds)
        self.recipe = Recipe(
            epochs=positive("epochs", epochs),
            batch_size=positive("batch_size", batch_size),
            learning_rate=above_zero("learning_rate", learning_rate),
            ball=None if clean_training else self.ball,
            bounds=within,
            seed=seed,
            schedule=schedule,
            warmup=warmup,
            auxiliary_weight=auxiliary_weight,
            drop_path=drop_path,
            cutout=cutout,
        )
        self.log_every = positive("log_every", log_every)
        self.checkpoint_every = positive("checkpoint_every", checkpoint_every)

    @property
    def goal(self) -> dict[str, int]:
        """The number of steps."""
        return {"steps": self.recipe.steps(self.suite)}

    def settings(self) -> dict[str, Any]:
        """Options with the values that are used, where they come from elsewhere."""
        return {"genotype": self.genotype.to_json()}

    def work(self, folder: Path, records: RunRecords, *, quiet: bool) -> Results:
        """Train and attack."""
        network = self.space.network(self.genotype, seed=self.seed).to(self.device)
        history = self.recipe.train(
            network, self.suite, self.task, device=self.device,
            callbacks=records.logs, checkpoint=records.checkpoint,
        )  # fmt: skip
        if history.stopped:
            return {"stopped": history.stopped}
        save_weights(network, folder / "weights.safetensors")
        (folder / "genotype.json").write_text(self.genotype.to_json() + "\n")
        classifier = Classifier(network, self.task).eval()
        results = self._facts(self.recipe.steps(self.suite)) | self._judged(classifier)
        results["cpu_seconds"] = round(records.checkpoint.cpu_seconds, 2)
        return results

    def _judged(self, classifier: Classifier) -> dict[str, Any]:
        """Accuracies, and the robustness card."""
        bounds = self.recipe.bounds
        strong = {"pgd20_5_restarts": PGD(self.ball, steps=20, restarts=5, bounds=bounds, seed=0)}
        found = {
            split: {
                self.task: accuracies(
                    classifier.network,
                    self.suite,
                    self.task,
                    split,
                    self.ball,
                    bounds=bounds,
                    device=self.device,
                    further=strong,
                )
            }
            for split in ("val", "test")
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MaskedGradients)  # its flags are in the results
            card = robustness_card(
                classifier,
                self.suite.loader("test", batch_size=self.samples),
                {self.task: self.suite.tasks[self.task].loss},
                self.ball,
                bounds=bounds,
                samples=self.samples,
                device=self.device,
                seed=self.seed,
            )
        found["test"][self.task]["worst_case"] = card.tasks[self.task].worst
        return {**found, "robustness": card.to_dict()}

    def _facts(self, steps: int) -> dict[str, Any]:
        """What results hold besides numbers found."""
        names = ("clean", "fgsm", "pgd", "pgd20_5_restarts", "worst_case")
        return {
            "suite": type(self.suite).__name__,
            "space": type(self.space).__name__,
            "genotype": self.genotype.to_json(),
            "architecture": type(self.space).__name__,
            "parameters": self.space.num_parameters(self.genotype),
            "flops": self.space.num_flops(self.genotype),
            "training": "clean" if self.recipe.ball is None else "adversarial (one step)",
            "eps": self.ball.eps,
            "bounds": shown(self.recipe.bounds),
            "seed": self.seed,
            "steps": steps,
            "main": {self.task: "clean"},
            "units": {self.task: ""},
            "higher_is_better": {self.task: dict.fromkeys(names, True)},
            "delta_percent": None,
        }


def read_genotype(space: SearchSpace, text: str) -> Genotype:
    """The genotype that a file, JSON, a string or a name stands for.

    Raises:
        ValueError: If it is none of them, or not of the space.
    """
    text = text.strip()
    if len(text) < 256 and Path(text).is_file():
        text = Path(text).read_text().strip()
    elif text.endswith((".json", ".txt")) and not text.startswith("{"):
        raise ValueError(f"`genotype` should be a file that is there, found '{text}'.")
    if text.startswith("{"):
        genotype = Genotype.from_json(text)
    elif text.replace("_", "").isalnum():
        published = getattr(space, "published", None)
        if published is None:
            raise ValueError(
                f"`genotype` should be a file, JSON or a string of the space, found '{text}': "
                f"there is no such file, and {type(space).__name__} knows no cells by name."
            )
        genotype = published(text)
    else:
        genotype = space.from_string(text)
    space.check(genotype)
    if not space.buildable(genotype):
        raise ValueError("`genotype` should lead from the input to the output, found it does not.")
    return genotype
