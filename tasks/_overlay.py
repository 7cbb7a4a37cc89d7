"""Two digits laid over each other, one moved down and right.

S. Sabour, N. Frosst, G. Hinton, "Dynamic routing between capsules", NeurIPS 2017; O. Sener, V.
Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from moml.data import Batch, Source


class OverlaySource(Source):
    """Pairs of digits, laid over each other when a batch is asked for.

    Args:
        images: Digits ``(M, side, side)``, numbers in [0, 1] or bytes.
        labels: Their classes ``(M,)``.
        pairs: Left and right digit of each sample, ``(N, 2)``.
        offset: Pixels by which the right digit is moved.
        margin: Empty pixels beyond it.
        resized: Side of the picture in the end (nearest pixels); the canvas's unless given.
        tasks: Which of ``left`` and ``right`` to label.
        present: ``(N,)`` bool per partly labelled task.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        pairs: Tensor,
        *,
        offset: int,
        margin: int = 0,
        resized: int | None = None,
        tasks: tuple[str, ...] = ("left", "right"),
        present: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.images, self.labels, self.pairs = images, labels, pairs
        self.offset, self.margin, self.resized = offset, margin, resized
        self.tasks, self.present = tasks, dict(present or {})

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Tensor) -> Batch:
        """Overlay the pairs at ``indices``; a pixel is the brighter of the two."""
        left, right = self.pairs[indices].unbind(1)
        near, far = self.margin, self.offset + self.margin
        canvas = torch.maximum(
            functional.pad(self._digits(left), [0, far, 0, far]),
            functional.pad(self._digits(right), [self.offset, near, self.offset, near]),
        )[:, None]
        if self.resized is not None:
            canvas = functional.interpolate(canvas, size=self.resized, mode="nearest")
        digits = {"left": left, "right": right}
        targets = {task: self.labels[digits[task]] for task in self.tasks}
        present = {task: mask[indices] for task, mask in self.present.items()} or None
        return Batch(canvas, targets, present)

    def _digits(self, chosen: Tensor) -> Tensor:
        digits = self.images[chosen]
        return digits if digits.is_floating_point() else digits.float() / 255
