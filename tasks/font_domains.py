"""The same 47 characters in several typefaces: which one is it, however it is printed?

The setting of Office-31 (K. Saenko, B. Kulis, M. Fritz, T. Darrell, "Adapting visual category
models to new domains", ECCV 2010), where every domain is a task with images of its own, with fonts
that need no download. It is a small stand-in, not Office-31.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from moml.backbone import Conv4, LinearHead
from moml.data import Defaults, Source, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._font_images import CHARACTERS, check_domains, views


class FontDomains(Suite):
    """Characters in up to five typefaces, a task each: classification as on Office-31.

    Domains: ``sans``, ``serif`` and ``mono`` (DejaVu), ``stix`` (Times-like) and ``tex`` (Computer
    Modern), each in four faces such as bold and italic. Every task has images of its own
    (multi-input). Classes are the 47 of EMNIST "balanced". Splits go by (face, character): of a
    character's four faces in a domain, two are for training, one for validation and one for
    testing. Each is seen in several random views (turned, scaled, sheared, moved, warped, noisy):
    940 images for training in ``sans``, 752 in ``serif``, 564 in ``mono`` and ``stix``, 376 in
    ``tex``; 94 for validation and 188 for testing in each. Inputs are ``(1, 28, 28)`` in [0, 1].
    Accuracy: higher is better.

    Args:
        domains: The domains, hence tasks, in order.
        seed: Seed of the split and of all views.

    Raises:
        ValueError: If a domain is unknown or named twice.
    """

    defaults = Defaults(steps=600, batch_size=32, learning_rate=3e-3, eval_every=100)
    bounds = (0.0, 1.0)

    def __init__(self, *, domains: Sequence[str] = ("sans", "serif", "tex"), seed: int = 0) -> None:
        check_domains("`domains`", tuple(domains))
        self.domains, self.seed = tuple(domains), seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One classification task per domain."""
        return dict.fromkeys(self.domains, classification(len(CHARACTERS)))

    def sources(self, split: Split) -> Mapping[str, Source]:
        """A source per domain, drawn once per process."""
        sources = {}
        for domain in self.domains:
            images, labels = views(domain, split, self.seed)
            sources[domain] = TensorSource(images, {domain: labels})
        return sources

    def encoder(self) -> nn.Module:
        """Four convolutional blocks, each image normalised by itself."""
        return Conv4(norm="group")

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, len(CHARACTERS))
