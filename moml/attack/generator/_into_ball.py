"""From anything a network puts out to a perturbation inside a ball, with a gradient everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.attack.ball import Ball, Linf


def into_ball(raw: Tensor, ball: Ball) -> Tensor:
    """Perturbations of norm at most ``eps``; zero for zero.

    L-infinity: ``eps * tanh``. Other norms: the sample's length is squashed, and its direction
    kept. (GAP divides by the largest entry instead, so that no perturbation is small, and its
    gradient ignores the division.)

    Args:
        raw: Numbers of any size, ``(B, ...)``.
        ball: Where they should lie.
    """
    if isinstance(ball, Linf):
        return ball.scaled(ball.eps * raw.tanh())
    plain = ball.plain()
    scale = plain.norm(torch.ones_like(raw[:1]))  # (1,): what entries of size one would have
    shrink = ball.eps / (scale + plain.norm(raw))  # (B,)
    return ball.scaled(raw * shrink.reshape(-1, *[1] * (raw.dim() - 1)))
