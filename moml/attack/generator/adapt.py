"""A further victim for a trained generator: only a decoder is new."""

from __future__ import annotations

import copy

from torch import nn

from moml.architecture import HPS
from moml.attack.generator.aim import Aim
from moml.attack.generator.generator import Generator
from moml.attack.generator.mta import MTA


def decoder_only(problem: MTA, task: str, aim: Aim, *, decoder: nn.Module | None = None) -> MTA:
    """The problem of attacking one more victim with the encoder as it is.

    The encoder is copied and frozen, so the trained generator stays what it was and a few steps
    suffice; what has to be stored for the new victim is its decoder.

    Args:
        problem: A trained MTA with hard parameter sharing.
        task: Name of the new task.
        aim: What to do to the new victim.
        decoder: Where to start; a copy of the first task's decoder unless given.

    Returns:
        A problem with one task, whose trainable parameters are the decoder's.

    Raises:
        ValueError: If the generator's architecture is not `HPS`.
    """
    trained, old = problem.generator, problem.generator.architecture
    if not isinstance(old, HPS):
        raise ValueError(
            f"`problem` should have a generator with HPS, found {type(old).__name__}. "
            "Only there one encoder serves all decoders."
        )
    encoder = copy.deepcopy(old.encoder).requires_grad_(False)
    fresh = copy.deepcopy(old.heads[old.tasks[0]]) if decoder is None else decoder
    generator = Generator(HPS(encoder, {task: fresh}), ball=trained.ball, bounds=trained.bounds)
    if trained.noise is not None:
        generator.register_buffer("noise", trained.noise.clone())
    return MTA(generator, {task: aim})
